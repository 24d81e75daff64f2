"""The engine: one process and one JVM that load, build, test and serve without a pause.

It is wiring: feeds and live models are streams, cycles, checks and maintenance are steps, and the
supervisor (tasks.py) keeps each going whatever becomes of the others.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from loaders.bronze import BatchReport, ensure_tables
from loaders.causes import root_cause
from loaders.cycles import Cycles
from loaders.dbt_project import BuildError, DbtProject
from loaders.destinations import destination_of
from loaders.feeds import Feed, read_feeds
from loaders.http_page import serving_page
from loaders.listener import listening
from loaders.live import LiveBatch, LiveModel, LiveNotice, live_models, start_live, stop_live
from loaders.live_models import ToldModel, told_models
from loaders.lock import RootInUseError, locked
from loaders.log_trimming import trim_logs
from loaders.maintenance import Dbt, delta_tables, run_due
from loaders.memory import resident_bytes
from loaders.ml.step import Scoring
from loaders.outbox import ensure_outbox, put_told
from loaders.page import EngineStatus
from loaders.ports import HTTP_PORT, THRIFT_PORT, port_from_environment, require_usable
from loaders.publish import Publisher
from loaders.run import finish_interrupted_replay, kind_of_feed, start
from loaders.session import ANSWER_BY_STATISTICS, ConfigurationError, get_spark, prepare_root
from loaders.silence import SilenceWatch, watched_feeds
from loaders.status import feed_status
from loaders.tasks import RUNNING, STARTING, Step, Stream, Supervisor, Task, TaskStatus
from loaders.thrift import serving_sql, sql_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming import StreamingQuery

STOPPING = "stopping"
# A look for new rows costs a `stat` a table.
LOOK_PAUSE_S = 1.0
MAINTENANCE_PAUSE_S = 30.0
TRIMMING_PAUSE_S = 3600.0
SILENCE_PAUSE_S = 30.0
# SIGTERM to exit takes no longer than 30 seconds: this for running batches and models, the rest
# for Spark. Whatever is cut off then is as if it had been killed: its next start goes on.
STOP_TIMEOUT_S = 20
_JVM_POLL_S = 1.0


class EngineError(Exception):
    """The engine cannot go on; the message says why, in one line."""


class _StoppedEarly(BaseException):
    """SIGTERM or SIGINT while the engine was starting."""


@dataclass(frozen=True, slots=True)
class Root:
    """A root that this process has to itself; `note_jvm` adds the JVM's process id to its lock."""

    path: Path
    thrift_port: int
    http_port: int
    note_jvm: Callable[[int], None]


@contextmanager
def root_to_itself() -> Iterator[Root]:
    """Have LAKEHOUSE_ROOT to this process while the context lasts.

    Raises:
        ConfigurationError: another engine has it, the root cannot be written, no port number, or
            one port for both.
    """
    root = prepare_root()
    thrift_port = port_from_environment("THRIFT_PORT", THRIFT_PORT)
    http_port = port_from_environment("HTTP_PORT", HTTP_PORT)
    if thrift_port == http_port:
        raise ConfigurationError(
            f"THRIFT_PORT and HTTP_PORT are both {http_port}: give each a port of its own"
        )
    try:
        with locked(root, thrift_port, http_port) as note_jvm:
            yield Root(root, thrift_port, http_port, note_jvm)
    except RootInUseError as error:
        raise ConfigurationError(str(error)) from error


def run_engine(
    feeds: Sequence[Feed],
    report: Callable[[BatchReport], None],
    changed: Callable[[TaskStatus], None],
    notice: Callable[[str], None],
    ready: Callable[[EngineStatus], None],
) -> None:
    """Run until SIGTERM or SIGINT.

    Args:
        report: told of each batch that was loaded.
        changed: told when a task has failed, or works again.
        notice: told of what somebody should know, such as a live model that begins anew.
        ready: told once, when everything has been started.

    Raises:
        ConfigurationError: another engine has the root, a port is taken, Spark is not set up.
        EngineError: the JVM has ended.
    """
    stop = _Stop()
    try:
        with root_to_itself() as root:
            require_usable(root.thrift_port, "THRIFT_PORT")
            require_usable(root.http_port, "HTTP_PORT")
            engine = Engine(root, feeds, report, changed, notice)
            with _no_jvm_left(), engine.running():
                stop.is_starting = False
                ready(engine.status())
                while not stop.asked.wait(_JVM_POLL_S):
                    engine.require_jvm()
    except _StoppedEarly:
        return


@contextmanager
def _no_jvm_left() -> Iterator[None]:
    """Kill Spark's JVM where its start is interrupted (Linux): it ends with the pipe that it reads,
    but not always while it starts. What it was at is as after a kill.
    """
    try:
        yield
    except _StoppedEarly:
        # nobody knows its process id yet
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
        raise


class _Stop:
    """Hears SIGTERM and SIGINT: interrupts the start, and asks a running engine to end."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.is_starting = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.asked.set()
        if self.is_starting:
            self.is_starting = False
            raise _StoppedEarly


class Engine:
    """Its parts, and how they stand."""

    def __init__(
        self,
        root: Root,
        feeds: Sequence[Feed],
        report: Callable[[BatchReport], None],
        changed: Callable[[TaskStatus], None],
        notice: Callable[[str], None],
    ) -> None:
        self._root = root
        self._feeds = feeds
        self._report = report
        self._notice = notice
        self._started_at = datetime.now(UTC)
        self._state = STARTING
        self._supervisor = Supervisor(self._prepare_thread, changed=changed)
        self._spark: SparkSession
        self.cycles: Cycles | None = None
        self._publisher: Publisher | None = None
        self._told: Sequence[ToldModel] = ()
        self._unfinished: list[str] = []
        self._has_news = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start everything; at the end finish what is running, and stop it."""
        with ExitStack() as stack:
            stack.enter_context(serving_page(self._root.http_port, self.status))
            self._spark = get_spark(resident=True, settings=sql_settings(self._root.thrift_port))
            # dbt's session: a model's cursor is the greatest value of a column of its table
            self._spark.conf.set(ANSWER_BY_STATISTICS, "true")
            stack.callback(self._end_spark)
            if process := self._jvm():
                self._root.note_jvm(process.pid)
            # dbt changes settings of its session between batches; streams have one of their own.
            streams = self._spark.newSession()
            make_ready(streams, self._feeds)
            # dbt, live models and who sends their messages would create its tables at once
            ensure_outbox(streams)
            listener = stack.enter_context(
                listening(streams, self._root.path, self._feeds, once=False)
            )
            report = listener.noting(self._report)
            stack.enter_context(serving_sql(self._spark))
            self.cycles = Cycles(
                self._spark,
                self._root.path,
                DbtProject(self._root.path),
                idle=idle_tables(self._feeds),
            )
            self._supervisor.start(
                [
                    *feed_tasks(streams, self._feeds, report),
                    Models(self.cycles, self._start_steps, self._start_live),
                ]
            )
            stack.callback(self._stop_tasks)
            self._state = RUNNING
            try:
                yield
            finally:
                self._state = STOPPING

    def _stop_tasks(self) -> None:
        self._unfinished = self._supervisor.stop(STOP_TIMEOUT_S)

    def _end_spark(self) -> None:
        """Stop Spark; where a task is still at work, its JVM too.

        dbt would start Spark anew for its next statement. What is cut short is completed at the
        next start, as after a kill.
        """
        process = self._jvm()
        self._spark.stop()
        if self._unfinished and process:
            process.kill()

    def require_jvm(self) -> None:
        """Raise EngineError where Spark's process has ended: nothing can go on without it."""
        process = self._jvm()
        if process and process.poll() is not None:
            raise EngineError(
                f"Spark's JVM has ended (exit code {process.returncode}): start the engine again; "
                f"{self._root.path}/logs/spark.log may say why"
            )

    def _jvm(self) -> subprocess.Popen[bytes] | None:
        """Spark's process; None where spark-submit has started it, which started this one too."""
        return getattr(self._spark.sparkContext._gateway, "proc", None)

    def status(self) -> EngineStatus:
        """How everything stands at this moment."""
        cycles = self.cycles
        return EngineStatus(
            state=self._state,
            pid=os.getpid(),
            root=str(self._root.path),
            started_at=self._started_at,
            at=datetime.now(UTC),
            thrift_port=self._root.thrift_port,
            http_port=self._root.http_port,
            memory_bytes=resident_bytes(),
            tasks=self._supervisor.status(),
            models=cycles.models() if cycles else [],
            feeds=feed_status(self._root.path, list(self._feeds)),
            failed_tests=cycles.failed_tests() if cycles else {},
        )

    def _prepare_thread(self, task: Task) -> None:
        # A pool each: a large batch of one task does not hold up the small ones of the others.
        self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", task.name)

    def _start_steps(self) -> None:
        cycles = self.cycles
        scoring = Scoring(self._spark.newSession(), self._root.path)
        self._supervisor.start(
            [
                Step("cycle", "cycle", self._cycle, LOOK_PAUSE_S),
                Step("check", "check", cycles.check, LOOK_PAUSE_S),
                Step("score", "score", scoring.step, LOOK_PAUSE_S),
                Step("maintenance", "maintenance", self._maintain, MAINTENANCE_PAUSE_S),
                Step("maintenance", "logs", self._trim_logs, TRIMMING_PAUSE_S),
            ]
        )
        if feeds := watched_feeds(self._feeds):
            session = self._publishing().spark
            watch = SilenceWatch(session, self._root.path, feeds, self._started_at)
            deed = partial(self._tell_silences, watch)
            self._supervisor.start([Step("silence", "silence", deed, SILENCE_PAUSE_S)])

    def _cycle(self) -> str | None:
        done = self.cycles.step()
        if done is not None:
            self._has_news.set()
        return done

    def _tell_news(self) -> str | None:
        """What built models have to tell goes into the outbox."""
        if not self._has_news.is_set():
            return None
        self._has_news.clear()
        try:
            return put_news(self._publisher, self._told)
        except BaseException:
            self._has_news.set()
            raise

    def _tell_silences(self, watch: SilenceWatch) -> str | None:
        """What there is to tell of feeds without records goes into the outbox."""
        count = watch.look(datetime.now(UTC))
        if count:
            self._publisher.note_mail()
        return f"{count} messages" if count else None

    def _start_live(self, models: Sequence[LiveModel], told: Sequence[ToldModel]) -> None:
        idle = idle_tables(self._feeds)
        models = [model for model in models if {each.table.lower() for each in model.inputs} - idle]
        if told or any(model.sink for model in models):
            publisher = self._publishing()
            if told:
                ensure_outbox(publisher.spark)
                if not self._told:
                    self._supervisor.start([Step("tell", "tell", self._tell_news, LOOK_PAUSE_S)])
                self._told = told
                self._has_news.set()  # what was built before this start
        report = self._publisher.noting(self._tell) if self._publisher else self._tell
        self._supervisor.start(
            Stream(
                "live",
                model.name,
                partial(start_live, self._spark, model, report),
                partial(stop_live, self._spark, model),
            )
            for model in models
        )

    def _publishing(self) -> Publisher:
        """The publisher, which is started when there is something to tell for the first time."""
        if self._publisher is None:
            # dbt changes settings of the engine's own session.
            self._publisher = Publisher(
                self._spark.newSession(), is_stopping=lambda: self._state == STOPPING
            )
            step = Step("publish", "publish", self._publisher.step, LOOK_PAUSE_S)
            self._supervisor.start([step])
        return self._publisher

    def _tell(self, said: LiveBatch | LiveNotice) -> None:
        if isinstance(said, LiveNotice):
            self._notice(str(said))

    def _maintain(self) -> str | None:
        @contextmanager
        def turn() -> Iterator[Dbt]:
            with self.cycles.dbt() as project:
                yield project.invoke

        return run_due(self._root.path, turn, self._tables, lambda: self._state == STOPPING)

    def _trim_logs(self) -> str | None:
        return trim_logs(self._spark, self._tables())

    def _tables(self) -> list[str]:
        with self.cycles.dbt() as project:
            if project.has_changed():
                project.parse()
            return delta_tables(self._spark, project.manifest())


def put_news(publisher: Publisher, models: Iterable[ToldModel]) -> str | None:
    """Put what models have to tell into the outbox; one that cannot keeps back no other.

    Raises:
        EngineError: models could not; the message names them.
    """
    count, problems = 0, []
    for model in models:
        try:
            if publisher.spark.catalog.tableExists(model.relation):
                count += put_told(publisher.spark, model)
        except Exception as error:
            logging.getLogger(__name__).debug("news of %s", model.name, exc_info=error)
            problems.append(f"{model.name}: {root_cause(str(error))}")
    if count:
        publisher.note_mail()
    if problems:
        raise EngineError("; ".join(problems))
    return f"{count} messages" if count else None


def make_ready(session: SparkSession, feeds: Iterable[Feed]) -> None:
    """Make the feeds' tables, and finish their replays while no query writes to what they share.

    A feed that cannot be made ready keeps back no other: its own task tries again, and says why.
    """
    for feed in feeds:
        try:
            ensure_tables(session, destination_of(feed), kind_of_feed(feed))
            finish_interrupted_replay(session, feed)
        except Exception as error:
            logging.getLogger(__name__).debug("feed %s", feed.name, exc_info=error)


def feed_tasks(
    session: SparkSession, feeds: Iterable[Feed], report: Callable[[BatchReport], None]
) -> list[Task]:
    """A task for each feed; their queries start one at a time."""
    starting = threading.Lock()

    def begin(feed: Feed) -> StreamingQuery:
        with starting:
            finish_interrupted_replay(session, feed)
            return start(session, feed, report, once=False)

    return [Stream("feed", feed.name, partial(begin, feed)) for feed in feeds]


def idle_tables(feeds: Sequence[Feed]) -> set[str]:
    """The tables of the feeds that are declared, but not among those that run."""

    def tables(some: Iterable[Feed]) -> set[str]:
        return {f"bronze.{table}".lower() for feed in some for table in destination_of(feed).tables}

    return tables(read_feeds().values()) - tables(feeds)


class Models(Task):
    """Reads the dbt project, then has what needs it started: live models, and the steps.

    A live model that cannot be run as a stream stops neither the steps nor the other live models;
    it is said again until it is mended.
    """

    def __init__(
        self,
        cycles: Cycles,
        start_steps: Callable[[], None],
        start_live: Callable[[Sequence[LiveModel], Sequence[ToldModel]], None],
    ) -> None:
        super().__init__("models", "models")
        self._cycles = cycles
        self._start_steps: Callable[[], None] | None = start_steps
        self._start_live = start_live
        self._started: set[str] = set()

    def run(self, stop: threading.Event, worked: Callable[[str | None], None]) -> None:
        try:
            models, told, problems = self._read()
        finally:
            if self._start_steps:
                self._start_steps()
                self._start_steps = None
        self._start_live([model for model in models if model.name not in self._started], told)
        self._started |= {model.name for model in models}
        if problems:
            raise EngineError("; ".join(problems))
        worked(f"{len(models)} live models")
        stop.wait()

    def _read(self) -> tuple[list[LiveModel], list[ToldModel], list[str]]:
        """The models that can be run, and what is wrong with the others."""
        with self._cycles.dbt() as project:
            # A project that is read anew owes every model a run.
            if project.has_changed():
                project.parse()
            failed = _compile_live(project)
            manifest = project.manifest()
        unfit: dict[str, str] = {}
        models = [each for each in live_models(manifest, unfit) if each.name not in failed]
        told = told_models(manifest, unfit)
        problems = [f"{name}: {said}" for name, said in failed.items()]
        problems += [said for name, said in unfit.items() if name not in failed]
        return models, told, problems


def _compile_live(project: DbtProject) -> dict[str, str]:
    """Compile the live models; returns what is wrong, by name of the model.

    dbt ends at the first one that does not compile: then each is compiled by itself.
    """

    def problem(selected: str) -> str:
        try:
            # What they read besides tables, views, has to be compiled too.
            compiled = project.run("compile", "--select", f"+{selected}")
        except BuildError as error:
            return str(error)
        return "; ".join(each.problem for each in compiled if each.is_bad)

    if not problem("config.materialized:stream"):
        return {}
    names = sorted(
        node["name"]
        for node in project.manifest()["nodes"].values()
        if node["resource_type"] == "model" and node["config"]["materialized"] == "stream"
    )
    return {name: said for name in names if (said := problem(name))}
