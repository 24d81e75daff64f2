"""A bad deploy writes wrong rows for ten minutes: back to before it, and the good data again."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from game_sender import Sender, game_sender, in_bronze

from loaders import bronze
from loaders.destinations import Destination, destination_of
from loaders.feeds import CloudFilesFeed, Feed
from loaders.run import backfill, run_once
from loaders.session import ConfigurationError

MODELS = "+average_close"
TABLE = "bronze.stocksDailyPrices"
CONSERVATION = (
    "bronze_rows_equal_ledger",
    "ledger_conserves_records",
    "quarantine_rows_equal_ledger",
)
DESTINATION = "loaders.run.destination_of"


def bar(ticker: str, day: int, close: float) -> dict[str, Any]:
    """A daily bar as the vendor delivers it."""
    return {"ticker": ticker, "price_date": f"2024-05-{day:02}", "close": close}


def put(folder: Path, name: str, bars: list[dict[str, Any]]) -> None:
    """An object of bars, with a record that cannot be read after them."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{json.dumps(each)}\n" for each in bars) + '{"broken\n')


# What a bad deploy makes of a record, as SQL: a hundred times what was delivered; lost for won.
TIMES_A_HUNDRED = """regexp_replace(data, '"close": ([0-9]+)', '"close": $100')"""
ALWAYS_LOST = """replace(data, '"completed"', '"failed"')"""


def bad_deploy(feed: Feed, wrong: str) -> Destination:
    """Where a feed's records go, with something else in them than was delivered."""
    destination = destination_of(feed)
    inner = destination.append

    def append_wrong(rows: Any, append: Any) -> None:
        columns = [f"{wrong} as data" if name == "data" else name for name in rows.columns]
        inner(rows.selectExpr(*columns), append)

    destination.append = append_wrong
    return destination


@contextmanager
def cut_unless(may_append: Callable[[str], bool]) -> Iterator[None]:
    """Batches end before they append to another table of bronze."""
    inner = bronze.append

    def append(rows: Any, name: str, **options: Any) -> None:
        if not may_append(name):
            raise InterruptedError(f"cut before the commit of {name}")
        inner(rows, name, **options)

    with pytest.MonkeyPatch.context() as cutting:
        cutting.setattr(bronze, "append", append)
        yield


BOOKS = {
    "ledger": "select feed, item, kept, quarantined from bronze.ledger",
    "quarantine": "select feed, item, reason, raw from bronze.quarantine",
}
OF_STOCKS = BOOKS | {
    "bronze": f"select data, _key, _ordinal from {TABLE}",
    "silver": "select ticker, price_date, close from silver.stocks_daily_prices",
    "gold": "select * except (_prices_batch_id) from gold.average_close",
}
OF_GAMES = BOOKS | {
    "starts": "select event_id, level_id, session_id from silver.game_level_start",
    "ends": "select event_id, level_id, session_id, result from silver.game_level_end",
    "events": "select event_id, event_type, session_id, signals.result from silver.game_events",
    "gold": """
        select * except (_starts_batch_id, _ends_batch_id, _batch_id) from gold.level_funnel
    """,
}


def contents(spark: Any, queries: Mapping[str, str] = OF_STOCKS) -> dict[str, Counter]:
    """What the tables of a story say, but for numbers and times of batches."""
    return {name: Counter(spark.sql(query).collect()) for name, query in queries.items()}


def test_a_bad_deploy_is_undone_and_what_it_loaded_is_loaded_again(
    spark: Any, dbt: Any, lakehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def feed_of(name: str, table: str) -> CloudFilesFeed:
        location = str(tmp_path / name)
        return CloudFilesFeed(name=name, table=table, description="a feed", location=location)

    prices = feed_of("stocks_daily_prices", "stocksDailyPrices")
    fundamentals = feed_of("stocks_fundamentals", "stocksFundamentals")
    landing = tmp_path / prices.name

    def load(*feeds: CloudFilesFeed) -> None:
        assert run_once(spark, feeds, lambda batch: None) == {}

    def closes(tables: dict[str, Counter]) -> set[tuple[str, int, float]]:
        return {(row.ticker, row.price_date.day, row.close) for row in tables["silver"]}

    put(landing, "before", [bar("A", 1, 10), bar("B", 1, 20)])
    load(prices)
    dbt("run", "--select", MODELS)
    right = contents(spark)
    put(landing, "under way", [bar("A", 3, 13)])
    with cut_unless(lambda table: table != bronze.LEDGER):
        failed = run_once(spark, [prices], lambda batch: None)
        assert "cut before the commit of bronze.ledger" in failed[prices.name]
    dbt("run", "--select", MODELS)  # models take what they find
    assert closes(contents(spark)) == {("A", 1, 10), ("B", 1, 20), ("A", 3, 13)}
    before = datetime.now(UTC)

    put(landing, "meanwhile", [bar("A", 2, 12), bar("C", 2, 30)])
    put(tmp_path / fundamentals.name, "filing", [{"ticker": "A"}])
    with monkeypatch.context() as deploy:
        deploy.setattr(DESTINATION, lambda feed: bad_deploy(feed, TIMES_A_HUNDRED))
        load(prices)
    load(fundamentals)
    dbt("run", "--select", MODELS)
    wrong = contents(spark)
    assert {row.close for row in wrong["silver"]} == {10, 20, 13, 1200, 3000}

    back = {"feed": prices.name, "timestamp": f"{before:%Y-%m-%d %H:%M:%S.%f}"}
    dbt("run-operation", "roll_back", "--args", json.dumps(back))
    assert contents(spark) == wrong  # it only says what it would do
    dbt("run-operation", "roll_back", "--args", json.dumps(back | {"confirm": True}))
    undone = contents(spark)
    of_another = {
        book: Counter({row: n for row, n in wrong[book].items() if row.feed == fundamentals.name})
        for book in ("ledger", "quarantine")
    }
    assert all(of_another.values())
    assert undone == {name: rows + of_another.get(name, Counter()) for name, rows in right.items()}

    assert backfill(spark, prices, str(landing), lambda batch: None) is None
    assert not (lakehouse / "checkpoints" / "backfills" / prices.name).exists()
    dbt("run", "--select", MODELS)
    again = contents(spark)
    assert closes(again) == {
        *(("A", 1, 10), ("B", 1, 20), ("A", 3, 13)),
        *(("A", 2, 12), ("C", 2, 30)),
    }
    assert again["bronze"].total() == again["silver"].total() == 5
    assert again["quarantine"] == wrong["quarantine"]
    # the backfill saw the first object too, and knew it
    assert {row for row in again["ledger"] if row.kept} == set(wrong["ledger"])
    dbt("run", "--full-refresh", "--select", MODELS)
    assert contents(spark)["gold"] == again["gold"]
    dbt("test", "--select", *CONSERVATION)


@pytest.fixture
def sender(lakehouse: Path) -> Iterator[Sender]:
    with game_sender() as sender:
        yield sender


def played(player: str) -> list[dict[str, Any]]:
    """A level that a player began and completed."""
    happened = datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp()
    envelope = {"event_version": 1, "application_id": "tower", "studio_id": "north"}
    envelope |= {"player_id": f"p-{player}", "session_id": f"s-{player}"}
    envelope |= {"event_timestamp": happened, "sent_timestamp": happened, "ingest_ts": happened}
    of_level = {"level_id": "level_01", "config_version": "1"}
    return [
        envelope | {"event_id": str(uuid.uuid4()), "event_type": kind, "event_data": data}
        for kind, data in (
            ("level_start", of_level | {"attempt": 1}),
            ("level_end", of_level | {"result": "completed", "duration_s": 60}),
        )
    ]


def test_a_batch_that_was_in_some_of_its_tables_goes_from_all_and_comes_back_whole(
    spark: Any, dbt: Any, root: Path, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load() -> dict[str, str]:
        return run_once(spark, [sender.feed], lambda batch: None)

    def build(*options: str) -> dict[str, Counter]:
        dbt("run", *options, "--select", "+level_funnel", "game_events")
        return contents(spark, OF_GAMES)

    def funnel(tables: dict[str, Counter]) -> list[tuple[int, ...]]:
        names = ("starts", "completions", "failures", "ends_without_start")
        return [tuple(row[name] for name in names) for row in tables["gold"].elements()]

    sender.put(played("a"))
    assert load() == {}
    right, right_bronze = build(), in_bronze(root)
    assert funnel(right) == [(1, 1, 0, 0)]

    sender.put(played("b"))
    with cut_unless(lambda table: table == "bronze.game_level_end"):
        assert "cut before the commit" in load()["game_events"]
    # models of one type of event take what they find
    assert funnel(build()) == [(1, 2, 0, 1)]
    before = datetime.now(UTC)

    sender.put(played("c"))
    with monkeypatch.context() as deploy:
        deploy.setattr(DESTINATION, lambda feed: bad_deploy(feed, ALWAYS_LOST))
        assert load() == {}
    wrong, wrong_bronze = build(), in_bronze(root)
    assert funnel(wrong) == [(3, 2, 1, 0)]

    back = {"feed": "game_events", "timestamp": f"{before:%Y-%m-%d %H:%M:%S.%f}"}
    dbt("run-operation", "roll_back", "--args", json.dumps(back))
    assert (contents(spark, OF_GAMES), in_bronze(root)) == (wrong, wrong_bronze)
    dbt("run-operation", "roll_back", "--args", json.dumps(back | {"confirm": True}))
    assert (contents(spark, OF_GAMES), in_bronze(root)) == (right, right_bronze)

    location = f"s3://{sender.bucket}/games/2026/03/01/*"
    assert backfill(spark, sender.feed, location, lambda batch: None) is None
    again = build()
    assert in_bronze(root) == sender.sent
    assert funnel(again) == [(3, 3, 0, 0)]
    sender.put(played("d"))
    assert load() == {}  # the feed's own loader goes on where it was
    onwards = build()
    assert in_bronze(root) == sender.sent
    assert funnel(onwards) == [(4, 4, 0, 0)]
    assert build("--full-refresh") == onwards
    dbt("test", "--select", *CONSERVATION)


def test_a_feed_without_a_table_is_refused(
    dbt: Any, lakehouse: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = json.dumps({"feed": "no_such_feed", "timestamp": "2024-05-01 00:00:00"})
    outcome = dbt("run-operation", "roll_back", "--args", asked, expect_failure=True)
    assert not outcome.success
    assert "no feed no_such_feed has a table here" in capsys.readouterr().out


def test_a_second_backfill_waits_for_one_that_was_cut_short(
    lakehouse: Path, tmp_path: Path
) -> None:
    feed = CloudFilesFeed(
        name="cdn_logs", table="cdn_logs", description="logs", location=str(tmp_path)
    )
    cut_short = lakehouse / "checkpoints" / "backfills" / "cdn_logs"
    cut_short.mkdir(parents=True)
    (cut_short / "location").write_text("s3://elsewhere/")
    with pytest.raises(ConfigurationError, match="s3://elsewhere/ was cut short"):
        backfill(None, feed, str(tmp_path), lambda batch: None)
