"""Throughput of a viewer's line, second by second."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class LineKind:
    """What lines of a kind are like.

    median_bps: median throughput over lines; spread: sigma of its logarithm between lines.
    wobble, memory: innovation and coefficient of the AR(1) process of the logarithm, a step a
    segment. outage, recovery: chance a segment to fall into a dead spot, and to leave it, where
    the throughput is `floor` of what it was. rtt_ms: median round trip.
    """

    median_bps: float
    spread: float
    wobble: float
    memory: float
    outage: float
    recovery: float
    floor: float
    rtt_ms: float


# Orders of magnitude of published 3G and 4G drive traces and of national fixed-line reports.
LINES = {
    "3g": LineKind(2.8e6, 0.40, 0.30, 0.80, 0.010, 0.60, 0.15, 160),
    "4g": LineKind(14e6, 0.50, 0.28, 0.85, 0.004, 0.65, 0.12, 60),
    "cellular": LineKind(10e6, 0.50, 0.28, 0.85, 0.005, 0.60, 0.12, 70),
    "wifi": LineKind(32e6, 0.60, 0.18, 0.90, 0.0015, 0.70, 0.10, 28),
    "not available": LineKind(38e6, 0.60, 0.14, 0.90, 0.001, 0.75, 0.12, 24),
}


class Line:
    """A line with a state: a two-state Markov chain (alive, dead spot) over an AR(1) process."""

    __slots__ = ("_centre", "_deviation", "_in_dead_spot", "_kind", "_rng", "rtt_ms")

    def __init__(self, kind: LineKind, quality: float, rng: Random) -> None:
        self._kind = kind
        self._rng = rng
        self._centre = math.log(kind.median_bps * quality) + rng.gauss(0, kind.spread)
        self._deviation = 0.0
        self._in_dead_spot = False
        self.rtt_ms = kind.rtt_ms * math.exp(rng.gauss(0, 0.3))

    def next_bps(self) -> float:
        """Throughput while the next segment is fetched, bit/s."""
        kind, rng = self._kind, self._rng
        self._deviation = kind.memory * self._deviation + rng.gauss(0, kind.wobble)
        if self._in_dead_spot:
            self._in_dead_spot = rng.random() >= kind.recovery
        else:
            self._in_dead_spot = rng.random() < kind.outage
        bps = math.exp(self._centre + self._deviation)
        return bps * kind.floor if self._in_dead_spot else bps
