"""What the loaders have done and how far they are, without starting Spark or asking a source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from loaders.feeds import Feed
from loaders.journal import Backlog, Progress, read_progress


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """One feed: totals of bronze.ledger, and what its query said of itself last.

    Sizes in bytes, times UTC. None: the feed has not run, or its kind of source has no such thing.
    last_records_at: of its last batch with records. silent_after_minutes: as feeds.yml has it.
    """

    feed: str
    table: str
    source: str
    batches: int
    objects: int
    size_bytes: int
    received: int
    kept: int
    duplicates: int
    quarantined: int
    last_batch_at: datetime | None
    last_records_at: datetime | None
    silent_after_minutes: int | None
    state: str | None
    seen_at: datetime | None
    lag_seconds: float | None
    backlog_objects: int | None
    backlog_bytes: int | None
    oldest_unloaded: str | None
    oldest_unloaded_at: datetime | None
    queue_messages: int | None
    queue_messages_in_flight: int | None
    dead_letter_messages: int | None
    oldest_message_at: datetime | None
    millis_behind_latest: dict[str, int] | None
    losses: int | None
    rows_per_second: float | None
    bytes_per_second: float | None


def feed_status(root: Path, feeds: list[Feed]) -> list[FeedStatus]:
    """One row per feed, in the order given; zeros where nothing was loaded yet."""
    totals = _ledger_totals(_ledger(root))
    return [
        FeedStatus(
            feed=feed.name,
            table=f"bronze.{feed.table}",
            source=feed.source,
            silent_after_minutes=feed.silent_after_minutes,
            **totals.get(feed.name, _NOTHING),
            **_standing(read_progress(root, feed.name)),
        )
        for feed in feeds
    ]


def _standing(said: Progress | None) -> dict[str, object]:
    backlog = (said and said.backlog) or Backlog()
    lag_ms = said and said.lag_ms
    return {
        "state": said and said.state,
        "seen_at": _time(said and said.seen_ms),
        "lag_seconds": None if lag_ms is None else lag_ms / 1000,
        "backlog_objects": backlog.objects,
        "backlog_bytes": backlog.size_bytes,
        "oldest_unloaded": backlog.oldest_object,
        "oldest_unloaded_at": _time(backlog.oldest_object_ms),
        "queue_messages": backlog.queue_messages,
        "queue_messages_in_flight": backlog.queue_messages_in_flight,
        "dead_letter_messages": backlog.dead_letter_messages,
        "oldest_message_at": _time(backlog.oldest_message_ms),
        "millis_behind_latest": backlog.millis_behind,
        "losses": backlog.losses,
        "rows_per_second": said and said.rows_per_second,
        "bytes_per_second": said and said.bytes_per_second,
    }


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


_SUMS = ("size_bytes", "received", "kept", "duplicates", "quarantined")
_NOTHING = dict.fromkeys(("batches", "objects", *_SUMS), 0) | {
    "last_batch_at": None,
    "last_records_at": None,
}
# A feed that had no records for so long is not about to have some.
SILENT_FOR_GOOD = timedelta(days=1)


def is_silent(
    last: datetime | None, after_minutes: int | None, watched_since: datetime, now: datetime
) -> bool:
    """Whether a feed that had records at `last`, within a day, has had none for too long.

    Time counts from `watched_since` on: before it nobody may have loaded what there was. UTC.
    """
    if last is None or after_minutes is None or now - last > SILENT_FOR_GOOD:
        return False
    return now - max(last, watched_since) >= timedelta(minutes=after_minutes)


def last_records(root: Path, since: datetime) -> dict[str, datetime]:
    """When each feed had records last, of those that had some since a time, UTC."""
    try:
        ledger = DeltaTable(str(_ledger(root)))
    except TableNotFoundError:
        return {}
    columns = ["feed", "ingested_at", "received", "query_id"]
    rows = ledger.to_pyarrow_table(columns=columns, filters=[("ingested_at", ">=", since)])
    return _last_records(rows)


def _last_records(rows: pa.Table) -> dict[str, datetime]:
    # A replay moves records that had arrived before.
    replayed = pc.starts_with(rows["query_id"], "replay-")
    came = rows.filter(pc.and_not(pc.greater(rows["received"], 0), replayed))
    newest = came.group_by("feed").aggregate([("ingested_at", "max")])
    return {row["feed"]: row["ingested_at_max"] for row in newest.to_pylist()}


def _ledger(root: Path) -> Path:
    return root / "warehouse" / "bronze.db" / "ledger"


def _ledger_totals(path: Path) -> dict[str, dict]:
    try:
        ledger = DeltaTable(str(path))
    except TableNotFoundError:
        return {}
    columns = ["feed", "batch_id", "item", "query_id", "ingested_at", *_SUMS]
    rows = ledger.to_pyarrow_table(columns=columns)
    newest = _last_records(rows)
    # A batch without records has a row that names no item.
    rows = rows.append_column("items", pc.cast(pc.not_equal(rows["item"], ""), "int64"))
    grouped = rows.group_by("feed").aggregate(
        [
            ("batch_id", "count_distinct"),
            ("items", "sum"),
            ("ingested_at", "max"),
            *((name, "sum") for name in _SUMS),
        ]
    )
    return {
        row["feed"]: {
            "batches": row["batch_id_count_distinct"],
            "objects": row["items_sum"],
            "last_batch_at": row["ingested_at_max"],
            "last_records_at": newest.get(row["feed"]),
            **{name: row[f"{name}_sum"] for name in _SUMS},
        }
        for row in grouped.to_pylist()
    }
