"""The engine's own wiring: what a part that is broken leaves to the others."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Any

import pytest

from loaders.dbt_project import Result
from loaders.engine import EngineError, Models

STREAM = (
    "(select * from bronze.events /* stream */ where true) "
    "/* watermark ts delay of interval 30 seconds */"
)


def a_node(name: str, **config: Any) -> dict[str, Any]:
    """A streaming model that fits."""
    return {
        "name": name,
        "resource_type": "model",
        "schema": "gold",
        "alias": name,
        "relation_name": f"gold.{name}",
        "description": "",
        "compiled_code": f"select w from {STREAM}",
        "columns": {"w": {"name": "w", "data_type": "timestamp", "description": ""}},
        "config": {"materialized": "stream", "unique_key": ["w"], "prune_by": "w"} | config,
        "depends_on": {"nodes": []},
    }


class PlayedProject:
    """dbt that compiles what it is given, but for what does not compile."""

    def __init__(self, *nodes: dict[str, Any], uncompiled: tuple[str, ...] = ()) -> None:
        self.nodes = {node["name"]: node for node in nodes}
        self.uncompiled = set(uncompiled)
        self.is_changed = True
        self.readings = 0

    def has_changed(self) -> bool:
        return self.is_changed

    def parse(self) -> None:
        self.is_changed = False
        self.readings += 1

    def run(self, *arguments: str) -> list[Result]:
        return [
            Result(f"model.{name}", name, "model", *self._outcome(name), 0.1) for name in self.nodes
        ]

    def _outcome(self, name: str) -> tuple[str, str]:
        return ("error", "no such macro") if name in self.uncompiled else ("success", "OK")

    def manifest(self) -> dict[str, Any]:
        nodes = {
            f"model.{name}": node | ({"compiled_code": None} if name in self.uncompiled else {})
            for name, node in self.nodes.items()
        }
        events = {"name": "events", "resource_type": "source", "relation_name": "bronze.events"}
        return {"nodes": nodes, "sources": {"source.events": events}}


class PlayedCycles:
    """The project to oneself, as Cycles gives it."""

    def __init__(self, project: Any) -> None:
        self._project = project

    @contextmanager
    def dbt(self) -> Any:
        yield self._project


class Started:
    """What Models had started, in order."""

    def __init__(self, project: PlayedProject) -> None:
        self.steps = 0
        self.live: list[list[str]] = []
        self.told: list[list[str]] = []
        self._task = Models(PlayedCycles(project), self._start_steps, self._start_live)

    def _start_steps(self) -> None:
        self.steps += 1

    def _start_live(self, models: Any, told: Any) -> None:
        self.live.append([model.name for model in models])
        self.told.append([model.name for model in told])

    def run(self) -> str:
        """What the task said of its success."""
        stop, said = threading.Event(), []
        stop.set()
        self._task.run(stop, said.append)
        return said[0]

    def problems(self) -> str:
        with pytest.raises(EngineError) as failed:
            self.run()
        return str(failed.value)


def test_a_live_model_that_cannot_run_leaves_the_others_running() -> None:
    sink = {"sns": {"topic": "t", "idempotency_key": ["w"]}}
    told = {"materialized": "table", "sink": sink, "meta": {"grain": ["w"]}}
    project = PlayedProject(
        a_node("good"),
        a_node("uncompilable"),
        a_node("unfit", prune_by="elsewhere"),
        a_node("tells", **told),
        a_node("tells_without_time", **told | {"prune_by": None}),
        uncompiled=("uncompilable",),
    )
    started = Started(project)
    said = started.problems()
    assert said.startswith("uncompilable: no such macro; unfit: prune_by: elsewhere is not")
    assert "; tells_without_time: to be told of it needs" in said
    assert said.count("uncompilable") == 1
    assert (started.steps, started.live, started.told) == (1, [["good"]], [["tells"]])


def test_what_is_tried_again_reads_the_project_and_starts_a_model_once() -> None:
    project = PlayedProject(a_node("good"), a_node("late"), uncompiled=("late",))
    started = Started(project)
    for _ in range(2):
        started.problems()
    # Each reading owes every model of the project a run.
    assert project.readings == 1
    project.uncompiled, project.is_changed = set(), True
    assert started.run() == "2 live models"
    assert project.readings == 2
    assert (started.steps, started.live) == (1, [["good"], [], ["late"]])
