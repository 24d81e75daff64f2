"""What running feeds leave behind: lines of a log that rotates, and where each feed stands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders import journal
from loaders.bronze import BatchReport
from loaders.feeds import CloudFilesFeed, KinesisFeed
from loaders.journal import Backlog, Progress, parse_backlog, read_progress, write_progress
from loaders.listener import FeedListener

QUERY = "7a1e"
OBJECTS = {
    "waitingObjects": 3,
    "waitingBytes": 900,
    "oldestWaiting": {"key": "in/a.json", "modifiedMs": 5_000},
    "queueMessages": 4,
    "queueMessagesInFlight": 2,
    "deadLetterMessages": 5,
    "oldestMessageSentMs": 2_000,
}
STREAM = {
    "stream": "s",
    "millisBehindLatest": {"shard-0": 0, "shard-1": 1_500},
    "maxMillisBehindLatest": 1_500,
    "losses": 2,
}


@pytest.mark.parametrize(
    ("report", "lag_ms"),
    [
        (OBJECTS, 8_000),
        (OBJECTS | {"oldestMessageSentMs": None}, 5_000),
        ({"waitingObjects": 0, "waitingBytes": 0, "oldestWaiting": None}, 0),
        (STREAM, 1_500),
    ],
)
def test_lag_is_how_long_the_oldest_thing_has_been_waiting(report: Any, lag_ms: int) -> None:
    backlog = parse_backlog(report)
    assert backlog.lag_ms(10_000) == lag_ms
    assert backlog.caught_up().lag_ms(10_000) == 0


def test_a_source_that_is_caught_up_has_nothing_of_what_its_kind_counts() -> None:
    assert parse_backlog(OBJECTS).caught_up() == Backlog(
        objects=0,
        size_bytes=0,
        queue_messages=0,
        queue_messages_in_flight=0,
        dead_letter_messages=5,  # nothing but a person takes those away
    )
    assert parse_backlog(STREAM).caught_up() == Backlog(
        millis_behind={"shard-0": 0, "shard-1": 0}, losses=2
    )


@given(
    objects=st.none() | st.integers(0),
    key=st.none() | st.text(),
    behind=st.none() | st.dictionaries(st.text(), st.integers(0)),
    rate=st.none() | st.floats(0, 1e12),
)
def test_what_a_feed_said_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, objects: Any, key: Any, behind: Any, rate: Any
) -> None:
    root = tmp_path_factory.getbasetemp()
    backlog = Backlog(objects=objects, oldest_object=key, millis_behind=behind)
    progress = Progress("events", journal.RUNNING, 17, 3, rate, rate, backlog)
    write_progress(root, progress)
    assert read_progress(root, "events") == progress
    assert [path.name for path in (root / "progress").iterdir()] == ["events.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"feed": "events"}', '{"backlog": {"x": 1}}'])
def test_a_file_that_says_nothing_is_as_if_there_were_none(tmp_path: Path, content: str) -> None:
    assert read_progress(tmp_path, "events") is None
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "events.json").write_text(content)
    assert read_progress(tmp_path, "events") is None


# ---- by Spark's events


class Run:
    """A query that loads the feed `events`, told of by made-up events."""

    def __init__(self, root: Path, feed: Any, *, once: bool) -> None:
        self.root = root
        self._log = journal.batch_log(root)
        self.listener = FeedListener(root, self._log.__enter__(), [feed], once=once)
        self.report = self.listener.noting(lambda batch: None)
        self.listener.onQueryStarted(SimpleNamespace(id=QUERY, name="events"))

    def wrote(self, batch: int, received: int = 20) -> None:
        kept = received - 1
        self.report(
            BatchReport("events", 10 + batch, QUERY, batch, 2, 4000, received, kept, 0, 1, 0.5)
        )

    def progress(self, batch: int, source: Any) -> None:
        said = SimpleNamespace(latestOffset=source and json.dumps(source))
        progress = SimpleNamespace(
            id=QUERY, batchId=batch, sources=[said], durationMs={"triggerExecution": 2000}
        )
        self.listener.onQueryProgress(SimpleNamespace(progress=progress))

    def idle(self) -> None:
        self.listener.onQueryIdle(SimpleNamespace(id=QUERY))

    def end(self, exception: str | None = None) -> None:
        self.listener.onQueryTerminated(SimpleNamespace(id=QUERY, exception=exception))
        self.listener.wait_for_end(QUERY)
        self._log.__exit__(None, None, None)

    @property
    def said(self) -> Progress:
        return read_progress(self.root, "events")

    def lines(self) -> list[dict[str, Any]]:
        text = (self.root / "logs" / "loaders.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


ANNOUNCED = CloudFilesFeed(name="events", location="/in", table="events", description="events")
STREAMED = KinesisFeed(name="events", stream="s", table="events", description="events")


def test_each_batch_that_spark_has_committed_is_one_line_with_counts_and_lag(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, STREAMED, once=False)
    run.wrote(0)
    run.wrote(1, received=40)
    run.progress(0, STREAM)
    run.progress(1, STREAM | {"millisBehindLatest": {"shard-0": 0}})
    run.wrote(2)  # cut short
    run.end("the cause")
    first, second = run.lines()
    assert first.pop("at").endswith("+00:00")
    assert first == {
        "level": "INFO",
        "event": "batch",
        "source": "kinesis",
        "table": "bronze.events",
        "feed": "events",
        "batch_id": 10,
        "query_id": QUERY,
        "query_batch_id": 0,
        "objects": 2,
        "size_bytes": 4000,
        "received": 20,
        "kept": 19,
        "duplicates": 0,
        "quarantined": 1,
        "seconds": 0.5,
        "trigger_seconds": 2.0,
        "rows_per_second": 10.0,
        "bytes_per_second": 2000.0,
        "lag_ms": 1500,
        "backlog": dict.fromkeys(Backlog.__dataclass_fields__)
        | {"millis_behind": STREAM["millisBehindLatest"], "losses": 2},
    }
    assert (second["batch_id"], second["lag_ms"], second["rows_per_second"]) == (11, 0, 20.0)
    assert run.said.state == journal.FAILED
    assert run.said.batch_id == 11


@pytest.mark.parametrize("nothing", [None, "", "<empty>"])
def test_a_replayed_batch_whose_source_says_nothing_has_its_line_all_the_same(
    tmp_path: Path, nothing: str | None
) -> None:
    run = Run(tmp_path, ANNOUNCED, once=False)
    said = SimpleNamespace(latestOffset=nothing)
    progress = SimpleNamespace(
        id=QUERY, batchId=0, sources=[said], durationMs={"triggerExecution": 2000}
    )
    run.wrote(0)
    run.listener.onQueryProgress(SimpleNamespace(progress=progress))
    assert (run.said.batch_id, run.said.backlog) == (10, None)


def test_a_feed_stands_where_its_last_batch_left_it_until_its_source_has_no_more(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, ANNOUNCED, once=False)
    assert run.said == Progress("events", journal.RUNNING, 0)
    run.wrote(0)
    run.progress(0, OBJECTS)
    assert run.said.backlog == parse_backlog(OBJECTS)
    assert run.said.lag_ms > 10**12  # waiting since 1970
    run.idle()
    assert run.said.backlog == parse_backlog(OBJECTS).caught_up()
    assert (run.said.lag_ms, run.said.rows_per_second) == (0, 10.0)
    run.end()
    assert run.said.state == journal.ENDED


def test_a_run_that_loaded_all_there_was_is_caught_up_as_of_its_start(tmp_path: Path) -> None:
    run = Run(tmp_path, ANNOUNCED, once=True)
    run.wrote(0)
    run.progress(0, OBJECTS)
    run.end()
    assert run.said.lag_ms == 0
    before = run.said

    again = Run(tmp_path, ANNOUNCED, once=True)  # finds nothing new
    again.end()
    assert again.said == replace(before, seen_ms=again.said.seen_ms)
    assert again.said.seen_ms >= before.seen_ms


def test_a_run_that_failed_does_not_say_that_it_is_caught_up(tmp_path: Path) -> None:
    run = Run(tmp_path, ANNOUNCED, once=True)
    run.wrote(0)
    run.progress(0, OBJECTS)
    run.end("the cause")
    assert run.said.backlog == parse_backlog(OBJECTS)
    assert "the cause" not in (tmp_path / "progress" / "events.json").read_text()


def test_the_log_starts_a_new_file_when_it_is_full_and_keeps_the_last_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "LOG_BYTES", 1000)
    with journal.batch_log(tmp_path) as logger:
        for number in range(200):
            logger.info({"number": number, "pad": "x" * 80})
    files = sorted((tmp_path / "logs").iterdir())
    assert len(files) == journal.LOG_FILES
    assert all(file.stat().st_size <= 1000 for file in files)
    last = files[0].read_text().splitlines()[-1]
    assert json.loads(last)["number"] == 199
