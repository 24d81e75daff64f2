"""`python -m loaders status` for people: tables, drawn once or again and again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table

from loaders.feeds import Feed
from loaders.journal import LiveProgress, live_progress
from loaders.status import FeedStatus, feed_status

REDRAW_SECONDS = 2


def watch_status(root: Path, feeds: list[Feed]) -> None:
    """Draw the tables anew until Ctrl-C."""
    never = threading.Event()
    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        try:
            while True:
                shown = status_tables(feed_status(root, feeds), live_progress(root))
                live.update(shown, refresh=True)
                never.wait(REDRAW_SECONDS)
        except KeyboardInterrupt:
            return


def status_tables(
    rows: Sequence[FeedStatus], models: Sequence[LiveProgress] = ()
) -> RenderableType:
    """What was loaded, how far each feed and each streaming model is, and of feeds' sources."""
    parts: list[RenderableType] = [_loaded(rows), "", _standing(rows), "", _sources(rows)]
    return Group(*parts, "", _models(models)) if models else Group(*parts)


def _models(models: Sequence[LiveProgress]) -> Table:
    """How streaming models stand. A batch's time in seconds, state in KB."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("streaming model", no_wrap=True)
    titles = ("state", "seen\nago", "batch", "rows", "took\ns", "files\nwaiting", "late\nrows")
    for title in (*titles, "windows\nopen", "KB"):
        table.add_column(title, justify="right", no_wrap=True)
    now = datetime.now(UTC)
    for said in models:
        late = f"[red]{said.late_rows:,}[/red]" if said.late_rows else "0"
        table.add_row(
            said.model,
            said.state,
            _age(datetime.fromtimestamp(said.seen_ms / 1000, UTC), now),
            _number(said.batch_id),
            _number(said.input_rows),
            "-" if said.batch_ms is None else f"{said.batch_ms / 1000:.1f}",
            _number(said.waiting_files),
            late,
            _number(said.state_rows),
            _number(None if said.state_bytes is None else said.state_bytes / 1000),
        )
    return table


def _loaded(rows: Sequence[FeedStatus]) -> Table:
    table = _table("batches", "items", "MB", "received", "kept", "dupli-\ncates", "quaran-\ntined")
    for row in rows:
        table.add_row(
            row.feed,
            f"{row.batches:,}",
            f"{row.objects:,}",
            f"{row.size_bytes / 1e6:,.1f}",
            f"{row.received:,}",
            f"{row.kept:,}",
            f"{row.duplicates:,}",
            f"{row.quarantined:,}",
        )
    return table


def _standing(rows: Sequence[FeedStatus]) -> Table:
    now = datetime.now(UTC)
    titles = ("state", "seen\nago", "batch\nago", "rows/s", "KB/s", "lag", "objects\nwaiting")
    table = _table(*titles, "messages\n+ in flight")
    for row in rows:
        rate = None if row.bytes_per_second is None else row.bytes_per_second / 1000
        table.add_row(
            row.feed,
            row.state or "-",
            _age(row.seen_at, now),
            _age(row.last_batch_at, now),
            _number(row.rows_per_second),
            _number(rate),
            _duration(row.lag_seconds),
            _number(row.backlog_objects),
            _messages(row),
        )
    return table


def _sources(rows: Sequence[FeedStatus]) -> RenderableType:
    table = Table(
        Column("feed", no_wrap=True), "source", box=None, padding=(0, 1, 0, 0), pad_edge=False
    )
    for row in rows:
        if row.oldest_unloaded is not None:
            table.add_row(row.feed, f"oldest object waiting: {escape(row.oldest_unloaded)}")
        for shard, milliseconds in sorted((row.millis_behind_latest or {}).items()):
            table.add_row(row.feed, f"{shard}: {_duration(milliseconds / 1000)} behind")
        if row.dead_letter_messages:
            table.add_row(row.feed, f"[red]dead letters: {row.dead_letter_messages:,}[/red]")
        if row.losses:
            table.add_row(row.feed, f"[red]records expired unread {row.losses:,} times[/red]")
    return table if table.row_count else ""


def _table(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("feed", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _messages(row: FeedStatus) -> str:
    if row.queue_messages is None:
        return "-"
    return f"{row.queue_messages:,} + {row.queue_messages_in_flight or 0:,}"


def _age(at: datetime | None, now: datetime) -> str:
    return "-" if at is None else _duration((now - at).total_seconds())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _duration(seconds: float | None) -> str:
    """Seconds, minutes, hours or days: the largest of which there are two."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{max(seconds, 0):.1f} s"
