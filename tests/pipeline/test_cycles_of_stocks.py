"""The engine's cycles on the stocks models: what new rows start, and that no news start nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from stocks_lakehouse import TABLES, LandedObject, StocksLakehouse

from loaders.cycles import Cycles
from loaders.dbt_project import DbtProject


class Watched(DbtProject):
    """The project, which notes what of the stocks models each command ran."""

    def __init__(self, root):
        super().__init__(root)
        self.ran = []

    def manifest(self):
        whole = super().manifest()
        nodes = {
            unique_id: node
            for unique_id, node in whole["nodes"].items()
            if "/stocks/" in node["original_file_path"] or node["resource_type"] == "seed"
        }
        return {**whole, "nodes": nodes}

    def run(self, *arguments, **others):
        results = super().run(*arguments, **others)
        self.ran.append({r.name: r.message for r in results if r.kind == "model"})
        return results


def bars(day: str, close: float, hour: int = 21) -> LandedObject:
    records = tuple(
        {
            "ticker": ticker,
            "price_date": day,
            **dict.fromkeys(("open", "high", "low", "close", "adj_close"), close),
            "volume": 10,
            "currency": "USD",
            "updated": f"{day}T{hour}:30:00Z",
        }
        for ticker in ("AAPL", "MSFT")
    )
    return LandedObject(f"stocks/prices/{day}.json", datetime(2026, 1, 1, tzinfo=UTC), records)


def jobs(spark) -> int:
    return spark._jsc.sc().dagScheduler().numTotalJobs()


def test_a_cycle_runs_what_is_new_and_nothing_where_nothing_is(lakehouse, spark, dbt, root):
    stocks = StocksLakehouse(spark, dbt, root)
    dbt("run", "--select", "ingestion_ledger")  # creates the bronze tables
    stocks.deliver("stocksDailyPrices", 0, [bars("2025-12-01", 10.0)])
    project = Watched(root)
    cycles = Cycles(spark, root, project)

    cycles.step()
    assert {name for name, said in project.ran[-1].items() if said != "OK"} == set()
    assert len(stocks.rows("gold.pricewithfundamentals")) == 2

    versions, begun, ran = stocks.versions(), jobs(spark), len(project.ran)
    for _ in range(5):
        assert cycles.step() is None
    assert jobs(spark) == begun
    assert len(project.ran) == ran
    assert stocks.versions() == versions
    history = spark.sql("describe history gold.pricewithfundamentals").count()
    assert history == versions["gold.pricewithfundamentals"] + 1

    stocks.deliver("stocksDailyPrices", 1, [bars("2025-12-02", 11.0)])
    assert cycles.step() is not None
    assert set(project.ran[-1]) == {
        "stocks_daily_prices",
        "stocksDailyPricesWFund",
        "priceWithFundamentals",
        "average_close",
        "price_earnings_ttm",
    }
    closes = {
        (row["ticker"], str(row["price_date"]), row["close"])
        for row in stocks.rows("gold.pricewithfundamentals")
    }
    assert closes == {
        (ticker, day, close)
        for ticker in ("AAPL", "MSFT")
        for day, close in (("2025-12-01", 10.0), ("2025-12-02", 11.0))
    }
    fundamentals = [name for name in TABLES if "stocks_fundamentals" in name]
    now = stocks.versions()
    assert [now[name] for name in fundamentals] == [versions[name] for name in fundamentals]

    # settled by now: a third batch of the same models is as right as the second
    stocks.deliver("stocksDailyPrices", 2, [bars("2025-12-02", 12.0, hour=22)])
    cycles.step()
    assert {
        row["close"]
        for row in stocks.rows("gold.pricewithfundamentals")
        if str(row["price_date"]) == "2025-12-02"
    } == {12.0}
