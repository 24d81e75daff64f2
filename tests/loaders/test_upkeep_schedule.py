"""When maintenance is due, and what becomes of an operation that fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.bronze import APPENDS
from loaders.conflicts import is_conflict, retry_conflicts
from loaders.gate import Gate, Turns
from loaders.maintenance import (
    MaintenanceError,
    Operation,
    due,
    note_run,
    read_last_runs,
    read_schedule,
    run,
    run_due,
)
from loaders.session import ConfigurationError

DAILY = Operation(name="daily", macro="sweep", at="01:00")
WEEKLY = Operation(name="weekly", macro="scrub", at="02:00", weekday="sunday")
SUNDAY = datetime(2024, 6, 2, tzinfo=UTC)
times = st.integers(0, 60 * 86_400).map(lambda seconds: SUNDAY + timedelta(seconds=seconds))


def hour(hours: float) -> datetime:
    return SUNDAY + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("now", "last_runs", "expected"),
    [
        (hour(1), {}, ["daily", "weekly"]),
        (hour(1), {"daily": hour(-23), "weekly": hour(-166)}, ["daily"]),
        (hour(0.99), {"daily": hour(-23), "weekly": hour(-166)}, []),
        (hour(1), {"daily": hour(1), "weekly": hour(-166)}, []),
        (hour(2), {"daily": hour(1), "weekly": hour(-166)}, ["weekly"]),
        (hour(24), {"daily": hour(1), "weekly": hour(2)}, []),
        (hour(24 * 30), {"daily": hour(1), "weekly": hour(2)}, ["daily", "weekly"]),
    ],
)
def test_what_was_not_run_since_its_latest_moment_is_due(
    now: datetime, last_runs: dict[str, datetime], expected: list[str]
) -> None:
    assert [operation.name for operation in due(now, last_runs, [DAILY, WEEKLY])] == expected


@settings(deadline=None)
@given(times, st.sampled_from([DAILY, WEEKLY]))
def test_the_latest_moment_is_the_last_hour_that_fits(now: datetime, operation: Operation) -> None:
    moment = now.replace(minute=0, second=0, microsecond=0)
    while moment.hour != operation.at.hour or (operation.weekday and moment.weekday() != 6):
        moment -= timedelta(hours=1)
    assert operation.latest_moment(now) == moment


@settings(deadline=None)
@given(times, st.lists(times, min_size=1))
def test_each_scheduled_moment_is_used_once(start: datetime, looks: list[datetime]) -> None:
    last_runs = {"daily": start}
    moments = []
    for now in sorted(look for look in looks if look > start):
        if due(now, last_runs, [DAILY]):
            moments.append(DAILY.latest_moment(now))
            last_runs["daily"] = now
    assert moments == sorted(set(moments))


def test_our_schedule_deletes_before_it_compacts_and_vacuums_last() -> None:
    macros = [operation.macro for operation in read_schedule()]
    assert macros == ["delete_expired", "optimize_tables", "optimize_tables", "vacuum_tables"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("operations: {a: {macro: m, at: 12:10}}", 'write the time in quotes, as "01:10"'),
        ("operations: {a: {at: '01:10'}}", "macro: Field required"),
        ("operations: {a: {macro: m, at: '01:10', weekday: someday}}", "'someday'"),
        ("operations: {a: {macro: m, at: '01:10', every: day}}", "every: Extra inputs"),
        ("operations: [a]", "expected one key, `operations`"),
        ("{", "expected one key, `operations`"),
    ],
)
def test_a_wrong_schedule_ends_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "maintenance.yml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as failure:
        read_schedule(path)
    assert reason in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_new_lakehouse_owes_nothing_and_a_run_is_remembered(tmp_path: Path) -> None:
    begun = hour(0)
    assert due(hour(0.5), read_last_runs(tmp_path, begun)) == []
    (expire, *others) = due(hour(24 * 7), read_last_runs(tmp_path, hour(24 * 7)))
    note_run(tmp_path, expire, hour(24 * 7 + 2))
    assert due(hour(24 * 7 + 3), read_last_runs(tmp_path, hour(24 * 7))) == others


class Dbt:
    """Answers with the outcomes given, and notes whether loaders could append meanwhile."""

    def __init__(self, *outcomes: bool) -> None:
        self._outcomes = list(outcomes)
        self.calls: list[tuple[list[str], bool]] = []

    def __call__(self, arguments: list[str]) -> Any:
        entered = threading.Event()

        def append() -> None:
            with APPENDS.passing():
                entered.set()

        thread = threading.Thread(target=append, daemon=True)
        thread.start()
        if not APPENDS._closed:
            thread.join()
        self.calls.append((arguments, entered.is_set()))
        return SimpleNamespace(success=self._outcomes.pop(0), exception=None, result=None)


def test_an_operation_is_a_run_operation_with_its_arguments() -> None:
    dbt = Dbt(True)
    run(Operation(name="a", macro="sweep", arguments={"full": True}, at="01:00"), dbt)
    assert dbt.calls == [(["run-operation", "sweep", "--args", '{"full": true}'], True)]


def test_one_that_is_alone_is_tried_again_while_loaders_wait() -> None:
    dbt = Dbt(False, True)
    run(Operation(name="a", macro="sweep", alone=True, at="01:00"), dbt)
    assert [could_append for _, could_append in dbt.calls] == [True, False]


class Engine:
    """A root that owes all of our schedule, two tables, and dbt that fails at what is `broken`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.broken: set[tuple[str, str | None]] = set()
        self.turns: list[list[tuple[str, str | None]]] = []
        self.stops_after = 100
        for operation in read_schedule():
            note_run(root, operation, hour(0))

    @contextmanager
    def turn(self) -> Iterator[Any]:
        self.turns.append([])
        yield self._dbt

    def _dbt(self, arguments: list[str]) -> Any:
        _, macro, _, given = arguments
        done = (macro, json.loads(given).get("table"))
        self.turns[-1].append(done)
        return SimpleNamespace(success=done not in self.broken, exception="it is locked")

    def maintain(self) -> str | None:
        return run_due(
            self.root,
            self.turn,
            lambda: ["gold.a", "gold.b"],
            lambda: len(self.turns) >= self.stops_after,
        )

    def owed(self) -> list[str]:
        now = datetime.now(UTC)
        return [operation.name for operation in due(now, read_last_runs(self.root, now))]


BOTH = [[("optimize_tables", "gold.a")], [("optimize_tables", "gold.b")]]


def test_models_are_built_between_two_tables_of_a_long_operation(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    assert engine.maintain() == "expire, compact, recluster, vacuum"
    vacuum = [[("vacuum_tables", "gold.a")], [("vacuum_tables", "gold.b")]]
    assert engine.turns == [[("delete_expired", None)], *BOTH, *BOTH, *vacuum]
    assert engine.maintain() is None


def test_an_operation_or_a_table_that_fails_keeps_back_no_other(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.broken = {("delete_expired", None), ("vacuum_tables", "gold.a")}
    with pytest.raises(MaintenanceError) as failed:
        engine.maintain()
    assert str(failed.value) == (
        "delete_expired: it is locked; vacuum_tables of gold.a: it is locked"
    )
    assert engine.turns[-1] == [("vacuum_tables", "gold.b")]
    assert engine.owed() == ["expire", "vacuum"]


def test_an_engine_that_stops_begins_no_other_table_and_owes_the_operation(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine.stops_after = 2
    assert engine.maintain() is None
    assert [done for turn in engine.turns for done in turn] == [
        ("delete_expired", None),
        ("optimize_tables", "gold.a"),
    ]
    assert engine.owed() == ["compact", "recluster", "vacuum"]


@pytest.mark.parametrize(("alone", "calls"), [(False, 1), (True, 2)])
def test_a_failure_names_the_operation_and_lets_loaders_go_on(alone: bool, calls: int) -> None:
    dbt = Dbt(False, False)
    with pytest.raises(MaintenanceError, match="sweep"):
        run(Operation(name="a", macro="sweep", alone=alone, at="01:00"), dbt)
    assert len(dbt.calls) == calls
    with APPENDS.passing():
        pass


def test_who_is_alone_waits_for_those_inside_and_keeps_others_out() -> None:
    gate, order = Gate(), []
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with gate.passing():
            inside.set()
            leave.wait()
            order.append("first left")

    def alone() -> None:
        with gate.alone():
            order.append("alone")

    def late() -> None:
        with gate.passing():
            order.append("late")

    threads = [threading.Thread(target=first)]
    threads[0].start()
    inside.wait()
    threads.append(threading.Thread(target=alone))
    threads[1].start()
    while not gate._closed:
        pass
    threads.append(threading.Thread(target=late))
    threads[2].start()
    leave.set()
    for thread in threads:
        thread.join()
    assert order == ["first left", "alone", "late"]


def test_who_asks_again_has_its_turn_after_those_who_wait() -> None:
    turns, order = Turns(), []
    asked = threading.Event()

    def other() -> None:
        asked.set()
        with turns:
            order.append("other")

    thread = threading.Thread(target=other)
    with turns:
        thread.start()
        asked.wait()
        while len(turns._asked) < 2:
            pass
        order.append("first")
    with turns:
        order.append("first again")
    thread.join()
    assert order == ["first", "other", "first again"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("io.delta.exceptions.ConcurrentAppendException: [DELTA_CONCURRENT_APPEND] …", True),
        ("[DELTA_METADATA_CHANGED] The metadata of the table has been changed", True),
        ("java.util.ConcurrentModificationException: x", True),
        ("[TABLE_OR_VIEW_NOT_FOUND] The table cannot be found", False),
        ("[DIVIDE_BY_ZERO] Division by zero", False),
    ],
)  # fmt: skip
def test_conflicts_are_told_from_other_errors(message: str, expected: bool) -> None:
    assert is_conflict(RuntimeError(message)) is expected


def test_conflicts_are_retried_with_growing_pauses_and_the_last_is_raised() -> None:
    pauses: list[float] = []

    def deed() -> None:
        raise RuntimeError("DELTA_CONCURRENT_DELETE_READ")

    with pytest.raises(RuntimeError, match="DELETE_READ"):
        retry_conflicts(deed, attempts=4, pause_seconds=1, sleep=pauses.append)
    assert [pause <= 2**number and pause >= 2 ** (number - 1) for number, pause in
            enumerate(pauses, start=1)] == [True] * 3  # fmt: skip


def test_another_error_is_not_retried() -> None:
    calls = []

    def deed() -> None:
        calls.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retry_conflicts(deed, sleep=lambda _: None)
    assert len(calls) == 1
