"""The minutes of a service that demo-ml foretells trouble of."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from demo.cohorts import (
    END_MINUTES,
    MINUTE,
    PLACES,
    STALLS_FROM,
    START,
    activity,
    troubles,
    windows,
)

HOURS = 4


def test_the_same_seed_gives_the_same_minutes() -> None:
    some = troubles(1, HOURS)
    assert activity(1, HOURS, some) == activity(1, HOURS, some)
    assert activity(1, HOURS, some) != activity(2, HOURS, some)


def test_troubles_follow_one_another_and_the_last_ends_shortly_before_the_end() -> None:
    some = troubles(1, 30)
    assert all(a.end < b.onset for a, b in pairwise(some))
    assert some[-1].end == START + timedelta(hours=30) - END_MINUTES * MINUTE


def test_bit_rates_fall_before_viewers_stall_and_only_where_it_gets_slower() -> None:
    some = troubles(3, HOURS)
    early = {True: [], False: []}
    for row in activity(3, HOURS, some):
        cell = (row["edge"], row["isp"], row["device_type"])
        for trouble in some:
            if trouble.onset <= row["minute"] < trouble.end:
                is_hit = cell[PLACES[trouble.kind]] == trouble.name
                assert (trouble.share(row["minute"], cell) > 0) is is_hit
                if not is_hit or trouble.share(row["minute"], cell) < STALLS_FROM:
                    early[is_hit].append(row)
    bitrate, stalls = (
        {
            hit: sum(row[top] for row in rows) / sum(row[bottom] for row in rows)
            for hit, rows in early.items()
        }
        for top, bottom in (("played_bits", "rated_s"), ("stalled_viewers", "viewers"))
    )
    assert bitrate[True] < 0.95 * bitrate[False]
    assert stalls[True] < 0.02


def test_windows_say_what_the_minutes_say() -> None:
    rows = activity(1, 1, [])
    found = windows(rows)
    at = START + 10 * MINUTE
    own = [
        row for row in rows if row["edge"] == "FRA56-P3" and at <= row["minute"] < at + 5 * MINUTE
    ]
    (stalls,) = (
        row
        for row in found
        if (row["window_start"], row["cohort"], row["metric"])
        == (at, "FRA56-P3", "rebuffering_share")
    )
    stalled = sum(row["stalled_ms"] for row in own)
    assert stalls["value"] == stalled / (1000 * sum(row["played_s"] for row in own) + stalled)
    assert {row["window_start"] for row in found} == {START + n * MINUTE for n in range(56)}
