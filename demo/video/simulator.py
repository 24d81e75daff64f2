"""The simulator: viewers come, watch, leave and return, while incidents run their course.

A discrete-event simulation: every viewer is a generator that yields the time at which it next
looks at the world. The same seed and script give the same bytes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from demo.video import audience, world
from demo.video.incidents import Script
from demo.video.player import Player, Request, Surroundings, Truth
from demo.video.steering import Steering

DUPLICATED_SHARE = 0.002
OFFLINE_SHARE = 0.04  # of the sessions over mobile lines
NEXT_VIDEO_SHARE = 0.35
MEAN_RETURN = 0.725
WEEK_MS = 7 * audience.DAY_MS


@dataclass(frozen=True, slots=True)
class PlayerEvent:
    """One event as it reaches the collector: when (epoch ms), of whom, and its bytes."""

    arrived_ms: float
    user_id: str
    data: bytes


@dataclass(slots=True)
class Output:
    """What came about in a stretch of time: events by arrival, requests as they ended."""

    events: list[PlayerEvent] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is simulated.

    attempts_per_minute: mean over the day of the sessions that begin. daily_swing: how far it
    goes up in the evening and down in the morning, as a share; 0: the same all day. networks:
    those whose viewers come; a service of one country has its viewers at few edges.
    """

    seed: int
    start_ms: int
    attempts_per_minute: float = 60.0
    daily_swing: float = 0.6
    peak_hour_utc: float = 20.0
    networks: tuple[world.Network, ...] = world.NETWORKS

    def attempts_per_ms(self, time_ms: float) -> float:
        hour = time_ms / 3_600_000 % 24
        swing = self.daily_swing * math.cos((hour - self.peak_hour_utc) * math.pi / 12)
        return self.attempts_per_minute * (1 + swing) / 60_000


class Simulator:
    """Simulated viewers from `start_ms` on.

    `truth` has every session that has ended, or is under way with what has happened so far.
    `dropped` counts the events that an ingest gap lost.
    """

    def __init__(
        self, settings: Settings, script: Script | None = None, steering: Steering | None = None
    ) -> None:
        self.settings = settings
        self.script = script or Script()
        self.steering = steering or Steering()
        self.now_ms = float(settings.start_ms)
        self.truth: list[Truth] = []
        self.dropped = 0
        self._requests: list[Request] = []
        self._pending: list[tuple[float, int, str, dict[str, Any], bool]] = []
        self._emitted = 0
        self._agenda: list[tuple[float, int, Iterator[float]]] = []
        self._processes = 0
        self._viewers = 0
        self._sessions = 0
        self._delivery = Random(f"{settings.seed}/delivery")
        self._spawn(self.now_ms, self._arrivals(Random(f"{settings.seed}/arrivals"), self._visit))
        for number, incident in enumerate(self.script.incidents):
            if incident.effect.surge:
                rng = Random(f"{settings.seed}/surge/{number}")
                self._spawn(incident.onset_ms, self._surge(incident, rng))

    def advance(self, until_ms: float) -> Output:
        """Simulate up to a time (epoch ms) and hand over what has reached the servers by then."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= until_ms:
            now, number, process = agenda[0]
            self.now_ms = now
            wake = next(process, None)
            if wake is None:
                heapq.heappop(agenda)
            else:
                heapq.heapreplace(agenda, (max(wake, now), number, process))
        self.now_ms = until_ms
        output = Output(self._delivered(until_ms), self._requests)
        self._requests = []
        return output

    def run(self, minutes: float, step_s: float = 60.0) -> Iterator[Output]:
        """advance() in steps, for so many simulated minutes."""
        end_ms = self.now_ms + minutes * 60_000
        while self.now_ms < end_ms:
            yield self.advance(min(end_ms, self.now_ms + step_s * 1000))

    # ---- viewers

    def _spawn(self, at_ms: float, process: Iterator[float]) -> None:
        self._processes += 1
        heapq.heappush(self._agenda, (at_ms, self._processes, process))

    def _arrivals(
        self, rng: Random, visit: Callable[[float, bool], Iterator[float] | None]
    ) -> Iterator[float]:
        """New viewers, and those who knew the service before the simulation began.

        By day 7 all of the latter have come again or stayed away, and viewers who return do so
        by themselves. So the sum is steady.
        """
        settings = self.settings
        visits = 1 - NEXT_VIDEO_SHARE  # of the attempts; the others follow a session directly
        peak = settings.attempts_per_minute * (1 + settings.daily_swing) / 60_000 * visits
        at_ms = float(settings.start_ms)
        while True:
            at_ms += rng.expovariate(peak)
            yield at_ms
            if rng.random() * peak < settings.attempts_per_ms(at_ms) * visits:
                known = MEAN_RETURN * max(0.0, 1 - (at_ms - settings.start_ms) / WEEK_MS)
                if rng.random() < known + 1 - MEAN_RETURN:
                    self._spawn(at_ms, visit(at_ms, None))

    def _surge(self, incident: Any, rng: Random) -> Iterator[float]:
        """A popular event: `surge` times the usual attempts besides, all for one video."""
        (video,) = (v for v in world.VIDEOS if v.video_id == incident.cohort["video_id"])
        at_ms = float(incident.onset_ms)
        while at_ms < incident.end_ms:
            rate = self.settings.attempts_per_ms(at_ms) * incident.effect.surge
            at_ms += rng.expovariate(rate)
            yield at_ms
            self._spawn(at_ms, self._visit(at_ms, video))

    def _visit(self, at_ms: float, video: world.Video | None) -> Iterator[float]:
        """A viewer's life: visits of one or more sessions, as long as the viewer returns."""
        self._viewers += 1
        rng = Random(f"{self.settings.seed}/viewer/{self._viewers}")
        viewer = audience.new_viewer(rng, self.settings.networks)
        cache: dict[str, str] = {}
        favourite = rng.choices(world.VIDEOS, [v.weight for v in world.VIDEOS])[0]
        while True:
            failed = False
            while True:
                chosen = video or (favourite if rng.random() < 0.3 else _any_video(rng))
                truth = yield from self._session(viewer, chosen, at_ms, rng, cache)
                video = None
                failed = failed or truth.failed
                at_ms = truth.ended_ms
                if failed or rng.random() >= NEXT_VIDEO_SHARE:
                    break
                at_ms += rng.uniform(5_000, 180_000)
                yield at_ms
            truth.returns = audience.returns(viewer, failed=failed, rng=rng)
            if not truth.returns:
                return
            at_ms += audience.return_delay_ms(rng)
            if len(cache) > 64:
                cache.clear()
            yield at_ms

    def _session(
        self,
        viewer: audience.Viewer,
        video: world.Video,
        at_ms: float,
        rng: Random,
        cache: dict[str, str],
    ) -> Iterator[float]:
        self._sessions += 1
        offline = None
        if viewer.connection in ("3g", "4g", "cellular") and rng.random() < OFFLINE_SHARE:
            gone = at_ms + rng.uniform(5_000, 300_000)
            offline = (gone, gone + rng.uniform(60_000, 1_500_000))

        def emit(time_ms: float, event: dict[str, Any]) -> None:
            self._emitted += 1
            arrives = time_ms + 40
            if offline and offline[0] <= time_ms < offline[1]:
                arrives = offline[1]
            self._pending.append(
                (arrives, self._emitted, viewer.user_id, event, viewer.lower_casing)
            )

        around = Surroundings(self.script, self.steering, emit, self._requests_log)
        player = Player(self._sessions, viewer, video, at_ms, rng, around, cache)
        self.truth.append(player.truth)
        yield from player.run()
        return player.truth

    def _requests_log(self, request: Request) -> None:
        self._requests.append(request)

    # ---- delivery

    def _delivered(self, until_ms: float) -> list[PlayerEvent]:
        """The events that arrive by a time; some twice, byte by byte."""
        self._pending.sort(key=_arrival)
        ready = next(
            (at for at, item in enumerate(self._pending) if item[0] > until_ms), len(self._pending)
        )
        due, self._pending = self._pending[:ready], self._pending[ready:]
        events = []
        chance, script = self._delivery.random, self.script
        for arrived_ms, _, user_id, event, lower_casing in due:
            if any(each.effect.drops_events for each in script.active(arrived_ms)):
                self.dropped += 1
                continue
            data = lower_cased(event) if lower_casing else orjson.dumps(event)
            delivered = PlayerEvent(arrived_ms, user_id, data)
            events.append(delivered)
            if chance() < DUPLICATED_SHARE:
                events.append(delivered)
        return events


def lower_cased(event: dict[str, Any]) -> bytes:
    """An event as a collector of the reference solution passes it on."""
    text = orjson.dumps(event).decode().lower()
    return text.replace('"metrictype"', '"metricType"', 1).encode()


def _arrival(item: tuple[float, int, Any, Any, Any]) -> tuple[float, int]:
    return item[:2]


def _any_video(rng: Random) -> world.Video:
    return rng.choices(world.VIDEOS, [video.weight for video in world.VIDEOS])[0]
