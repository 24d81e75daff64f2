"""Supervised tasks: each runs in a thread, is retried with back-off, and stops none of the others.

A task is a stream, which starts a query and lives as long as it, or a step, which is done again
and again. The engine's feeds, live models, cycles, checks and maintenance are such tasks.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loaders.causes import root_cause

if TYPE_CHECKING:
    from pyspark.sql.streaming import StreamingQuery

STARTING, RUNNING, FAILED, STOPPED = "starting", "running", "failed", "stopped"
LONGEST_PAUSE_S = 300
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """How a task stands. Times UTC.

    `failures` counts those since it worked last, `failed_in_all` those since the engine's start;
    `retry_at` is when it is tried again, `outcome` what it said of its last success.
    """

    name: str
    kind: str
    state: str
    since: datetime
    runs: int = 0
    failures: int = 0
    failed_in_all: int = 0
    error: str | None = None
    retry_at: datetime | None = None
    outcome: str | None = None
    succeeded_at: datetime | None = None


class Task(ABC):
    """Something that the engine keeps going; `name` is unique in it, `kind` says what it is."""

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.name = name

    @abstractmethod
    def run(self, stop: threading.Event, worked: Callable[[str | None], None]) -> None:
        """Work until `stop` is set; `worked` is told of each success, with what there is to say.

        Raises whatever goes wrong. A return before `stop` is set counts as a failure.
        """


class Stream(Task):
    """A streaming query. `start` starts it, `stop_query` stops it between two batches."""

    def __init__(
        self,
        kind: str,
        name: str,
        start: Callable[[], StreamingQuery],
        stop_query: Callable[[StreamingQuery], None] | None = None,
    ) -> None:
        super().__init__(kind, name)
        self._start = start
        self._stop_query = stop_query or stop_between_batches

    def run(self, stop: threading.Event, worked: Callable[[str | None], None]) -> None:
        query = self._start()
        batch = None
        worked(None)
        while not query.awaitTermination(_POLL_S):
            if stop.is_set():
                self._stop_query(query)
                return
            latest = (query.lastProgress or {}).get("batchId")
            if latest != batch:
                batch = latest
                worked(f"batch {batch}")
        if not stop.is_set():
            raise RuntimeError("the query has ended by itself")


class Step(Task):
    """A deed that is done again and again, `pause_s` seconds after it was done last.

    It returns what there is to say of it, or None when there was nothing to do.
    """

    def __init__(
        self, kind: str, name: str, deed: Callable[[], str | None], pause_s: float
    ) -> None:
        super().__init__(kind, name)
        self._deed = deed
        self._pause_s = pause_s

    def run(self, stop: threading.Event, worked: Callable[[str | None], None]) -> None:
        while not stop.is_set():
            outcome = self._deed()
            worked(outcome)
            stop.wait(self._pause_s)


def stop_between_batches(query: StreamingQuery) -> None:
    """Stop a query once its running batch is committed."""
    idle = threading.Event()
    while query.isActive and query.status["isTriggerActive"]:
        idle.wait(0.1)
    query.stop()


def pause_after(failures: int) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 … up to five minutes."""
    doublings = min(failures - 1, 20)  # a float ends at 1,023
    return min(2.0**doublings, LONGEST_PAUSE_S)


class Supervisor:
    """Runs tasks, each in its thread, and knows how they stand."""

    def __init__(
        self,
        prepare_thread: Callable[[Task], None] = lambda task: None,
        pause_after: Callable[[int], float] = pause_after,
        changed: Callable[[TaskStatus], None] = lambda status: None,
    ) -> None:
        """
        Args:
            prepare_thread: called first in each task's thread.
            pause_after: seconds to wait after so many failures in a row.
            changed: told when a task has failed, or works again.
        """
        self._prepare_thread = prepare_thread
        self._pause_after = pause_after
        self._changed = changed
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._status: dict[str, TaskStatus] = {}
        self._threads: list[threading.Thread] = []

    def start(self, tasks: Iterable[Task]) -> None:
        """Run the tasks until stop()."""
        for task in tasks:
            with self._lock:
                self._status[task.name] = TaskStatus(task.name, task.kind, STARTING, _now())
            thread = threading.Thread(target=self._keep, args=(task,), name=task.name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def status(self) -> list[TaskStatus]:
        """How each task stands, in the order of their start."""
        with self._lock:
            return list(self._status.values())

    def stop(self, timeout_s: float) -> list[str]:
        """Have the tasks finish what they are at; returns those that did not in time."""
        self._stop.set()
        deadline = _now().timestamp() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - _now().timestamp()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def _keep(self, task: Task) -> None:
        def worked(outcome: str | None) -> None:
            before = self._status[task.name]
            self._set(
                task,
                state=RUNNING,
                since=before.since if before.state == RUNNING else _now(),
                runs=before.runs + (outcome is not None),
                # A query that has started has not yet shown that it works.
                failures=before.failures if outcome is None else 0,
                error=before.error if outcome is None else None,
                retry_at=None,
                outcome=outcome or before.outcome,
                succeeded_at=before.succeeded_at if outcome is None else _now(),
            )
            if before.failures and outcome is not None:
                self._changed(self._status[task.name])

        self._prepare_thread(task)
        while not self._stop.is_set():
            try:
                task.run(self._stop, worked)
                if self._stop.is_set():
                    break
                raise RuntimeError("it has ended by itself")
            except Exception as error:
                logging.getLogger(__name__).debug("task %s", task.name, exc_info=error)
                if self._stop.is_set():
                    break
                self._failed(task, error)
        self._set(task, state=STOPPED, since=_now(), retry_at=None)

    def _failed(self, task: Task, error: Exception) -> None:
        before = self._status[task.name]
        failures = before.failures + 1
        pause = self._pause_after(failures)
        self._set(
            task,
            state=FAILED,
            since=_now(),
            failures=failures,
            failed_in_all=before.failed_in_all + 1,
            error=root_cause(str(error)) if str(error) else type(error).__name__,
            retry_at=datetime.fromtimestamp(_now().timestamp() + pause, UTC),
        )
        self._changed(self._status[task.name])
        self._stop.wait(pause)

    def _set(self, task: Task, **changes: Any) -> None:
        with self._lock:
            self._status[task.name] = replace(self._status[task.name], **changes)


def _now() -> datetime:
    return datetime.now(UTC)
