"""The stocks models under test: records into bronze, dbt runs, tables read back without Spark."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from loaders.kinds import Objects

PRICES = "stocksdailyprices"
FUNDAMENTALS = "stocksfundamentals"
# Every table that the stocks models keep; their views keep nothing.
TABLES = (
    "silver.stocks_daily_prices",
    "silver.stocks_fundamentals_filed",
    "silver.stocks_fundamentals",
    "silver.stocks_quarters_known",
    "gold.stocksdailypriceswfund",
    "gold.pricewithfundamentals",
    "gold.average_close",
    "gold.price_earnings_ttm",
)

Record = dict[str, Any] | str


@dataclass(frozen=True)
class LandedObject:
    """An object of the landing bucket; a record given as text is taken as it stands."""

    key: str
    modified_at: datetime
    records: tuple[Record, ...]


class StocksLakehouse:
    """An empty lakehouse and what a test does with it."""

    def __init__(self, spark: Any, dbt: Callable[..., Any], root: Path) -> None:
        self.spark = spark
        self._dbt = dbt
        self._warehouse = root / "warehouse"
        for schema in ("bronze", "silver", "gold", "ops"):
            spark.sql(f"drop schema if exists {schema} cascade")
            shutil.rmtree(self._warehouse / f"{schema}.db", ignore_errors=True)
            spark.sql(f"create schema {schema}")
        self._dbt("seed", "--select", "stock_splits")

    def deliver(self, table: str, batch_id: int, objects: Iterable[LandedObject]) -> None:
        """Append one batch of objects to a bronze table, as the loaders do."""
        rows = [
            (
                record if isinstance(record, str) else json.dumps(record),
                "landing",
                item.key,
                "v1",
                ordinal,
                item.modified_at,
                batch_id,
                item.modified_at,
            )
            for item in objects
            for ordinal, record in enumerate(item.records)
        ]
        if rows:
            frame = self.spark.createDataFrame(rows, Objects(allow_overwrites=False).columns)
            frame.write.format("delta").mode("append").saveAsTable(f"bronze.{table}")

    def run(self, *arguments: str, select: str = "path:models/silver/stocks+") -> dict[str, str]:
        """Run the stocks models, without the live ones; the message of each."""
        outcome = self._dbt(
            *("run", "--select", *select.split(), "--exclude", "path:models/live"), *arguments
        )
        return {result.node.name: result.message for result in outcome.result.results}

    def table(self, name: str, version: int | None = None) -> DeltaTable:
        schema, table = name.split(".")
        return DeltaTable(self._warehouse / f"{schema}.db" / table, version=version)

    def rows(self, name: str, version: int | None = None) -> list[dict[str, Any]]:
        return self.table(name, version).to_pyarrow_table().to_pylist()

    def versions(self) -> dict[str, int]:
        return {name: self.table(name).version() for name in TABLES}

    def commits(self, name: str, after: int) -> list[dict[str, Any]]:
        """What `describe history` says of the versions after one, newest first."""
        history = self.spark.sql(f"describe history {name}").where(f"version > {after}")
        return [row.asDict() for row in history.collect()]

    def contents(self) -> dict[str, Counter[str]]:
        """Every row of every table, in all columns."""
        return {
            name: Counter(json.dumps(row, default=str, sort_keys=True) for row in self.rows(name))
            for name in TABLES
        }
