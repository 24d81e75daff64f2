"""What stands in gold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from pyspark.sql import SparkSession

DATE_COLUMN = "price_date"


@dataclass(frozen=True, slots=True)
class GoldTable:
    """One table or view of gold. A view has no files of its own: size and files are None."""

    name: str
    kind: str
    rows: int
    newest: date | None
    size_bytes: int | None
    files: int | None


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
        _view(spark, node["name"])
        if node["config"]["materialized"] == "view"
        else delta_table(root, node["name"])
        for node in sorted(models, key=lambda node: node["name"].lower())
    ]


def delta_table(root: Path, name: str) -> GoldTable:
    """A Delta table's figures, from its log alone."""
    table = DeltaTable(str(root / "warehouse" / "gold.db" / name.lower()))
    files = pa.table(table.get_add_actions(flatten=True))
    newest = f"max.{DATE_COLUMN}"
    return GoldTable(
        name,
        "table",
        rows=pc.sum(files["num_records"]).as_py() or 0,
        newest=pc.max(files[newest]).as_py() if newest in files.column_names else None,
        size_bytes=pc.sum(files["size_bytes"]).as_py() or 0,
        files=files.num_rows,
    )


def _view(spark: SparkSession, name: str) -> GoldTable:
    view = spark.table(f"gold.{name}")
    newest = f"max({DATE_COLUMN})" if DATE_COLUMN in view.columns else "cast(null as date)"
    row = view.selectExpr("count(*) as n", f"{newest} as newest").first()
    return GoldTable(name, "view", row.n, row.newest, None, None)
