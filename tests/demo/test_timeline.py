"""The time line that the demo prints of an incident."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from demo.video.timeline import STAGES, timeline

ONSET = datetime(2026, 1, 31, 18, 10, tzinfo=UTC)


def after(**seconds: float) -> dict[str, datetime]:
    return {stage: ONSET + timedelta(seconds=each) for stage, each in seconds.items()}


def test_stages_stand_in_a_row_with_their_distance_from_the_onset() -> None:
    moments = after(
        onset=0,
        first_breach=60,
        fired=245,
        notified=251.4,
        remediated=252,
        moved=300,
        resolved=3725,
    )
    details = {"fired": "edge_errors, FRA56-P3", "resolved": "no window for 5 minutes"}
    assert timeline("FRA56-P3 is slow", moments, details) == [
        "FRA56-P3 is slow, 2026-01-31",
        "  18:10:00     +0:00  it begins",
        "  18:11:00     +1:00  first window out of bounds",
        "  18:14:05     +4:05  the alert fires             edge_errors, FRA56-P3",
        "  18:14:11     +4:11  SNS has told it",
        "  18:14:12     +4:12  the edge's weight is 0",
        "  18:15:00     +5:00  traffic is elsewhere",
        "  19:12:05  +1:02:05  the alert is resolved       no window for 5 minutes",
    ]


def test_what_has_not_come_stands_at_the_end() -> None:
    lines = timeline("x", {**after(onset=0, fired=60), "resolved": None})
    assert [line.split("  ")[-1] for line in lines[1:3]] == ["it begins", "the alert fires"]
    assert [line[2:9] for line in lines[3:]] == ["not yet"] * 5
    assert len(lines) == 1 + len(STAGES)


def test_what_came_out_of_turn_is_seen() -> None:
    lines = timeline("x", after(onset=0, first_breach=-30, fired=20, remediated=10, notified=20))
    assert [line[22:].strip() for line in lines[1:6]] == [
        "first window out of bounds",
        "it begins",
        "the edge's weight is 0",
        "the alert fires",
        "SNS has told it",
    ]
    assert lines[1].split()[1] == "-0:30"


def test_a_time_line_needs_an_onset_and_knows_its_stages() -> None:
    with pytest.raises(ValueError, match="begins with the onset"):
        timeline("x", after(fired=1))
    with pytest.raises(ValueError, match="no stage 'healed'; there are onset, first_breach"):
        timeline("x", after(onset=0, healed=1))
