"""How feeds are run: which of them are tried again."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from pyspark.errors import StreamingQueryException

from loaders import run

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
