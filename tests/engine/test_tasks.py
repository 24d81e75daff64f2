"""Supervised tasks: retried with back-off, seen in the status, and no task stops another."""

from __future__ import annotations

import queue
import threading

from hypothesis import given
from hypothesis import strategies as st

from loaders.tasks import (
    FAILED,
    LONGEST_PAUSE_S,
    RUNNING,
    STOPPED,
    Step,
    Stream,
    Supervisor,
    pause_after,
)


class Heard:
    """What the supervisor says of changes, to be waited for."""

    def __init__(self):
        self._queue = queue.Queue()

    def __call__(self, status):
        self._queue.put(status)

    def next(self):
        return self._queue.get(timeout=30)


class FakeQuery:
    """As much of a StreamingQuery as a task asks for."""

    def __init__(self, failure=None):
        self.lastProgress = {"batchId": 0}
        self.isActive = True
        self.status = {"isTriggerActive": False}
        self._failure = failure
        self.ended = threading.Event()

    def awaitTermination(self, timeout):
        if self._failure:
            raise self._failure
        return self.ended.wait(0.01)

    def stop(self):
        self.isActive = False
        self.ended.set()


def test_a_failing_step_is_tried_again_and_its_neighbour_goes_on():
    heard, neighbour = Heard(), queue.Queue()
    outcomes = iter([ValueError("no such bucket"), ValueError("no such bucket"), "3 models"])

    def deed():
        outcome = next(outcomes, None)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    supervisor = Supervisor(pause_after=lambda failures: 0.0, changed=heard)
    supervisor.start(
        [
            Step("cycle", "bad", deed, 0.01),
            Step("cycle", "good", lambda: neighbour.put(1) or "done", 0.01),
        ]
    )
    first, second, works = heard.next(), heard.next(), heard.next()
    assert (first.state, first.failures, first.error) == (FAILED, 1, "no such bucket")
    assert first.retry_at is not None
    assert second.failures == 2
    assert (works.state, works.failures, works.error) == (RUNNING, 0, None)
    assert works.failed_in_all == 2
    for _ in range(3):
        neighbour.get(timeout=30)
    assert supervisor.stop(30) == []
    assert {status.state for status in supervisor.status()} == {STOPPED}


def test_a_query_that_fails_is_started_again():
    heard, started = Heard(), []

    def start():
        started.append(FakeQuery(failure=None if started else RuntimeError("ValueError: bad key")))
        return started[-1]

    supervisor = Supervisor(pause_after=lambda failures: 0.0, changed=heard)
    supervisor.start([Stream("feed", "prices", start)])
    assert heard.next().error == "bad key"
    works = heard.next()
    assert (works.state, works.outcome) == (RUNNING, "batch 0")
    assert supervisor.stop(30) == []
    assert len(started) == 2
    assert not started[1].isActive


def test_a_query_that_ends_by_itself_is_started_again():
    heard, started = Heard(), []

    def start():
        started.append(FakeQuery())
        if len(started) == 1:
            started[0].ended.set()
        return started[-1]

    supervisor = Supervisor(pause_after=lambda failures: 0.0, changed=heard)
    supervisor.start([Stream("feed", "prices", start)])
    assert "ended by itself" in heard.next().error
    assert heard.next().state == RUNNING
    supervisor.stop(30)
    assert len(started) == 2


def test_a_start_alone_is_no_proof_that_a_query_works():
    heard, failures = Heard(), []

    def start():
        query = FakeQuery(failure=RuntimeError("broken"))
        query.lastProgress = None
        return query

    supervisor = Supervisor(pause_after=lambda n: failures.append(n) or 0.0, changed=heard)
    supervisor.start([Stream("feed", "prices", start)])
    assert [heard.next().failures for _ in range(4)] == [1, 2, 3, 4]
    supervisor.stop(30)


def test_what_does_not_end_in_time_is_named():
    release = threading.Event()
    supervisor = Supervisor()
    supervisor.start([Step("cycle", "slow", lambda: release.wait(60) and "done", 0)])
    assert supervisor.stop(0) == ["slow"]
    release.set()
    assert supervisor.stop(30) == []


@given(st.integers(1, 10_000))
def test_pauses_double_up_to_five_minutes(failures):
    assert pause_after(failures) == min(2 ** min(failures - 1, 20), LONGEST_PAUSE_S)
