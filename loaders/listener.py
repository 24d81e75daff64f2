"""Hears Spark's events of the running feeds, and keeps the journal by them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from logging import Logger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql.streaming.listener import StreamingQueryListener

from loaders.bronze import BatchReport
from loaders.feeds import Feed
from loaders.journal import (
    ENDED,
    FAILED,
    RUNNING,
    Progress,
    batch_log,
    now_ms,
    parse_backlog,
    read_progress,
    write_progress,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Events come soon after what they tell of; that is the longest wait for the last one.
_LAST_EVENT_S = 30


@contextmanager
def listening(
    spark: SparkSession, root: Path, feeds: Iterable[Feed], *, once: bool
) -> Iterator[FeedListener]:
    """Keep the journal of the feeds' queries that start within the context.

    Args:
        once: the queries end when they have loaded what was there at their start.
    """
    with batch_log(root) as logger:
        listener = FeedListener(root, logger, feeds, once=once)
        spark.streams.addListener(listener)
        try:
            yield listener
        finally:
            spark.streams.removeListener(listener)


class FeedListener(StreamingQueryListener):
    """Joins what a batch wrote, which its writer reports, with what Spark says of its query.

    Spark tells of a batch once it is in the checkpoint, so a batch that is cut short has its
    line only after its replay.
    """

    def __init__(self, root: Path, logger: Logger, feeds: Iterable[Feed], *, once: bool) -> None:
        self._root = root
        self._logger = logger
        self._once = once
        self._feeds = {feed.name: feed for feed in feeds}
        self._reports: dict[tuple[str, int], BatchReport] = {}
        self._standing: dict[str, Progress] = {}  # by query
        self._started_ms: dict[str, int] = {}
        self._ended: dict[str, threading.Event] = {}

    def noting(self, report: Callable[[BatchReport], None]) -> Callable[[BatchReport], None]:
        """The report function, preceded by a note of the batch."""

        def note(batch: BatchReport) -> None:
            self._reports[batch.query_id, batch.query_batch_id] = batch
            report(batch)

        return note

    def wait_for_end(self, query_id: str) -> None:
        """Until everything that Spark had to say of an ended query has been heard."""
        self._ended.setdefault(query_id, threading.Event()).wait(_LAST_EVENT_S)

    # What Spark calls, one event after the other.

    def onQueryStarted(self, event: Any) -> None:
        if event.name not in self._feeds:
            return
        query = str(event.id)
        self._started_ms[query] = now_ms()
        before = read_progress(self._root, event.name) or Progress(event.name, RUNNING, 0)
        self._stand(query, replace(before, state=RUNNING))

    def onQueryProgress(self, event: Any) -> None:
        progress = event.progress
        query = str(progress.id)
        if query not in self._standing:
            return
        batch = self._reports.pop((query, progress.batchId), None)
        said = progress.sources[0].latestOffset
        standing = replace(
            self._standing[query],
            seen_ms=now_ms(),
            # The source of a batch that is replayed has not looked yet, and says no JSON.
            backlog=parse_backlog(json.loads(said)) if (said or "").startswith("{") else None,
        )
        if batch is not None:
            seconds = max(progress.durationMs["triggerExecution"], 1) / 1000
            standing = replace(
                standing,
                batch_id=batch.batch_id,
                rows_per_second=round(batch.received / seconds, 3),
                bytes_per_second=round(batch.size_bytes / seconds, 3),
            )
            self._log(batch, standing, seconds)
        self._stand(query, standing)

    def onQueryIdle(self, event: Any) -> None:
        query = str(event.id)
        if query in self._standing:
            self._stand(query, self._standing[query].caught_up(now_ms()))

    def onQueryTerminated(self, event: Any) -> None:
        query = str(event.id)
        if query in self._standing:
            standing = replace(self._standing[query], state=FAILED if event.exception else ENDED)
            if self._once and not event.exception:
                standing = standing.caught_up(self._started_ms[query])
            self._stand(query, standing)
        self._ended.setdefault(query, threading.Event()).set()

    def _stand(self, query: str, standing: Progress) -> None:
        self._standing[query] = standing
        write_progress(self._root, standing)

    def _log(self, batch: BatchReport, standing: Progress, seconds: float) -> None:
        feed = self._feeds[batch.feed]
        self._logger.info(
            {
                "event": "batch",
                "source": feed.source,
                "table": f"bronze.{feed.table}",
                **asdict(batch),
                "trigger_seconds": seconds,
                "rows_per_second": standing.rows_per_second,
                "bytes_per_second": standing.bytes_per_second,
                "lag_ms": standing.lag_ms,
                "backlog": standing.backlog and asdict(standing.backlog),
            }
        )
