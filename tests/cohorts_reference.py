"""A slow, plain reference of what is known of cohorts when a minute begins: gold.cohort_minutes.

What is told of a minute is formed of nothing but the events that had arrived when it began.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import video_reference as reference
from video_lakehouse import split_sessions

from demo.video.player import Request
from demo.video.simulator import PlayerEvent

MINUTE_MS = 60_000
SPANS = {"1": (0, 0), "5": (4, 0), "5_before": (9, 5), "usual": (64, 5)}
Cohort = tuple[str, str, str]
Group = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """One event, of a person, that arrived in time to warn."""

    minute: int
    cohort: Cohort
    user: str
    kind: str
    is_error: bool
    stalled_ms: int | None
    shown_bps: int | None


@dataclass(slots=True)
class Known:
    """What a cohort did in a minute, or several of them in several."""

    viewers: int = 0
    failing: int = 0
    stalled: int = 0
    starts: int = 0
    played_ms: int = 0
    stalled_ms: int = 0
    played_bits: int = 0
    rated_s: int = 0

    def share(self, name: str) -> float | None:
        return getattr(self, name) / self.viewers if self.viewers else None

    @property
    def rebuffering(self) -> float | None:
        whole = self.played_ms + self.stalled_ms
        return self.stalled_ms / whole if whole else None

    @property
    def bitrate(self) -> float | None:
        return self.played_bits / self.rated_s if self.rated_s else None


def reports(
    events: Sequence[PlayerEvent], requests: Mapping[str, Request]
) -> tuple[list[Report], set[tuple[int, Cohort]]]:
    """The reports that came in time, and every minute of a cohort that was reported of at all."""
    found, minutes = [], set()
    for (user, _), session in split_sessions(events):
        for event in session:
            ids = reference.ids_of([event])
            request = reference.request_of(ids[0] if ids else None, event["ms"], requests)
            place = (request.edge, request.viewer.network.isp) if request else ("Unavailable",) * 2
            cohort = (*place, event.get("device_type", "Unavailable"))
            minute = event["ms"] // MINUTE_MS * MINUTE_MS
            minutes.add((minute, cohort))
            is_late = event["arrived_ms"] >= minute + 2 * MINUTE_MS
            if not is_late and not (request and request.viewer.is_bot):
                is_stall = (
                    event.get("buffer_type", "").lower() == "screenfreezedbuffer"
                    and float(event["at"]) > 0
                )
                found.append(
                    Report(
                        minute,
                        cohort,
                        user,
                        event["type"],
                        reference._is_error(event),
                        reference._waited(event) if is_stall else None,
                        event.get("avg_bitrate") if event["type"] == "stream" else None,
                    )
                )
    return found, minutes


def cohort_minutes(
    events: Sequence[PlayerEvent], requests: Mapping[str, Request]
) -> dict[tuple[int, Cohort], dict[str, Any]]:
    """By (minute as epoch ms, cohort), of events alone; the columns of the CDN are left out."""
    some, minutes = reports(events, requests)
    by_minute: dict[int, dict[Cohort, list[Report]]] = defaultdict(lambda: defaultdict(list))
    for minute, cohort in minutes:
        by_minute[minute][cohort] = []
    for each in some:
        by_minute[each.minute][each.cohort].append(each)
    return known_when_minutes_began(
        {
            minute: {cohort: _of_minute(own) for cohort, own in cohorts.items()}
            for minute, cohorts in by_minute.items()
        }
    )


def known_when_minutes_began(
    done: Mapping[int, Mapping[Cohort, Known]],
) -> dict[tuple[int, Cohort], dict[str, Any]]:
    """The same, of what cohorts did by minute (epoch ms)."""
    groups: dict[Group, dict[int, Known]] = {}
    for minute, cohorts in done.items():
        for cohort, known in cohorts.items():
            for group in _groups_of(cohort).values():
                of_minute = groups.setdefault(group, {})
                of_minute[minute] = _sum([of_minute.get(minute, Known()), known])

    @cache
    def of_group(group: Group, last: int, span: str) -> Known:
        return _sum(groups[group].get(minute, Known()) for minute in _within(last, span))

    return {
        (minute + 2 * MINUTE_MS, cohort): _row(done, of_group, minute, cohort)
        for minute, cohorts in done.items()
        for cohort in cohorts
    }


def _groups_of(cohort: Cohort) -> dict[str, Group]:
    return {"edge": ("edge", cohort[0]), "isp": ("isp", cohort[1]), "all": ("all", "all")}


def _within(last: int, span: str) -> Iterator[int]:
    since, until = SPANS[span]
    return (last - n * MINUTE_MS for n in range(until, since + 1))


def _of_minute(some: Iterable[Report]) -> Known:
    some = list(some)
    return Known(
        viewers=len({each.user for each in some}),
        failing=len({each.user for each in some if each.is_error}),
        stalled=len({each.user for each in some if each.stalled_ms is not None}),
        starts=sum(each.kind == "play" for each in some),
        played_ms=1000 * sum(each.kind == "stream" for each in some),
        stalled_ms=sum(each.stalled_ms or 0 for each in some),
        played_bits=sum(each.shown_bps or 0 for each in some),
        rated_s=sum(bool(each.shown_bps) for each in some),
    )


def _sum(some: Iterable[Known]) -> Known:
    total = Known()
    for each in some:
        for name in Known.__slots__:
            setattr(total, name, getattr(total, name) + getattr(each, name))
    return total


def _less(some: Known, own: Known) -> Known:
    return Known(*(getattr(some, name) - getattr(own, name) for name in Known.__slots__))


def _row(
    done: Mapping[int, Mapping[Cohort, Known]],
    of_group: Callable[[Group, int, str], Known],
    last: int,
    cohort: Cohort,
) -> dict[str, Any]:
    of = {
        span: _sum(done.get(minute, {}).get(cohort, Known()) for minute in _within(last, span))
        for span in SPANS
    }
    five, before, usual = of["5"], of["5_before"], of["usual"]
    row = {
        "viewers_1": of["1"].viewers,
        "viewers_5": five.viewers,
        "viewer_growth": five.viewers / before.viewers if before.viewers else None,
        "start_growth": five.starts / before.starts if before.starts else None,
        "minutes_usual": sum(cohort in done.get(minute, {}) for minute in _within(last, "usual")),
        "bitrate_growth": _growth(five, usual),
        "error_deviations": _deviations(five, usual, "failing"),
        "stall_deviations": _deviations(five, usual, "stalled"),
    }
    for span, known in of.items():
        row[f"error_share_{span}"] = known.share("failing")
        row[f"stalled_share_{span}"] = known.share("stalled")
        row[f"rebuffering_share_{span}"] = known.rebuffering
    for name, group in _groups_of(cohort).items():
        others, others_usual = (
            _less(of_group(group, last, span), of[span]) for span in ("5", "usual")
        )
        if name == "edge":
            row["viewers_of_edge_5"] = others.viewers + five.viewers
        row[f"error_share_of_{name}_5"] = others.share("failing")
        row[f"rebuffering_share_of_{name}_5"] = others.rebuffering
        row[f"bitrate_growth_of_{name}"] = _growth(others, others_usual)
    return row


def _growth(now: Known, usual: Known) -> float | None:
    if now.bitrate is None or not usual.bitrate:
        return None
    return now.bitrate / usual.bitrate


def _deviations(five: Known, usual: Known, name: str) -> float | None:
    share, was = five.share(name), usual.share(name)
    if share is None or was is None or not 0 < was < 1:
        return None
    return (share - was) / math.sqrt(was * (1 - was) / five.viewers)
