"""What the demo sends of the video service: viewers whose edge fails, or viewers on and on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from time import time
from typing import Any

from demo.video import world
from demo.video.cdn_log import CdnLog
from demo.video.incidents import Incident, Script
from demo.video.simulator import Settings, Simulator
from demo.video.steering import read_weights
from demo.video.writers import BUCKET, make_stream, put_events, put_logs
from loaders.ip_ranges import (
    Snapshots,
    country_records,
    network_records,
    read_country_ranges,
    read_network_ranges,
)

FEEDS = ("player_events", "cdn_logs", "ip_ranges")  # of loaders/feeds.yml
RANGES = "qos/ip_ranges/"
RANGES_SINCE = date(2020, 1, 1)
ATTEMPTS_PER_MINUTE = 6
# An edge refuses requests from ONSET_MINUTE on.
MINUTES = 16
ONSET_MINUTE = 6
EDGE = "FRA56-P3"
# Until the alert is resolved: a window, its rule's clear_after, and some.
HEALING_MINUTES = 12
# The viewers' clock is behind, so that what comes of a remedy need not be waited for.
LAG_MINUTES = HEALING_MINUTES + 2
STATE = "qos/control/viewers.json"
MINUTE_MS = 60_000
# Of viewers that keep coming: the simulator's steps, and how often the same happens to them.
STEP_S = 1.0
WEIGHTS_PAUSE_S = 5.0
INCIDENT_EVERY_MINUTES, INCIDENT_MINUTES = 60, 20
A_WEEK_IN_MINUTES = 7 * 24 * 60
A_YEAR_IN_MINUTES = 366 * 24 * 60


@dataclass(frozen=True, slots=True)
class Delivery:
    """What was sent: player events, and rows of the CDN's log."""

    events: int
    log_rows: int


def prepare(kinesis: Any, s3: Any, bucket: str = BUCKET) -> None:
    """Create the stream and the bucket, and say who has which addresses; what is there stays."""
    make_stream(kinesis)
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=bucket)
    if not s3.list_objects_v2(Bucket=bucket, Prefix=RANGES, MaxKeys=1).get("Contents"):
        _write_ranges(f"s3://{bucket}/{RANGES}")


def _write_ranges(location: str) -> None:
    countries, networks = StringIO(), StringIO()
    world.write_ranges(countries, networks)
    snapshots = Snapshots(location)
    with TemporaryDirectory() as folder:
        for kind, text, read, records in (
            ("country", countries, read_country_ranges, country_records),
            ("asn", networks, read_network_ranges, network_records),
        ):
            path = Path(folder) / f"{kind}.csv"
            path.write_text(text.getvalue())
            snapshots.write(kind, RANGES_SINCE, records(read(path), RANGES_SINCE, "simulator"))


class Viewers:
    """Viewers of a stretch of time; what they do is sent as it becomes known.

    `incident` is what happens to them, None if nothing does.
    """

    def __init__(
        self, kinesis: Any, s3: Any, start_ms: int, incident: Incident | None = None
    ) -> None:
        self.incident = incident
        self._kinesis, self._s3 = kinesis, s3
        settings = Settings(start_ms // MINUTE_MS, start_ms, ATTEMPTS_PER_MINUTE, daily_swing=0)
        self._simulator = Simulator(settings, Script([incident] if incident else []))
        self._log = CdnLog(settings.seed)

    @property
    def now(self) -> datetime:
        """What the viewers' clock says, UTC."""
        return _utc(self._simulator.now_ms)

    def send(self, until: datetime, progress: Callable[[int, int], None] | None = None) -> Delivery:
        """Send what they do up to a time, all of the log at once.

        Args:
            progress: told the minutes sent, and of how many.
        """
        minutes = (until.timestamp() * 1000 - self._simulator.now_ms) / MINUTE_MS
        events = 0
        for minute, output in enumerate(self._simulator.run(minutes), 1):
            events += put_events(self._kinesis, output.events)
            self._log.add(output.requests)
            if progress:
                progress(minute, math.ceil(minutes))
        rows = put_logs(self._s3, self._log.flush())
        state = json.dumps({"until_ms": self._simulator.now_ms}).encode()
        self._s3.put_object(Bucket=BUCKET, Key=STATE, Body=state)
        return Delivery(events, rows)

    def obey(self) -> None:
        """Have them sent to edges as the CDN weights say."""
        self._simulator.steering.set_weights(read_weights(self._s3, BUCKET))


def viewers(kinesis: Any, s3: Any, now: datetime) -> tuple[Viewers, datetime]:
    """The viewers that are to be sent, and up to when.

    The first are those of MINUTES, LAG_MINUTES ago, who meet an overloaded edge; the same minute
    gives the same. Who comes again soon gets those since, to whom nothing happens.
    """
    end = now.replace(second=0, microsecond=0)
    start = end - timedelta(minutes=LAG_MINUTES + MINUTES)
    sent_until = _sent_until(s3)
    if sent_until is not None and sent_until > start:
        return Viewers(kinesis, s3, int(sent_until.timestamp() * 1000)), end
    start_ms = int(start.timestamp() * 1000)
    onset_ms = start_ms + ONSET_MINUTE * MINUTE_MS
    incident = Incident("edge_overloaded", onset_ms, onset_ms + 24 * 60 * MINUTE_MS, {"edge": EDGE})
    return Viewers(kinesis, s3, start_ms, incident), start + timedelta(minutes=MINUTES)


def _sent_until(s3: Any) -> datetime | None:
    try:
        state = s3.get_object(Bucket=BUCKET, Key=STATE)["Body"].read()
    except s3.exceptions.NoSuchKey:
        return None
    return _utc(json.loads(state)["until_ms"])


def _utc(epoch_ms: float) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


def keep_sending(kinesis: Any, s3: Any, stop: Event) -> None:
    """Send viewers as time goes by, until `stop` is set; their log comes late, as real ones.

    Every hour, an edge refuses requests for INCIDENT_MINUTES; viewers obey the CDN weights.
    """
    start_ms = int(time() * 1000)
    simulator = Simulator(Settings(start_ms, start_ms, ATTEMPTS_PER_MINUTE), hourly(start_ms))
    log, next_look_ms = CdnLog(start_ms), 0.0
    for output in simulator.run(A_YEAR_IN_MINUTES, step_s=STEP_S):
        put_events(kinesis, output.events)
        log.add(output.requests)
        put_logs(s3, log.due(simulator.now_ms))
        if simulator.now_ms >= next_look_ms:
            next_look_ms = simulator.now_ms + WEIGHTS_PAUSE_S * 1000
            simulator.steering.set_weights(read_weights(s3, BUCKET))
        if stop.wait(max(0.0, simulator.now_ms / 1000 - time())):
            return


def hourly(start_ms: int) -> Script:
    """An edge refuses requests for a while, after a quarter of an hour and every hour of a week."""
    onsets = range(15, A_WEEK_IN_MINUTES, INCIDENT_EVERY_MINUTES)
    return Script(
        Incident(
            "edge_overloaded",
            start_ms + onset * MINUTE_MS,
            start_ms + (onset + INCIDENT_MINUTES) * MINUTE_MS,
            {"edge": EDGE},
        )
        for onset in onsets
    )
