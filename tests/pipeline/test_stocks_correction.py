"""Stocks: ten times the earnings are delivered, seen in gold, and corrected without a trace.

TWIN has the bars and the filings of AAPL and never the error: what gold says of TWIN is what it
would say of AAPL, had the error not been. The bars and figures are real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from stocks_lakehouse import FUNDAMENTALS, PRICES, LandedObject, StocksLakehouse

from demo.stocks import bars_by_session, filings_by_date

SINCE, UNTIL = date(2011, 12, 1), date(2012, 2, 10)
# The quarter that ended on 2011-12-31 was filed on the 25th: known from the 26th.
FILED = date(2012, 1, 25)
ERROR = {"eps_basic_net": 140.3, "eps_diluted_net": 138.7}
RIGHT = {"eps_basic_net": 14.03, "eps_diluted_net": 13.87}
STREAMED = "gold.pricewithfundamentals"


def evening(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 23, tzinfo=UTC)


def bars(since: date, until: date) -> list[LandedObject]:
    """The sessions from one day to another, both included, with AAPL's bars under TWIN too."""
    objects = []
    for session, records in bars_by_session().items():
        if since <= session <= until:
            twins = [{**r, "ticker": "TWIN"} for r in records if r["ticker"] == "AAPL"]
            name = f"prices/{session}"
            objects.append(LandedObject(name, evening(session), (*records, *twins)))
    return objects


def filings(until: date) -> list[LandedObject]:
    """What was filed before a day, with AAPL's filings under TWIN too."""
    objects = []
    for filed, records in filings_by_date().items():
        if filed < until:
            twins = [{**r, "ticker": "TWIN"} for r in records if r["ticker"] == "AAPL"]
            objects.append(LandedObject(f"filings/{filed}", evening(filed), (*records, *twins)))
    return objects


def first_quarter(ticker: str, figures: dict[str, float], updated: datetime) -> LandedObject:
    """AAPL's filing of the day as delivered at a time, with the given figures."""
    (record,) = [r for r in filings_by_date()[FILED] if r["ticker"] == "AAPL"]
    assert {name: record[name] for name in RIGHT} == RIGHT
    record = {**record, **figures, "ticker": ticker, "updated": updated.isoformat()}
    return LandedObject(f"filings/{FILED}/{ticker}/{updated}", updated, (record,))


@dataclass
class Streams:
    """What streams on the table have read so far, and how the plain one ended."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    changes: list[dict[str, Any]] = field(default_factory=list)
    error: StreamingQueryException | None = None


@dataclass
class Story:
    """The lakehouse at the end; versions and streams before, with and after the error."""

    stocks: StocksLakehouse
    versions: list[dict[str, int]]
    streams: list[Streams]


@pytest.fixture(scope="module")
def story(
    spark: Any, dbt: Callable[..., Any], root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Story:
    stocks = StocksLakehouse(spark, dbt, root)
    checkpoints = tmp_path_factory.mktemp("checkpoints")
    day_before = FILED - timedelta(days=1)
    told = Story(stocks, [], [])

    def read(name: str, into: list[dict[str, Any]], **options: str) -> None:
        def keep(frame: Any, _: int) -> None:
            into.extend(row.asDict() for row in frame.collect())

        frame = spark.readStream.options(**options).table("gold.priceWithFundamentals")
        query = (
            frame.writeStream.foreachBatch(keep)
            .option("checkpointLocation", str(checkpoints / name))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()

    def build(select: str = "path:models/silver/stocks+") -> None:
        stocks.run(select=select)
        streams = Streams()
        try:
            read("rows", streams.rows)
        except StreamingQueryException as error:
            streams.error = error
        read("changes", streams.changes, readChangeFeed="true")
        told.versions.append(stocks.versions())
        told.streams.append(streams)

    stocks.deliver(PRICES, 0, bars(SINCE, day_before))
    stocks.deliver(FUNDAMENTALS, 0, filings(FILED))
    build()
    stocks.deliver(PRICES, 1, bars(FILED, UNTIL))
    stocks.deliver(
        FUNDAMENTALS,
        1,
        [
            first_quarter("AAPL", ERROR, evening(FILED)),
            first_quarter("TWIN", RIGHT, evening(FILED)),
        ],
    )
    build()
    stocks.deliver(FUNDAMENTALS, 2, [first_quarter("AAPL", RIGHT, evening(UNTIL))])
    build("stocks_fundamentals_parsed+")
    return told


def gold_of(stocks: StocksLakehouse, ticker: str, table: str) -> list[dict[str, Any]]:
    """The rows of one ticker without the ticker and what counts batches."""
    rows = [row for row in stocks.rows(table) if row.pop("ticker") == ticker]
    for row in rows:
        for column in [column for column in row if column.startswith("_")]:
            del row[column]
    return sorted(rows, key=lambda row: row.get("price_date", SINCE))


def affected_sessions() -> list[date]:
    return [day for day in bars_by_session() if FILED < day <= UNTIL]


def test_the_error_stands_in_gold_when_it_is_delivered(story: Story) -> None:
    with_error = story.versions[1]
    rows = story.stocks.rows(STREAMED, with_error[STREAMED])
    found = {
        row["price_date"]: row["eps_basic_net"]
        for row in rows
        if row["ticker"] == "AAPL" and row["price_date"] >= FILED
    }
    assert found.pop(FILED) == 7.13
    assert found == dict.fromkeys(affected_sessions(), ERROR["eps_basic_net"])


@pytest.mark.parametrize(
    "table",
    [
        "gold.stocksdailypriceswfund",
        "gold.pricewithfundamentals",
        "gold.price_earnings_ttm",
        "gold.average_close",
    ],
)
def test_corrected_gold_is_gold_that_never_saw_the_error(story: Story, table: str) -> None:
    corrected = gold_of(story.stocks, "AAPL", table)
    assert len(corrected) > 0
    assert corrected == gold_of(story.stocks, "TWIN", table)


@pytest.mark.parametrize(
    "table",
    ["gold.stocksdailypriceswfund", "gold.pricewithfundamentals", "gold.price_earnings_ttm"],
)
def test_only_the_affected_sessions_are_rewritten(story: Story, table: str) -> None:
    merges = [
        entry["operationMetrics"]
        for entry in story.stocks.table(table).history()
        if entry["operation"] == "MERGE" and entry["version"] > story.versions[1][table]
    ]
    changed = [(m["numTargetRowsUpdated"], m["numTargetRowsInserted"]) for m in merges]
    assert [tuple(map(int, pair)) for pair in changed] == [(len(affected_sessions()), 0)]


def test_prices_stay_untouched_by_a_correction_of_earnings(story: Story) -> None:
    for table in ("silver.stocks_daily_prices", "gold.average_close"):
        assert story.versions[2][table] == story.versions[1][table], table


def test_version_as_of_still_shows_the_error(story: Story) -> None:
    version = story.versions[1]["gold.pricewithfundamentals"]
    rows = story.stocks.spark.sql(
        f"""
        select distinct then.eps_basic_net, now.eps_basic_net
        from gold.priceWithFundamentals version as of {version} as then
        inner join gold.priceWithFundamentals as now using (ticker, price_date)
        where ticker = 'AAPL' and price_date > date'{FILED}'
        """
    ).collect()
    assert [tuple(row) for row in rows] == [(140.3, 14.03)]


def test_a_stream_follows_while_only_new_sessions_arrive(story: Story) -> None:
    assert [streams.error for streams in story.streams[:2]] == [None, None]
    before, new, _ = (
        {(row["ticker"], row["price_date"]) for row in streams.rows} for streams in story.streams
    )
    assert not before & new
    assert max(day for _, day in before) < FILED == min(day for _, day in new)
    assert len(story.streams[1].rows) == len(new)
    table = story.stocks.rows(STREAMED)
    assert before | new == {(row["ticker"], row["price_date"]) for row in table}


def test_a_plain_stream_stops_at_a_correction_and_the_change_feed_shows_it(story: Story) -> None:
    corrected = story.streams[2]
    assert "DELTA_SOURCE_TABLE_IGNORE_CHANGES" in str(corrected.error)
    assert corrected.rows == []
    changes = {
        (row["_change_type"], row["price_date"]): row["eps_basic_net"] for row in corrected.changes
    }
    assert {row["ticker"] for row in corrected.changes} == {"AAPL"}
    assert changes == {
        (kind, day): figures["eps_basic_net"]
        for kind, figures in (("update_preimage", ERROR), ("update_postimage", RIGHT))
        for day in affected_sessions()
    }


def test_the_ratio_of_four_quarters_is_the_published_one(story: Story) -> None:
    """Closes 446.66 and 444.63; four quarters of 27.67 and 35.11, from the filings by hand."""
    ratios = {
        row["price_date"]: (row["eps_ttm"], round(row["pe_ttm"], 6), row["all_verified"])
        for row in story.stocks.rows("gold.price_earnings_ttm")
        if row["ticker"] == "AAPL"
    }
    assert ratios[FILED] == (27.67, round(446.66 / 27.67, 6), True)
    assert ratios[date(2012, 1, 26)] == (35.11, round(444.63 / 35.11, 6), True)


def test_a_ratio_names_the_filings_it_rests_on(story: Story) -> None:
    (row,) = [
        row
        for row in story.stocks.rows("gold.price_earnings_ttm")
        if (row["ticker"], row["price_date"]) == ("AAPL", date(2012, 1, 26))
    ]
    assert [filing.split(" (")[0] for filing in row["filings"]] == [
        "2012Q1 10-Q filed 2012-01-25: 13.87 / 1.0",
        "2011Q4 10-K filed 2011-10-26: 7.05 / 1.0",
        "2011Q3 10-Q filed 2011-07-20: 7.79 / 1.0",
        "2011Q2 10-Q filed 2011-04-21: 6.4 / 1.0",
    ]
    assert "accession 0001193125-12-023398" in row["filings"][0]


def test_the_blueprints_queries_run_as_printed(story: Story) -> None:
    """viewPE as printed, made over the gold table, has the rows of gold.viewPE."""
    spark = story.stocks.spark
    spark.sql("use gold")
    try:
        ours = spark.sql("select * from gold.viewPE")
        spark.sql(
            """
            CREATE OR REPLACE TEMPORARY VIEW viewPE AS
            select ticker,
                   price_date,
                   first(close) as price,
                   (close/eps_basic_net) as pe
            from priceWithFundamentals
            where eps_basic_net > 0
            group by ticker, price_date, pe
            """
        )
        printed = spark.sql("select * from viewPE")
        assert ours.columns == printed.columns
        assert ours.count() > 100
        assert ours.exceptAll(printed).count() == printed.exceptAll(ours).count() == 0
        rows = spark.sql("select * from viewPE where ticker == 'AAPL' order by price_date")
        days = [row.price_date for row in rows.collect()]
        assert days == [day for day in bars_by_session() if SINCE <= day <= UNTIL]
        means = spark.sql(
            "SELECT ticker, AVG(close) as Average_Close FROM priceWithFundamentals "
            "GROUP BY ticker ORDER BY Average_Close"
        )
        expected = {row["ticker"]: row["Average_Close"] for row in means.collect()}
        found = {
            row["ticker"]: row["Average_Close"] for row in story.stocks.rows("gold.average_close")
        }
        assert found == pytest.approx(expected, rel=1e-9)
    finally:
        spark.sql("drop view if exists viewPE")
        spark.sql("use default")
