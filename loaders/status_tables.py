"""`python -m loaders status` for people: tables, drawn once or again and again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table

from loaders.feeds import Feed
from loaders.status import FeedStatus, feed_status

REDRAW_SECONDS = 2


def watch_status(root: Path, feeds: list[Feed]) -> None:
    """Draw the tables anew until Ctrl-C."""
    never = threading.Event()
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        try:
            while True:
                live.update(status_tables(feed_status(root, feeds)), refresh=True)
                never.wait(REDRAW_SECONDS)
        except KeyboardInterrupt:
            return


def status_tables(rows: Sequence[FeedStatus]) -> RenderableType:
    """What was loaded, and how far each feed is."""
    shards = [row for row in rows if row.millis_behind_latest]
    return Group(_loaded(rows), _standing(rows), *([_shards(shards)] if shards else []))


def _loaded(rows: Sequence[FeedStatus]) -> Table:
    table = _table("feed", "table")
    for title in ("batches", "items", "bytes", "received", "kept", "duplicates", "quarantined"):
        table.add_column(title, justify="right")
    for row in rows:
        numbers = (
            row.batches,
            row.objects,
            row.size_bytes,
            row.received,
            row.kept,
            row.duplicates,
            row.quarantined,
        )
        table.add_row(row.feed, row.table, *(f"{number:,}" for number in numbers))
    return table


def _standing(rows: Sequence[FeedStatus]) -> Table:
    table = _table("feed", "state", "seen (UTC)", "last batch (UTC)")
    for title in ("rows/s", "KB/s", "lag", "waiting"):
        table.add_column(title, justify="right")
    table.add_column("oldest waiting")
    for row in rows:
        rate = None if row.bytes_per_second is None else row.bytes_per_second / 1000
        table.add_row(
            row.feed,
            row.state or "never ran",
            _time(row.seen_at),
            _time(row.last_batch_at),
            _number(row.rows_per_second),
            _number(rate),
            _duration(row.lag_seconds),
            _waiting(row),
            row.oldest_unloaded or "-",
        )
    return table


def _shards(rows: Sequence[FeedStatus]) -> Table:
    table = _table("feed", "shard")
    table.add_column("behind", justify="right")
    for row in rows:
        for shard, milliseconds in sorted((row.millis_behind_latest or {}).items()):
            table.add_row(row.feed, shard, _duration(milliseconds / 1000))
        if row.losses:
            table.add_row(row.feed, f"[red]records expired unread {row.losses} times[/red]", "")
    return table


def _table(*titles: str) -> Table:
    return Table(*titles, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _waiting(row: FeedStatus) -> str:
    """What waits: objects known and not loaded, messages in the queue (+ those in flight)."""
    parts = []
    if row.backlog_objects is not None:
        parts.append(f"{row.backlog_objects:,} objects")
    if row.queue_messages is not None:
        parts.append(f"{row.queue_messages:,}+{row.queue_messages_in_flight or 0:,} messages")
    if row.dead_letter_messages:
        parts.append(f"{row.dead_letter_messages:,} dead letters")
    return ", ".join(parts) or "-"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _duration(seconds: float | None) -> str:
    """Seconds, minutes, hours or days, whichever has the fewest digits."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.1f} s"
