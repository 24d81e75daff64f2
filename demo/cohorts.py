"""A video service by the minute, some of whose edges and networks come into trouble.

An edge or a network gets slower for a while: its players first ask for lower bit rates, then stall.
When that happens does not depend on when it last did: a model would learn it by heart. Seeded: the
same arguments give the same rows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from loaders.ml.definitions import definition_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FAILURE = definition_of("point_of_failure")
START = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CELLS = tuple(
    product(
        ("FRA56-P3", "AMS50-C1", "LHR61-C1", "IAD89-P2"),
        ("North", "South", "West"),
        ("tv", "phone"),
    )
)
PLACES = {"edge": 0, "isp": 1}
RAMP_MINUTES, HELD_MINUTES = 25, 6
LEAST_PAUSE_MINUTES, MEAN_MORE_MINUTES = 12, 20
# Between the last trouble but one and the last, which is told of, and after it.
QUIET_MINUTES, END_MINUTES = 60, 5
USUAL_BPS, LOST_BITRATE = 3_000_000, 0.6
# Of its ramp: from there on a buffer no longer helps.
STALLS_FROM = 0.4
STALL_MS = 3000
_MOMENT = pa.timestamp("us", tz="UTC")
ACTIVITY = pa.schema(
    [
        ("minute", _MOMENT),
        *((name, pa.string()) for name in FAILURE.entity),
        *(
            (name, pa.int64())
            for name in (
                *("viewers", "failing_viewers", "stalled_viewers", "starts", "played_s"),
                *("played_bits", "rated_s", "errors", "stalls", "stalled_ms", "_batch_id"),
                "_logs_batch_id",
            )
        ),
    ]
)
WINDOWS = pa.schema(
    [
        ("window_start", _MOMENT),
        *((name, pa.string()) for name in ("cohort_kind", "cohort", "metric")),
        ("value", pa.float64()),
        *((name, pa.int64()) for name in ("numerator", "denominator", "sample", "impacted")),
        ("newest_arrival_at", _MOMENT),
        *((name, pa.int64()) for name in ("_batch_id", "_logs_batch_id", "_cdn_batch_id")),
    ]
)
# That of the CDN says nothing here; its columns are those that cohort_minutes reads.
CDN = pa.schema(
    [
        ("minute", _MOMENT),
        ("edge", pa.string()),
        ("isp", pa.string()),
        *(
            (name, pa.int64())
            for name in (
                *("requests", "client_aborts", "origin_errors", "edge_errors"),
                *("cacheable_requests", "hits", "first_bytes", "first_byte_ms"),
                *("origin_first_bytes", "origin_first_byte_ms", "timed_bytes", "time_taken_ms"),
                "_batch_id",
            )
        ),
    ]
)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """An edge or a network that gets slower from `onset` on, for RAMP_MINUTES, and stays so."""

    onset: datetime
    kind: str
    name: str

    @property
    def end(self) -> datetime:
        return self.onset + (RAMP_MINUTES + HELD_MINUTES) * MINUTE

    def share(self, minute: datetime, cell: Sequence[str]) -> float:
        """How far it has come for a cell, 0 to 1."""
        if cell[PLACES[self.kind]] != self.name or not self.onset <= minute < self.end:
            return 0.0
        return min(1.0, ((minute - self.onset) / MINUTE + 1) / RAMP_MINUTES)


def troubles(seed: int, hours: float) -> list[Trouble]:
    """What happens in so many hours from START on; the last ends END_MINUTES before they do."""
    chance = Random(f"{seed}/troubles")  # noqa: S311 - viewers, no secrets
    over = timedelta(hours=hours) - END_MINUTES * MINUTE
    length = (RAMP_MINUTES + HELD_MINUTES) * MINUTE
    last = over - length
    found, at = [], QUIET_MINUTES * MINUTE
    while at + length + QUIET_MINUTES * MINUTE <= last:
        found.append(_trouble(chance, at))
        pause = LEAST_PAUSE_MINUTES + round(chance.expovariate(1 / MEAN_MORE_MINUTES))
        at += length + pause * MINUTE
    return [*found, _trouble(chance, last)]


def _trouble(chance: Random, at: timedelta) -> Trouble:
    kind = chance.choice(sorted(PLACES))
    names = sorted({cell[PLACES[kind]] for cell in CELLS})
    return Trouble(START + at, kind, chance.choice(names))


def activity(seed: int, hours: float, some: Sequence[Trouble]) -> list[Row]:
    """Rows of gold.cohort_activity."""
    chance = Random(f"{seed}/activity")  # noqa: S311 - viewers, no secrets
    rows, left = [], list(some)
    for number in range(round(hours * 60)):
        minute = START + number * MINUTE
        while left and left[0].end <= minute:
            left.pop(0)
        for cell in CELLS:
            share = left[0].share(minute, cell) if left else 0.0
            rows.append(
                {"minute": minute}
                | dict(zip(FAILURE.entity, cell, strict=True))
                | _minute(chance, share)
            )
    return rows


def _minute(chance: Random, share: float) -> Row:
    viewers = 20 + chance.randrange(20)
    stalls = 0.005 + 0.5 * max(0.0, share - STALLS_FROM) / (1 - STALLS_FROM)
    stalled = sum(chance.random() < stalls for _ in range(viewers))
    failing = sum(chance.random() < 0.002 for _ in range(viewers))
    played_s = 60 * viewers - STALL_MS * stalled // 1000
    bitrate = USUAL_BPS * (1 - LOST_BITRATE * share) * chance.gauss(1, 0.05)
    return {
        "viewers": viewers,
        "failing_viewers": failing,
        "stalled_viewers": stalled,
        "starts": chance.randrange(4),
        "played_s": played_s,
        "played_bits": int(bitrate * played_s),
        "rated_s": played_s,
        "errors": failing,
        "stalls": stalled,
        "stalled_ms": STALL_MS * stalled,
        "_batch_id": 0,
        "_logs_batch_id": 0,
    }


def windows(rows: Iterable[Row]) -> list[Row]:
    """Rows of gold.noc_windows that say the same of edges, networks and all."""
    minutes: dict[tuple[datetime, str, str], Row] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        for kind in ("all", *PLACES):
            sums = minutes[row["minute"], kind, row.get(kind, "all")]
            for name in ("viewers", "stalled_viewers", "played_s", "played_bits", "stalled_ms"):
                sums[name] += row[name]
    found = []
    for start, kind, name in minutes:
        own = [minutes.get((start + n * MINUTE, kind, name)) for n in range(5)]
        if None not in own:
            found += _figures(start, kind, name, own)
    return found


def _figures(start: datetime, kind: str, name: str, minutes: Sequence[Row]) -> list[Row]:
    total = {key: sum(each[key] for each in minutes) for key in minutes[0]}
    viewers = max(each["viewers"] for each in minutes)  # most stay for longer than five minutes
    key = {
        "window_start": start,
        "cohort_kind": kind,
        "cohort": name,
        "sample": viewers,
        "newest_arrival_at": start + 5 * MINUTE,
        "_batch_id": 0,
        "_logs_batch_id": 0,
        "_cdn_batch_id": -1,
    }
    return [
        key
        | {
            "metric": metric,
            "value": top / bottom,
            "numerator": top,
            "denominator": bottom,
            "impacted": impacted,
        }
        for metric, top, bottom, impacted in (
            (
                "rebuffering_share",
                total["stalled_ms"],
                1000 * total["played_s"] + total["stalled_ms"],
                min(viewers, total["stalled_viewers"]),
            ),
            ("bitrate_bps", total["played_bits"], total["played_s"], viewers),
        )
    ]
