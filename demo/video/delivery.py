"""What the demo sends of the video service: the last minutes of its viewers, then on and on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
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
MINUTES = 20
ATTEMPTS_PER_MINUTE = 10
# Of those minutes, the first and last in which an origin fails.
OUTAGE_MINUTES = (8, 12)
# Of viewers that keep coming: the simulator's steps.
STEP_S = 1.0
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


def produce(
    kinesis: Any,
    s3: Any,
    *,
    now: datetime | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Delivery:
    """Send the viewers of the last MINUTES, in some of which the origin of films fails.

    Args:
        kinesis: boto3's client, as `s3`.
        now: the end; the present when not given. The same minute gives the same viewers.
        progress: told the minutes sent, and of how many.
    """
    end_minute = int((now or datetime.now(UTC)).timestamp()) // 60
    start_ms = (end_minute - MINUTES) * 60_000
    first, last = (start_ms + minute * 60_000 for minute in OUTAGE_MINUTES)
    script = Script([Incident("origin_outage", first, last, {"origin": world.VOD_ORIGIN})])
    simulator = Simulator(
        Settings(end_minute, start_ms, ATTEMPTS_PER_MINUTE, daily_swing=0), script
    )
    log, events = CdnLog(end_minute), 0
    for minute, output in enumerate(simulator.run(MINUTES), 1):
        events += put_events(kinesis, output.events)
        log.add(output.requests)
        if progress:
            progress(minute, MINUTES)
    return Delivery(events, put_logs(s3, log.flush()))


def keep_sending(kinesis: Any, s3: Any, stop: Event) -> None:
    """Send viewers as time goes by, until `stop` is set; their log comes late, as real ones."""
    start_ms = int(time() * 1000)
    simulator = Simulator(Settings(start_ms, start_ms, ATTEMPTS_PER_MINUTE), Script())
    log = CdnLog(start_ms)
    for output in simulator.run(A_YEAR_IN_MINUTES, step_s=STEP_S):
        put_events(kinesis, output.events)
        log.add(output.requests)
        put_logs(s3, log.due(simulator.now_ms))
        if stop.wait(max(0.0, simulator.now_ms / 1000 - time())):
            return
