"""What gold makes of simulated viewers and requests: obviously, and slowly."""

from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median
from typing import Any

from video_lakehouse import TRACKING_ID, failure_of, split_sessions, stalls_of, startup_of

from demo.video import world
from demo.video.player import Request
from demo.video.simulator import PlayerEvent

ALPHA_3 = {"DE": "DEU", "GB": "GBR", "NL": "NLD", "RO": "ROU", "US": "USA"}
HITS = ("HIT", "REFRESHHIT", "ORIGINSHIELDHIT")
UNKNOWN = "Unavailable"


def day_of(epoch_ms: float) -> date:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).date()


def bucket_of(duration_ms: int) -> int:
    return math.floor(20 * math.log(max(duration_ms, 1)))


@dataclass
class Cell:
    """What is counted, by name; distinct viewers and histograms, by name."""

    counts: Counter = field(default_factory=Counter)
    viewers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    histograms: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))
    concurrent: list[int] = field(default_factory=lambda: [0] * 6)


def request_of(
    tracking_id: str | None, epoch_ms: float, requests: Mapping[str, Request]
) -> Request | None:
    """The request that an event names, if the CDN logged it at most a day away."""
    found = requests.get(tracking_id or "")
    if found and abs((day_of(epoch_ms) - day_of(found.ended_ms)).days) <= 1:
        return found
    return None


def ids_of(events: Iterable[dict]) -> list[str]:
    ids = [event.get("cdn_tracking_id") for event in events]
    return [each for each in ids if each and TRACKING_ID.fullmatch(each)]


def noc_playback(
    events: Sequence[PlayerEvent], requests: Mapping[str, Request]
) -> dict[tuple, Cell]:
    """Cells by (minute as epoch ms, country, isp, edge, device, app version, video)."""
    cells: dict[tuple, Cell] = defaultdict(Cell)
    for (user, video), session in split_sessions(events):
        for minute in {event["ms"] // 60_000 * 60_000 for event in session}:
            of_minute = [e for e in session if minute <= e["ms"] < minute + 60_000]
            ids = ids_of(of_minute)[-1:] or ids_of(session)[:1]
            request = request_of(ids[0] if ids else None, minute, requests)
            place = (UNKNOWN,) * 3
            if request:
                viewer = request.viewer
                place = (ALPHA_3[viewer.country], viewer.network.isp, request.edge)
            device, version = (
                max((str(e[name]) for e in session if name in e), default=UNKNOWN)
                for name in ("device_type", "app_version")
            )
            cell = cells[(minute, *place, device, version, video)]
            arrived = max(event["arrived_ms"] for event in of_minute)
            cell.counts["newest_arrival"] = max(cell.counts["newest_arrival"], arrived)
            if request and request.viewer.is_bot:
                cell.counts["bot_sessions"] += 1
            else:
                cell.counts["hosting_sessions"] += bool(
                    request and request.viewer.network.is_hosting
                )
                _count_minute(cell, user, session, of_minute, minute)
    return cells


def _waited(event: dict) -> int | None:
    waited = event.get("time_millisecond")
    return waited if waited is not None and 0 <= waited <= 600_000 else None


def _is_error(event: dict) -> bool:
    tracking_id = event.get("cdn_tracking_id")
    is_end = tracking_id is not None and not TRACKING_ID.fullmatch(tracking_id)
    return event["type"] == "error" and not is_end


def _count_minute(
    cell: Cell, user: str, session: list[dict], of_minute: list[dict], minute: int
) -> None:
    counts = cell.counts
    counts["sessions"] += 1
    cell.viewers["viewers"].add(user)
    first_frames = [e["ms"] for e in session if e["type"] == "firstframe"]
    beginnings = [e["ms"] for e in session if e["type"] == "play"] or first_frames
    if beginnings and beginnings[0] // 60_000 * 60_000 == minute:
        _count_start(cell, session)
    if session[-1]["ms"] // 60_000 * 60_000 == minute and first_frames:
        counts["ended_plays"] += 1
        counts["failed_plays"] += failure_of(session) == "technical"
        counts["ended_plays_with_stall"] += bool(stalls_of(session))
    for place in range(6):
        moment = minute + place * 10_000
        if first_frames and first_frames[0] <= moment <= session[-1]["ms"]:
            cell.concurrent[place] += 1

    streams = [e for e in of_minute if e["type"] == "stream"]
    stalled = [e for e in stalls_of(session) if e in of_minute]
    errors = [e for e in of_minute if _is_error(e)]
    counts["played_s"] += len(streams)
    counts["played_bits"] += sum(e["avg_bitrate"] for e in streams)
    counts["rated_s"] += sum(e["avg_bitrate"] > 0 for e in streams)
    counts["stalls"] += len(stalled)
    counts["stalled_ms"] += sum(e["time_millisecond"] for e in stalled)
    counts["seeking_ms"] += sum(_waited(e) or 0 for e in of_minute if e["type"] == "seek")
    counts["errors"] += len(errors)
    counts["sessions_with_stall"] += bool(stalled)
    counts["sessions_with_error"] += bool(errors)
    cell.viewers["stalled_viewers"] |= {user} if stalled else set()
    cell.viewers["failing_viewers"] |= {user} if errors else set()


def _count_start(cell: Cell, session: list[dict]) -> None:
    counts = cell.counts
    first_frames = [e for e in session if e["type"] == "firstframe"]
    failure, startup = failure_of(session), startup_of(session)
    counts["attempts"] += 1
    if first_frames:
        counts["plays"] += 1
    else:
        counts[f"start_failures_{failure}" if failure else "exits_before_start"] += 1
    if startup is not None:
        counts["startups"] += 1
        counts["startup_ms"] += startup
        cell.histograms["startup_histogram"][bucket_of(startup)] += 1
    if first_frames and _waited(first_frames[0]) is not None:
        counts["first_frame_waits"] += 1
        counts["first_frame_wait_ms"] += _waited(first_frames[0])


def noc_cdn(requests: Iterable[Request]) -> dict[tuple, Cell]:
    """Cells by (minute as epoch ms, edge, isp, result)."""
    cells: dict[tuple, Cell] = defaultdict(Cell)
    for request in requests:
        is_v2 = request.distribution == world.V2_DISTRIBUTION
        result = request.result.upper()
        minute = int(request.ended_ms) // 60_000 * 60_000
        cell = cells[minute, request.edge, request.viewer.network.isp, result]
        counts = cell.counts
        counts["requests"] += 1
        counts["bot_requests"] += request.viewer.is_bot
        counts["sent_bytes"] += request.sent_bytes
        counts["cacheable_requests"] += result != "REDIRECT"
        counts["cacheable_bytes"] += request.sent_bytes * (result != "REDIRECT")
        counts["hits"] += result in HITS
        counts["hit_bytes"] += request.sent_bytes * (result in HITS)
        if not is_v2:
            counts["other_errors"] += result == "ERROR"
            continue
        first, taken = (round(1000 * s) for s in (request.first_byte, request.time_taken))
        counts["timed_bytes"] += request.sent_bytes
        counts["time_taken_ms"] += taken
        counts["first_bytes"] += 1
        counts["first_byte_ms"] += first
        counts["slow_first_bytes"] += first > 15
        cell.histograms["first_byte_histogram"][bucket_of(first)] += 1
        if request.origin_first_byte is not None:
            origin = round(1000 * request.origin_first_byte)
            counts["origin_first_bytes"] += 1
            counts["origin_first_byte_ms"] += origin
            cell.histograms["origin_first_byte_histogram"][bucket_of(origin)] += 1
        status = int(request.status)
        counts["responses_4xx"] += 400 <= status < 500
        counts["responses_5xx"] += 500 <= status < 600
        if request.result == "Error":
            counts[_whose_error(request, status)] += 1
    return cells


def _whose_error(request: Request, status: int) -> str:
    if status in (0, 200) or request.response_result != "Error":
        return "client_aborts"
    if request.detail.startswith(("Client", "InvalidRequest", "AbortedOrigin")):
        return "client_aborts"
    if request.detail.startswith("Origin"):
        return "origin_errors"
    return "edge_errors" if status >= 500 else "other_errors"


def viewer_experience(events: Sequence[PlayerEvent]) -> dict[tuple[date, str], Counter]:
    """What is counted, by name, of (day, viewer); 0 stands for nothing."""
    found: dict[tuple[date, str], Counter] = defaultdict(Counter)
    by_day: dict[tuple[date, str], list[tuple]] = defaultdict(list)
    for (user, video), session in split_sessions(events):
        for event in session:
            found[day_of(event["ms"]), user]  # a row for each day with events
        by_day[day_of(session[0]["ms"]), user].append((session[0]["ms"], video, session))
    for key, sessions in by_day.items():
        counts = found[key]
        for _, _, session in sessions:
            _count_session(counts, session)
        counts["videos"] = len(
            {v for _, v, some in sessions if any(e["type"] == "firstframe" for e in some)}
        )
    return found


def _count_session(counts: Counter, session: list[dict]) -> None:
    types = [e["type"] for e in session]
    failure, startup = failure_of(session), startup_of(session)
    stalls = stalls_of(session)
    is_play = "firstframe" in types
    counts["sessions"] += 1
    counts["attempts"] += is_play or "play" in types
    counts["plays"] += is_play
    if "play" in types and not is_play:
        counts[f"start_failures_{failure}" if failure else "exits_before_start"] += 1
    counts["failed_plays"] += is_play and failure == "technical"
    counts["completed_plays"] += is_play and "stop" in types
    if startup is not None:
        counts["startups"] += 1
        counts["startup_ms"] += startup
        counts["startups_over_2s"] += startup > 2_000
        counts["startups_over_10s"] += startup > 10_000
        counts["longest_startup_ms"] = max(counts["longest_startup_ms"], startup)
    counts["played_s"] += types.count("stream")
    counts["played_bits"] += sum(e["avg_bitrate"] for e in session if e["type"] == "stream")
    counts["rated_s"] += sum(e["type"] == "stream" and e["avg_bitrate"] > 0 for e in session)
    counts["stalls"] += len(stalls)
    counts["stalled_ms"] += sum(e["time_millisecond"] for e in stalls)
    counts["seeking_ms"] += sum(_waited(e) or 0 for e in session if e["type"] == "seek")
    counts["sessions_with_stall"] += bool(stalls)
    counts["sessions_with_3_stalls"] += len(stalls) >= 3
    for name, kind in (("pauses", "pause"), ("seeks", "seek")):
        counts[name] += types.count(kind)
    counts["downshifts"] += sum(
        e["type"] == "step" and e["direction"].lower() == "down" for e in session
    )
    counts["errors"] += sum(map(_is_error, session))


def video_activity(
    events: Sequence[PlayerEvent], requests: Mapping[str, Request]
) -> Counter[tuple[Any, ...]]:
    """(viewer, type, when as epoch ms, edge, isp, result) of each event, once."""
    rows: Counter[tuple[Any, ...]] = Counter()
    for (user, _), session in split_sessions(events):
        for event in session:
            ids = ids_of([event])
            request = request_of(ids[0] if ids else None, event["ms"], requests)
            place = (
                (request.edge, request.viewer.network.isp, request.result.upper())
                if request
                else (None,) * 3
            )
            rows[user, event["type"], event["ms"], *place] += 1
    return rows


# ---- windows, baseline, comparison

WINDOW_MS, HOUR_MS = 300_000, 3_600_000
FIELDS = ("country", "isp", "edge", "device_type", "app_version", "video_id")
KINDS = ("country", "isp", "edge", "video_id", "device_type", "app_version")
Figure = tuple[float, int | None, int | None, int, int | None]


def p95(histogram: Counter) -> float:
    buckets = sorted(histogram.elements())
    place = -(-95 * len(buckets) // 100)
    return math.exp((buckets[place - 1] + 0.5) / 20)


def _starts(minute: int) -> range:
    return range(minute - 4 * 60_000, minute + 60_000, 60_000)


def noc_windows(
    playback: Mapping[tuple, Cell], cdn: Mapping[tuple, Cell]
) -> dict[tuple, dict[str, Figure]]:
    """(value, numerator, denominator, sample, impacted) of each metric, by (window, kind, cohort).

    Windows are named by the epoch ms of their start.
    """
    watched: dict[tuple, list[tuple[int, Cell]]] = defaultdict(list)
    for (minute, *names), cell in playback.items():
        named = dict(zip(FIELDS, names, strict=True))
        cohorts = [("all", "all"), *((kind, named[kind]) for kind in KINDS)]
        both = f"{named['app_version']}, {named['device_type']}"
        cohorts.append(("app_version, device_type", both))
        for start in _starts(minute):
            for cohort in cohorts:
                watched[start, *cohort].append((minute, cell))
    asked: dict[tuple, list[Cell]] = defaultdict(list)
    for (minute, edge, isp, _), cell in cdn.items():
        for start in _starts(minute):
            for cohort in (("all", "all"), ("edge", edge), ("isp", isp)):
                asked[start, *cohort].append(cell)
    found: dict[tuple, dict[str, Figure]] = defaultdict(dict)
    for key, cells in watched.items():
        found[key] |= _playback_figures(cells)
    for key, some in asked.items():
        found[key] |= _cdn_figures(some)
    return found


def _shares(parts: dict[str, tuple[int, int, int, int]]) -> dict[str, Figure]:
    return {
        name: (top / low, top, low, n, bad) for name, (top, low, n, bad) in parts.items() if low
    }


def _playback_figures(cells: list[tuple[int, Cell]]) -> dict[str, Figure]:
    sums: Counter = Counter()
    viewers: dict[str, set[str]] = defaultdict(set)
    startups: Counter = Counter()
    moments: Counter = Counter()
    for minute, cell in cells:
        sums.update(cell.counts)
        startups.update(cell.histograms["startup_histogram"])
        for name in ("viewers", "stalled_viewers", "failing_viewers"):
            viewers[name] |= cell.viewers[name]
        for place, plays in enumerate(cell.concurrent):
            moments[minute, place] += plays
    seen, stalled, failing = (
        len(viewers[name]) for name in ("viewers", "stalled_viewers", "failing_viewers")
    )
    attempts, ended = sums["attempts"], sums["ended_plays"]
    plays = max(moments.values())
    waited = 1000 * sums["played_s"] + sums["stalled_ms"] + sums["seeking_ms"]
    early, broken = sums["exits_before_start"], sums["start_failures_technical"]
    figures = _shares(
        {
            "exit_before_start_share": (early, attempts, attempts, early),
            "start_failure_share": (broken, attempts, attempts, broken),
            "playback_failure_share": (sums["failed_plays"], ended, ended, sums["failed_plays"]),
            "failing_client_share": (failing, seen, seen, failing),
            "rebuffering_share": (sums["stalled_ms"], waited, seen, stalled),
            "bitrate_bps": (sums["played_bits"], sums["rated_s"], seen, seen),
            "attempts": (attempts, 1, attempts, attempts),
            "concurrent_plays": (plays, 1, plays, plays),
        }
    )
    if startups:
        figures["startup_p95_ms"] = (p95(startups), None, None, startups.total(), None)
    return figures


def _cdn_figures(cells: list[Cell]) -> dict[str, Figure]:
    sums: Counter = Counter()
    histograms: dict[str, Counter] = defaultdict(Counter)
    for cell in cells:
        sums.update(cell.counts)
        for name, histogram in cell.histograms.items():
            histograms[name].update(histogram)
    asked, cacheable = sums["requests"] - sums["client_aborts"], sums["cacheable_requests"]
    broken = sums["origin_errors"] + sums["edge_errors"]
    figures = _shares(
        {
            "hit_share": (sums["hits"], cacheable, cacheable, cacheable - sums["hits"]),
            "cdn_error_share": (broken, asked, asked, broken),
            "origin_error_share": (sums["origin_errors"], asked, asked, sums["origin_errors"]),
            "edge_error_share": (sums["edge_errors"], asked, asked, sums["edge_errors"]),
        }
    )
    for name, histogram in histograms.items():
        metric = name.replace("_histogram", "_p95_ms")
        if histogram:
            value = p95(histogram)
            figures[metric] = (value, None, None, histogram.total(), None)
    return figures


def noc_baseline(windows: Mapping[tuple, Mapping[str, Figure]]) -> dict[tuple, tuple]:
    """(baseline, deviation, windows) by (hour, kind, cohort, metric); all of the day before."""
    hours = {start // HOUR_MS * HOUR_MS for start, *_ in windows}
    values: dict[tuple, list[float]] = defaultdict(list)
    for (start, *cohort), figures in windows.items():
        if start % WINDOW_MS:
            continue
        for hour in hours:
            if 0 < hour - start // HOUR_MS * HOUR_MS <= 24 * HOUR_MS:
                for metric, figure in figures.items():
                    values[hour, *cohort, metric].append(figure[0])
    found = {}
    for key, usual in values.items():
        middle = median(usual)
        distance = median(abs(value - middle) for value in usual)
        found[key] = (middle, 1.4826 * distance, len(usual))
    return found


# ---- alerts

Breaches = dict[tuple[int, str], dict[str, Figure]]


def read_rules() -> list[dict[str, Any]]:
    """The rows of seeds/alert_rules.csv about video, numbers as numbers."""
    with (Path(__file__).parent.parent / "seeds" / "alert_rules.csv").open() as file:
        return [
            {name: _number(text) for name, text in row.items()}
            for row in csv.DictReader(file)
            if row["domain"] == "video"
        ]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def alert_judgements(
    windows: Mapping[tuple, Mapping[str, Figure]], rules: Sequence[Mapping[str, Any]]
) -> Breaches:
    """The figures that break a rule, by cohort, of each (window, rule)."""
    baseline = noc_baseline(windows)
    found: Breaches = {(start, rule["rule"]): {} for start, *_ in windows for rule in rules}
    for (start, kind, cohort), figures in windows.items():
        for rule in rules:
            figure = figures.get(rule["metric"])
            if figure is None or rule["cohort_kind"] != kind:
                continue
            usual, deviation = None, None
            if rule["reference"] == "baseline":
                hour = start // HOUR_MS * HOUR_MS
                known = baseline.get((hour, kind, cohort, rule["metric"]))
                usual, deviation = known[:2] if known else (None, None)
            elif rule["reference"] == "peers":
                usual = _peers(windows, start, kind, cohort, rule["metric"])
            if _is_broken(rule, figure, usual, deviation):
                found[start, rule["rule"]][cohort] = figure
    return found


def _peers(
    windows: Mapping[tuple, Mapping[str, Figure]], start: int, kind: str, cohort: str, metric: str
) -> float | None:
    others = [
        figures[metric]
        for (at, its_kind, name), figures in windows.items()
        if (at, its_kind) == (start, kind) and name != cohort and metric in figures
    ]
    return sum(f[1] for f in others) / sum(f[2] for f in others) if others else None


def _is_broken(
    rule: Mapping[str, Any], figure: Figure, usual: float | None, deviation: float | None
) -> bool:
    value, _, _, sample, impacted = figure
    if sample < rule["least_sample"]:
        return False
    if rule["least_impacted"] and (impacted is None or impacted < rule["least_impacted"]):
        return False
    if rule["reference"] != "none" and usual is None:
        return False
    side = 1 if rule["direction"] == "above" else -1
    limits = [rule["bound"]]
    if usual is not None:
        limits.append(usual * rule["factor"] + rule["margin"])
    if rule["deviations"]:
        limits.append(usual + side * rule["deviations"] * deviation)
    return all(side * value > side * limit for limit in limits)


def alerts(
    breaches: Breaches, rules: Sequence[Mapping[str, Any]], newest_ms: int
) -> set[tuple[str, str, str, int, int | None, int]]:
    """(rule, cohort, state, started, fired, windows) of each; times as epoch ms."""
    found = set()
    for rule in rules:
        mine = {start: some for (start, which), some in breaches.items() if which == rule["rule"]}
        for cohort in {name for some in mine.values() for name in some}:
            broken = sorted(
                start
                for start, some in mine.items()
                if cohort in some and start + WINDOW_MS <= newest_ms
            )
            for episode in _episodes(broken, rule["clear_after"]):
                fired = _fired(episode, int(rule["fire_after"]))
                is_over = episode[-1] + WINDOW_MS + rule["clear_after"] * 60_000 <= newest_ms
                if fired is None:
                    state = "passed" if is_over else "pending"
                else:
                    state = "resolved" if is_over else "firing"
                found.add((rule["rule"], cohort, state, episode[0], fired, len(episode)))
    return found


def _episodes(starts: Sequence[int], clear_after: float) -> list[list[int]]:
    episodes: list[list[int]] = []
    for start in starts:
        if not episodes or start - episodes[-1][-1] > clear_after * 60_000:
            episodes.append([])
        episodes[-1].append(start)
    return episodes


def _fired(episode: Sequence[int], fire_after: int) -> int | None:
    """The end of the first window that is the last of so many in a row."""
    for start in episode:
        if all(start - back * 60_000 in episode for back in range(fire_after)):
            return start + WINDOW_MS
    return None
