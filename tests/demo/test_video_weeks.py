"""Viewers over weeks: what is done to them has the effects that were found of real ones."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from statistics import mean

import pytest

from demo.video import audience, weeks

START = datetime(2026, 3, 1, tzinfo=UTC)
LOST = 0.5


@pytest.fixture(scope="module")
def sessions() -> list[weeks.Session]:
    return list(weeks.sessions(1, 3000, START, 60, LOST))


def test_the_same_seed_gives_the_same_sessions(sessions: list[weeks.Session]) -> None:
    again = list(weeks.sessions(1, 50, START, 60, LOST))
    assert again == sessions[: len(again)]


def test_nobody_leaves_within_two_seconds_and_each_further_one_loses_its_share(
    sessions: list[weeks.Session],
) -> None:
    waited = [
        (each.ended_at - each.started_at).total_seconds()
        for each in sessions
        if each.startup_ms is None and not each.is_failed
    ]
    assert min(waited) >= audience.PATIENCE_S
    started = [each.startup_ms / 1000 for each in sessions if each.startup_ms is not None]
    # of those who had to wait so long, who left in the second after
    for second in (2, 4, 6):
        left = sum(second <= each < second + 1 for each in waited)
        there = sum(each >= second for each in waited) + sum(each >= second for each in started)
        still = 1 - audience.ABANDONED_PER_S * (second - 2)
        # some of them start within the second
        assert 0.4 < left / there / (audience.ABANDONED_PER_S / still) < 1.2


def test_a_percent_of_stalls_costs_five_percent_of_the_play(
    sessions: list[weeks.Session],
) -> None:
    whole = [each for each in sessions if each.startup_ms is not None and not each.is_failed]
    for each in whole:
        stalled = sum(each.stalls_ms) / 1000 / each.video.duration_s
        kept = max(0.0, 1 - 5 * stalled)
        assert each.played_s == pytest.approx(each.intended_s * kept, abs=1.1)
    assert any(each.stalls_ms for each in whole)


def test_a_failure_costs_its_share_of_the_returns(sessions: list[weeks.Session]) -> None:
    kept = {
        failed: mean(
            each.returns / each.viewer.return_probability
            for each in sessions
            if each.is_failed is failed
        )
        for failed in (True, False)
    }
    assert kept[False] == pytest.approx(1, abs=0.03)
    assert kept[True] == pytest.approx(1 - LOST, abs=0.05)


def test_a_viewers_day_sums_the_sessions_that_began_on_it(sessions: list[weeks.Session]) -> None:
    rows = weeks.viewer_days(sessions)
    began = Counter((each.days[0], each.viewer.user_id) for each in sessions)
    touched = {(day, each.viewer.user_id) for each in sessions for day in each.days}
    assert {(row["session_date"], row["user_id"]): row["attempts"] for row in rows} == {
        key: began[key] for key in touched
    }
    assert sum(row["played_s"] for row in rows) == sum(each.played_s for each in sessions)
    for row in rows:
        outcomes = ("plays", "exits_before_start", "start_failures_technical")
        assert row["attempts"] == sum(row[name] for name in outcomes)
        assert row["startups"] == sum(entry["count"] for entry in row["startup_histogram"])
