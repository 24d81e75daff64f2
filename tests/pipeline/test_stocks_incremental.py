"""Stocks: whatever the order and the batches records arrive in, the tables say the same.

One made-up history of three companies is delivered three times side by side, each time under
tickers of its own and in another order: as it happened, backwards, and shuffled with objects
delivered again. So one series of dbt runs tries all three.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from stocks_lakehouse import FUNDAMENTALS, PRICES, TABLES, LandedObject, StocksLakehouse
from stocks_reference import Split, last_deliveries, trailing, with_fundamentals

from loaders.bronze import BatchReport, ensure_tables
from loaders.destinations import destination_of
from loaders.feeds import CloudFilesFeed, Feed
from loaders.run import kind_of_feed, run_once

SEED = 147
COMPANIES = ("ONE", "TWO", "SIX")
BATCHES = 3
# Bronze numbers the batches of each table for itself.
FIRST_BATCH = {PRICES: 0, FUNDAMENTALS: 10}
FEEDS = {"stocks_daily_prices": PRICES, "stocks_fundamentals": FUNDAMENTALS}
SESSIONS = [date(2004, 5, 3) + timedelta(weeks=week) for week in range(60)]
QUARTERS = [(year, quarter) for year in (2003, 2004) for quarter in (1, 2, 3, 4)] + [(2005, 1)]
SPLITS: list[Split] = [
    ("ONE", date(2004, 9, 15), Fraction(2)),
    ("ONE", date(2005, 3, 15), Fraction(3)),
    ("TWO", date(2004, 6, 16), Fraction(1, 2)),
]
BAD_PRICES = [
    {"price_date": "2004-06-01", "close": 1},
    {"ticker": "ONE", "price_date": "2004-06-01", "close": math.nan},
    {"ticker": "ONE", "price_date": "2004-06-01", "close": "None"},
    {"ticker": "TWO", "price_date": "2004-06-01", "close": -1},
    {"ticker": "SIX", "price_date": "2099-01-01", "close": 1},
]

Objects = list[LandedObject]


def at(day: date, hour: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def stamp(moment: datetime) -> str:
    return moment.isoformat()


def price_objects(company: str, draw: random.Random) -> Objects:
    """Bars of all sessions, some of them twice in an object, some corrected, some beside trash."""
    objects = []
    for session in SESSIONS:

        def bar(updated: datetime, session: date = session) -> dict[str, Any]:
            close = draw.randint(1000, 9000) / 100
            return {
                "ticker": company,
                "price_date": str(session),
                "open": close,
                "high": close + 1,
                "low": close - 1,
                "close": close,
                "volume": draw.randint(0, 10**6),
                "adj_close": round(close / 2, 2),
                "currency": "USD",
                "updated": stamp(updated),
            }

        evening = at(session, 21)
        records = [bar(evening)]
        if draw.random() < 0.1:
            records.append(bar(evening))
        if draw.random() < 0.15:
            records.insert(0, {**draw.choice(BAD_PRICES), "unfit": True})
        name = f"{company}/prices/{session}"
        objects.append(LandedObject(name, evening, tuple(records)))
        if draw.random() < 0.15:
            later = evening + timedelta(days=draw.randint(1, 30))
            objects.append(LandedObject(f"{name}.corrected", later, (bar(later),)))
    return objects


def period(year: int, quarter: int) -> tuple[date, date]:
    """First and last day of a calendar quarter."""
    start = date(year, 3 * quarter - 2, 1)
    return start, (start + timedelta(days=93)).replace(day=1) - timedelta(days=1)


@dataclass(frozen=True)
class Vendor:
    """Writes the records of one company's quarters, and errs as vendors do."""

    company: str
    draw: random.Random

    def record(self, year: int, quarter: int, form: str, filed: date) -> dict[str, Any]:
        start, end = period(year, quarter)
        basic = self.draw.randint(-500 if self.company == "SIX" else 50, 400) / 100
        return {
            "ticker": self.company,
            "fiscal_period": f"{year}Q{quarter}",
            "period_start": str(start),
            "period_end": str(end),
            "fiscal_year": year,
            "fiscal_quarter": f"Q{quarter}",
            "eps_basic_net": None if form == "8-K" else basic,
            "eps_diluted_net": round(basic - 0.25, 2),
            "filing_type": form,
            "filed_date": str(filed),
            "currency": "EUR" if (self.company, year, quarter) == ("ONE", 2003, 2) else "USD",
            "source": f"{form} of {filed}",
            "verified": self.draw.random() < 0.7,
            "updated": stamp(at(filed, 22)),
        }

    def first_wrong(self, record: dict[str, Any], **wrong: Any) -> list[tuple[dict[str, Any], ...]]:
        """A delivery with wrong values, and the right one some days later."""
        filed = date.fromisoformat(record["filed_date"])
        corrected = at(filed + timedelta(days=self.draw.randint(1, 60)), 22)
        return [({**record, **wrong},), ({**record, "updated": stamp(corrected)},)]

    def quarter(self, year: int, quarter: int) -> list[tuple[dict[str, Any], ...]]:
        """Everything delivered of one quarter, a tuple an object."""
        draw = self.draw
        start, end = period(year, quarter)
        filed = end + timedelta(days=draw.randint(35, 50))
        report = self.record(year, quarter, "10-Q" if quarter < 4 else "10-K", filed)
        delivered: list[tuple[dict[str, Any], ...]] = [(report,)]
        if quarter == 4:
            whole_year = {"fiscal_period": f"{year}FY", "fiscal_quarter": "FY"}
            delivered = [(report, {**report, **whole_year, "period_start": f"{year}-01-01"})]
        elif draw.random() < 0.3:
            shift = timedelta(days=92)
            early = {"period_start": str(start - shift), "period_end": str(end - shift)}
            delivered = self.first_wrong(report, **early)
        elif draw.random() < 0.4:
            ten_times = round(10 * report["eps_diluted_net"], 2)
            delivered = self.first_wrong(report, eps_diluted_net=ten_times)
        if draw.random() < 0.4:
            released = filed - timedelta(days=draw.choice([0, 1, 10, 14]))
            delivered.append((self.record(year, quarter, "8-K", released),))
        if draw.random() < 0.4:
            again = filed + timedelta(days=draw.randint(1, 200))
            delivered.append((self.record(year, quarter, report["filing_type"] + "/A", again),))
        if quarter > 1 and draw.random() < 0.4:
            # the quarter before is amended, at first as if it had ended after this one
            amended = self.record(year, quarter - 1, "10-Q/A", end + timedelta(days=15))
            shift = timedelta(days=10)
            late = {"period_start": str(start + shift), "period_end": str(end + shift)}
            delivered += self.first_wrong(amended, **late)
        return delivered


def filing_objects(company: str, draw: random.Random) -> Objects:
    """Releases, reports, amendments, corrections, wrong periods, a gap, losses, euros."""
    vendor = Vendor(company, draw)
    published = {
        "ONE": QUARTERS,
        "TWO": [quarter for quarter in QUARTERS if quarter != (2004, 2)],
        "SIX": [quarter for quarter in QUARTERS if quarter < (2004, 2)],
    }[company]
    return [
        LandedObject(
            f"{company}/filings/{year}Q{quarter}.{number}",
            datetime.fromisoformat(records[0]["updated"]),
            records,
        )
        for year, quarter in published
        for number, records in enumerate(vendor.quarter(year, quarter))
    ]


def renamed(item: LandedObject, suffix: str) -> LandedObject:
    """The object of the same company under the tickers of one way of delivery."""
    records = tuple(
        {**record, "ticker": record["ticker"] + suffix} if "ticker" in record else record
        for record in item.records
        if isinstance(record, dict)
    )
    return replace(item, key=item.key + suffix, records=records)


def as_it_happened(objects: Objects, draw: random.Random) -> list[Objects]:
    ordered = sorted(objects, key=lambda item: item.modified_at)
    size = math.ceil(len(ordered) / BATCHES)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def backwards(objects: Objects, draw: random.Random) -> list[Objects]:
    return as_it_happened(objects, draw)[::-1]


def shuffled_and_repeated(objects: Objects, draw: random.Random) -> list[Objects]:
    again = [
        replace(item, key=item.key + ".again", modified_at=item.modified_at + timedelta(hours=9))
        for item in objects
        if draw.random() < 0.2
    ]
    batches: list[Objects] = [[] for _ in range(BATCHES)]
    for item in objects + again:
        draw.choice(batches).append(item)
    return batches


WAYS: dict[str, Callable[[Objects, random.Random], list[Objects]]] = {
    "-happened": as_it_happened,
    "-backwards": backwards,
    "-shuffled": shuffled_and_repeated,
}


def history() -> dict[str, list[Objects]]:
    """The batches of each bronze table."""
    draw = random.Random(SEED)
    batches: dict[str, list[Objects]] = {t: [[] for _ in range(BATCHES)] for t in FIRST_BATCH}
    for table, write in ((PRICES, price_objects), (FUNDAMENTALS, filing_objects)):
        for company in COMPANIES:
            objects = write(company, draw)
            for suffix, way in WAYS.items():
                for number, part in enumerate(way(objects, draw)):
                    batches[table][number] += [renamed(item, suffix) for item in part]
    return batches


@dataclass
class State:
    """What stood in the tables after a run."""

    messages: dict[str, str]
    versions: dict[str, int]
    contents: dict[str, Counter[str]]
    with_fundamentals: list[dict[str, Any]]
    streamed: list[dict[str, Any]]
    trailing: list[dict[str, Any]]
    average_close: list[dict[str, Any]]


@dataclass
class Redelivery:
    """What a loader made of all objects together, and what stood in the tables after a run."""

    loaded: list[BatchReport]
    state: State
    commits: dict[str, list[str]]


@dataclass
class Runs:
    """The states after each batch, after a run with nothing new, after a full refresh; then all
    objects come again, under new keys and under the same."""

    delivered: dict[str, list[Objects]]
    after_batch: list[State]
    idle: State
    rebuilt: State
    under_new_keys: Redelivery
    under_the_same_keys: Redelivery

    def until(self, table: str, batch: int) -> Objects:
        return [item for part in self.delivered[table][: batch + 1] for item in part]


@pytest.fixture(scope="module")
def runs(spark: Any, dbt: Callable[..., Any], root: Path) -> Runs:
    stocks = StocksLakehouse(spark, dbt, root)
    values = [
        f"('{ticker}{suffix}', date'{day}', {float(ratio)}, 'made up', true)"
        for ticker, day, ratio in SPLITS
        for suffix in WAYS
    ]
    spark.sql(f"insert into ops.stock_splits values {', '.join(values)}")

    def state(*arguments: str) -> State:
        messages = stocks.run(*arguments)
        return State(
            messages=messages,
            versions=stocks.versions(),
            contents=stocks.contents(),
            with_fundamentals=stocks.rows("gold.stocksdailypriceswfund"),
            streamed=stocks.rows("gold.pricewithfundamentals"),
            trailing=stocks.rows("gold.price_earnings_ttm"),
            average_close=stocks.rows("gold.average_close"),
        )

    delivered = history()
    after_batch = []
    for batch in range(BATCHES):
        for table, first in FIRST_BATCH.items():
            stocks.deliver(table, first + batch, delivered[table][batch])
        after_batch.append(state())
    idle, rebuilt = state(), state("--full-refresh")
    feeds = [write_feed(root / "again", name, delivered[table]) for name, table in FEEDS.items()]
    for feed in feeds:
        ensure_tables(spark, destination_of(feed), kind_of_feed(feed))
        spark.sql(BOOKED.format(feed=feed.name, table=feed.table))

    def redelivery(before: State) -> Redelivery:
        shutil.rmtree(root / "checkpoints", ignore_errors=True)
        reports: list[BatchReport] = []
        assert run_once(spark, feeds, reports.append) == {}
        after = state()
        commits = {
            table: [commit["operation"] for commit in stocks.commits(table, before.versions[table])]
            for table in TABLES
        }
        return Redelivery(reports, after, commits)

    first = redelivery(rebuilt)
    return Runs(delivered, after_batch, idle, rebuilt, first, redelivery(first.state))


# The books of what came without a loader: what it loads is numbered after them.
BOOKED = """
    insert into bronze.ledger
    select
        '{feed}', _batch_id, _bucket, _key, _version, null, max(_modified_at), count(*), count(*),
        0, 0, null, null, 'by hand', max(_ingested_at)
    from bronze.{table}
    group by _batch_id, _bucket, _key, _version
"""


def write_feed(folder: Path, name: str, batches: list[Objects]) -> Feed:
    """Every object as a file that was modified when the object was; a feed of them."""
    for item in (item for batch in batches for item in batch):
        file = folder / name / item.key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(json.dumps(record) for record in item.records))
        os.utime(file, times=(item.modified_at.timestamp(),) * 2)
    return CloudFilesFeed(
        name=name, location=str(folder / name), table=FEEDS[name], description="all of it again"
    )


def close_to(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-9)
    return found == expected


def differences(found: dict[Any, Any], expected: dict[Any, Any]) -> dict[Any, Any]:
    """Keys whose values differ, or that stand on one side only."""
    return {
        key: (found.get(key), expected.get(key))
        for key in found.keys() | expected.keys()
        if key not in found
        or key not in expected
        or not all(map(close_to, found[key], expected[key]))
    }


each_batch = pytest.mark.parametrize("batch", range(BATCHES))


@each_batch
def test_every_session_stands_beside_the_newest_quarter_known_that_day(
    runs: Runs, batch: int
) -> None:
    found = {
        (row["ticker"], row["price_date"]): (
            row["close"],
            row["fiscal_period"],
            row["period_end"],
            row["eps_basic_net"],
            row["eps_diluted_net"],
            row["filing_type"],
            row["filed_date"],
            row["verified"],
        )
        for row in runs.after_batch[batch].with_fundamentals
    }
    expected = with_fundamentals(runs.until(PRICES, batch), runs.until(FUNDAMENTALS, batch))
    assert len(expected) > 100
    assert differences(found, expected) == {}


@each_batch
def test_earnings_of_four_quarters_are_those_known_that_day(runs: Runs, batch: int) -> None:
    found = {
        (row["ticker"], row["price_date"]): (
            row["null_reason"],
            row["period_end"],
            row["eps_ttm"],
            row["pe_ttm"],
        )
        for row in runs.after_batch[batch].trailing
    }
    splits = [(ticker + way, day, ratio) for ticker, day, ratio in SPLITS for way in WAYS]
    expected = trailing(runs.until(PRICES, batch), runs.until(FUNDAMENTALS, batch), splits)
    assert differences(found, expected) == {}


def test_the_history_comes_to_every_reason_and_to_ratios(runs: Runs) -> None:
    reasons = {row["null_reason"] for state in runs.after_batch for row in state.trailing}
    assert reasons == {
        None,
        "no_data",
        "stale",
        "missing_quarter",
        "currency_mismatch",
        "non_positive",
    }
    factors = {row["split_factor"] for row in runs.rebuilt.trailing if row["pe_ttm"]}
    assert {0.5, 1.0, 2.0, 6.0} <= factors


def test_the_history_takes_quarters_away_again(runs: Runs) -> None:
    """Sessions fall back to a quarter that ended earlier, when a wrong period is put right."""
    fell_back = 0
    for earlier, later in pairwise(runs.after_batch):
        before = {(r["ticker"], r["price_date"]): r for r in earlier.with_fundamentals}
        for row in later.with_fundamentals:
            was = before.get((row["ticker"], row["price_date"]))
            if was and was["period_end"] and row["fiscal_period"] != was["fiscal_period"]:
                fell_back += row["period_end"] < was["period_end"]
    assert fell_back > 10


@each_batch
def test_the_streamed_table_equals_the_one_it_stands_on(runs: Runs, batch: int) -> None:
    contents = runs.after_batch[batch].contents
    assert contents["gold.pricewithfundamentals"] == contents["gold.stocksdailypriceswfund"]


@each_batch
def test_the_mean_close_is_that_of_all_sessions(runs: Runs, batch: int) -> None:
    closes: dict[str, list[Fraction]] = {}
    for (ticker, _), bar in last_deliveries(
        runs.until(PRICES, batch), ("ticker", "price_date")
    ).items():
        closes.setdefault(ticker, []).append(Fraction(str(bar["close"])))
    expected = {ticker: (float(sum(all_) / len(all_)),) for ticker, all_ in closes.items()}
    found = {r["ticker"]: (r["Average_Close"],) for r in runs.after_batch[batch].average_close}
    assert differences(found, expected) == {}


def test_the_way_of_delivery_leaves_no_trace_in_gold(runs: Runs) -> None:
    gold = {}
    for way in WAYS:
        gold[way] = Counter(
            tuple(
                str(value).removesuffix(way)
                for column, value in row.items()
                if not column.startswith("_")
            )
            for rows in (runs.idle.with_fundamentals, runs.idle.trailing, runs.idle.average_close)
            for row in rows
            if row["ticker"].endswith(way)
        )
    first, second, third = gold.values()
    assert first == second == third


def test_incremental_equals_full_refresh_in_every_column(runs: Runs) -> None:
    for table, rows in runs.rebuilt.contents.items():
        assert runs.idle.contents[table] == rows, table
        assert rows.total() > 0


def test_a_run_with_nothing_new_leaves_every_table_at_its_version(runs: Runs) -> None:
    assert runs.idle.versions == runs.after_batch[-1].versions


def told(state: State) -> dict[str, Counter[str]]:
    """Every row of every table, without the columns that say in which object and batch it came."""
    return {
        table: Counter(
            json.dumps({name: value for name, value in row.items() if not name.startswith("_")})
            for row in map(json.loads, rows.elements())
        )
        for table, rows in state.contents.items()
    }


def test_all_objects_again_under_new_keys_cost_one_merge_a_table_and_change_no_row(
    runs: Runs,
) -> None:
    again = runs.under_new_keys
    assert sum(report.kept for report in again.loaded) > 500
    assert sum(report.duplicates for report in again.loaded) == 0
    assert told(again.state) == told(runs.rebuilt)
    over_budget = {
        table: commits for table, commits in again.commits.items() if commits not in ([], ["MERGE"])
    }
    assert over_budget == {}
    # what says where a row came from is new: so a run had something to do
    assert again.commits["silver.stocks_daily_prices"] == ["MERGE"]


def test_all_objects_again_under_the_same_keys_write_no_version_of_any_table(runs: Runs) -> None:
    again = runs.under_the_same_keys
    assert {report.feed for report in again.loaded} == FEEDS.keys()
    assert sum(report.kept for report in again.loaded) == 0
    assert sum(report.duplicates for report in again.loaded) > 500
    assert again.state.contents == runs.under_new_keys.state.contents
    assert again.commits == {table: [] for table in TABLES}


def test_no_record_is_lost_on_the_way_to_silver(runs: Runs, dbt: Any) -> None:
    outcome = dbt("test", "--select", "path:models/silver/stocks,test_name:conserves_records")
    results = [each for each in outcome.result.results if each.node.resource_type == "test"]
    assert len(results) == 2


def test_the_models_hold_to_their_unit_tests(runs: Runs, dbt: Any) -> None:
    dbt(
        "test",
        "--select",
        "path:models/silver/stocks,test_type:unit",
        "path:models/gold/stocks,test_type:unit",
    )
