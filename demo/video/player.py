"""A player with a buffer: one session from intent to end, as SDK events and CDN requests.

The events are those of the reference SDK with its quirks, which silver has to see through:
a start that is reported as a stall, durations counted from marks that were never set, request
ids that repeat, an end that is reported as an error.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from demo.video import audience, world
from demo.video.audience import Viewer
from demo.video.incidents import Kind, Script
from demo.video.network import LINES, Line
from demo.video.steering import Steering

MAX_BUFFER_S = {"LIVE": 14.0, "VOD": 28.0}
MANIFEST_BYTES = 410
SAFETY = 0.8  # of the measured throughput that a level may need
SMOOTHING = 0.4  # weight of the newest measurement
TRIES = 3
RETRY_MS = 700
SETUP_MS = (5.5, 1.05)  # mu and sigma of the logarithm
SLOW_START = 0.35  # of the line's throughput, before the first frame
BUSINESS_FAILURE = 0.003  # of starts: not paid for, not in this country
START_FAILURE = 0.004  # of starts
REQUEST_FAILURE = 0.0004
PLAY_FAILURE = 0.00004  # a segment
HICCUP = 0.0002  # short stalls a segment
HICCUP_S = (-0.8, 0.7)
START_AS_STALL = 0.7  # of starts that are reported as a stall besides
STALE_AFTER_SEEK = 0.08  # of seeks that are reported as a stall besides

Emit = Callable[[float, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the CDN saw it; times in seconds as CloudFront counts them.

    ended_ms: epoch ms at which the edge was done with it. country, asn: of the viewer.
    """

    ended_ms: float
    request_id: str
    viewer: Viewer
    edge: str
    distribution: str
    uri: str
    status: str
    result: str
    response_result: str
    detail: str
    sent_bytes: int
    time_taken: float
    first_byte: float
    origin_first_byte: float | None


@dataclass(slots=True)
class Truth:
    """What really happened in a session; no event says it.

    outcome: played, abandoned (before the first frame), start_failed, business_failed, failed
    (while playing). startup_s: from intent to first frame. stalls are those of the network.
    """

    number: int
    user_id: str
    video_id: str
    started_ms: float
    country: str
    isp: str
    edge: str
    device_type: str
    app_version: str | None
    video_duration_s: int
    intended_s: float
    is_bot: bool
    outcome: str = "abandoned"
    startup_s: float | None = None
    ended_ms: float = 0.0
    stalls: int = 0
    stalled_s: float = 0.0
    reached_end: bool = False
    played_s: float = 0.0
    returns: bool | None = None

    @property
    def failed(self) -> bool:
        return self.outcome in ("start_failed", "business_failed", "failed")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What players share: what goes wrong, where they are sent, and where they report to."""

    script: Script
    steering: Steering
    emit: Emit
    log: Callable[[Request], None]


@dataclass(frozen=True, slots=True)
class _Answer:
    """How the CDN answers a request. first_byte_ms includes origin_ms, None without the origin."""

    bps: float
    rtt_ms: float
    first_byte_ms: float
    origin_ms: float | None
    result: str
    failure: str | None


REFUSED = "CapacityExceeded"  # by the edge itself
_STATUS = {
    None: "200",
    "OriginConnectError": "504",
    "OriginError": "502",
    "OriginReadError": "502",
    REFUSED: "503",
}


class _Left(Exception):
    """No error: the viewer closed the page."""


class Player:
    """One session. `run` is its course, yielding the times at which it looks at the world."""

    def __init__(
        self,
        number: int,
        viewer: Viewer,
        video: world.Video,
        start_ms: float,
        rng: Random,
        around: Surroundings,
        cache: dict[str, str],
    ) -> None:
        """Prepare a session.

        Args:
            number: of the session in the run.
            start_ms: when the viewer wants to see the video, epoch ms.
            cache: the browser's, by URI: the id of the request that once brought it. A response
                out of it carries the old id and makes no request.
        """
        self._viewer = viewer
        self._video = video
        self._rng = rng
        self._around = around
        self._cache = cache
        self._line = Line(LINES[audience.new_line_kind(viewer)], viewer.network.quality, rng)
        self._edge_version = around.steering.version
        self._edge = around.steering.choose(viewer.country, rng)
        self._t = start_ms
        self._head = 0.0
        self._buffer = 0.0
        self._level = 1
        self._measured_bps = 0.0
        self._last_id: str | None = None
        self._segment = 0
        self._seen_play = False
        self._buffering_since: float | None = None  # the mark that seeking forgets to set
        self._seq = 0
        self._session_id = f"{rng.getrandbits(64):016x}"
        self._whom = {
            "isp": viewer.network.isp,
            "app_version": viewer.app_version,
            "device_type": viewer.device.device_type,
            "origin": video.origin,
            "video_id": video.video_id,
        }
        self._constant = self._constant_fields()
        self.truth = Truth(
            number=number,
            user_id=viewer.user_id,
            video_id=video.video_id,
            started_ms=start_ms,
            country=viewer.country,
            isp=viewer.network.isp,
            edge=self._edge,
            device_type=viewer.device.device_type,
            app_version=viewer.app_version,
            video_duration_s=video.duration_s,
            intended_s=audience.intended_s(video, rng),
            is_bot=viewer.is_bot,
        )

    def run(self) -> Iterator[float]:
        """The whole session."""
        with suppress(_Left):
            yield from self._session()
        self.truth.ended_ms = self._t

    # ---- the course of a session

    def _session(self) -> Iterator[float]:
        intent_ms = self._t
        deadline_ms = intent_ms + 1000 * audience.patience_s(self._rng)
        preloads = self._viewer.preloads
        if not preloads:
            self._play_event()
        load_ms = self._t = self._t + self._rng.uniform(20, 90)
        if self._rng.random() < BUSINESS_FAILURE:
            self._t += 250
            self._error("403", "business", fatal=True)
            self.truth.outcome = "business_failed"
            return
        start_failure = START_FAILURE + sum(effect.start_failure for effect in self._effects())
        if self._rng.random() < start_failure:
            self._t += self._rng.uniform(300, 2500)
            self._error("3016", "technical", fatal=True)
            self.truth.outcome = "start_failed"
            return
        if preloads:
            deadline_ms = load_ms + 1e12  # nobody is waiting yet
        self._buffering_since = load_ms if self._rng.random() < START_AS_STALL else None
        # names, handshakes, licence: a long tail that no throughput explains
        setup_ms = self._line.rtt_ms * 2 + self._rng.lognormvariate(*SETUP_MS)
        self._wait(setup_ms, deadline_ms, is_seek=False)
        if not (yield from self._fetch("master.m3u8", MANIFEST_BYTES, deadline_ms)):
            self._fail("start_failed")
            return
        if not (yield from self._fetch_segment(deadline_ms)):
            self._fail("start_failed")
            return
        first_frame_ms = self._t + self._viewer.device.decode_ms * self._rng.uniform(0.6, 1.6)
        if first_frame_ms > deadline_ms:
            self._t = deadline_ms
            raise _Left
        self._t = first_frame_ms
        self._started_events(load_ms)
        if preloads:
            self._t += self._rng.uniform(300, 8000)
            intent_ms = self._t
            self.truth.started_ms = intent_ms
            self._play_event()
            self._t += 40
        self.truth.startup_s = (self._t - intent_ms) / 1000
        self.truth.outcome = "played"
        if self._viewer.is_bot:
            self._t += 1000
            return
        yield from self._playback()

    def _playback(self) -> Iterator[float]:
        video, rng = self._video, self._rng
        room = MAX_BUFFER_S[video.playlist_type]
        segments = -(-video.duration_s // world.SEGMENT_S)
        while True:
            if self._segment < segments:
                if self._buffer > room:
                    self._play(self._buffer - room)
                yield self._t
                play_failure = PLAY_FAILURE + sum(effect.play_failure for effect in self._effects())
                if rng.random() < play_failure:
                    self._error("3014", "technical", fatal=True)
                    self.truth.outcome = "failed"
                    return
                if not (yield from self._fetch_segment(None)):
                    self._play(self._buffer)
                    self._fail("failed")
                    return
            else:
                self._play(self._buffer)
                self._end()
                return
            whim = rng.random()
            if whim < HICCUP:
                # a late segment at the live edge, a decoder that starves
                self._stall(1000 * rng.lognormvariate(*HICCUP_S))
            elif whim < 0.0012:
                self._pause()
            elif whim < 0.003 and video.playlist_type == "VOD":
                yield from self._seek()

    def _play(self, seconds: float) -> None:
        """Show so many seconds of the buffer; a STREAM event for each whole second of playhead."""
        truth = self.truth
        leave = audience.leaves_at_s(truth.intended_s, truth.stalled_s, truth.video_duration_s)
        leaving = truth.played_s + seconds >= leave < self._video.duration_s
        if leaving:
            seconds = max(0.0, leave - truth.played_s)
        head, start = self._head, self._t
        end = head + seconds
        second = int(head) + 1
        if second <= end:
            emit, rng = self._around.emit, self._rng.random
            base = {
                "MetricType": "STREAM",
                **self._shared(rtt=True, media=True),
                "duration": self._video.duration_s,
                "cdn_tracking_id": self._last_id,
            }
            clock = self._viewer.clock_ms
            newer = self._viewer.app_version is not None
            while second <= end:
                # timeupdate comes every 250 ms, so a little after the second has begun
                at = second + rng() * 0.25
                time_ms = start + (at - head) * 1000
                event = {**base, "at": f"{at:.6f}", "TimeStamp": int(time_ms) + clock}
                if newer:
                    self._seq += 1
                    event["seq"] = self._seq
                emit(time_ms, event)
                second += 1
        self._head = end
        self.truth.played_s += seconds
        self._buffer -= seconds
        self._t = start + seconds * 1000
        if leaving:
            if self._rng.random() < 0.3:
                self._pause_event()
            raise _Left

    def _pause(self) -> None:
        self._pause_event()
        self._t += self._rng.lognormvariate(9.5, 1.2)
        self._play_event()

    def _seek(self) -> Iterator[float]:
        rng = self._rng
        come_from = self._head
        left = self._video.duration_s - self._head
        # On by a part of what is left; never past the end.
        jump = int(left * rng.uniform(0.05, 0.3) / world.SEGMENT_S) * world.SEGMENT_S
        seek_ms = self._t
        self._head += jump
        self._buffer = 0.0
        self._segment = int(self._head) // world.SEGMENT_S
        if not (yield from self._fetch_segment(None, is_seek=True)):
            self._fail("failed")
            raise _Left
        # what the segment has before the playhead is not shown
        self._buffer -= self._head - (self._segment - 1) * world.SEGMENT_S
        # isBuffering is set on a seek, bufferStarted is not: the duration counts from the last
        # wait that was noted, or from 1970 when there was none
        stale = self._t - (self._buffering_since or -self._viewer.clock_ms)
        self._event(
            "SEEK",
            seek_from=round(come_from, 6),
            seek_to=round(self._head, 6),
            **self._shared(rtt=True),
            time_millisecond=int(self._t - seek_ms),
            cdn_tracking_id=self._last_id,
        )
        if rng.random() < STALE_AFTER_SEEK:
            self._buffer_event("ScreenFreezedBuffer", stale)

    def _end(self) -> None:
        rng = self._rng
        self.truth.reached_end = True
        if self._viewer.app_version is None and rng.random() < 0.05:
            # ended() shifts its arguments: the end arrives as an error without an id
            self._event(
                "ERROR",
                at=self._at(),
                message="Error",
                cdn_tracking_id="Video ended with some error at Mon, 06 Apr 2020 17:16:43 GMT",
            )
        self._event(
            "STOP",
            at=self._at(),
            duration=self._video.duration_s,
            **self._shared(media=True),
        )

    # ---- requests

    def _fetch_segment(
        self, deadline_ms: float | None, *, is_seek: bool = False
    ) -> Iterator[float]:
        """Fetch the next segment, several times if it fails; False when all tries did."""
        rng = self._rng
        self._choose_level()
        bitrate = world.LADDER[self._level][0]
        size = int(bitrate * world.SEGMENT_S / 8 * rng.uniform(0.75, 1.25))
        name = f"{self._level}/{self._segment:05d}.ts"
        if not (yield from self._fetch(name, size, deadline_ms, is_seek=is_seek)):
            return False
        # the last segment is as long as what is left
        left = self._video.duration_s - self._segment * world.SEGMENT_S
        self._segment += 1
        self._buffer += min(world.SEGMENT_S, left)
        return True

    def _choose_level(self) -> None:
        if not self._measured_bps:
            return
        affordable = SAFETY * self._measured_bps
        level = 0
        for candidate in range(1, self._viewer.device.top_level + 1):
            if world.LADDER[candidate][0] <= affordable:
                level = candidate
        if self._head and level > self._level:
            level = self._level + 1
        if level != self._level:
            old, self._level = self._level, level
            if self.truth.startup_s is not None:
                self._event(
                    "STEP",
                    at=self._at(),
                    bitrate_from=world.LADDER[old][0],
                    bitrate_to=world.LADDER[level][0],
                    direction="UP" if level > old else "DOWN",
                    **{k: v for k, v in self._shared(media=True).items() if k != "avg_bitrate"},
                )

    def _fetch(
        self, name: str, size: int, deadline_ms: float | None, *, is_seek: bool = False
    ) -> Iterator[float]:
        """Fetch an object while the buffer plays.

        Args:
            deadline_ms: start-up: when the viewer's patience ends; None once it plays.
            is_seek: waiting is the seek's, no stall.

        Yields: the times of tries after the first.
        Returns: whether it came.
        Raises:
            _Left: the viewer did not wait for it.
        """
        uri = f"/{self._video.video_id}/{name}"
        for attempt in range(TRIES):
            if attempt:
                self._wait(RETRY_MS, deadline_ms, is_seek)
                yield self._t
            if uri in self._cache and not attempt and self._rng.random() < 0.9:
                self._last_id = self._cache[uri]
                self._wait(self._rng.uniform(2, 15), deadline_ms, is_seek)
                return True
            if self._request(uri, size, deadline_ms, is_seek):
                return True
        return False

    def _request(self, uri: str, size: int, deadline_ms: float | None, is_seek: bool) -> bool:
        """Ask the CDN once; False when it answers with an error."""
        answer = self._answer()
        request_id = urlsafe_b64encode(self._rng.getrandbits(320).to_bytes(40)).decode()
        size = 593 if answer.failure else size
        sent_ms = size * 8000 / answer.bps
        asked_ms = self._t
        total_ms = answer.rtt_ms + answer.first_byte_ms + sent_ms
        try:
            self._wait(total_ms, deadline_ms, is_seek)
        except _Left:
            self._log_aborted(uri, request_id, size, answer.first_byte_ms, sent_ms, asked_ms)
            raise
        result = answer.result
        if answer.failure:
            result = REFUSED if answer.failure == REFUSED else "Error"
        origin_ms = answer.origin_ms
        self._around.log(
            Request(
                asked_ms + total_ms - answer.rtt_ms / 2,
                request_id,
                self._viewer,
                self._edge,
                self._video.distribution,
                uri,
                status=_STATUS[answer.failure],
                result=result,
                response_result=result,
                detail=answer.failure or answer.result,
                sent_bytes=size + 380,
                time_taken=(answer.first_byte_ms + sent_ms) / 1000,
                first_byte=answer.first_byte_ms / 1000,
                origin_first_byte=None if origin_ms is None else origin_ms / 1000,
            )
        )
        self._last_id = request_id
        if answer.failure:
            return False
        self._cache[uri] = request_id
        if size > MANIFEST_BYTES:
            measured = size * 8000 / total_ms
            known = self._measured_bps
            self._measured_bps = known + SMOOTHING * (measured - known) if known else measured
        return True

    def _answer(self) -> _Answer:
        """What line, edge and origin make of a request that is sent now."""
        rng, steering = self._rng, self._around.steering
        if steering.version != self._edge_version:
            self._edge_version = steering.version
            self._edge = steering.choose(self._viewer.country, rng)
        bps, rtt_ms = self._line.next_bps(), self._line.rtt_ms
        if self.truth.startup_s is None:
            bps *= SLOW_START
        is_hit = rng.random() < self._video.hit_ratio
        result = "RefreshHit" if is_hit and rng.random() < 0.02 else "Hit" if is_hit else "Miss"
        first_byte_ms = rng.expovariate(1 / 4.0) + 2
        origin_ms = None if result == "Hit" else 30 + rng.lognormvariate(4.3, 0.5)
        failure = "OriginError" if rng.random() < REQUEST_FAILURE else None
        for effect in self._effects():
            bps *= effect.throughput
            rtt_ms *= effect.rtt
            first_byte_ms += effect.first_byte_ms * rng.uniform(0.5, 1.5)
            if origin_ms is not None:
                origin_ms += effect.origin_ms * rng.uniform(0.5, 1.5)
                if rng.random() < effect.origin_failure:
                    failure = "OriginConnectError"
            if rng.random() < effect.segment_failure:
                failure = failure or "OriginReadError"
            if rng.random() < effect.edge_failure:
                failure, origin_ms = REFUSED, None
        return _Answer(bps, rtt_ms, first_byte_ms + (origin_ms or 0.0), origin_ms, result, failure)

    def _log_aborted(
        self,
        uri: str,
        request_id: str,
        size: int,
        first_byte_ms: float,
        sent_ms: float,
        asked_ms: float,
    ) -> None:
        """The viewer hung up: an Error to the CDN, and none of the CDN's."""
        took_ms = self._t - asked_ms
        if took_ms <= 0:
            return
        answered = took_ms > first_byte_ms
        sent = int(size * min(1.0, (took_ms - first_byte_ms) / sent_ms)) if answered else 0
        self._around.log(
            Request(
                self._t,
                request_id,
                self._viewer,
                self._edge,
                self._video.distribution,
                uri,
                status="200" if answered else "000",
                result="Error",
                response_result="Miss" if answered else "Error",
                detail="ClientCommError" if answered else "ClientHungUpRequest",
                sent_bytes=sent,
                time_taken=took_ms / 1000,
                first_byte=min(first_byte_ms, took_ms) / 1000,
                origin_first_byte=None,
            )
        )

    def _wait(self, wait_ms: float, deadline_ms: float | None, is_seek: bool) -> None:
        """Let time pass for a response: before the start, in a seek, or while it plays."""
        if deadline_ms is not None:
            if self._t + wait_ms > deadline_ms:
                self._t = deadline_ms
                raise _Left
            self._t += wait_ms
        elif is_seek:
            self._t += wait_ms
        else:
            played = min(self._buffer, wait_ms / 1000)
            self._play(played)
            stall_ms = wait_ms - played * 1000
            if stall_ms > 1:
                self._stall(stall_ms)

    def _stall(self, stall_ms: float) -> None:
        truth = self.truth
        limit_s = audience.longest_stall_s(truth.intended_s, truth.played_s, truth.video_duration_s)
        bearable_ms = max(0.0, limit_s - truth.stalled_s) * 1000
        shown_ms = min(stall_ms, bearable_ms)
        started_ms = self._t
        truth.stalls += 1
        truth.stalled_s += shown_ms / 1000
        self._t += shown_ms
        if shown_ms < stall_ms:
            raise _Left
        self._buffering_since = started_ms
        self._buffer_event("ScreenFreezedBuffer", shown_ms)

    def _effects(self) -> list[Kind]:
        script = self._around.script
        if not script.active(self._t):
            return []
        return list(script.affecting(self._t, {**self._whom, "edge": self._edge}))

    def _fail(self, outcome: str) -> None:
        self._error("1001", "technical", fatal=True)
        self.truth.outcome = outcome

    # ---- events

    def _constant_fields(self) -> dict[str, Any]:
        viewer = self._viewer
        fields: dict[str, Any] = {
            "user_id": viewer.user_id,
            "video_id": self._video.video_id,
        }
        if viewer.app_version is not None:
            fields |= {
                "session_id": self._session_id,
                "app_version": viewer.app_version,
                "app_type": viewer.device.app_type,
                "device_type": viewer.device.device_type,
                "os": viewer.device.os,
                "cdn": "cloudfront",
            }
        return fields

    def _shared(self, *, rtt: bool = False, media: bool = False) -> dict[str, Any]:
        """Fields that several kinds of events have."""
        fields = {"connection_type": self._viewer.connection, **self._constant}
        if self._seen_play:
            fields["playlist_type"] = self._video.playlist_type
        if rtt:
            # the browser rounds to 25 ms
            known = self._viewer.device.knows_rtt
            fields["rtt"] = max(25, round(self._line.rtt_ms / 25) * 25) if known else -1
        if media:
            bitrate, resolution = world.LADDER[self._level]
            fields |= {
                "package": "hls",
                "resolution": resolution,
                "fps": self._video.fps,
                "avg_bitrate": bitrate,
            }
        return fields

    def _event(self, metric: str, **fields: Any) -> None:
        event = {
            "MetricType": metric,
            **self._constant,
            **fields,
            "TimeStamp": int(self._t) + self._viewer.clock_ms,
        }
        if self._seen_play:
            event["playlist_type"] = self._video.playlist_type
        if self._viewer.app_version is not None:
            self._seq += 1
            event["seq"] = self._seq
        self._around.emit(self._t, event)

    def _at(self) -> str:
        return f"{self._head:.6f}" if self._head else "0"

    def _play_event(self) -> None:
        self._seen_play = True
        # the duration is not known before the manifest is there
        known = self._segment > 0
        self._event("PLAY", at=self._at(), duration=self._video.duration_s if known else 0)

    def _pause_event(self) -> None:
        self._event("PAUSE", at=self._at(), duration=self._video.duration_s)

    def _started_events(self, load_ms: float) -> None:
        rng = self._rng
        since_load = self._t - load_ms
        # loadStarted was not set: counted from 1970
        unset = rng.random() < 0.001
        waited = self._t + self._viewer.clock_ms if unset else since_load
        self._event(
            "FIRSTFRAME",
            **self._shared(rtt=True, media=True),
            time_millisecond=int(waited),
            cdn_tracking_id=self._last_id,
        )
        if self._buffering_since is not None:
            # the player waits for its first bytes, and the SDK calls that a frozen screen
            self._buffer_event("ScreenFreezedBuffer", since_load * rng.uniform(0.3, 0.95))
        self._buffer_event("FirstBuffer", waited + rng.uniform(1, 60))

    def _buffer_event(self, buffer_type: str, wait_ms: float) -> None:
        self._event(
            "BUFFER",
            buffer_type=buffer_type,
            at=self._at(),
            **self._shared(rtt=True),
            time_millisecond=int(wait_ms),
            cdn_tracking_id=self._last_id,
        )

    def _error(self, code: str, kind: str, *, fatal: bool) -> None:
        newer = {}
        if self._viewer.app_version is not None:
            newer = {"error_code": code, "error_fatal": fatal, "error_class": kind}
        self._event("ERROR", at=self._at(), message="Error", cdn_tracking_id=self._last_id, **newer)
