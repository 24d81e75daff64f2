"""Cycles: bring exactly those models up to date that stand below new rows; test them afterwards.

A look that finds nothing sends no statement. A model that fails is tried again with back-off, and
its neighbours go on without it. Tests read whole tables, so they are no part of a cycle, whose
cost is that of what is new: they are run for the models that have changed, every CHECK_PAUSE_S.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from loaders.batch_settings import LARGE_BATCH_BYTES, suited_to_batch
from loaders.commits import news, standing
from loaders.dbt_project import BuildError, DbtProject, Result
from loaders.gate import Turns
from loaders.graph import Graph, graph_of
from loaders.lock import take_turn
from loaders.tasks import pause_after

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

CHECK_PAUSE_S = 600.0
CHECKED_AT_ONCE = 5


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """How a model stands. Times UTC; `failures` in a row; retry_at: left out until then."""

    name: str
    status: str
    at: datetime
    seconds: float
    failures: int = 0
    error: str | None = None
    retry_at: datetime | None = None


class Cycles:
    """What has been seen of the tables, and what is owed to the models."""

    def __init__(
        self,
        spark: SparkSession,
        root: Path,
        project: DbtProject,
        check_pause_s: float = CHECK_PAUSE_S,
        idle: Collection[str] = (),
    ) -> None:
        """`idle`: tables into which nothing is loaded, as schema.name in lower case."""
        self._spark = spark
        self._root = root
        self._project = project
        self._dbt = Turns()  # dbt runs once at a time in a process
        self._graph: Graph | None = None
        self._reading = 0
        self._seen: dict[str, int] = {}
        self._new_bytes = 0
        self._owed: set[str] = set()
        self._settled: set[str] = set()  # merged a batch since the project was read
        self._unchecked: set[str] = set()
        self._to_check: list[str] = []  # in this round of tests
        self._models: dict[str, ModelStatus] = {}
        self._failed_tests: dict[str, str] = {}
        self._check_pause_s = check_pause_s
        self._idle = idle
        self._next_check = 0.0

    # What the page shows.

    def models(self) -> list[ModelStatus]:
        """How the models stand that were run since the start, by name."""
        return sorted(self._models.values(), key=lambda model: model.name)

    def failed_tests(self) -> dict[str, str]:
        """Tests that failed when they were run last, with the message."""
        return dict(self._failed_tests)

    # What the engine does.

    def step(self) -> str | None:
        """Run what stands below new rows, and what is owed; None where there is nothing.

        Raises:
            BuildError: dbt could not run at all; what was owed still is.
        """
        if self._project.has_changed():
            with self._dbt:
                self._project.parse()
        if self._graph is None or self._reading != self._project.readings:
            self._begin_anew()
        self._look()
        wanted = self._owed - self._waiting()
        if not wanted:
            return None
        started = time.monotonic()
        with self._turn() as is_ours, suited_to_batch(self._spark, self._new_bytes):
            if not is_ours:
                return None  # it is owed still
            results = self._project.run(
                *("build", "--exclude-resource-type", "test", "--exclude-resource-type"),
                *("unit_test", "--vars", f"settled: {wanted <= self._settled}".lower()),
                *("--select", *(self._graph.names[each] for each in wanted)),
            )
        failed = self._note(results)
        if not self._owed:  # else a batch that failed would be tried again as a small one
            self._new_bytes = 0
        models = sum(result.unique_id in wanted for result in results)
        seconds = time.monotonic() - started
        return f"{models} models in {seconds:.1f} s" + (f", {failed} failed" if failed else "")

    def check(self) -> str | None:
        """Test some of the models that have changed since they were tested last.

        A few at a time, so that a cycle waits for their tests and not for those of all.

        Raises:
            BuildError: dbt could not run at all; the models are tested with the next ones.
        """
        models = self._next_to_check()
        if not models:
            return None
        names = [self._graph.names[each] for each in models]
        try:
            with self._dbt, suited_to_batch(self._spark, LARGE_BATCH_BYTES):
                results = self._project.run(
                    *("test", "--no-populate-cache"),  # tests ask for no relation
                    *("--exclude-resource-type", "unit_test", "--select", *names),
                )
        except BuildError:
            self._unchecked |= set(models)
            raise
        for result in results:
            self._failed_tests.pop(result.name, None)
            if result.is_bad:
                self._failed_tests[result.name] = result.message
        failed = sum(result.is_bad for result in results)
        return f"{len(results) - failed} of {len(results)} tests of {', '.join(names)} passed"

    def _next_to_check(self) -> list[str]:
        if not self._to_check and self._unchecked and time.monotonic() >= self._next_check:
            self._to_check, self._unchecked = sorted(self._unchecked), set()
            self._next_check = time.monotonic() + self._check_pause_s
        models, self._to_check = self._to_check[:CHECKED_AT_ONCE], self._to_check[CHECKED_AT_ONCE:]
        return [each for each in models if each in self._graph.names]  # others are gone by now

    def owe_everything(self) -> None:
        """Have the next cycle run all models."""
        self._owed = set(self._graph.names)

    @contextmanager
    def dbt(self) -> Iterator[DbtProject]:
        """The project to oneself, between two cycles."""
        with self._dbt:
            yield self._project

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """The project to oneself, and the tables, unless a dbt run of another process has them."""
        with self._dbt:
            turn = take_turn(self._root)
            with turn or nullcontext():
                yield turn is not None

    def _begin_anew(self) -> None:
        """With the project as it was read last, owe everything a run.

        What the models have seen is not known.
        """
        reading = self._project.readings
        graph = graph_of(self._project.manifest(), self._idle)
        found = {table: standing(self._path(name)) for table, name in graph.tables.items()}
        self._seen = {table: each.version for table, each in found.items()}
        self._new_bytes = sum(each.size_bytes for each in found.values())
        self._graph, self._reading = graph, reading
        self._settled = set()
        self.owe_everything()

    def _look(self) -> None:
        """Owe a run to what stands below new rows."""
        for table, since in self._seen.items():
            new = news(self._path(self._graph.tables[table]), since)
            self._seen[table] = new.version
            if new.size_bytes:
                self._owed |= self._graph.below[table]
                self._new_bytes += new.size_bytes

    def _path(self, table: str) -> Path:
        schema, name = table.split(".")
        return self._root / "warehouse" / f"{schema}.db" / name

    def _waiting(self) -> set[str]:
        now = _now()
        return {
            model
            for model, status in self._models.items()
            if status.retry_at is not None and status.retry_at > now
        }

    def _note(self, results: list[Result]) -> int:
        """Settle what is owed by what became of it; returns how many failed."""
        ran = {result.unique_id for result in results}
        for result in results:
            if result.is_skipped or result.unique_id not in self._graph.names:
                continue  # a hook is no model
            before = self._models.get(result.unique_id)
            status = ModelStatus(result.name, result.status, _now(), round(result.seconds, 3))
            if result.is_bad:
                failures = 1 + (before.failures if before else 0)
                status = replace(
                    status,
                    failures=failures,
                    error=result.message,
                    retry_at=status.at + timedelta(seconds=pause_after(failures)),
                )
            else:
                self._owed.discard(result.unique_id)
                if "nothing new" not in result.message:
                    self._unchecked.add(result.unique_id)
                    self._settled.add(result.unique_id)
                    # Where it had failed before, they ran without it.
                    self._owed |= self._graph.below[result.unique_id] - ran
            self._models[result.unique_id] = status
        return sum(result.is_bad for result in results)


def _now() -> datetime:
    return datetime.now(UTC)
