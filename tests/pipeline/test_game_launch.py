"""The rows of a real game's launch, through the SQL of the project: retention and daily players.

They are not ours and not kept here: GAMES_SAMPLES names a folder with `gamelaunch.csv`, out of the
R package PeerChristensen/cohorts (`userid`, `eventDate`, `eventName`; a row an event, by day).
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import games_reference as games
import pytest

from loaders.bronze import ensure_tables
from loaders.destinations import destination_of
from loaders.feeds import read_feeds
from loaders.run import kind_of_feed

pytestmark = pytest.mark.skipif(
    "GAMES_SAMPLES" not in os.environ,
    reason="GAMES_SAMPLES names no folder with a real launch's rows (they are not ours)",
)
OURS = {"gameStarted": "session_start", "newPlayer": "player_registered"}


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, date, str]]:
    path = Path(os.environ.get("GAMES_SAMPLES", "")) / "gamelaunch.csv"
    with path.open(newline="") as lines:
        return [
            (row["userid"], date.fromisoformat(row["eventDate"]), row["eventName"])
            for row in csv.DictReader(lines)
        ]


@pytest.fixture(scope="module")
def days(rows: list[tuple[str, date, str]]) -> dict[str, set[date]]:
    """The days on which each player played."""
    found = defaultdict(set)
    for player, day, _ in rows:
        found[player].add(day)
    return found


@pytest.fixture(scope="module")
def built(
    spark: Any,
    dbt: Callable[..., Any],
    shared_lakehouse: Path,
    rows: list[tuple[str, date, str]],
) -> None:
    feed = read_feeds()["game_events"]
    ensure_tables(spark, destination_of(feed), kind_of_feed(feed))
    games.append_batch(spark, [as_event(number, *row) for number, row in enumerate(rows)], 0)
    dbt("run", "--select", "+players_daily", "+retention_cohorts")


def as_event(number: int, player: str, day: date, name: str) -> games.Event:
    """As the ingest service would have passed it on at the end of the day."""
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    return {
        "event_id": str(number),
        "event_type": OURS[name],
        "event_version": 1,
        "event_timestamp": at,
        "ingest_ts": at,
        "studio_id": "launch",
        "application_id": "game",
        "player_id": player,
        "event_data": {},
    }


def test_each_cohort_comes_back_as_it_did_and_none_is_counted_for_days_after_the_data(
    spark: Any, built: None, days: dict[str, set[date]]
) -> None:
    last = max(map(max, days.values()))
    cohorts = defaultdict(list)
    for played in days.values():
        cohorts[min(played)].append(played)
    expected = {
        (first, number, len(cohort), sum(first + timedelta(number) in played for played in cohort))
        for first, cohort in cohorts.items()
        for number in range((last - first).days + 1)
    }
    found = spark.sql(
        "select cohort_date, day_number, players, active_players from gold.retention_cohorts"
    ).collect()
    assert {tuple(row) for row in found} == expected
    assert len(found) == len(expected)


def test_retention_is_that_of_the_launch(spark: Any, built: None) -> None:
    retention = spark.sql("""
        select day_number, round(100 * sum(active_players) / sum(players), 1) as percent
        from gold.retention_cohorts where day_number in (1, 3, 7) group by day_number
    """).collect()
    assert dict(map(tuple, retention)) == {1: 56.7, 3: 39.7, 7: 29.2}


def test_daily_players_are_those_of_the_launch(
    spark: Any, built: None, days: dict[str, set[date]]
) -> None:
    def within(day: date, number: int) -> int:
        return sum(
            any(timedelta(0) <= day - each < timedelta(number) for each in played)
            for played in days.values()
        )

    rows = spark.sql(
        "select activity_date, dau, wau, mau, new_players from gold.players_daily"
    ).collect()
    firsts = [min(played) for played in days.values()]
    assert {tuple(row) for row in rows} == {
        (day, within(day, 1), within(day, 7), within(day, 30), firsts.count(day))
        for day in set().union(*days.values())
    }
    dau = {row["activity_date"]: row["dau"] for row in rows}
    assert max(dau, key=lambda day: dau[day]) == date(2016, 5, 5)
    assert dau[date(2016, 5, 5)] == 1135
    assert dau[max(dau)] == 733
