"""A slow, plain reference of what is known of a viewer when a day begins: gold.viewer_profile."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

Row = dict[str, Any]
PLACES = ("device_type", "connection_type", "app_version", "isp", "country", "is_bot")


def viewer_profile(
    viewer_days: Sequence[Row], video_days: Iterable[Row], places: Iterable[Row]
) -> dict[tuple[date, str], Row]:
    """By (day, viewer) what is known of whoever reported anything in the week before the day.

    Args:
        viewer_days, video_days, places: rows of gold.viewer_experience, the keys of
            silver.playback_session_days, rows of gold.viewer_places.
    """
    days_of = _by_viewer(viewer_days, "session_date", lambda row: row)
    videos_of = _by_viewer(video_days, "session_date", lambda row: row["video_id"])
    places_of = _by_viewer(places, "activity_date", lambda row: row)
    newest = max(row["session_date"] for row in viewer_days)
    found = {}
    for user_id, days in days_of.items():
        for offset in range((newest - min(days)).days):
            day = min(days) + timedelta(days=offset + 1)
            ago = {n: days[day - timedelta(days=n)][0] for n in _days_ago(day, days)}
            if min(ago, default=8) <= 7:
                seen = [
                    places_of[user_id][day - timedelta(days=n)][0]
                    for n in reversed(_days_ago(day, places_of[user_id]))
                ]
                videos = {
                    video
                    for n in _days_ago(day, videos_of[user_id])
                    for video in videos_of[user_id][day - timedelta(days=n)]
                }
                found[day, user_id] = {
                    **_profile(day, ago),
                    "videos_28": len(videos),
                    **{name: _last_known(seen, name) for name in PLACES},
                }
    return found


def _by_viewer(
    rows: Iterable[Row], day: str, value: Callable[[Row], Any]
) -> dict[str, dict[date, list[Any]]]:
    found: dict[str, dict[date, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["user_id"]][row[day]].append(value(row))
    return found


def _days_ago(day: date, days: Iterable[date]) -> list[int]:
    return [n for n in range(1, 29) if day - timedelta(days=n) in days]


def _last_known(rows: Sequence[Row], name: str) -> Any:
    return next((row[name] for row in reversed(rows) if row[name] is not None), None)


def _profile(day: date, ago: dict[int, Row]) -> Row:
    """By how many days ago → what stands of that day."""
    begins = datetime.combine(day, time(), UTC) - timedelta(minutes=30)
    over = {
        n: row
        for n, row in ago.items()
        if row["last_event_at"] is None or row["last_event_at"] < begins
    }
    bad = [
        n
        for n, row in over.items()
        if row["startups_over_10s"]
        or row["sessions_with_3_stalls"]
        or row["start_failures_technical"]
        or row["failed_plays"]
    ]
    last = over[min(tried)] if (tried := [n for n, row in over.items() if row["attempts"]]) else {}
    minutes = [over[n]["played_s"] / 60 if n in over else 0.0 for n in range(28, 0, -1)]
    fields = {
        "days_since_seen": min(ago),
        "tenure_days": max(ago),
        "active_days_7": sum(n <= 7 for n in ago),
        "active_days_7_before": sum(7 < n <= 14 for n in ago),
        "active_days_28": len(ago),
        "watch_minutes_7_before": sum(minutes[14:21]),
        "watch_slope_28": _slope(minutes),
        "days_since_bad_session": min(bad, default=None),
        "last_attempt_failed": int(last["last_attempt_failed"]) if last else None,
        "last_attempt_stalls": last.get("last_attempt_stalls"),
        "last_attempt_startup_ms": last.get("last_attempt_startup_ms"),
    }
    for days in (7, 28):
        quality = _quality([row for n, row in over.items() if n <= days])
        fields |= {f"{name}_{days}": value for name, value in quality.items()}
    return fields


def _quality(rows: Sequence[Row]) -> Row:
    def total(name: str) -> int:
        return sum(row[name] for row in rows)

    def share(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    starts = sorted(
        entry["bucket"]
        for row in rows
        for entry in row["startup_histogram"]
        for _ in range(entry["count"])
    )
    played_ms = 1000 * total("played_s") + total("stalled_ms") + total("seeking_ms")
    return {
        "attempts": total("attempts"),
        "watch_minutes": total("played_s") / 60,
        "startup_p50_ms": _quantile(starts, 50),
        "startup_p95_ms": _quantile(starts, 95),
        "slow_start_share": share(total("startups_over_2s"), total("startups")),
        "very_slow_start_share": share(total("startups_over_10s"), total("startups")),
        "rebuffering_share": share(total("stalled_ms"), played_ms),
        "stalls_per_hour": share(total("stalls") * 3600, total("played_s")),
        "start_failure_share": share(total("start_failures_technical"), total("attempts")),
        "exit_before_start_share": share(total("exits_before_start"), total("attempts")),
        "playback_failure_share": share(total("failed_plays"), total("plays")),
        "bitrate_bps": share(total("played_bits"), total("rated_s")),
        "sessions_with_3_stalls": total("sessions_with_3_stalls"),
    }


def _quantile(buckets: Sequence[int], percent: int) -> float | None:
    if not buckets:
        return None
    place = -(-percent * len(buckets) // 100)
    return math.exp((buckets[place - 1] + 0.5) / 20)


def _slope(values: Sequence[float]) -> float:
    middle = (len(values) - 1) / 2
    mean = sum(values) / len(values)
    squares = sum((n - middle) ** 2 for n in range(len(values)))
    return sum((n - middle) * (value - mean) for n, value in enumerate(values)) / squares
