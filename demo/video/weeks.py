"""Viewers over weeks: their sessions, without the events and requests that a session consists of.

Light enough for thousands of viewers: what gold keeps of viewers is formed of it directly. Whoever
learns from it has to find the causes of demo.video.audience again.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from demo.video import audience, world

_MEAN_STALL_S = 3.0
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a viewer.

    startup_ms: None where there was no first frame. stalls_ms: how long each stall took.
    is_failed: whether a technical fatal error ended it. returns: whether another one follows.
    """

    viewer: audience.Viewer
    video: world.Video
    started_at: datetime
    ended_at: datetime
    startup_ms: int | None
    played_s: int
    intended_s: float
    stalls_ms: tuple[int, ...]
    is_failed: bool
    returns: bool

    @property
    def days(self) -> list[date]:
        """The days, UTC, on which it has events."""
        first = self.started_at.date()
        return [first + timedelta(n) for n in range((self.ended_at.date() - first).days + 1)]


def sessions(
    seed: int,
    viewers: int,
    start: datetime,
    days: int,
    return_lost_by_failure: float = audience.RETURN_LOST_BY_FAILURE,
) -> Iterator[Session]:
    """The sessions of so many viewers who first come on one of so many days, until these are over.

    Each viewer has a share of trouble: of sessions that fail, of slow starts, of stalls.

    Args:
        start: when the first day begins, UTC.
        return_lost_by_failure: by which share a failed session makes the return less likely.
    """
    end = start + timedelta(days=days)
    for number in range(viewers):
        rng = Random(f"{seed}/weeks/{number}")
        viewer, trouble = audience.new_viewer(rng), rng.betavariate(1, 3)
        at = start + timedelta(days=rng.uniform(0, days))
        while at < end:
            session = _session(viewer, trouble, at, return_lost_by_failure, rng)
            yield session
            if not session.returns:
                break
            at = session.ended_at + timedelta(milliseconds=audience.return_delay_ms(rng))


def _session(
    viewer: audience.Viewer, trouble: float, at: datetime, lost: float, rng: Random
) -> Session:
    video = rng.choices(world.VIDEOS, [each.weight for each in world.VIDEOS])[0]
    fails = rng.random() < trouble
    wait_s = rng.lognormvariate(math.log(0.8 + 3 * trouble), 0.7)
    patience_s = audience.patience_s(rng)
    starts = wait_s <= patience_s and not (fails and rng.random() < 0.5)
    intended = audience.intended_s(video, rng)
    stalls: list[float] = []
    if starts:
        while rng.random() < min(0.9, 1.5 * trouble):
            stalls.append(rng.expovariate(1 / _MEAN_STALL_S))
    played = audience.leaves_at_s(intended, sum(stalls), video.duration_s) if starts else 0.0
    if fails:
        played *= rng.random()
    is_failed = fails and (starts or wait_s <= patience_s)
    seconds = min(wait_s, patience_s) + sum(stalls) + played
    share = lost if is_failed else 0.0
    return Session(
        viewer=viewer,
        video=video,
        started_at=at,
        ended_at=at + timedelta(seconds=seconds),
        startup_ms=round(wait_s * 1000) if starts else None,
        played_s=int(played),
        intended_s=intended,
        stalls_ms=tuple(round(each * 1000) for each in stalls),
        is_failed=is_failed,
        returns=rng.random() < viewer.return_probability * (1 - share),
    )


def viewer_days(some: Iterable[Session]) -> list[Row]:
    """What gold.viewer_experience has of them, of the columns that tell of quality."""
    by_day: dict[tuple[date, str], list[Session]] = defaultdict(list)
    for session in some:
        for day in session.days:
            by_day[day, session.viewer.user_id]  # a row for each day with events
        by_day[session.days[0], session.viewer.user_id].append(session)
    return [_viewer_day(*key, own) for key, own in sorted(by_day.items(), key=lambda item: item[0])]


def _viewer_day(day: date, user_id: str, own: list[Session]) -> Row:
    startups = [each.startup_ms for each in own if each.startup_ms is not None]
    buckets = Counter(math.floor(20 * math.log(max(each, 1))) for each in startups)
    last = max(own, key=lambda each: each.started_at, default=None)
    played_s = sum(each.played_s for each in own)
    return {
        "session_date": day,
        "user_id": user_id,
        "last_event_at": max((each.ended_at for each in own), default=None),
        "attempts": len(own),
        "plays": len(startups),
        "exits_before_start": sum(each.startup_ms is None and not each.is_failed for each in own),
        "start_failures_technical": sum(each.startup_ms is None and each.is_failed for each in own),
        "failed_plays": sum(each.startup_ms is not None and each.is_failed for each in own),
        "startups": len(startups),
        "startups_over_2s": sum(each > 2_000 for each in startups),
        "startups_over_10s": sum(each > 10_000 for each in startups),
        "startup_histogram": [{"bucket": b, "count": n} for b, n in sorted(buckets.items())],
        "played_s": played_s,
        "played_bits": played_s * world.LADDER[-1][0],
        "rated_s": played_s,
        "stalls": sum(len(each.stalls_ms) for each in own),
        "stalled_ms": sum(sum(each.stalls_ms) for each in own),
        "seeking_ms": 0,
        "sessions_with_3_stalls": sum(len(each.stalls_ms) >= 3 for each in own),
        "last_attempt_failed": last is not None and last.is_failed,
        "last_attempt_stalls": len(last.stalls_ms) if last else 0,
        "last_attempt_startup_ms": last.startup_ms if last else None,
    }


def video_days(some: Iterable[Session]) -> list[Row]:
    """The keys that silver.playback_session_days has of them."""
    keys = {(day, each.viewer.user_id, each.video.video_id) for each in some for day in each.days}
    names = ("session_date", "user_id", "video_id")
    return [dict(zip(names, key, strict=True)) for key in sorted(keys)]


def places(some: Iterable[Session]) -> list[Row]:
    """What gold.viewer_places has of them."""
    found = {(day, each.viewer.user_id): each.viewer for each in some for day in each.days}
    return [
        {
            "activity_date": day,
            "user_id": user_id,
            "device_type": viewer.device.device_type if viewer.app_version else None,
            "connection_type": viewer.connection,
            "app_version": viewer.app_version,
            "isp": viewer.network.isp,
            "country": viewer.country,
            "is_bot": viewer.is_bot,
        }
        for (day, user_id), viewer in sorted(found.items(), key=lambda item: item[0])
    ]
