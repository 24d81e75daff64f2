"""What stands in gold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


@dataclass(frozen=True, slots=True)
class GoldTable:
    """One table or view of gold; `newest` is a day, or a moment (UTC).

    A view has no files of its own: size and files are None.
    """

    name: str
    kind: str
    rows: int
    newest: date | datetime | None
    size_bytes: int | None
    files: int | None

    @property
    def newest_in_words(self) -> str:
        """The newest day, or minute (UTC); `-` where the table knows no time."""
        if isinstance(self.newest, datetime):
            return f"{self.newest.astimezone(UTC):%Y-%m-%d %H:%M}"
        return str(self.newest or "-")


def gold_tables(root: Path, spark: SparkSession) -> list[GoldTable]:
    """Every gold model that is there, by name as the project spells it.

    After `make demo ONLY=…` those of the other use cases are not.
    """
    manifest = json.loads((root / "target" / "manifest.json").read_text())
    models = [
        node
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
        and node["schema"] == "gold"
        and spark.catalog.tableExists(f"gold.{node['name']}")
    ]
    return [
        _view(spark, node["name"], time_column(node))
        if node["config"]["materialized"] == "view"
        else delta_table(root, node["name"], time_column(node))
        for node in sorted(models, key=lambda node: node["name"].lower())
    ]


def time_column(model: dict[str, Any]) -> str | None:
    """The column of a model in the manifest that says how new a row is.

    That is the first date or timestamp of its grain, else of all its columns.
    """
    columns = model["columns"]
    return next(
        (
            name
            for name in (*model["config"]["meta"]["grain"], *columns)
            if columns[name]["data_type"] in ("date", "timestamp")
        ),
        None,
    )


def delta_table(root: Path, name: str, time: str | None) -> GoldTable:
    """A Delta table's figures, from its log alone."""
    table = DeltaTable(str(root / "warehouse" / "gold.db" / name.lower()))
    files = pa.table(table.get_add_actions(flatten=True))
    newest = f"max.{time}"
    return GoldTable(
        name,
        "table",
        rows=pc.sum(files["num_records"]).as_py() or 0,
        newest=pc.max(files[newest]).as_py() if newest in files.column_names else None,
        size_bytes=pc.sum(files["size_bytes"]).as_py() or 0,
        files=files.num_rows,
    )


def _view(spark: SparkSession, name: str, time: str | None) -> GoldTable:
    newest = f"max({time})" if time else "cast(null as date)"
    view = spark.table(f"gold.{name}").selectExpr("count(*) as n", f"{newest} as newest")
    # through Arrow a timestamp keeps its time zone; a Row has it in that of the machine
    (row,) = view.toArrow().to_pylist()
    return GoldTable(name, "view", row["n"], row["newest"], None, None)
