"""What the metrics are called, what they are measured in, and which way is bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Metric:
    """label: for people. unit: number, share, ms, bps. worse: up, down, or empty for neither.

    about: the formula and its source, as facts have it. beside: what stands with it, by name: other
    quantiles of the same histogram.
    """

    label: str
    unit: str
    worse: str
    about: str
    beside: Mapping[str, str] = field(default_factory=dict)


def _other_quantiles(of: str) -> dict[str, str]:
    return {f"p{share}": f"{of}_p{share}_ms" for share in (50, 99)}


PLAYBACK = {
    "concurrent_plays": Metric(
        "Concurrent plays", "number", "down", "most plays at one moment (Conviva)"
    ),
    "attempts": Metric("Attempts in 5 min", "number", "down", "sessions with a first play intent"),
    "start_failure_share": Metric(
        "Start failures", "share", "up", "VSF, technical: failed attempts / attempts (Conviva)"
    ),
    "exit_before_start_share": Metric(
        "Exits before start", "share", "up", "EBVS: exits before start / attempts (Conviva)"
    ),
    "startup_p95_ms": Metric(
        "Start-up time, p95",
        "ms",
        "up",
        "VST: first play to first frame (CTA-2066)",
        _other_quantiles("startup"),
    ),
    "rebuffering_share": Metric(
        "Rebuffering", "share", "up", "CIRR: stalled / (played + stalled + seeking) (Conviva)"
    ),
    "playback_failure_share": Metric(
        "Playback failures", "share", "up", "VPF: failed plays / ended plays (Conviva)"
    ),
    "bitrate_bps": Metric("Bitrate", "bps", "down", "bits played / media time (CTA-2066)"),
}
CDN = {
    "requests": Metric("Requests in 5 min", "number", "down", "requests that the CDN answered"),
    "sent_bits_per_second": Metric("Sent", "bps", "", "bytes sent to viewers, as bit/s"),
    "hit_share": Metric(
        "Cache hits", "share", "down", "Hit, RefreshHit and OriginShieldHit / all but Redirect"
    ),
    "hit_byte_share": Metric("Cache hits by bytes", "share", "down", "the same by bytes"),
    "first_byte_p95_ms": Metric(
        "First byte, p95",
        "ms",
        "up",
        "TTFB at the edge, without the viewer's network",
        _other_quantiles("first_byte"),
    ),
    "slow_first_byte_share": Metric(
        "Slow first bytes", "share", "up", "requests with a TTFB above 15 ms (Edgio)"
    ),
    "origin_first_byte_p95_ms": Metric(
        "Origin's first byte, p95",
        "ms",
        "up",
        "of requests for which the origin was asked",
        _other_quantiles("origin_first_byte"),
    ),
    "cdn_error_share": Metric(
        "Errors", "share", "up", "the origin's and the edge's; client aborts left out"
    ),
    "origin_error_share": Metric("Origin's errors", "share", "up", "client aborts left out"),
    "edge_error_share": Metric("Edge's errors", "share", "up", "client aborts left out"),
    "response_4xx_share": Metric("Status 4xx", "share", "up", "of all requests"),
    "response_5xx_share": Metric("Status 5xx", "share", "up", "of all requests"),
    "client_abort_share": Metric("Client aborts", "share", "", "of all requests; no fault here"),
}
ALL = {**PLAYBACK, **CDN}
_OTHERS = {"failing_client_share": ("Clients with errors", "share")}


def label_of(metric: str) -> str:
    """What people call it."""
    return ALL[metric].label if metric in ALL else _OTHERS.get(metric, (metric, ""))[0]


def unit_of(metric: str) -> str:
    """number, share, ms or bps."""
    return ALL[metric].unit if metric in ALL else _OTHERS.get(metric, ("", "number"))[1]


def show(value: float | None, unit: str) -> str:
    """A value with its unit, to three digits or so; a dash where there is none."""
    if value is None:
        return "-"
    match unit:
        case "share":
            return f"{100 * value:.2f} %" if value < 0.0995 else f"{100 * value:.1f} %"
        case "ms":
            return f"{value:,.0f} ms"
        case "bps":
            return _scaled(value, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"))
        case "bytes":
            return _scaled(value, ("B", "kB", "MB", "GB", "TB"))
        case _:
            return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:,.1f}"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    place = 0
    while value >= 999.5 and place < len(units) - 1:
        value, place = value / 1000, place + 1
    return f"{value:.0f} {units[0]}" if place == 0 else f"{value:.3g} {units[place]}"


def show_change(value: float | None, other: float | None) -> str:
    """By how much a value is above another, as +12 %; empty where that says nothing."""
    if value is None or not other:
        return ""
    change = 100 * (value / other - 1)
    return f"{change:+.0f} %" if abs(change) >= 0.5 else "± 0 %"


def show_time(at: datetime | None) -> str:
    """A time of UTC; the day only where it is not that of now."""
    if at is None:
        return "-"
    at = at.astimezone(UTC)
    return f"{at:%H:%M}" if at.date() == datetime.now(UTC).date() else f"{at:%d %b %H:%M}"


def show_age(seconds: float | None) -> str:
    """How long ago, in the largest unit that has two or so digits."""
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
