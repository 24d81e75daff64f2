"""Hears Spark's events of the streaming models, and keeps the journal by them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyspark.sql.streaming.listener import StreamingQueryListener

from loaders.journal import (
    ENDED,
    FAILED,
    RUNNING,
    LiveProgress,
    now_ms,
    read_live_progress,
    write_live_progress,
)
from loaders.live_models import LiveModel


class LiveListener(StreamingQueryListener):
    """Writes progress/live/<model>.json as Spark tells of batches."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._models: dict[str, LiveModel] = {}
        self._standing: dict[str, LiveProgress] = {}  # by query
        self._lock = threading.Lock()

    def watch(self, model: LiveModel) -> None:
        """Keep the journal of the model's queries that start from now on."""
        with self._lock:
            self._models[model.name] = model

    # What Spark calls, one event after the other.

    def onQueryStarted(self, event: Any) -> None:
        with self._lock:
            if event.name not in self._models:
                return
        before = read_live_progress(self._root, event.name)
        said = before or LiveProgress(event.name, RUNNING, 0)
        self._stand(str(event.id), replace(said, state=RUNNING))

    def onQueryProgress(self, event: Any) -> None:
        progress = event.progress
        query = str(progress.id)
        if query in self._standing:
            self._stand(query, advanced(self._standing[query], progress))

    def onQueryIdle(self, event: Any) -> None:
        query = str(event.id)
        if query in self._standing:
            standing = replace(self._standing[query], seen_ms=now_ms(), waiting_files=0)
            self._stand(query, standing)

    def onQueryTerminated(self, event: Any) -> None:
        query = str(event.id)
        if query in self._standing:
            state = FAILED if event.exception else ENDED
            self._stand(query, replace(self._standing.pop(query), state=state))

    def _stand(self, query: str, standing: LiveProgress) -> None:
        if standing.state == RUNNING:
            self._standing[query] = standing
        write_live_progress(self._root, standing)


def advanced(standing: LiveProgress, progress: Any) -> LiveProgress:
    """How a model stands after what Spark says of a batch."""
    operators = progress.stateOperators
    late = sum(operator.numRowsDroppedByWatermark for operator in operators)
    waiting = [_files_waiting(source.metrics) for source in progress.sources]
    return replace(
        standing,
        seen_ms=now_ms(),
        batch_id=progress.batchId,
        input_rows=progress.numInputRows,
        batch_ms=progress.durationMs.get("triggerExecution", 0),
        late_rows=standing.late_rows + late,
        state_rows=sum(operator.numRowsTotal for operator in operators),
        state_bytes=sum(operator.memoryUsedBytes for operator in operators),
        watermark=progress.eventTime.get("watermark"),
        waiting_files=sum(waiting),
    )


def _files_waiting(metrics: Mapping[str, str]) -> int:
    """Files that Delta has committed beyond the batch."""
    return int(metrics.get("numFilesOutstanding") or 0)
