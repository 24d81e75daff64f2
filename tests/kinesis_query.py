"""What Spark does with the kinesis source, without Spark: log a batch's end, then run it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from loaders.sources.kinesis import DDL, KinesisReader

COLUMNS = [column.split()[0] for column in DDL.split(", ")]


@dataclass
class Query:
    """A query, its checkpoint, and a sink that writes each batch once.

    `log` is Spark's offset log, `sink` holds the rows by batch, `committed` counts the batches
    that Spark knows to be done.
    """

    make_reader: Callable[[], KinesisReader]
    log: list[str] = field(default_factory=list)
    sink: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    committed: int = 0
    reader: KinesisReader | None = None

    def start(self, *, available_now: bool = False) -> Query:
        """Start, or start again: what was logged and not committed runs first."""
        self.stop()
        self.reader = self.make_reader()
        if available_now:
            self.reader.prepareForTriggerAvailableNow()
        if self.committed < len(self.log):
            self._run_logged()
        return self

    def stop(self) -> None:
        if self.reader:
            self.reader.stop()
            self.reader = None

    def plan(self, limit: Any = None) -> bool:
        """Log the next batch; False when there is none."""
        start = json.loads(self._start_of(len(self.log)))
        end = self.reader.latestOffset(start, limit or self.reader.getDefaultReadLimit())
        if json.dumps(end) == json.dumps(start):
            return False
        self.log.append(json.dumps(end))
        return True

    def step(self, limit: Any = None) -> bool:
        """Plan a batch and run it."""
        if not self.plan(limit):
            return False
        self._run_logged()
        return True

    def run(self) -> Query:
        """Until nothing is new; as an AvailableNow run ends, or when producers are quiet."""
        while self.step():
            pass
        return self

    def read_last_batch(self) -> None:
        """Write the batch logged last to the sink, and die before that is noted."""
        self.sink[len(self.log) - 1] = self._rows_of(len(self.log) - 1)

    def rows(self) -> list[dict[str, Any]]:
        return [row for batch in sorted(self.sink) for row in self.sink[batch]]

    def pairs(self) -> list[tuple[str, bytes]]:
        """Partition key and data of each row, in order."""
        return [(row["partitionKey"], row["data"]) for row in self.rows()]

    def offset(self) -> dict[str, Any]:
        return json.loads(self.log[-1])

    def _run_logged(self) -> None:
        self.read_last_batch()
        self.committed = len(self.log)

    def _start_of(self, batch: int) -> str:
        return self.log[batch - 1] if batch else json.dumps(self.reader.initialOffset())

    def _rows_of(self, batch: int) -> list[dict[str, Any]]:
        start, end = json.loads(self._start_of(batch)), json.loads(self.log[batch])
        rows = []
        for partition in self.reader.partitions(start, end):
            task = pickle.loads(pickle.dumps(partition))
            for table in self.make_reader().read(task):
                assert table.schema.names == COLUMNS
                rows += table.to_pylist()
        return rows
