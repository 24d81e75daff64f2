"""What the loaders have done, from bronze.ledger, without starting Spark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from loaders.feeds import Feed


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """Totals of one feed. Sizes in bytes, times UTC."""

    feed: str
    table: str
    batches: int
    objects: int
    size_bytes: int
    received: int
    kept: int
    duplicates: int
    quarantined: int
    last_batch_at: datetime | None


def feed_status(root: Path, feeds: list[Feed]) -> list[FeedStatus]:
    """One row per feed, in the order given; zeros where nothing was loaded yet."""
    totals = _ledger_totals(root / "warehouse" / "bronze.db" / "ledger")
    return [
        FeedStatus(feed=feed.name, table=f"bronze.{feed.table}", **totals.get(feed.name, _NOTHING))
        for feed in feeds
    ]


_SUMS = ("size_bytes", "received", "kept", "duplicates", "quarantined")
_NOTHING = dict.fromkeys(("batches", "objects", *_SUMS), 0) | {"last_batch_at": None}


def _ledger_totals(path: Path) -> dict[str, dict]:
    try:
        ledger = DeltaTable(str(path))
    except TableNotFoundError:
        return {}
    rows = ledger.to_pyarrow_table(columns=["feed", "batch_id", "ingested_at", *_SUMS])
    grouped = rows.group_by("feed").aggregate(
        [
            ("batch_id", "count_distinct"),
            ("batch_id", "count"),
            ("ingested_at", "max"),
            *((name, "sum") for name in _SUMS),
        ]
    )
    return {
        row["feed"]: {
            "batches": row["batch_id_count_distinct"],
            "objects": row["batch_id_count"],
            "last_batch_at": row["ingested_at_max"],
            **{name: row[f"{name}_sum"] for name in _SUMS},
        }
        for row in grouped.to_pylist()
    }
