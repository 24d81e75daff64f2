"""What is known of viewers when a day begins, of weeks of viewing that arrive in no order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from video_lakehouse import contents, versions
from viewers_reference import viewer_profile

from demo.video import weeks

Row = dict[str, Any]
START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS, BATCHES = 42, 4
LATE, LATE_LOGS = 0.1, 0.3
PROFILE = ("--select", "viewer_profile")
TABLES = ("viewer_profile",)
SCHEMAS = {
    "gold.viewer_experience": (
        "session_date date, user_id string, last_event_at timestamp, attempts bigint,"
        " plays bigint, exits_before_start bigint, start_failures_technical bigint,"
        " failed_plays bigint, startups bigint, startups_over_2s bigint, startups_over_10s bigint,"
        " startup_histogram array<struct<bucket:int,count:bigint>>, played_s bigint,"
        " played_bits bigint, rated_s bigint, stalls bigint, stalled_ms bigint, seeking_ms bigint,"
        " sessions_with_3_stalls bigint, last_attempt_failed boolean, last_attempt_stalls bigint,"
        " last_attempt_startup_ms bigint, _batch_id bigint"
    ),
    "silver.playback_session_days": "session_date date, user_id string, video_id string",
    "gold.viewer_places": (
        "activity_date date, user_id string, device_type string, connection_type string,"
        " app_version string, isp string, country string, is_bot boolean, _batch_id bigint,"
        " _logs_batch_id bigint"
    ),
}


class Inputs:
    """The tables that a profile is formed of, as they stand after some of the batches."""

    def __init__(self, arrivals: Sequence[tuple[weeks.Session, int, int]], batch: int) -> None:
        """`arrivals`: sessions with the batches of their events and of their log rows."""
        arrived = [each for each in arrivals if each[1] <= batch]
        sessions = [session for session, *_ in arrived]
        events: dict[tuple[date, str], list[int]] = defaultdict(list)
        logs: dict[tuple[date, str], list[int]] = defaultdict(list)
        for session, of_events, of_logs in arrived:
            for day in session.days:
                key = (day, session.viewer.user_id)
                events[key].append(of_events)
                logs[key] += [of_logs] if of_logs <= batch else []
        self.viewer_days = [
            row | {"_batch_id": max(events[row["session_date"], row["user_id"]])}
            for row in weeks.viewer_days(sessions)
        ]
        self.video_days = weeks.video_days(sessions)
        self.places = []
        for row in weeks.places(sessions):
            key = (row["activity_date"], row["user_id"])
            known = {} if logs[key] else {"isp": None, "country": None, "is_bot": False}
            batches = {
                "_batch_id": max(events[key]),
                "_logs_batch_id": max(logs[key], default=None),
            }
            self.places.append(row | known | batches)

    def write(self, spark: Any) -> None:
        rows = (self.viewer_days, self.video_days, self.places)
        for (table, schema), some in zip(SCHEMAS.items(), rows, strict=True):
            frame = spark.createDataFrame(some, schema)
            frame.write.format("delta").mode("overwrite").saveAsTable(table)

    @property
    def expected(self) -> dict[tuple[date, str], Row]:
        return viewer_profile(self.viewer_days, self.video_days, self.places)


@pytest.fixture(scope="module")
def arrivals() -> list[tuple[weeks.Session, int, int]]:
    """Of each two weeks a batch; some events come later, and more of the log."""
    chance, found = Random(1), []
    for session in weeks.sessions(9, 90, START, DAYS, 0.1):
        due = (session.days[0] - START.date()).days * (BATCHES - 1) // DAYS
        of_events = chance.randint(due, BATCHES - 1) if chance.random() < LATE else due
        of_logs = BATCHES - 1 if chance.random() < LATE_LOGS else of_events
        found.append((session, of_events, of_logs))
    return found


@pytest.fixture(scope="module")
def profiled(
    spark: Any,
    dbt: Callable[..., Any],
    shared_lakehouse: Path,
    arrivals: list[tuple[weeks.Session, int, int]],
) -> Inputs:
    """viewer_profile, built of the first batch and brought up to date by the others."""
    for batch in range(BATCHES):
        inputs = Inputs(arrivals, batch)
        inputs.write(spark)
        dbt("run", *PROFILE)
    return inputs


def rows(spark: Any) -> dict[tuple[date, str], Row]:
    found = [row.asDict() for row in spark.table("gold.viewer_profile").collect()]
    keyed = {(row["profile_date"], row["user_id"]): row for row in found}
    assert len(keyed) == len(found)
    return keyed


def test_a_profile_is_that_of_the_slow_reference(spark: Any, profiled: Inputs) -> None:
    found, expected = rows(spark), profiled.expected
    assert set(found) == set(expected)
    for key, row in expected.items():
        for name, value in row.items():
            is_number = isinstance(value, float)
            assert found[key][name] == (pytest.approx(value) if is_number else value), (key, name)
    # one of a hundred viewers is a bot
    for name in next(iter(expected.values())).keys() - {"is_bot"}:
        assert len({row[name] for row in expected.values()}) > 1, name


def test_an_incremental_profile_equals_a_full_refresh(
    spark: Any, dbt: Callable[..., Any], profiled: Inputs
) -> None:
    before = contents(spark, "gold", TABLES)
    at = versions(spark, "gold", TABLES)
    dbt("run", *PROFILE)
    assert versions(spark, "gold", TABLES) == at
    dbt("run", *PROFILE, "--full-refresh")
    assert contents(spark, "gold", TABLES) == before


def test_a_late_session_changes_the_profiles_of_its_viewer_in_the_four_weeks_after_alone(
    spark: Any,
    dbt: Callable[..., Any],
    profiled: Inputs,
    arrivals: list[tuple[weeks.Session, int, int]],
) -> None:
    before = rows(spark)
    number = next(n for n, (each, *_) in enumerate(arrivals) if each.days[0] >= date(2026, 3, 12))
    session = arrivals[number][0]
    again = [*arrivals, (session, BATCHES, BATCHES)]
    Inputs(again, BATCHES).write(spark)
    dbt("run", *PROFILE)
    after = rows(spark)
    changed = {key for key in after if after[key] != before.get(key)}
    last = session.days[-1] + timedelta(days=28)
    assert changed
    assert {user_id for _, user_id in changed} == {session.viewer.user_id}
    assert all(session.days[0] < day <= last for day, _ in changed)
    Inputs(arrivals, BATCHES - 1).write(spark)
    dbt("run", *PROFILE, "--full-refresh")
    assert rows(spark) == before


def longer(session: weeks.Session, day: date) -> weeks.Session:
    """What runs when a day begins runs for longer, and fails."""
    if session.days[-1] < day:
        return session
    ended_at = session.ended_at + timedelta(hours=2)
    return replace(session, ended_at=ended_at, stalls_ms=(60_000,) * 3, is_failed=True)


def test_a_profile_knows_nothing_of_its_day_or_later(
    spark: Any,
    dbt: Callable[..., Any],
    profiled: Inputs,
    arrivals: list[tuple[weeks.Session, int, int]],
) -> None:
    """From a day on other sessions take place; what runs over its beginning goes on for longer."""
    running = [each for each, *_ in arrivals if len(each.days) > 1]
    day = max(each.days[-1] for each in running)
    others = [each for each in weeks.sessions(6, 90, START, DAYS, 0.1) if each.days[0] >= day]
    begun = [(longer(each, day), *batches) for each, *batches in arrivals if each.days[0] < day]
    Inputs([*begun, *((each, 0, 0) for each in others)], BATCHES).write(spark)
    before = {key: row for key, row in rows(spark).items() if key[0] <= day}
    dbt("run", *PROFILE, "--full-refresh")
    after = rows(spark)
    assert {key for key in after if key[0] > day}
    assert {key: row for key, row in after.items() if key[0] <= day} == before
