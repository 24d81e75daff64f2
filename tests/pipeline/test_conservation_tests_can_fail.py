"""The data tests on bronze pass on a sound lakehouse and find each kind of violation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def deliver(spark: Any, table: str, rows: list[tuple]) -> None:
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
    values = ", ".join(template.format(*row, at="timestamp'2024-01-01'") for row in rows)
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
    assert failures(dbt) == {CONSERVED: 3, LEDGER: 3, PROVENANCE: 2, QUARANTINE: 2}
