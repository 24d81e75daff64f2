"""The simulated viewers: real enough, wrong in the ways that players are, and known."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from random import Random

import pytest

from demo.video import audience, world
from demo.video.incidents import KINDS, MINUTE_MS, Incident, Kind, Script, random_script
from demo.video.player import Request
from demo.video.simulator import Settings, Simulator, lower_cased
from demo.video.steering import Steering
from loaders.alerts import remediation
from loaders.alerts.message import Alert
from loaders.alerts.remediation import decide
from loaders.alerts.weights import parse_weights, weights_as_json

EVENING = 1_780_077_600_000  # 2026-05-29 18:00 UTC
TRACKING_ID = re.compile(r"[A-Za-z0-9_-]{54}==")
DOCUMENTATION = [
    ip_network(text)
    for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
# Fields by kind of event, as the reference SDK sends them.
FIELDS = {
    "PLAY": {"at", "duration"},
    "FIRSTFRAME": {
        *("rtt", "connection_type", "package", "resolution", "fps", "avg_bitrate"),
        *("time_millisecond", "cdn_tracking_id"),
    },
    "BUFFER": {
        *("buffer_type", "at", "rtt", "connection_type", "time_millisecond", "cdn_tracking_id"),
    },
    "STREAM": {
        *("at", "rtt", "connection_type", "package", "resolution", "fps", "avg_bitrate"),
        *("duration", "cdn_tracking_id"),
    },
    "STEP": {
        *("at", "bitrate_from", "bitrate_to", "direction", "package", "resolution", "fps"),
        "connection_type",
    },
    "SEEK": {
        *("seek_from", "seek_to", "rtt", "connection_type", "time_millisecond"),
        "cdn_tracking_id",
    },
    "PAUSE": {"at", "duration"},
    "STOP": {
        *("at", "duration", "connection_type", "package", "resolution", "fps", "avg_bitrate"),
    },
    "ERROR": {"at", "message", "cdn_tracking_id"},
}
ALWAYS = {"MetricType", "user_id", "video_id", "TimeStamp"}
NEWER = {"session_id", "seq", "app_version", "app_type", "device_type", "os", "cdn"}
NEWER_ERROR = {"error_code", "error_fatal", "error_class"}
EPOCH_SIZED_MS = 10**11


class Run:
    """A simulated stretch; of STREAM events, which are nearly all, only the shape is kept."""

    def __init__(self, simulator: Simulator, minutes: float) -> None:
        self.simulator = simulator
        self.events: list[dict] = []
        self.shapes: Counter = Counter()
        self.requests: list[Request] = []
        self.total = self.repeated = 0
        last = None
        for output in simulator.run(minutes):
            self.requests += output.requests
            for event in output.events:
                self.total += 1
                self.repeated += event is last
                last = event
                fields = json.loads(event.data)
                if "MetricType" not in fields:
                    self.shapes["lower-cased"] += 1
                    continue
                self.shapes[fields["MetricType"], frozenset(fields)] += 1
                if fields["MetricType"] != "STREAM":
                    self.events.append(fields)

    def of(self, metric: str, **values: str) -> list[dict]:
        wanted = {"MetricType": metric, **values}
        return [e for e in self.events if all(e.get(k) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def hour() -> Run:
    """An evening hour without incidents."""
    return Run(Simulator(Settings(seed=7, start_ms=EVENING, attempts_per_minute=10)), 60)


def quantile(values, share):
    return sorted(values)[int(len(values) * share)]


# ---- what is sent


def test_every_kind_of_event_has_the_fields_of_the_reference_sdk(hour):
    for shape in hour.shapes:
        if shape == "lower-cased":
            continue
        metric, fields = shape
        own = fields - ALWAYS - NEWER - NEWER_ERROR - {"playlist_type"}
        assert own == FIELDS[metric], metric
        assert fields >= ALWAYS
        assert not fields & NEWER or fields >= NEWER
        assert not fields & NEWER_ERROR or fields >= NEWER_ERROR | NEWER
    assert {shape[0] for shape in hour.shapes if shape != "lower-cased"} == set(FIELDS)


def test_a_share_of_players_has_the_newer_sdk_and_counts_its_events(hour):
    with_newer = sum(n for shape, n in hour.shapes.items() if "seq" in shape[1])
    assert 0.4 < with_newer / hour.total < 0.75


def test_at_and_fps_are_texts_and_times_are_whole_milliseconds(hour):
    for event in hour.events:
        assert isinstance(event.get("at", ""), str)
        assert isinstance(event.get("fps", ""), str)
        assert isinstance(event["TimeStamp"], int)
        assert isinstance(event.get("time_millisecond", 0), int)


def test_the_events_of_a_session_are_numbered_without_gaps():
    simulator = Simulator(Settings(seed=3, start_ms=EVENING, attempts_per_minute=2))
    numbers = defaultdict(set)
    for output in simulator.run(20):
        for event in output.events:
            fields = json.loads(event.data)
            if "seq" in fields:
                numbers[fields["session_id"]].add(fields["seq"])
    assert len(numbers) > 5
    # the end of a session that lost its line comes after the run
    whole = [seqs for seqs in numbers.values() if seqs == set(range(1, len(seqs) + 1))]
    assert len(whole) >= 0.9 * len(numbers)


def test_stream_comes_once_for_each_second_of_the_playhead():
    simulator = Simulator(Settings(seed=3, start_ms=EVENING, attempts_per_minute=2))
    seconds = defaultdict(Counter)
    seen = set()
    for output in simulator.run(20):
        for event in output.events:
            fields = json.loads(event.data)
            if fields.get("MetricType") == "STREAM" and "seq" in fields and event.data not in seen:
                seen.add(event.data)
                seconds[fields["session_id"]][int(float(fields["at"]))] += 1
    assert len(seconds) > 5
    assert {count for each in seconds.values() for count in each.values()} == {1}


def test_addresses_are_those_of_documentation_and_the_ranges_tell_them_apart(hour):
    v4_by_24 = defaultdict(set)
    for request in hour.requests:
        address = ip_address(request.viewer.ip)
        assert any(address in network for network in DOCUMENTATION)
        if address.version == 4:
            v4_by_24[ip_network(f"{address}/24", strict=False)].add(request.viewer.network.isp)
        matches = [
            (place.network.isp, place.country)
            for place in world.ranges().values()
            if address in (place.v4 if address.version == 4 else place.v6)
        ]
        assert matches == [(request.viewer.network.isp, request.viewer.country)]
    # who truncates first cannot tell
    assert max(map(len, v4_by_24.values())) > 1


def test_every_response_that_came_over_the_network_is_in_the_log_once(hour):
    logged = Counter(request.request_id for request in hour.requests)
    assert set(logged.values()) == {1}
    assert all(TRACKING_ID.fullmatch(each) for each in logged)
    named = {
        event["cdn_tracking_id"]
        for event in hour.events
        if TRACKING_ID.fullmatch(event.get("cdn_tracking_id") or "")
    }
    assert len(named) > 300
    assert named <= set(logged)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    def bytes_of(seed):
        simulator = Simulator(Settings(seed, EVENING, attempts_per_minute=3))
        return [event.data for output in simulator.run(4) for event in output.events]

    assert bytes_of(1) == bytes_of(1) != bytes_of(2)


def test_steps_of_any_length_deliver_the_same_events():
    def events(step_s):
        simulator = Simulator(Settings(5, EVENING, attempts_per_minute=3))
        return [e for output in simulator.run(5, step_s=step_s) for e in output.events]

    def distinct(events):
        return sorted({(event.arrived_ms, event.data) for event in events})

    assert distinct(events(7)) == distinct(events(300))


def test_events_come_in_the_order_of_their_arrival():
    simulator = Simulator(Settings(5, EVENING, attempts_per_minute=5))
    arrivals = [event.arrived_ms for output in simulator.run(8) for event in output.events]
    assert arrivals == sorted(arrivals)
    assert arrivals[-1] <= simulator.now_ms


def test_the_rate_is_the_one_asked_for_and_swings_with_the_day():
    settings = Settings(1, EVENING, attempts_per_minute=20)
    day = [settings.attempts_per_ms(EVENING + hour * 3_600_000) * 60_000 for hour in range(24)]
    assert sum(day) / 24 == pytest.approx(20)
    assert max(day) == pytest.approx(32)
    assert min(day) == pytest.approx(8)


def test_attempts_are_as_many_as_the_settings_say(hour):
    expected = sum(
        hour.simulator.settings.attempts_per_ms(EVENING + minute * MINUTE_MS) * MINUTE_MS
        for minute in range(60)
    )
    # sessions that follow another one directly lag behind at the start
    assert 0.7 * expected < len(hour.simulator.truth) < 1.15 * expected


# ---- its defects


def test_playlist_type_is_missing_before_the_first_play_and_only_there(hour):
    without = {shape[0] for shape in hour.shapes if "playlist_type" not in shape[1]}
    without -= {"lower-cased"[0]}
    assert {"FIRSTFRAME", "BUFFER"} <= without
    assert not without & {"PLAY", "STREAM", "PAUSE", "STOP", "SEEK", "STEP"}


def test_a_start_is_reported_as_a_stall(hour):
    frozen = hour.of("BUFFER", buffer_type="ScreenFreezedBuffer")
    at_start = [event for event in frozen if float(event["at"]) == 0]
    # 266 of the 294 stored rows of the reference
    assert 0.8 < len(at_start) / len(frozen) < 0.97


def test_some_durations_are_counted_from_1970_and_some_from_an_old_mark(hour):
    durations = [event["time_millisecond"] for event in hour.events if "time_millisecond" in event]
    epoch_sized = [each for each in durations if each > EPOCH_SIZED_MS]
    stale = [each for each in durations if 60_000 < each < EPOCH_SIZED_MS]
    assert epoch_sized
    assert stale
    assert len(epoch_sized) + len(stale) < 0.03 * len(durations)


def test_ids_repeat_and_some_are_older_than_their_session(hour):
    ids = Counter(event["cdn_tracking_id"] for event in hour.events if event.get("cdn_tracking_id"))
    assert sum(count > 2 for count in ids.values()) > 50


def test_an_end_can_arrive_as_an_error_without_an_id(monkeypatch):
    short = world.Video("short", "VOD", 9, 1.0, 0.9, world.V2_DISTRIBUTION, world.VOD_ORIGIN)
    monkeypatch.setattr(world, "VIDEOS", (short,))
    run = Run(Simulator(Settings(2, EVENING, 30)), 20)
    assert {event["at"] for event in run.of("STOP")} == {"9.000000"}
    sentences = [
        event["cdn_tracking_id"]
        for event in run.of("ERROR")
        if "ended with some error" in (event["cdn_tracking_id"] or "")
    ]
    assert sentences
    assert {event["message"] for event in run.of("ERROR")} == {"Error"}


def test_some_players_pass_a_collector_that_lower_cases_everything():
    event = {"MetricType": "STREAM", "cdn_tracking_id": "AbC==", "TimeStamp": 5}
    assert lower_cased(event) == b'{"metricType":"stream","cdn_tracking_id":"abc==","timestamp":5}'


def test_lower_cased_events_are_among_the_others(hour):
    assert 0.01 < hour.shapes["lower-cased"] / hour.total < 0.12


def test_some_events_are_delivered_twice_byte_by_byte(hour):
    assert 0.001 < hour.repeated / hour.total < 0.004


def test_clocks_are_off_a_little_by_minutes_or_by_days():
    rng = Random(1)
    offsets = sorted(abs(audience.new_viewer(rng).clock_ms) for _ in range(4000))
    assert quantile(offsets, 0.5) < 300
    assert 0.01 < sum(each > 30_000 for each in offsets) / len(offsets) < 0.05
    assert offsets[-1] > audience.DAY_MS


def test_bots_show_in_the_agent_and_hosted_viewers_only_in_their_network():
    rng = Random(1)
    viewers = [audience.new_viewer(rng) for _ in range(4000)]
    bots = {viewer.user_agent for viewer in viewers if viewer.is_bot}
    hosted = {v.user_agent for v in viewers if v.network.is_hosting and not v.is_bot}
    assert bots == set(world.BOT_AGENTS)
    assert hosted == {world.HEADLESS_AGENT}


def test_events_of_a_player_that_lost_its_line_come_minutes_later(monkeypatch):
    monkeypatch.setattr("demo.video.simulator.OFFLINE_SHARE", 1.0)
    simulator = Simulator(Settings(4, EVENING, attempts_per_minute=3))
    delays = [
        event.arrived_ms - json.loads(event.data)["TimeStamp"]
        for output in simulator.run(25)
        for event in output.events
        if b'"TimeStamp"' in event.data
    ]
    assert quantile(delays, 0.5) < 1000
    assert sum(60_000 < delay < 1_600_000 for delay in delays) > 100


# ---- how real it is


def test_starts_take_what_the_reference_measured(hour):
    """Startup recorded as a stall there: median 0.45 s, 95 % below 2.7 s, 99 % below 4.4 s."""
    waits = [
        event["time_millisecond"] / 1000
        for event in hour.of("BUFFER", buffer_type="ScreenFreezedBuffer")
        if float(event["at"]) == 0
    ]
    assert 0.3 < quantile(waits, 0.5) < 0.7
    assert 1.5 < quantile(waits, 0.95) < 4.0


def test_recorded_stalls_are_distributed_as_those_of_the_reference(hour):
    """Facts of the reference's stored rows: median 0.56 s, 95 % below 3.2 s, at most 38 min."""
    stalls = [
        event["time_millisecond"] / 1000
        for event in hour.of("BUFFER", buffer_type="ScreenFreezedBuffer")
        if event["time_millisecond"] < EPOCH_SIZED_MS
    ]
    assert 0.56 / 1.5 < quantile(stalls, 0.5) < 0.56 * 1.5
    assert 3.2 / 1.6 < quantile(stalls, 0.95) < 3.2 * 1.6
    assert max(stalls) > 30


def test_startup_has_a_long_tail(hour):
    """CTA-2066, annex B: a power law, not a bell."""
    startup = [s.startup_s for s in hour.simulator.truth if s.startup_s and s.startup_s > 0.1]
    assert quantile(startup, 0.99) > 3.5 * quantile(startup, 0.5)


def test_a_quiet_hour_is_a_good_service(hour):
    truth = hour.simulator.truth
    played = sum(session.played_s for session in truth)
    stalled = sum(session.stalled_s for session in truth)
    assert stalled / (played + stalled) < 0.01
    assert sum(s.outcome in ("start_failed", "failed") for s in truth) / len(truth) < 0.03
    assert sum(s.outcome == "abandoned" for s in truth) / len(truth) < 0.06


@pytest.mark.skipif(
    "QOS_SAMPLES" not in os.environ,
    reason="QOS_SAMPLES names no folder with the reference's stored rows (they are not ours)",
)
def test_stalls_lie_within_a_factor_of_two_of_the_stored_rows(hour):
    path = Path(os.environ["QOS_SAMPLES"]) / "qos_joined_stall_rows.ndjson"
    stored = [json.loads(line)["time_millisecond"] for line in path.open()]
    simulated = [
        event["time_millisecond"]
        for event in hour.of("BUFFER", buffer_type="ScreenFreezedBuffer")
        if event["time_millisecond"] < EPOCH_SIZED_MS
    ]
    for share in (0.25, 0.5, 0.75, 0.9, 0.95):
        ratio = quantile(simulated, share) / quantile(stored, share)
        assert 0.5 < ratio < 3.5 if share == 0.25 else 0.5 < ratio < 2, share


# ---- the truth that a model has to find


def test_abandonment_begins_at_two_seconds_and_takes_the_same_share_each_second():
    rng = Random(1)
    patience = [audience.patience_s(rng) for _ in range(100_000)]
    assert min(patience) >= 2
    for seconds in (1, 3, 6, 10):
        lost = sum(each < 2 + seconds for each in patience) / len(patience)
        assert lost == pytest.approx(0.058 * seconds, rel=0.03)


def test_nobody_leaves_before_the_first_frame_within_two_seconds(hour):
    waits = [
        session.ended_ms - session.started_ms
        for session in hour.simulator.truth
        if session.outcome == "abandoned" and session.ended_ms
    ]
    assert waits
    assert min(waits) >= 2000 - 1e-3  # epoch milliseconds in a double


def test_one_percent_of_rebuffering_costs_five_percent_of_play(hour):
    judged = 0
    for session in hour.simulator.truth:
        if session.outcome == "played" and session.ended_ms and not session.is_bot:
            share = session.stalled_s / session.video_duration_s
            would = session.intended_s * max(0, 1 - 5 * share)
            assert session.played_s <= would + 1e-3
            if not session.reached_end:
                assert session.played_s == pytest.approx(would)
                judged += 1
    assert judged > 100
    assert audience.leaves_at_s(500, 6, 600) == pytest.approx(0.95 * 500)


def test_a_failure_makes_the_return_less_likely():
    rng = Random(1)
    viewers = [audience.new_viewer(rng) for _ in range(1000)]

    def share(*, failed):
        return sum(audience.returns(v, failed=failed, rng=rng) for v in viewers * 300) / 300_000

    assert 1 - share(failed=True) / share(failed=False) == pytest.approx(0.0232, abs=0.006)


def test_viewers_come_back_on_later_days(monkeypatch):
    monkeypatch.setattr(audience, "intended_s", lambda video, rng: 6.0)
    simulator = Simulator(Settings(1, EVENING, attempts_per_minute=0.3))
    for _ in simulator.run(3 * 24 * 60, step_s=3600):
        pass
    days = defaultdict(set)
    for session in simulator.truth:
        days[session.user_id].add(int(session.started_ms // audience.DAY_MS))
    assert sum(len(each) > 1 for each in days.values()) > 50


# ---- incidents


def run_with(incident_of, *, minutes=20, attempts=30, seed=1):
    """A run of so many minutes with one incident from minute 5 on, and one without it."""
    incident = incident_of(EVENING + 5 * MINUTE_MS, EVENING + minutes * MINUTE_MS)
    runs = []
    for script in (Script([incident]), Script()):
        simulator = Simulator(Settings(seed, EVENING, attempts), script)
        requests = [r for output in simulator.run(minutes) for r in output.requests]
        runs.append((simulator, [r for r in requests if r.ended_ms >= incident.onset_ms]))
    return runs


@pytest.fixture
def short_views(monkeypatch):
    """Viewers who watch for half a minute: many sessions, few events."""
    monkeypatch.setattr(audience, "intended_s", lambda video, rng: 30.0)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def test_a_slow_edge_is_slow_for_all_networks_and_other_edges_are_not(short_views):
    (_, bad), _ = run_with(lambda a, b: Incident("edge_slow", a, b, {"edge": "FRA56-P3"}))
    slow = [r for r in bad if r.edge == "FRA56-P3"]
    assert mean(r.first_byte for r in slow) > 10 * mean(
        r.first_byte for r in bad if r.edge != "FRA56-P3"
    )
    assert len({r.viewer.network.isp for r in slow if r.first_byte > 0.3}) >= 3


def test_an_overloaded_edge_refuses_requests_and_the_others_do_not(short_views):
    (_, bad), _ = run_with(lambda a, b: Incident("edge_overloaded", a, b, {"edge": "FRA56-P3"}))
    refused = [r for r in bad if r.result == "CapacityExceeded"]
    assert {r.edge for r in refused} == {"FRA56-P3"}
    assert {(r.status, r.origin_first_byte) for r in refused} == {("503", None)}
    share = len(refused) / sum(r.edge == "FRA56-P3" for r in bad)
    assert 0.2 < share < 0.3


def test_a_congested_network_is_slow_at_every_edge(short_views):
    (run, bad), (usual_run, _) = run_with(
        lambda a, b: Incident("isp_congested", a, b, {"isp": "Rheinkabel"})
    )

    def startup(simulator):
        return mean(
            s.startup_s
            for s in simulator.truth
            if s.startup_s and s.isp == "Rheinkabel" and s.started_ms > EVENING + 5 * MINUTE_MS
        )

    assert startup(run) > 1.5 * startup(usual_run)
    assert len({r.edge for r in bad if r.viewer.network.isp == "Rheinkabel"}) >= 3
    # the edge answers as quickly as ever
    assert mean(r.first_byte for r in bad) < 0.1


def test_a_failing_app_version_fails_on_its_device_alone(short_views):
    cohort = {"app_version": "5.3.1", "device_type": "phone"}
    (run, _), _ = run_with(lambda a, b: Incident("app_failing", a, b, cohort))
    failed = Counter(
        (s.app_version, s.device_type)
        for s in run.truth
        if s.outcome in ("start_failed", "failed") and s.started_ms > EVENING + 5 * MINUTE_MS
    )
    assert failed["5.3.1", "phone"] > 10
    assert failed["5.3.1", "phone"] > 3 * max(
        count for key, count in failed.items() if key != ("5.3.1", "phone")
    )


def test_an_origin_outage_shows_in_misses_only(short_views):
    (_, bad), _ = run_with(
        lambda a, b: Incident("origin_outage", a, b, {"origin": world.VOD_ORIGIN})
    )
    failed = [r for r in bad if r.status in ("502", "504")]
    vod = {v.video_id for v in world.VIDEOS if v.origin == world.VOD_ORIGIN}
    assert len(failed) > 50
    assert mean(r.uri.split("/")[1] in vod for r in failed) > 0.95
    assert all(r.origin_first_byte for r in failed if r.detail == "OriginConnectError")
    assert {r.result for r in failed} == {"Error"}


def test_broken_content_fails_one_title_everywhere(short_views):
    (_, bad), _ = run_with(
        lambda a, b: Incident("content_broken", a, b, {"video_id": "paper_boats"})
    )
    failed = Counter(r.uri.split("/")[1] for r in bad if r.result == "Error" and r.status == "502")
    assert failed["paper_boats"] > 0.9 * failed.total()


def test_a_platform_that_is_down_fails_starts_of_all(short_views):
    (run, _), _ = run_with(lambda a, b: Incident("platform_down", a, b))
    late = [s for s in run.truth if s.started_ms > EVENING + 5 * MINUTE_MS]
    assert 0.3 < mean(s.outcome == "start_failed" for s in late) < 0.5
    assert len({s.device_type for s in late if s.outcome == "start_failed"}) == 3


def test_an_ingest_gap_loses_events_and_no_request(short_views):
    gap = Incident("ingest_gap", EVENING + 5 * MINUTE_MS, EVENING + 8 * MINUTE_MS)
    simulator = Simulator(Settings(1, EVENING, 20), Script([gap]))
    outputs = list(simulator.run(12))
    arrivals = [event.arrived_ms for output in outputs for event in output.events]
    assert not [a for a in arrivals if gap.onset_ms <= a < gap.end_ms]
    assert simulator.dropped > 100
    assert [r for o in outputs for r in o.requests if gap.onset_ms <= r.ended_ms < gap.end_ms]


def test_a_live_event_brings_viewers_to_one_video_and_breaks_nothing(short_views):
    (run, _), (usual, _) = run_with(
        lambda a, b: Incident("live_event", a, b, {"video_id": "harbour_lights"}), attempts=15
    )
    assert len(run.truth) > 2 * len(usual.truth)
    assert KINDS["live_event"].layer is None
    started = [s for s in run.truth if s.video_id == "harbour_lights"]
    assert len(started) > 0.6 * len(run.truth)


def test_a_script_drawn_by_a_seed_has_all_kinds_each_after_a_pause():
    script = random_script(3, EVENING, count=40)
    assert len(script.incidents) == 40
    assert {incident.kind for incident in script.incidents} == set(KINDS)
    for before, after in zip(script.incidents, script.incidents[1:], strict=False):
        assert after.onset_ms - before.end_ms == 20 * MINUTE_MS
    assert random_script(3, EVENING, count=40).incidents == script.incidents


def test_incidents_are_active_from_onset_to_before_their_end():
    incident = Incident("platform_down", 100, 200)
    script = Script([incident])
    active = [time for time in (99, 100, 199, 200) if script.active(time) == (incident,)]
    assert active == [100, 199]


def test_an_incident_with_a_ramp_grows_until_its_effect_is_whole():
    at_once = Incident("edge_slow", 1000, 3000, {"edge": "FRA56-P3"})
    growing = replace(at_once, ramp_ms=1000)
    whole = KINDS["edge_slow"]
    assert at_once.effect_at(1000) == whole
    assert growing.effect_at(1000) == Kind(whole.layer, whole.cohort)
    assert growing.effect_at(1250) == replace(
        Kind(whole.layer, whole.cohort),
        throughput=1 - (1 - whole.throughput) / 4,
        first_byte_ms=whole.first_byte_ms / 4,
    )
    assert growing.effect_at(2000) == growing.effect_at(2999) == whole
    assert Script([growing]).affecting(1250, {"edge": "FRA56-P3"}) == [growing.effect_at(1250)]


@pytest.mark.parametrize(
    ("kind", "cohort", "message"),
    [
        ("meteor", {}, "no kind of incident 'meteor'"),
        ("edge_slow", {}, "the cohort is given by"),
        ("edge_slow", {"isp": "Rheinkabel"}, "the cohort is given by"),
    ],
)
def test_an_impossible_incident_is_refused(kind, cohort, message):
    with pytest.raises(ValueError, match=message):
        Incident(kind, 1, 2, cohort)


# ---- CDN weights


def test_an_edge_without_weight_gets_no_viewer_and_its_neighbours_get_them(short_views):
    steering = Steering()
    simulator = Simulator(Settings(1, EVENING, 20), steering=steering)
    before = [r.edge for output in simulator.run(5) for r in output.requests]
    steering.shift_away("FRA56-P3")
    list(simulator.run(1))
    after = Counter(r.edge for output in simulator.run(5) for r in output.requests)
    assert "FRA56-P3" in before
    assert after["FRA56-P3"] == 0
    assert after["TXL52-P1"] > 0
    steering.restore("FRA56-P3")
    list(simulator.run(1))
    assert "FRA56-P3" in [r.edge for output in simulator.run(5) for r in output.requests]


def test_sessions_under_way_move_too():
    steering = Steering()
    simulator = Simulator(Settings(1, EVENING, 20), steering=steering)
    list(simulator.run(4))
    under_way = {session.user_id for session in simulator.truth if not session.ended_ms}
    steering.shift_away("FRA56-P3")
    list(simulator.run(0.5))
    after = [r for output in simulator.run(1) for r in output.requests]
    moved = [r for r in after if r.viewer.user_id in under_way]
    assert moved
    assert "FRA56-P3" not in {r.edge for r in moved}


def test_no_new_session_is_sent_to_an_edge_that_remediation_has_shifted(short_views):
    """From an alert as it is told to players, by the bytes that stand in S3."""
    told_at = datetime.fromtimestamp(EVENING / 1000, UTC)
    alert = Alert("slow", "", told_at, "alert", "edge_errors", "firing", "critical", "edge")
    alert = replace(alert, cohort_kind="edge", cohort="FRA56-P3")
    weights, _ = decide({}, [alert], remediation.Settings(frozenset(world.ALL_EDGES)), told_at)
    stored = parse_weights(weights_as_json(weights))

    simulator = Simulator(Settings(1, EVENING, 20))
    list(simulator.run(4))
    before = len(simulator.truth)
    simulator.steering.set_weights({edge: entry.weight for edge, entry in stored.items()})
    list(simulator.run(6))
    edges = [
        Counter(s.edge for s in part)
        for part in (simulator.truth[:before], simulator.truth[before:])
    ]
    assert edges[0]["FRA56-P3"] > 0
    assert edges[1]["FRA56-P3"] == 0
    assert edges[1]["TXL52-P1"] > 0


def test_moving_away_from_a_slow_edge_ends_the_trouble(short_views):
    def startup(steering):
        incident = Incident("edge_slow", EVENING, EVENING + 12 * MINUTE_MS, {"edge": "OTP50-C1"})
        simulator = Simulator(Settings(1, EVENING, 40), Script([incident]), steering)
        list(simulator.run(12))
        return mean(s.startup_s for s in simulator.truth if s.country == "RO" and s.startup_s)

    moved = Steering()
    moved.shift_away("OTP50-C1")
    assert startup(moved) < 0.7 * startup(Steering())


def test_weights_are_shares_of_the_usual_traffic():
    steering, rng = Steering(), Random(1)
    steering.shift_away("MAN50-C2", 0.5)
    chosen = Counter(steering.choose("GB", rng) for _ in range(20_000))
    assert chosen["MAN50-C2"] / 20_000 == pytest.approx(0.15 / 0.85, rel=0.05)


def test_viewers_whose_edges_all_have_no_weight_are_served_as_usual():
    steering = Steering()
    steering.set_weights(dict.fromkeys(world.ALL_EDGES, 0.0))
    assert steering.choose("RO", Random(1)) in dict(world.EDGES["RO"])


@pytest.mark.parametrize("weights", [{"XXX1-C1": 1}, {"FRA56-P3": -1}, {"FRA56-P3": float("nan")}])
def test_weights_of_no_edge_or_below_zero_are_refused(weights):
    with pytest.raises(ValueError, match=r"XXX1-C1|FRA56-P3"):
        Steering().set_weights(weights)
