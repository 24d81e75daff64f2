"""Requests as the CDN logs them: gzip objects of JSON lines, late and in no order."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any
from urllib.parse import quote

import orjson

from demo.video import world
from demo.video.player import Request

PREFIX = "qos/cdn_logs/"
WINDOW_MS = 300_000
MINUTE_MS = 60_000
LATE_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class LogObject:
    """One object of the log bucket. due_ms: when the CDN delivers it, epoch ms."""

    due_ms: float
    key: str
    body: bytes
    rows: int


def v2_row(request: Request) -> dict[str, str]:
    """A request as CloudFront's standard logs v2 write it in JSON: all values are strings."""
    ended = _moment(request)
    viewer, origin = request.viewer, request.origin_first_byte
    is_manifest = request.uri.endswith(".m3u8")
    return {
        "date": f"{ended:%Y-%m-%d}",
        "time": f"{ended:%H:%M:%S}",
        "x-edge-location": request.edge,
        "sc-bytes": str(request.sent_bytes),
        "c-ip": viewer.ip,
        "cs-method": "GET",
        "cs(Host)": f"{request.distribution.lower()}.cdn.example",
        "cs-uri-stem": request.uri,
        "sc-status": request.status,
        "cs(Referer)": "-",
        "cs(User-Agent)": quote(viewer.user_agent, safe="/;:()+,"),
        "cs-uri-query": "-",
        "x-edge-result-type": request.result,
        "x-edge-request-id": request.request_id,
        "time-taken": f"{request.time_taken:.3f}",
        "x-forwarded-for": "-",
        "x-edge-response-result-type": request.response_result,
        "time-to-first-byte": f"{request.first_byte:.3f}",
        "x-edge-detailed-result-type": request.detail,
        "sc-content-type": "application/vnd.apple.mpegurl" if is_manifest else "video/MP2T",
        "asn": str(viewer.network.asn),
        "c-country": viewer.country,
        "timestamp(ms)": str(int(request.ended_ms)),
        "origin-fbl": "-" if origin is None else f"{origin:.3f}",
        "DistributionId": request.distribution,
    }


def reference_row(request: Request) -> dict[str, Any]:
    """A request as the reference solution's Lambda writes it: few fields, two of them empty."""
    ended = _moment(request)
    agent = request.viewer.user_agent
    return {
        "browserfamily": _family(agent, _BROWSERS),
        "bytes": str(request.sent_bytes),
        "cdn_source": "cloudfront",
        "isbot": agent in world.BOT_AGENTS,
        "location": request.edge,
        "logdate": f"{ended:%Y-%m-%d}",
        "logtime": f"{ended:%H:%M:%S}",
        "osfamily": _family(agent, _SYSTEMS),
        "requestid": request.request_id,
        "requestip": request.viewer.ip,
        "resulttype": request.result.upper(),
        "uri": request.uri,
        "year": None,
        "month": None,
        "day": ended.day,
        "hour": ended.hour,
    }


# The first name that stands in the agent; order matters, since they all claim to be others.
_BROWSERS = ("Slackbot-LinkExpanding", "WhatsApp", "Googlebot", "SamsungBrowser", "Firefox")
_BROWSERS += ("Chrome", "Safari")
_SYSTEMS = ("Tizen", "Android", "iPhone", "Windows", "Mac OS X", "Linux")


def _family(agent: str, names: Iterable[str]) -> str:
    found = next((name for name in names if name in agent), "Other")
    return "Samsung Internet" if found == "SamsungBrowser" else found


def _moment(request: Request) -> datetime:
    return datetime.fromtimestamp(request.ended_ms / 1000, UTC)


SHAPES: dict[str, tuple[str, Callable[[Request], dict[str, Any]]]] = {
    world.V2_DISTRIBUTION: ("v2", v2_row),
    world.REFERENCE_DISTRIBUTION: ("reference", reference_row),
}


class CdnLog:
    """Collects requests and delivers them as a CDN does.

    A distribution's requests of five minutes make an object, which comes some minutes later, one
    in twenty an hour or two later; of the rows of each some come in an object of their own, hours
    and up to a day later.
    """

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"{seed}/cdn_log")
        self._open: dict[tuple[str, int], list[Request]] = {}
        self._closed: list[LogObject] = []

    def add(self, requests: Iterable[Request]) -> None:
        """Note requests, whenever they ended."""
        for request in requests:
            window = int(request.ended_ms // WINDOW_MS)
            self._open.setdefault((request.distribution, window), []).append(request)

    def due(self, now_ms: float) -> list[LogObject]:
        """The objects that are delivered by a time, none of them twice; oldest first."""
        # A request may end some time after the simulator has handed it over.
        for key in [key for key in self._open if (key[1] + 1) * WINDOW_MS + MINUTE_MS <= now_ms]:
            self._close(*key)
        due = [item for item in self._closed if item.due_ms <= now_ms]
        self._closed = [item for item in self._closed if item.due_ms > now_ms]
        return sorted(due, key=lambda item: item.due_ms)

    def flush(self) -> list[LogObject]:
        """Everything that is left, as if a day had passed."""
        for key in list(self._open):
            self._close(*key)
        left, self._closed = self._closed, []
        return sorted(left, key=lambda item: item.due_ms)

    def _close(self, distribution: str, window: int) -> None:
        rng = self._rng
        requests = self._open.pop((distribution, window))
        end_ms = (window + 1) * WINDOW_MS
        late = [request for request in requests if rng.random() < LATE_SHARE]
        late_ids = {id(request) for request in late}
        usual = [request for request in requests if id(request) not in late_ids]
        delay = rng.lognormvariate(1.5, 0.5) if rng.random() < 0.95 else rng.uniform(60, 150)
        late_delay = rng.uniform(60, 360) if rng.random() < 0.95 else rng.uniform(360, 1440)
        for some, minutes in ((usual, delay), (late, late_delay)):
            if some:
                rng.shuffle(some)
                self._closed.append(self._object(distribution, some, end_ms + minutes * MINUTE_MS))

    def _object(self, distribution: str, requests: list[Request], due_ms: float) -> LogObject:
        name, shape = SHAPES[distribution]
        hour = _moment(requests[0])
        folder = f"{PREFIX}{name}/"
        if name == "v2":
            folder += f"{hour:year=%Y/month=%m/day=%d/hour=%H}/"
        key = f"{folder}{distribution}.{hour:%Y-%m-%d-%H}.{self._rng.getrandbits(32):08x}.gz"
        lines = b"".join(orjson.dumps(shape(each)) + b"\n" for each in requests)
        return LogObject(due_ms, key, gzip.compress(lines, 6, mtime=0), len(requests))
