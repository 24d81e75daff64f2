"""A bad deploy writes wrong rows for ten minutes: back to before it, and the good data again."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loaders.destinations import OneTable
from loaders.feeds import CloudFilesFeed
from loaders.run import backfill, run_once
from loaders.session import ConfigurationError

MODELS = "+average_close"
TABLE = "bronze.stocksDailyPrices"


def bar(ticker: str, day: int, close: float) -> dict[str, Any]:
    """A daily bar as the vendor delivers it."""
    return {"ticker": ticker, "price_date": f"2024-05-{day:02}", "close": close}


def put(folder: Path, name: str, bars: list[dict[str, Any]]) -> None:
    """An object of bars, with a record that cannot be read after them."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{json.dumps(each)}\n" for each in bars) + '{"broken\n')


class BadDeploy(OneTable):
    """Writes a hundred times what was delivered."""

    def append(self, rows: Any, append: Any) -> None:
        wrong = """regexp_replace(data, '"close": ([0-9]+)', '"close": $100')"""
        columns = [f"{wrong} as data" if name == "data" else name for name in rows.columns]
        super().append(rows.selectExpr(*columns), append)


def contents(spark: Any) -> dict[str, Counter]:
    """What the tables of the story say, but for numbers and times of batches."""
    queries = {
        "bronze": f"select data, _key, _ordinal from {TABLE}",
        "ledger": "select feed, item, kept, quarantined from bronze.ledger",
        "quarantine": "select feed, item, reason, raw from bronze.quarantine",
        "silver": "select ticker, price_date, close from silver.stocks_daily_prices",
        "gold": "select * except (_prices_batch_id) from gold.average_close",
    }
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

    put(landing, "before", [bar("A", 1, 10), bar("B", 1, 20)])
    load(prices)
    dbt("run", "--select", MODELS)
    before = datetime.now(UTC)
    right = contents(spark)

    put(landing, "meanwhile", [bar("A", 2, 12), bar("C", 2, 30)])
    put(tmp_path / fundamentals.name, "filing", [{"ticker": "A"}])
    with monkeypatch.context() as deploy:
        deploy.setattr("loaders.run.destination_of", lambda feed: BadDeploy(feed.table))
        load(prices)
    load(fundamentals)
    dbt("run", "--select", MODELS)
    wrong = contents(spark)
    assert {row.close for row in wrong["silver"]} == {10, 20, 1200, 3000}

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
    closes = {(row.ticker, str(row.price_date), row.close) for row in again["silver"].elements()}
    assert closes == {
        *(("A", "2024-05-01", 10), ("B", "2024-05-01", 20)),
        *(("A", "2024-05-02", 12), ("C", "2024-05-02", 30)),
    }
    assert len(list(again["bronze"].elements())) == 4
    assert again["quarantine"] == wrong["quarantine"]
    # the backfill saw the first object too, and knew it
    assert {row for row in again["ledger"] if row.kept} == set(wrong["ledger"])
    dbt("run", "--full-refresh", "--select", MODELS)
    assert contents(spark)["gold"] == again["gold"]
    dbt("test", "--select", "bronze_rows_equal_ledger", "ledger_conserves_records")


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
