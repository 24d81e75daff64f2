"""The data tests of conservation pass on a sound lakehouse and find each kind of violation."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stocks_lakehouse import PRICES, LandedObject, StocksLakehouse
from video_lakehouse import append_events, create_tables

from demo.video.simulator import PlayerEvent
from loaders.feeds import read_feeds
from loaders.replay import replay

LEDGER = "bronze_rows_equal_ledger"
QUARANTINE = "quarantine_rows_equal_ledger"
PROVENANCE = "bronze_provenance_is_unique"
CONSERVED = "ledger_conserves_records"


def failures(dbt: Any) -> dict[str, int]:
    """Data test → number of rows it complains about."""
    outcome = dbt("test", "--select", "path:tests/data", expect_failure=True)
    assert outcome.exception is None, outcome.exception
    results = [each for each in outcome.result.results if each.node.resource_type == "test"]
    counts = {result.node.name: result.failures for result in results}
    assert None not in counts.values(), [result.message for result in results]
    return counts


NOW, LONG_AGO = "current_timestamp()", "timestamp'2024-01-01'"


def deliver(spark: Any, table: str, rows: list[tuple], at: str = NOW) -> None:
    """Append rows to a bronze table; what the tests do not read is filled in.

    Rows are (feed, batch, item, received, kept, duplicates, quarantined) for the ledger,
    (feed, batch, item, ordinal, bytes in hex) for the quarantine, (batch, item, ordinal) for a
    feed's table.
    """
    templates = {
        "ledger": "('{}', {}, 'landing', '{}', 'v1', 9, {at}, {}, {}, {}, {}, '0', '9', 'q', {at})",
        "quarantine": "('{}', {}, 'landing', '{}', 'v1', {}, 0, 'invalid_json', X'{}', "
        "{at}, null, {at})",
    }
    feed = "('text', 'landing', '{1}', 'v1', {2}, {at}, {0}, {at})"
    template = templates.get(table, feed)
    values = ", ".join(template.format(*row, at=at) for row in rows)
    spark.sql(f"insert into bronze.{table} values {values}")


def test_conservation_holds_on_sound_rows_and_each_violation_is_found(
    lakehouse: Path, spark: Any, dbt: Any
) -> None:
    none = {LEDGER: 0, QUARANTINE: 0, PROVENANCE: 0, CONSERVED: 0}
    assert failures(dbt) == none, "on an empty lakehouse"

    prices, filings = "stocks_daily_prices", "stocks_fundamentals"
    ledger = [
        (prices, 0, "a", 3, 2, 0, 1),
        (prices, 1, "a", 3, 0, 3, 0),  # delivered again
        (filings, 0, "a", 1, 1, 0, 0),  # the other feed has a batch 0 and an `a`, too
        (prices, 2, "empty", 0, 0, 0, 0),
        (prices, 2, "mended", 1, 0, 0, 1),
    ]
    deliver(spark, "ledger", ledger)
    deliver(spark, "stocksDailyPrices", [(0, "a", 0), (0, "a", 2)])
    deliver(spark, "stocksFundamentals", [(0, "a", 0)])
    deliver(spark, "quarantine", [(prices, 0, "a", 1, "7B"), (prices, 2, "mended", 0, "7B7D")])
    report = replay(spark, read_feeds()[prices])
    assert (report.looked_at, report.replaced, report.kept) == (2, 1, 1)
    assert failures(dbt) == none, "on sound rows, one of which was replayed"

    def prices_of_bronze() -> set[tuple]:
        rows = spark.table("bronze.stocksDailyPrices").collect()
        return {(row["_batch_id"], row["_key"], row["_ordinal"]) for row in rows}

    before = prices_of_bronze()
    assert len(before) == 3
    spark.sql("drop table bronze.stocksDailyPrices")  # from the metastore: the files stay
    dbt("run", "--select", "stocks_daily_prices_parsed")
    assert prices_of_bronze() == before, "registered again"
    assert spark.table("silver.stocks_daily_prices_parsed").count() == len(before)

    violations = [
        (prices, 3, "lost", 5, 0, 4, 0),  # a record is missing from the sum
        (prices, 3, "unknown", 5, 0, "null", 0),
        (prices, 4, "half", 2, 2, 0, 0),  # bronze has one of the two
        (filings, 4, "whole", 2, 2, 0, 0),  # bronze has neither
        (prices, 6, "twice", 2, 2, 0, 0),  # bronze has one of them twice
        (filings, 6, "a", 1, 1, 0, 0),  # bronze has it since batch 0
        (prices, 7, "no bytes", 1, 0, 0, 1),  # not in quarantine
        (prices, 7, "never was", -1, 0, 0, -1),  # taken back, and never received
    ]
    deliver(spark, "ledger", violations)
    deliver(spark, "stocksDailyPrices", [(4, "half", 0), (6, "twice", 0), (6, "twice", 0)])
    deliver(spark, "stocksFundamentals", [(5, "unannounced", 0), (6, "a", 0)])
    deliver(spark, "quarantine", [(filings, 7, "unannounced", 0, "7B")])
    found = {CONSERVED: 3, LEDGER: 3, PROVENANCE: 2, QUARANTINE: 2}
    assert failures(dbt) == found
    deliver(spark, "ledger", [(prices, 8, "expired", 1, 0, 0, 1)], at=LONG_AGO)
    assert failures(dbt) == found, "quarantine is kept for a month"


def problems(spark: Any, dbt: Any, model: str) -> set[tuple[str, str]]:
    """What `conserves_records` says of a model of silver."""
    outcome = dbt("test", "--select", f"{model},test_name:conserves_records", expect_failure=True)
    assert outcome.exception is None, outcome.exception
    (result,) = (each for each in outcome.result.results if each.node.resource_type == "test")
    found = {tuple(row) for row in spark.sql(result.node.compiled_code).collect()}
    assert len(found) == result.failures, result.message
    return found


def test_each_record_that_is_lost_or_made_up_on_the_way_to_silver_is_found(
    lakehouse: Path, spark: Any, dbt: Any
) -> None:
    stocks = StocksLakehouse(spark, dbt, lakehouse)
    silver, view = "silver.stocks_daily_prices", "silver.stocks_daily_prices_parsed"

    def deliver_bars(batch_id: int, *days: str) -> None:
        bars = [{"ticker": "A", "price_date": f"2024-01-{day}", "close": 1} for day in days]
        records = (*bars, {"price_date": "2024-01-02", "close": 1})  # the last is unfit
        written = datetime(2024, 1, 20, tzinfo=UTC)
        stocks.deliver(PRICES, batch_id, [LandedObject(f"{batch_id}", written, records)])

    def found() -> set[tuple[str, str]]:
        return problems(spark, dbt, "stocks_daily_prices")

    def record(day: str) -> str:
        return f'{{"ticker":"A","price_date":"2024-01-{day}"}}'

    deliver_bars(0, "02", "03")
    deliver_bars(1, "03", "03", "04")
    stocks.run(select="stocks_daily_prices_parsed stocks_daily_prices")
    assert found() == set(), "superseded and unfit records are none that are lost"
    deliver_bars(2, "05")
    assert found() == set(), "the next run merges what has come since"

    sound = stocks.table(silver).version()
    spark.sql(f"delete from {silver} where price_date = '2024-01-02'")
    assert found() == {("lost", record("02"))}
    spark.sql(f"restore table {silver} to version as of {sound}")
    spark.sql(f"update {silver} set price_date = '2024-01-09' where price_date = '2024-01-02'")
    assert found() == {("lost", record("02")), ("from nowhere", record("09"))}
    spark.sql(f"restore table {silver} to version as of {sound}")

    spark.sql(f"delete from bronze.{PRICES} where _batch_id = 0")
    assert found() == set(), "as a retention does it"
    spark.sql(f"create table silver.seen using delta as select * from {view}")
    seen = "select * from silver.seen where reject_reason is null"
    spark.sql(f"create or replace view {view} as {seen}")
    assert found() == {("not parsed once each", '{"in_bronze":4,"in_view":3}')}


def test_of_a_large_table_the_batches_of_the_last_days_are_looked_at(
    lakehouse: Path, spark: Any, dbt: Any
) -> None:
    create_tables(spark)
    arrived_ms = 1_780_077_600_000
    events = [PlayerEvent(arrived_ms, f"u{n}", f'{{"n":{n}}}'.encode()) for n in range(3)]
    for batch_id, batch in enumerate((events[:2], events[2:])):
        append_events(spark, batch, batch_id, first=10 * batch_id)
    dbt("run", "--select", "player_events_parsed", "player_events")
    assert problems(spark, dbt, "player_events") == set()
    spark.sql("delete from silver.player_events where _batch_id = 0")
    assert {problem for problem, _ in problems(spark, dbt, "player_events")} == {"lost"}
    spark.sql(
        "update bronze.player_events set _ingested_at = _ingested_at - interval 9 days"
        " where _batch_id = 0"
    )
    assert problems(spark, dbt, "player_events") == set()
