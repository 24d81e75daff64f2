"""The engine's own wiring: what a part that is broken leaves to the others."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loaders import engine
from loaders.dbt_project import BuildError, Result
from loaders.destinations import destination_of
from loaders.engine import (
    Engine,
    EngineError,
    Models,
    Root,
    feed_tasks,
    make_ready,
    put_news,
    root_to_itself,
)
from loaders.feeds import read_feeds
from loaders.session import ConfigurationError
from loaders.tasks import Supervisor, TaskStatus

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
    """dbt that compiles what is selected, and ends at the first that does not compile."""

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
        selected = arguments[-1].removeprefix("+")
        names = [selected] if selected in self.nodes else list(self.nodes)
        if self.uncompiled & set(names):
            raise BuildError("no such macro")
        return [Result(f"model.{name}", name, "model", "success", "OK", 0.1) for name in names]

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


class PlayedQuery:
    """A query that does nothing until it is stopped."""

    def __init__(self) -> None:
        self.lastProgress = None
        self.isActive = False
        self._ended = threading.Event()

    def awaitTermination(self, timeout: float) -> bool:
        return self._ended.wait(timeout)

    def stop(self) -> None:
        self._ended.set()


BAD, GOOD = (read_feeds()[name] for name in ("stocks_daily_prices", "stocks_fundamentals"))


class PlayedFeeds:
    """Feeds of which one is broken in one of its deeds; `done` has the deeds that went well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
        self.done: list[tuple[str, str]] = []
        self.started: queue.Queue[str] = queue.Queue()
        self.breaks = 2
        self._broken = broken
        for name in ("ensure_tables", "finish_interrupted_replay", "start"):
            monkeypatch.setattr(engine, name, partial(self._do, name))

    def _do(self, deed: str, _: Any, of: Any, *rest: Any, **options: Any) -> PlayedQuery:
        is_bad = getattr(of, "tables", None) == destination_of(BAD).tables or of is BAD
        if deed == self._broken and is_bad and self.breaks:
            self.breaks -= 1
            raise OSError("its staged rows are gone")
        self.done.append((deed, (BAD if is_bad else GOOD).name))
        if deed == "start":
            self.started.put(of.name)
        return PlayedQuery()


@pytest.mark.parametrize("broken", ["ensure_tables", "finish_interrupted_replay"])
def test_a_feed_that_cannot_be_made_ready_keeps_back_no_other(
    monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    feeds = PlayedFeeds(monkeypatch, broken)
    make_ready(None, [BAD, GOOD])
    assert [deed for deed, feed in feeds.done if feed == GOOD.name] == [
        "ensure_tables",
        "finish_interrupted_replay",
    ]
    assert ("finish_interrupted_replay", BAD.name) not in feeds.done


def test_a_replay_that_failed_at_the_start_is_the_feeds_failure_and_comes_before_its_query(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    feeds = PlayedFeeds(monkeypatch, "finish_interrupted_replay")
    make_ready(None, [BAD, GOOD])
    feeds.done.clear()
    failed: queue.Queue[TaskStatus] = queue.Queue()
    supervisor = Supervisor(pause_after=lambda failures: 0.0, changed=failed.put)
    supervisor.start(feed_tasks(None, [BAD, GOOD], print))
    status = failed.get(timeout=30)
    assert (status.name, status.error) == (BAD.name, "its staged rows are gone")
    assert {feeds.started.get(timeout=30) for _ in range(2)} == {BAD.name, GOOD.name}
    assert supervisor.stop(30) == []
    for feed in (BAD, GOOD):
        assert [deed for deed, of in feeds.done if of == feed.name] == [
            "finish_interrupted_replay",
            "start",
        ]


@pytest.mark.parametrize(("thrift_port", "http_port"), [("9001", "9001"), ("8088", "")])
def test_one_port_for_sql_and_page_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, thrift_port: str, http_port: str
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
    monkeypatch.setenv("THRIFT_PORT", thrift_port)
    monkeypatch.setenv("HTTP_PORT", http_port)
    both = f"^THRIFT_PORT and HTTP_PORT are both {thrift_port}: give each a port of its own$"
    with pytest.raises(ConfigurationError, match=both), root_to_itself():
        pass


class PlayedPublisher:
    """A publisher to whom every table exists."""

    def __init__(self) -> None:
        catalog = SimpleNamespace(tableExists=lambda relation: True)
        self.spark = SimpleNamespace(catalog=catalog)
        self.has_mail = False

    def note_mail(self) -> None:
        self.has_mail = True


def test_a_model_that_cannot_tell_keeps_back_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def put_told(_: Any, model: Any) -> int:
        if model.name == "bad":
            raise ValueError("no column severity")
        return 2

    monkeypatch.setattr(engine, "put_told", put_told)
    publisher = PlayedPublisher()
    bad, good = (SimpleNamespace(name=name, relation=f"ops.{name}") for name in ("bad", "good"))
    with pytest.raises(EngineError, match="bad: no column severity"):
        put_news(publisher, [bad, good])
    assert publisher.has_mail
    assert put_news(publisher, [good]) == "2 messages"


def test_feeds_with_a_topic_are_watched_for_silence_and_what_is_told_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watched: list[str] = []
    started: dict[str, Any] = {}

    class PlayedWatch:
        def __init__(self, session: Any, root: Path, feeds: Any, since: Any) -> None:
            watched.extend(feed.name for feed in feeds)

        def look(self, now: Any) -> int:
            return 1

    monkeypatch.setattr(engine, "SilenceWatch", PlayedWatch)
    monkeypatch.setattr(engine, "Scoring", lambda *_: SimpleNamespace(step=None))
    monkeypatch.setattr(
        Supervisor, "start", lambda _, tasks: started.update((task.name, task) for task in tasks)
    )

    def start_steps() -> None:
        feeds = list(read_feeds().values())
        parts = Engine(Root(tmp_path, 0, 0, lambda _: None), feeds, *3 * [lambda _: None])
        parts._spark = SimpleNamespace(newSession=lambda: None)
        parts.cycles = SimpleNamespace(check=None)
        parts._start_steps()

    monkeypatch.delenv("QOS_ALERTS_TOPIC", raising=False)
    start_steps()
    assert "cycle" in started
    assert not {"silence", "publish"} & started.keys()

    monkeypatch.setenv("QOS_ALERTS_TOPIC", "alerts")
    start_steps()
    assert set(watched) == {"player_events", "cdn_logs"}
    publisher = started["publish"]._deed.__self__
    publisher._has_mail.clear()
    assert started["silence"]._deed() == "1 messages"
    assert publisher._has_mail.is_set()
