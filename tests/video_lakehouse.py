"""Simulated viewers in bronze, and a slow, plain reference of what silver makes of them."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import md5
from random import Random
from typing import Any

from demo.video import world
from demo.video.cdn_log import CdnLog
from demo.video.incidents import Incident, Script
from demo.video.networks import range_records
from demo.video.simulator import PlayerEvent, Settings, Simulator
from loaders.bronze import ensure_tables
from loaders.destinations import destination_of
from loaders.feeds import read_feeds
from loaders.run import kind_of_feed

TRACKING_ID = re.compile(r"[A-Za-z0-9_-]{54}==")
EVENING = 1_780_077_600_000  # 2026-05-29 18:00 UTC
BEFORE_MIDNIGHT = EVENING + 350 * 60_000  # 23:50
SILVER_TABLES = ("player_events", "cdn_logs", "playback_session_days", "ip_ranges")
GOLD_TABLES = (
    "noc_playback",
    "noc_cdn",
    "noc_windows",
    "noc_baseline",
    "alert_judgements",
    "video_activity",
    "viewer_experience",
    "viewer_places",
    "viewer_profile",
    "cohort_activity",
    "cohort_minutes",
)
SEEDS = ("country_codes", "networks", "alert_rules", "viewer_churn_reasons")
SILVER = ("--select", "country_codes", "networks", "path:models/silver/qos")
GOLD = ("--select", "path:models/gold/qos")


class Service:
    """What a simulated service sent, and its requests by id."""

    def __init__(
        self,
        start_ms: int = EVENING,
        minutes: float = 20,
        attempts: float = 2,
        script: Script | None = None,
        seed: int = 5,
    ) -> None:
        settings = Settings(seed, start_ms, attempts, daily_swing=0)
        self.simulator = Simulator(settings, script or Script())
        log = CdnLog(seed)
        self.events: list[PlayerEvent] = []
        self.requests = {}
        for output in self.simulator.run(minutes):
            self.events += output.events
            self.requests |= {request.request_id: request for request in output.requests}
            log.add(output.requests)
        self.objects = log.flush()


def eventful_service() -> Service:
    """Twenty minutes around midnight, so that sessions and what is late lie on both sides of it.

    An origin fails, a network is congested and an app fails on phones; the seed is one with bots.
    """
    start, minute = BEFORE_MIDNIGHT, 60_000
    script = Script(
        Incident(kind, start + first * minute, start + last * minute, cohort)
        for kind, first, last, cohort in (
            ("origin_outage", 4, 7, {"origin": world.VOD_ORIGIN}),
            ("isp_congested", 10, 13, {"isp": "Nordlicht Telekom"}),
            ("app_failing", 14, 17, {"app_version": "5.3.1", "device_type": "phone"}),
        )
    )
    return Service(start, attempts=4, script=script, seed=67)


def create_tables(spark: Any) -> None:
    """The bronze tables of the video feeds, as the loaders create them."""
    for name in ("player_events", "cdn_logs", "ip_ranges"):
        feed = read_feeds()[name]
        ensure_tables(spark, destination_of(feed), kind_of_feed(feed))


def append_events(spark: Any, events: Sequence[PlayerEvent], batch_id: int, first: int = 0) -> None:
    """Append events as a batch of the feed; `first`: sequence number of the first."""
    rows = [
        (
            event.data.decode(),
            event.user_id,
            f"{first + number:056d}",
            datetime.fromtimestamp(event.arrived_ms / 1000, UTC),
        )
        for number, event in enumerate(events)
    ]
    frame = spark.createDataFrame(
        rows, "jsonData string, _partition_key string, _sequence string, _arrived_at timestamp"
    )
    frame.selectExpr(
        "jsonData",
        "_partition_key",
        "'player_events' as _stream",
        "'shard' as _shard",
        "_sequence",
        "0L as _subsequence",
        "_arrived_at",
        f"{batch_id}L as _batch_id",
        "current_timestamp() as _ingested_at",
    ).write.format("delta").mode("append").saveAsTable("bronze.player_events")


def append_records(spark: Any, table: str, key: str, records: Sequence[str], batch_id: int) -> None:
    """Append the records of an object as a batch of a feed of objects."""
    frame = spark.createDataFrame(list(enumerate(records)), "_ordinal bigint, data string")
    frame.selectExpr(
        "data",
        "'bucket' as _bucket",
        f"'{key}' as _key",
        "'1' as _version",
        "_ordinal",
        "timestamp'2026-05-30 12:00:00' as _modified_at",
        f"{batch_id}L as _batch_id",
        "current_timestamp() as _ingested_at",
    ).write.format("delta").mode("append").saveAsTable(f"bronze.{table}")


def log_records(service: Service) -> list[str]:
    """Every row of the log objects, shuffled."""
    rows = [
        line.decode()
        for item in service.objects
        for line in gzip.decompress(item.body).splitlines()
    ]
    Random(1).shuffle(rows)
    return rows


def contents(spark: Any, schema: str, tables: Sequence[str]) -> dict[str, Counter]:
    """Every row of tables, as text."""
    return {
        table: Counter(
            row[0]
            for row in spark.sql(f"select to_json(struct(*)) from {schema}.{table}").collect()
        )
        for table in tables
    }


def versions(spark: Any, schema: str, tables: Sequence[str]) -> dict[str, int]:
    """The Delta version of tables."""
    return {
        table: spark.sql(f"describe history {schema}.{table} limit 1").first().version
        for table in tables
    }


class Lakehouse:
    """Silver and gold, built of three batches whose events and rows came in no order.

    The last log row of one request, which many events name, comes alone in a fourth batch.
    """

    BATCHES = 3

    def __init__(self, spark: Any, dbt: Callable[..., Any], service: Service) -> None:
        self.service = service
        spark.sql("create schema if not exists bronze")
        for schema, tables in (
            ("bronze", ("player_events", "cdn_logs", "ip_ranges")),
            ("silver", SILVER_TABLES),
            ("gold", GOLD_TABLES),
        ):
            for table in tables:
                spark.sql(f"drop table if exists {schema}.{table}")
        create_tables(spark)
        append_records(spark, "ip_ranges", "ranges", range_records("test"), 0)
        events = list(service.events)
        Random(2).shuffle(events)
        self.late_id = self._request_of_a_late_row()
        logs = log_records(service)
        late = [row for row in logs if self.late_id in row]
        logs = [row for row in logs if self.late_id not in row]
        for batch in range(self.BATCHES):
            append_events(spark, events[batch :: self.BATCHES], batch, batch * len(events))
            # the later batches have rows of the first again
            records = logs[batch :: self.BATCHES] + (logs[:50] if batch else [])
            append_records(spark, "cdn_logs", f"object-{batch}", records, batch)
            if not batch:
                dbt("seed", "--select", *SEEDS)
            # gold takes the second and the third batch at once
            dbt("run", *SILVER, *(() if batch == 1 else GOLD[1:]))
        self.versions_before_late = versions(spark, "gold", GOLD_TABLES)
        append_records(spark, "cdn_logs", "object-late", late, self.BATCHES)
        dbt("run", *SILVER, *GOLD[1:])
        self.silver = contents(spark, "silver", SILVER_TABLES)
        self.gold = contents(spark, "gold", GOLD_TABLES)

    def _request_of_a_late_row(self) -> str:
        """The request that is the newest of the most minutes of sessions, after midnight.

        Later than what baselines rest on: a window is judged by what was usual then.
        """
        newest = {}
        midnight = BEFORE_MIDNIGHT + 11 * 60_000
        for number, (_, session) in enumerate(split_sessions(self.service.events)):
            for event in session:
                request = self.service.requests.get(event.get("cdn_tracking_id"))
                if request and min(request.ended_ms, event["ms"]) > midnight:
                    newest[number, event["ms"] // 60_000] = event["cdn_tracking_id"]
        ((found, _),) = Counter(newest.values()).most_common(1)
        return found


# ---- the reference


def sessions(events: Sequence[PlayerEvent]) -> set[tuple]:
    """What a viewer experienced, session by session: obviously, and slowly.

    Returns: (viewer, video, started, plays, is_play, startup_ms, stalls, stalled_ms, played_s,
        is_exit_before_start, failure_class, number of events) of each.
    """
    return {(*pair, *_experience(some)) for pair, some in split_sessions(events)}


def split_sessions(events: Sequence[PlayerEvent]) -> list[tuple[tuple[str, str], list[dict]]]:
    """The events of each session, by time, as dicts with names in lower case.

    Besides their fields they have `ms` (when they came about), `arrived_ms`, `type` and `bytes`.

    Returns: ((viewer, video), events) of each.
    """
    by_pair = defaultdict(list)
    for event in {each.data: each for each in events}.values():  # the same bytes: the last arrival
        fields = {name.lower(): value for name, value in json.loads(event.data).items()}
        stamp = datetime.fromtimestamp(fields["timestamp"] / 1000, UTC)
        arrived = datetime.fromtimestamp(event.arrived_ms / 1000, UTC)
        is_wrong = abs(stamp - arrived) > timedelta(hours=48)
        fields["ms"] = int(event.arrived_ms) if is_wrong else fields["timestamp"]
        fields["type"] = fields["metrictype"].lower()
        fields["bytes"] = event.data
        fields["arrived_ms"] = int(event.arrived_ms)
        by_pair[fields["user_id"], fields["video_id"], fields.get("session_id")].append(fields)
    return [
        (pair[:2], session)
        for pair, some in by_pair.items()
        for session in _split(some, has_id=pair[2] is not None)
    ]


def _split(events: list[dict], *, has_id: bool) -> list[list[dict]]:
    # in the order of silver: NULL before any number, then by the id
    events.sort(key=lambda e: (e["ms"], e.get("seq", -1), md5(e["bytes"]).hexdigest()))
    sessions: list[list[dict]] = []
    for event in events:
        last = sessions[-1][-1] if sessions else None
        if last is None or (not has_id and _begins(event, last)):
            sessions.append([])
        sessions[-1].append(event)
    return sessions


def _is_before_play(event: dict) -> bool:
    return "playlist_type" not in event and event["type"] in ("firstframe", "buffer")


def _begins(event: dict, last: dict) -> bool:
    if event["ms"] - last["ms"] > 30 * 60_000:
        return True
    if _is_before_play(event):
        return not _is_before_play(last)
    from_start = event["type"] == "play" and float(event.get("at", 0)) < 0.5
    return from_start and not _is_before_play(last)


def stalls_of(events: Sequence[dict]) -> list[dict]:
    """The events of a session that report a stall: after its start, and not of a seek."""
    first_frames = [e["ms"] for e in events if e["type"] == "firstframe"]
    seeks = [e["ms"] for e in events if e["type"] == "seek"]
    return [
        e
        for e in events
        if e.get("buffer_type", "").lower() == "screenfreezedbuffer"
        and float(e["at"]) > 0
        and first_frames
        and e["ms"] >= first_frames[0]
        and not any(abs(e["ms"] - seek) <= 5000 for seek in seeks)
        and 0 <= e["time_millisecond"] <= 600_000
    ]


def failure_of(events: Sequence[dict]) -> str | None:
    """The class of the fatal error that ended a session; None where none did."""
    failure = next((e["error_class"] for e in reversed(events) if e.get("error_fatal")), None)
    last = events[-1]
    if failure is None and last["type"] == "error" and "error_fatal" not in last:
        tracking_id = last.get("cdn_tracking_id")
        if tracking_id is None or TRACKING_ID.fullmatch(tracking_id):
            failure = "technical"
    return failure


def startup_of(events: Sequence[dict]) -> int | None:
    """From the first play of a session to its first frame, in ms; None without either."""
    first_frames = [e["ms"] for e in events if e["type"] == "firstframe"]
    plays = [e["ms"] for e in events if e["type"] == "play"]
    return max(first_frames[0] - plays[0], 0) if first_frames and plays else None


def _experience(events: list[dict]) -> tuple:
    types = [e["type"] for e in events]
    stalls = [e["time_millisecond"] for e in stalls_of(events)]
    failure = failure_of(events)
    is_play = "firstframe" in types
    return (
        events[0]["ms"],
        types.count("play"),
        is_play,
        startup_of(events),
        len(stalls),
        sum(stalls),
        types.count("stream"),
        "play" in types and not is_play and failure is None,
        failure,
        len(events),
    )
