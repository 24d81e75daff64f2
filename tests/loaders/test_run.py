"""How feeds are run: which of them are tried again, and what the command's exit code says."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from pyspark.errors import StreamingQueryException

from loaders import cli, run

LATE = "[STREAM_FAILED] Query terminated with exception: Python worker failed to connect back."


class Query:
    """A query that ends with each of these in turn, or well."""

    def __init__(self, ends: list[str]) -> None:
        self.id = "a query"
        self._ends = ends

    def awaitTermination(self) -> None:
        if self._ends:
            raise StreamingQueryException(self._ends.pop(0))


@pytest.mark.parametrize(
    ("ends", "starts", "failed"),
    [
        ([], ["one", "two"], {}),
        ([LATE], ["one", "two", "one"], {}),
        ([LATE, LATE], ["one", "two", "one"], {"one": LATE}),
        (["no such bucket"], ["one", "two"], {"one": "no such bucket"}),
    ],
)
def test_a_feed_whose_process_was_late_is_loaded_once_more_when_the_others_have_ended(
    monkeypatch, ends, starts, failed
):
    ends, started = list(ends), []

    @contextmanager
    def listening(*_, **__):
        yield SimpleNamespace(noting=lambda report: report, wait_for_end=lambda _: None)

    def start(spark, feed, report, *, once):
        started.append(feed.name)
        return Query(ends if feed.name == "one" else [])

    monkeypatch.setattr(run, "listening", listening)
    monkeypatch.setattr(run, "start", start)
    monkeypatch.setattr(run, "finish_interrupted_replay", lambda *_: None)
    feeds = [SimpleNamespace(name="one"), SimpleNamespace(name="two")]
    assert run.run_once(None, feeds, print) == failed
    assert started == starts


@pytest.fixture
def command(monkeypatch):
    """Runs `loaders run` in this process, without Spark; `stopped` says that it was let go."""
    stopped = []
    spark = SimpleNamespace(stop=lambda: stopped.append(True))
    monkeypatch.setattr(cli, "get_spark", lambda **_: spark)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield lambda *arguments: CliRunner().invoke(cli.cli, ["run", *arguments])
    for number, handler in before.items():
        signal.signal(number, handler)
    assert stopped == [True]


@pytest.mark.parametrize("mode", ["once", "continuous"])
@pytest.mark.parametrize(("failed", "code"), [({}, 0), ({"cdn_logs": "no such bucket"}, 1)])
def test_a_failed_feed_is_named_and_is_exit_code_one(monkeypatch, command, mode, failed, code):
    runner = {"once": "run_once", "continuous": "run_continuously"}[mode]
    monkeypatch.setattr(run, runner, lambda *_: failed)
    ended = command("cdn_logs", "stocks_daily_prices", f"--{mode}")
    assert ended.exit_code == code
    said = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert said == [f"error: feed {name}: {cause}" for name, cause in failed.items()]


def test_sigterm_lets_the_running_batch_end_and_is_exit_code_zero(monkeypatch, command):
    class Running:
        """Active until it is stopped; what it is asked first is answered after a SIGTERM."""

        def __init__(self, name):
            self.id, self.is_stopped = name, False

        @property
        def isActive(self):
            os.kill(os.getpid(), signal.SIGTERM)
            return not self.is_stopped

        def awaitTermination(self):
            assert self.is_stopped

    @contextmanager
    def listening(*_, **__):
        yield SimpleNamespace(noting=lambda report: report, wait_for_end=lambda _: None)

    def stop(query):
        query.is_stopped = True
        ended.append(query.id)

    ended = []
    monkeypatch.setattr(run, "listening", listening)
    monkeypatch.setattr(run, "start", lambda spark, feed, report, **_: Running(feed.name))
    monkeypatch.setattr(run, "stop_between_batches", stop)
    monkeypatch.setattr(run, "finish_interrupted_replay", lambda *_: None)
    assert command("cdn_logs", "player_events", "--continuous").exit_code == 0
    assert ended == ["cdn_logs", "player_events"]
