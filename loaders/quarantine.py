"""What stands in bronze.quarantine: how much, why, and where it came from. Starts no Spark."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError


@dataclass(frozen=True, slots=True)
class QuarantineGroup:
    """The quarantined records of one feed and reason. Times UTC."""

    feed: str
    reason: str
    records: int
    first_seen: datetime
    last_seen: datetime


def quarantine_groups(root: Path, feed: str | None = None) -> list[QuarantineGroup]:
    """What is in quarantine, most records first; starts no Spark."""
    dataset = _dataset(root)
    if dataset is None:
        return []
    rows = dataset.to_table(
        columns=["feed", "reason", "ingested_at"], filter=_chosen(feed, None)
    ).group_by(["feed", "reason"])
    counted = rows.aggregate(
        [("ingested_at", "count"), ("ingested_at", "min"), ("ingested_at", "max")]
    )
    groups = [
        QuarantineGroup(
            row["feed"],
            row["reason"],
            row["ingested_at_count"],
            row["ingested_at_min"],
            row["ingested_at_max"],
        )
        for row in counted.to_pylist()
    ]
    return sorted(groups, key=lambda group: (-group.records, group.feed, group.reason))


def quarantine_rows(
    root: Path, feed: str, reason: str | None, limit: int, *, raw: bool
) -> list[dict[str, Any]]:
    """The rows that came last, newest first; starts no Spark.

    Args:
        raw: with the bytes as received, which may hold personal data.
    """
    dataset = _dataset(root)
    if dataset is None:
        return []
    place = ["batch_id", "container", "item", "version", "ordinal", "offset_bytes"]
    columns = ["ingested_at", *place, "reason", *(["raw"] if raw else [])]
    batches = dataset.to_batches(columns=columns, filter=_chosen(feed, reason))
    rows = (row for batch in batches for row in batch.to_pylist())
    return heapq.nlargest(limit, rows, key=lambda row: (row["ingested_at"], row["batch_id"]))


def _dataset(root: Path) -> ds.Dataset | None:
    try:
        return DeltaTable(str(root / "warehouse" / "bronze.db" / "quarantine")).to_pyarrow_dataset()
    except TableNotFoundError:
        return None


def _chosen(feed: str | None, reason: str | None) -> ds.Expression | None:
    chosen = [
        ds.field(name) == value
        for name, value in (("feed", feed), ("reason", reason))
        if value is not None
    ]
    return chosen[0] & chosen[-1] if chosen else None
