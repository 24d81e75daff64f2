"""How benchmarks hold alerts against what was scripted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bench.scripted import Alert, Scripted, judge, show

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
END = START + timedelta(hours=3)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def incident(first: float, last: float, layer: str = "edge") -> Scripted:
    return Scripted("edge_slow", "E", at(first), at(last), layer)


def alert(
    minutes: float, rule: str = "r", layer: str = "edge", severity: str = "critical"
) -> Alert:
    return Alert(rule, "E", layer, severity, at(minutes))


def test_an_alert_is_of_the_incident_in_whose_time_or_aftermath_it_fired() -> None:
    first, second = incident(10, 20), incident(60, 70)
    judged, false = judge([first, second], [alert(80), alert(81), alert(12), alert(59)], END)
    assert [(each.incident, each.alerts) for each in judged] == [
        (first, [alert(12)]),
        (second, [alert(80)]),
    ]
    assert false == [alert(59), alert(81)]


def test_the_first_alert_says_when_and_where() -> None:
    alerts = [alert(14, layer="isp"), alert(13, "b"), alert(13, "a", "isp", "warning")]
    ((judged,), _) = judge([incident(10, 20)], alerts, END)
    assert [each.rule for each in judged.alerts] == ["b", "a", "r"]
    assert (judged.minutes, judged.is_right) == (3, True)


def test_where_nothing_is_broken_nothing_is_to_be_found() -> None:
    judged, false = judge([incident(10, 20, layer="")], [alert(12)], END)
    assert judged == []
    assert false == [alert(12)]


def test_what_fires_after_the_simulation_counts_for_nothing() -> None:
    assert judge([], [alert(181)], END) == ([], [])


def test_goals_are_told_met_or_missed(capsys: pytest.CaptureFixture[str]) -> None:
    judged, false = judge([incident(10, 20), incident(60, 70)], [alert(12), alert(5)], END)
    show(judged, false, at(10), median_minutes=2)
    said = capsys.readouterr().out
    assert "recall: 0.5 (goal: at least 0.95): missed by 0.45" in said
    assert "precision: 0.5 (goal: at least 0.9): missed by 0.4" in said
    assert "right layer: 1 (goal: at least 0.9): met" in said
    assert "onset to alert, median: 2 min (goal: at most 2 min): met" in said
    assert "alerts before the first incident: 1 (goal: at most 0): missed by 1" in said
