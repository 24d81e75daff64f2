"""Incidents on a script: what goes wrong, for whom, from when to when; the truth of the alerts."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from demo.video import world

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of incident.

    layer: where the cause lies; None: nothing is broken. cohort: the dimensions that say who is
    affected. The rest is the effect on one that is: factors on throughput and round trip,
    milliseconds on the first byte, probabilities of a failed request, start and play.
    """

    layer: str | None
    cohort: tuple[str, ...]
    throughput: float = 1.0
    rtt: float = 1.0
    first_byte_ms: float = 0.0
    origin_failure: float = 0.0
    origin_ms: float = 0.0
    edge_failure: float = 0.0
    segment_failure: float = 0.0
    start_failure: float = 0.0
    play_failure: float = 0.0
    drops_events: bool = False
    surge: float = 0.0

    def weakened(self, share: float) -> Kind:
        """The kind with a share of its effect, 0 to 1."""
        factors = {name: 1 - (1 - getattr(self, name)) * share for name in _FACTORS}
        amounts = {name: getattr(self, name) * share for name in _AMOUNTS}
        return replace(self, **factors, **amounts)


_FACTORS = ("throughput", "rtt")
_AMOUNTS = (
    *("first_byte_ms", "origin_failure", "origin_ms", "edge_failure"),
    *("segment_failure", "start_failure", "play_failure"),
)

KINDS: Mapping[str, Kind] = {
    "edge_slow": Kind("edge", ("edge",), throughput=0.12, first_byte_ms=600),
    "edge_overloaded": Kind("edge", ("edge",), edge_failure=0.25),
    "isp_congested": Kind("isp", ("isp",), throughput=0.10, rtt=3.0),
    "app_failing": Kind(
        "player", ("app_version", "device_type"), start_failure=0.5, play_failure=0.03
    ),
    "origin_outage": Kind("origin", ("origin",), origin_failure=0.85, origin_ms=2500),
    "content_broken": Kind("content", ("video_id",), segment_failure=0.5),
    "platform_down": Kind("platform", (), start_failure=0.4),
    "ingest_gap": Kind("ingest", (), drops_events=True),
    "live_event": Kind(None, ("video_id",), surge=3.0),
}


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident: kind, onset and end (epoch ms), and who is affected.

    ramp_ms: how long its effect grows from the onset on, until it is whole; 0: it is at once.
    """

    kind: str
    onset_ms: int
    end_ms: int
    cohort: Mapping[str, str] = field(default_factory=dict)
    ramp_ms: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no kind of incident {self.kind!r}; there are {', '.join(KINDS)}")
        if set(self.cohort) != set(KINDS[self.kind].cohort):
            raise ValueError(
                f"{self.kind}: the cohort is given by {KINDS[self.kind].cohort}, "
                f"not by {tuple(self.cohort)}"
            )
        if self.onset_ms >= self.end_ms:
            raise ValueError(f"{self.kind}: ends at {self.end_ms}, not after {self.onset_ms}")

    @property
    def effect(self) -> Kind:
        return KINDS[self.kind]

    def effect_at(self, time_ms: float) -> Kind:
        """The effect at a time of the incident."""
        grown_ms = time_ms - self.onset_ms
        if grown_ms >= self.ramp_ms:
            return self.effect
        return self.effect.weakened(grown_ms / self.ramp_ms)

    @property
    def layer(self) -> str | None:
        return KINDS[self.kind].layer


class Script:
    """Incidents in time order; asked by every player before every request."""

    def __init__(self, incidents: Iterable[Incident] = ()) -> None:
        self.incidents = tuple(sorted(incidents, key=lambda incident: incident.onset_ms))
        moments = {moment for each in self.incidents for moment in (each.onset_ms, each.end_ms)}
        self._moments = sorted(moments)
        self._active = [
            tuple(each for each in self.incidents if each.onset_ms <= moment < each.end_ms)
            for moment in self._moments
        ]

    def active(self, time_ms: float) -> Sequence[Incident]:
        """The incidents under way at a time."""
        at = bisect_right(self._moments, time_ms) - 1
        return self._active[at] if at >= 0 else ()

    def affecting(self, time_ms: float, whom: Mapping[str, str | None]) -> Sequence[Kind]:
        """The effects on one who has these values in the dimensions of cohorts."""
        return [
            incident.effect_at(time_ms)
            for incident in self.active(time_ms)
            if all(whom.get(name) == value for name, value in incident.cohort.items())
        ]


def random_incident(
    kind: str, onset_ms: int, minutes: float, rng: Random, ramp_minutes: float = 0
) -> Incident:
    """An incident of a kind with a cohort drawn by how many viewers it has."""
    return Incident(
        kind,
        onset_ms,
        onset_ms + int(minutes * MINUTE_MS),
        {name: _COHORT_VALUES[name](rng) for name in KINDS[kind].cohort},
        int(ramp_minutes * MINUTE_MS),
    )


def random_script(
    seed: int,
    start_ms: int,
    *,
    count: int,
    minutes: float = 10,
    pause_minutes: float = 20,
    ramp_minutes: float = 0,
) -> Script:
    """Incidents of all kinds in turn, one after the other, each after a pause.

    Args:
        count: number of incidents.
        minutes: length of each, varied by a third.
        pause_minutes: quiet before each.
        ramp_minutes: how long each grows before it is whole; its length is besides.
    """
    rng = Random(f"incidents/{seed}")
    incidents, at_ms, kinds = [], start_ms, list(KINDS)
    for number in range(count):
        if number % len(kinds) == 0:
            rng.shuffle(kinds)
        at_ms += int(pause_minutes * MINUTE_MS)
        length = ramp_minutes + minutes * rng.uniform(2 / 3, 4 / 3)
        kind = kinds[number % len(kinds)]
        incidents.append(random_incident(kind, at_ms, length, rng, ramp_minutes))
        at_ms = incidents[-1].end_ms
    return Script(incidents)


def _of(pairs: Iterable[tuple[str, float]], rng: Random) -> str:
    values, weights = zip(*pairs, strict=True)
    return rng.choices(values, weights)[0]


_COHORT_VALUES = {
    "edge": lambda rng: rng.choice(world.ALL_EDGES),
    "isp": lambda rng: _of(((n.isp, n.weight) for n in world.NETWORKS if not n.is_hosting), rng),
    "app_version": lambda rng: _of(world.APP_VERSIONS, rng),
    "device_type": lambda rng: _of(((d.device_type, d.weight) for d in world.DEVICES), rng),
    "origin": lambda rng: rng.choice((world.LIVE_ORIGIN, world.VOD_ORIGIN)),
    "video_id": lambda rng: _of(((v.video_id, v.weight) for v in world.VIDEOS), rng),
}
