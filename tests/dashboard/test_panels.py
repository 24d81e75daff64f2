"""What a person reads in the panels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest

from dashboard.charts import LANES, lane_spans
from dashboard.content import spark_points
from dashboard.metrics import CDN, PLAYBACK, show, show_age, show_change, show_time
from dashboard.panels.models import verdict_of as verdict_of_drift
from dashboard.panels.places import steps_of
from dashboard.panels.tiles import beside_of, verdict_of
from dashboard.schemes import SCHEMES

AT = datetime(2026, 5, 30, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "share", "-"),
        (0.0123, "share", "1.23 %"),
        (0.42, "share", "42.0 %"),
        (1234.5, "ms", "1,234 ms"),
        (812, "bps", "812 bit/s"),
        (4_560_000, "bps", "4.56 Mbit/s"),
        (999_600, "bps", "1 Mbit/s"),
        (12_300_000_000, "bytes", "12.3 GB"),
        (12_345, "number", "12,345"),
        (3.25, "number", "3.2"),
        (3.0, "number", "3"),
    ],
)
def test_values_have_their_unit(value, unit, text):
    assert show(value, unit) == text


def test_changes_say_which_way():
    assert [show_change(*pair) for pair in ((12, 10), (9, 10), (10, 10), (1, 0), (None, 1))] == [
        "+20 %",
        "-10 %",
        "± 0 %",
        "",
        "",
    ]


def test_times_of_other_days_have_the_day():
    assert show_time(AT) == "30 May 18:00"
    assert show_time(None) == "-"
    assert len(show_time(datetime.now(UTC))) == len("18:00")


def test_ages_have_the_largest_unit_that_tells():
    assert [show_age(seconds) for seconds in (-3, 59, 119, 120, 7199, 7200, 200_000)] == [
        "0 s",
        "59 s",
        "119 s",
        "2 min",
        "120 min",
        "2 h",
        "2 d",
    ]


def row(value, baseline=10.0, deviation=1.0):
    return {"value": value, "baseline": baseline, "deviation": deviation}


def test_more_than_three_deviations_on_the_bad_side_are_bad():
    up, down, neither = (
        PLAYBACK["rebuffering_share"],
        PLAYBACK["bitrate_bps"],
        CDN["client_abort_share"],
    )
    assert [verdict_of(row(value), up) for value in (13, 13.1, 6.9)] == ["", "bad", "good"]
    assert [verdict_of(row(value), down) for value in (13.1, 6.9)] == ["good", "bad"]
    assert verdict_of(row(99), neither) == ""
    assert verdict_of(row(99, baseline=None, deviation=None), up) == ""
    assert verdict_of(row(99, deviation=0.0), up) == ""


def test_beside_a_quantile_stand_the_others_of_the_same_five_minutes():
    rows = [
        {
            "window_start": AT - timedelta(minutes=ago),
            "metric": f"startup_p{share}_ms",
            "value": value,
        }
        for ago, share, value in ((5, 50, 600), (5, 95, 2000), (5, 99, 4100), (10, 50, 1))
    ]
    assert beside_of(PLAYBACK["startup_p95_ms"], rows, AT) == ["p50 600 ms", "p99 4,100 ms"]
    assert beside_of(PLAYBACK["startup_p95_ms"], [], AT) == []
    assert beside_of(PLAYBACK["bitrate_bps"], rows, AT) == []


def test_drift_is_little_some_or_much():
    assert [verdict_of_drift(index) for index in (0.1, 0.11, 0.25, 0.26)] == [
        "little",
        "some",
        "some",
        "much",
    ]


def test_the_worse_the_deeper_the_shade():
    values = {"a": 0.0, "b": 0.5, "c": 1.0}
    assert steps_of(values, "up", 5) == {"a": 0, "b": 2, "c": 4}
    assert steps_of(values, "down", 5) == {"a": 4, "b": 2, "c": 0}
    assert steps_of(values, "", 5) == {"a": 0, "b": 2, "c": 4}
    assert steps_of({"a": 7.0}, "up", 5) == {"a": 0}
    assert steps_of({}, "up", 5) == {}


def test_a_sparkline_spans_its_box():
    assert spark_points([5]) == ""
    points = [tuple(map(float, each.split(","))) for each in spark_points([1, 3, 2]).split()]
    assert [x for x, _ in points] == [0, 50, 100]
    assert [y for _, y in points] == [24, 2, 13]


def event(kind, second, time_ms=None, buffer_type=None):
    return {
        "type": kind,
        "event_at": AT + timedelta(seconds=second),
        "time_ms": time_ms,
        "buffer_type": buffer_type,
    }


def test_a_timeline_joins_seconds_and_dates_waits_back():
    spans = lane_spans(
        [
            event("play", 0),
            event("firstframe", 2, 1500),
            event("buffer", 2, 1500, "firstbuffer"),
            event("stream", 3),
            event("stream", 4),
            event("stream", 5),
            event("buffer", 12, 4000, "screenfreezedbuffer"),
            event("stream", 13),
            event("seek", 20, 300),
            event("error", 21),
        ]
    )
    told = {
        (lane, (start - AT).total_seconds(), (end - AT).total_seconds())
        for lane, start, end, _ in spans
    }
    assert told == {
        ("start", 0.5, 2),
        ("playing", 3, 6),
        ("stall", 8, 12),
        ("playing", 13, 14),
        ("seek", 19.7, 20.7),
        ("error", 21, 22),
    }
    assert {lane for lane, *_ in told} <= set(LANES)


def luminance(colour):
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_what_charts_draw_stands_out(scheme):
    for text in (scheme.ink, scheme.muted):
        assert contrast(text, scheme.paper) >= 4.5, text
    for line in (scheme.line, scheme.alert, scheme.good, scheme.second, scheme.usual):
        assert contrast(line, scheme.paper) >= 3, line
    for one, other in combinations(scheme.steps, 2):
        assert one != other
    levels = [luminance(step) for step in scheme.steps]
    assert levels in (sorted(levels), sorted(levels, reverse=True))
