"""How the benchmark of points of failure holds warnings against what was scripted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from bench.point_of_failure import (
    World,
    alarms,
    average_precisions,
    episodes,
    false_a_day,
    risks,
    rules_broken,
    warned,
)
from bench.scripted import Alert
from demo.video.incidents import Incident

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(minutes: float, start: datetime = START) -> datetime:
    return start + timedelta(minutes=minutes)


def world(*spans: tuple[float, float], start: datetime = START, seed: int = 1) -> World:
    """Ten hours, an incident in each span of minutes."""
    incidents = [
        Incident(
            "edge_slow",
            int(at(first, start).timestamp() * 1000),
            int(at(last, start).timestamp() * 1000),
            {"edge": "E"},
        )
        for first, last in spans
    ]
    return World(seed, start, at(600, start), incidents)


def alert(minutes: float, rule: str) -> Alert:
    return Alert(rule, "E", "edge", "critical", at(minutes))


def test_moments_within_ten_minutes_are_one_episode() -> None:
    moments = [at(30), at(0), at(10), at(20), at(41)]
    assert episodes(moments) == [(at(0), at(30)), (at(41), at(41))]


def test_alarms_are_false_that_no_incident_nor_its_aftermath_is_the_reason_of() -> None:
    some = world((100, 120))
    days = (600 - 50) / 1440
    # the first is in the minutes by which alone it is known what is usual
    for minutes, number in (([20], 0), ([99], 1), ([99, 100], 0), ([130], 0), ([131, 135], 1)):
        assert round(false_a_day(map(at, minutes), [some]) * days, 9) == number, minutes


def test_an_incident_has_its_first_warning_and_its_first_alerts() -> None:
    alerts = [alert(99, "other"), alert(117, "foretold"), alert(112, "other")]
    first, second = warned(
        world((100, 120), (300, 310)), [at(98), at(104), at(108)], alerts, {"foretold"}
    )
    assert (first.warned_at, first.fired_at, first.broken_at) == (at(104), at(112), at(117))
    assert first.lead(first.fired_at) == 8
    assert (second.warned_at, second.fired_at, second.broken_at) == (None, None, None)
    assert second.lead(at(300)) is None


def test_a_world_is_warned_by_the_threshold_of_the_others() -> None:
    other_start = START + timedelta(days=1)
    worlds = [world((100, 120)), world((200, 220), start=other_start, seed=2)]
    minutes = [at(n, each.start) for each in worlds for n in range(600)]
    risk = pd.Series(0.1, index=pd.DatetimeIndex(minutes))
    risk[at(110)] = 0.5
    # for nothing, more often than is borne
    for n in range(300, 600, 20):
        risk[at(n, other_start)] = 0.4
    found = alarms(risk, worlds)
    assert found[1] == [at(110)]


def test_a_risk_is_the_mean_of_its_cohorts_by_viewers() -> None:
    scored = pd.DataFrame(
        [
            (at(0), "FRA", "North", "tv", 0.5, 100),
            (at(0), "FRA", "South", "tv", 0.1, 300),
            (at(0), "AMS", "South", "tv", 0.9, 24),
        ],
        columns=["minute", "edge", "isp", "device_type", "score", "viewers_5"],
    )
    found = risks(scored, "score").set_index(["cohort_kind", "cohort"])["risk"]
    assert found["edge", "FRA"] == 0.2
    assert ("edge", "AMS") not in found  # too few viewers
    assert found["isp", "South"] == (0.1 * 300 + 0.9 * 24) / 324


def test_rules_of_cells_are_those_broken_in_the_window_that_ended_a_minute_before() -> None:
    rules = pd.DataFrame(
        [("e", "edge"), ("a", "all"), ("d", "app_version, device_type"), ("v", "video_id")],
        columns=["rule", "cohort_kind"],
    )
    judgements = pd.DataFrame(
        [
            (at(0), "e", [{"cohort": "FRA"}]),
            (at(0), "a", []),
            (at(0), "d", [{"cohort": "1.0, tv"}]),
            (at(0), "v", [{"cohort": "FRA"}]),
            (at(1), "a", [{"cohort": "all"}]),
        ],
        columns=["window_start", "rule", "breaches"],
    )
    cells = pd.DataFrame(
        [(at(6), "FRA", "N", "tv"), (at(6), "AMS", "N", "phone"), (at(7), "AMS", "N", "tv")],
        columns=["minute", "edge", "isp", "device_type"],
    )
    assert rules_broken(cells, judgements, rules).tolist() == [2, 0, 1]


def test_a_perfect_score_has_an_average_precision_of_one_and_gains_over_chance() -> None:
    outcome = np.arange(600) % 3 == 0
    scored = pd.DataFrame(
        {
            "minute": [at(n) for n in range(600)],
            "outcome": outcome,
            "good": outcome * 1.0,
            "poor": np.zeros(600),
        }
    )
    precisions, (gain, low, high) = average_precisions(scored, ["good", "poor"], 1)
    assert precisions["good"] == (1, 1, 1)
    assert precisions["poor"][0] == outcome.mean()
    assert 0 < low <= gain <= high
