"""Simulated viewers in bronze, and a slow, plain reference of what silver makes of them."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from hashlib import md5
from random import Random
from typing import Any

from demo.video import world
from demo.video.cdn_log import CdnLog
from demo.video.incidents import Script
from demo.video.simulator import PlayerEvent, Settings, Simulator
from loaders.bronze import ensure_tables
from loaders.destinations import destination_of
from loaders.feeds import read_feeds
from loaders.ip_ranges import AddressRange, country_records, network_records
from loaders.run import kind_of_feed

TRACKING_ID = re.compile(r"[A-Za-z0-9_-]{54}==")
EVENING = 1_780_077_600_000  # 2026-05-29 18:00 UTC


class Service:
    """What a simulated service sent, and its requests by id."""

    def __init__(self, start_ms: int = EVENING, minutes: float = 20, attempts: float = 2) -> None:
        self.simulator = Simulator(Settings(5, start_ms, attempts, daily_swing=0), Script())
        log = CdnLog(5)
        self.events: list[PlayerEvent] = []
        self.requests = {}
        for output in self.simulator.run(minutes):
            self.events += output.events
            self.requests |= {request.request_id: request for request in output.requests}
            log.add(output.requests)
        self.objects = log.flush()


def range_records() -> list[str]:
    """The simulated networks, as `loaders ip-ranges` writes them."""
    day, records = date(2020, 1, 1), []
    places = [(block, place) for place in world.ranges().values() for block in (place.v4, place.v6)]
    spans = [(b.version, int(b[0]), int(b[-1]), place) for b, place in places]
    countries = [AddressRange(*span, (place.country,)) for *span, place in spans]
    networks = [AddressRange(*s, (p.network.asn, p.network.isp)) for *s, p in spans]
    records += country_records(countries, day, "test")
    records += network_records(networks, day, "test")
    return [json.dumps(record) for record in records]


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


# ---- the reference


def sessions(events: Sequence[PlayerEvent]) -> set[tuple]:
    """What a viewer experienced, session by session: obviously, and slowly.

    Returns: (viewer, video, started, plays, is_play, startup_ms, stalls, stalled_ms, played_s,
        is_exit_before_start, failure_class, number of events) of each.
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
        by_pair[fields["user_id"], fields["video_id"], fields.get("session_id")].append(fields)
    return {row for pair, some in by_pair.items() for row in _sessions_of(pair, some)}


def _sessions_of(pair: tuple, events: list[dict]) -> list[tuple]:
    # in the order of silver: NULL before any number, then by the id
    events.sort(key=lambda e: (e["ms"], e.get("seq", -1), md5(e["bytes"]).hexdigest()))
    split: list[list[dict]] = []
    for event in events:
        last = split[-1][-1] if split else None
        if last is None or (pair[2] is None and _begins(event, last)):
            split.append([])
        split[-1].append(event)
    return [(*pair[:2], *_experience(some)) for some in split]


def _is_before_play(event: dict) -> bool:
    return "playlist_type" not in event and event["type"] in ("firstframe", "buffer")


def _begins(event: dict, last: dict) -> bool:
    if event["ms"] - last["ms"] > 30 * 60_000:
        return True
    if _is_before_play(event):
        return not _is_before_play(last)
    from_start = event["type"] == "play" and float(event.get("at", 0)) < 0.5
    return from_start and not _is_before_play(last)


def _experience(events: list[dict]) -> tuple:
    first_frames = [e["ms"] for e in events if e["type"] == "firstframe"]
    plays = [e["ms"] for e in events if e["type"] == "play"]
    seeks = [e["ms"] for e in events if e["type"] == "seek"]
    stalls = [
        e["time_millisecond"]
        for e in events
        if e.get("buffer_type", "").lower() == "screenfreezedbuffer"
        and float(e["at"]) > 0
        and first_frames
        and e["ms"] >= first_frames[0]
        and not any(abs(e["ms"] - seek) <= 5000 for seek in seeks)
        and 0 <= e["time_millisecond"] <= 600_000
    ]
    failure = next((e["error_class"] for e in events if e.get("error_fatal")), None)
    last = events[-1]
    if failure is None and last["type"] == "error" and "error_fatal" not in last:
        tracking_id = last.get("cdn_tracking_id")
        if tracking_id is None or TRACKING_ID.fullmatch(tracking_id):
            failure = "technical"
    startup = max(first_frames[0] - plays[0], 0) if first_frames and plays else None
    is_attempt = bool(first_frames or plays)
    return (
        events[0]["ms"],
        len(plays),
        bool(first_frames),
        startup,
        len(stalls),
        sum(stalls),
        sum(e["type"] == "stream" for e in events),
        is_attempt and not first_frames and failure is None,
        failure,
        len(events),
    )
