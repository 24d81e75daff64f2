"""alerts: of scripted incidents of the video service, how many are found, when, and where they lie.

Simulated viewers, a day to whom nothing happens and then one incident after another, all kinds in
turn; dbt builds gold.alerts of it at once, and what fired is held against the script. The times
are those of events: when logs came and how long dbt took is not in them. BENCH_INCIDENTS=36,
BENCH_QUIET_HOURS=24, BENCH_ATTEMPTS=6 (sessions that begin in a minute), SEED=1.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from bench.scripted import Scripted, built_alerts, judge, show
from demo.video import world
from demo.video.cdn_log import CdnLog, LogObject
from demo.video.incidents import Incident, random_script
from demo.video.simulator import Settings, Simulator
from loaders.ip_ranges import AddressRange, country_records, network_records

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

INCIDENTS = int(os.environ.get("BENCH_INCIDENTS") or 36)
QUIET_HOURS = float(os.environ.get("BENCH_QUIET_HOURS") or 24)
ATTEMPTS = float(os.environ.get("BENCH_ATTEMPTS") or 6)
SEED = int(os.environ.get("SEED") or 1)
START = datetime(2026, 5, 29, tzinfo=UTC)
INCIDENT_MINUTES, PAUSE_MINUTES = 15, 25
# No rule says ingest: what is lost on the way looks as if nobody played.
TOLD_AS = {"ingest": "platform"}
DETECTION_MINUTES = 2
CHUNK_MINUTES = 60
EVENT = pa.schema(
    [
        ("jsonData", pa.string()),
        ("_partition_key", pa.string()),
        ("_sequence", pa.string()),
        ("_arrived_at", pa.timestamp("us", "UTC")),
    ]
)
RECORD = pa.schema([("data", pa.string()), ("_key", pa.string()), ("_ordinal", pa.int64())])


def main() -> None:
    """Print each incident with its first alert, the false alerts, and the goals met or missed."""
    with tempfile.TemporaryDirectory(prefix="bench-alerts-") as name:
        folder = Path(name)
        os.environ["LAKEHOUSE_ROOT"] = str(folder / "lakehouse")
        incidents = simulate(folder)

        from loaders.session import get_spark

        spark = get_spark(resident=True)
        load(spark, folder)
        alerts = built_alerts(spark, "alerts")
        spark.stop()
    judged, false = judge(map(scripted, incidents), alerts, end_of(incidents))
    show(judged, false, START + timedelta(hours=QUIET_HOURS), DETECTION_MINUTES)


def scripted(incident: Incident) -> Scripted:
    """An incident as it is judged by."""
    layer = incident.layer or ""
    return Scripted(
        incident.kind,
        ", ".join(incident.cohort.values()),
        _utc(incident.onset_ms),
        _utc(incident.end_ms),
        TOLD_AS.get(layer, layer),
    )


def end_of(incidents: Sequence[Incident]) -> datetime:
    """When the simulation ends."""
    ends = [_utc(each.end_ms) for each in incidents] or [START + timedelta(hours=QUIET_HOURS)]
    return max(ends) + timedelta(minutes=PAUSE_MINUTES)


def simulate(folder: Path) -> Sequence[Incident]:
    """Write what viewers sent and the CDN logged as Parquet files; returns what happened."""
    start_ms = int(START.timestamp() * 1000)
    quiet_ms = int(QUIET_HOURS * 3_600_000)
    script = random_script(
        SEED,
        start_ms + quiet_ms,
        count=INCIDENTS,
        minutes=INCIDENT_MINUTES,
        pause_minutes=PAUSE_MINUTES,
    )
    minutes = (end_of(script.incidents) - START).total_seconds() / 60
    simulator = Simulator(Settings(SEED, start_ms, ATTEMPTS, daily_swing=0), script)
    log, sent = CdnLog(SEED), 0
    for table in ("events", "logs"):
        (folder / table).mkdir()
    for number, output in enumerate(simulator.run(minutes, 60 * CHUNK_MINUTES)):
        log.add(output.requests)
        rows = [
            (event.data.decode(), event.user_id, f"{sent + place:056d}", _utc(event.arrived_ms))
            for place, event in enumerate(output.events)
        ]
        sent += len(rows)
        _write(folder / "events" / f"{number:04}.parquet", rows, EVENT)
        _write_logs(folder / "logs" / f"{number:04}.parquet", log.due(simulator.now_ms))
        print(f"{number + 1} h of {minutes / 60:.0f}: {sent:,} events", file=sys.stderr, flush=True)
    _write_logs(folder / "logs" / "late.parquet", log.flush())
    return script.incidents


def _write_logs(path: Path, objects: Iterable[LogObject]) -> None:
    rows = [
        (line.decode(), item.key, ordinal)
        for item in objects
        for ordinal, line in enumerate(gzip.decompress(item.body).splitlines())
    ]
    _write(path, rows, RECORD)


def _write(path: Path, rows: Sequence[tuple], schema: pa.Schema) -> None:
    columns = zip(*rows, strict=True) if rows else [[] for _ in schema]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


def load(spark: SparkSession, folder: Path) -> None:
    """Append the files to bronze, with the networks that the addresses are of."""
    from loaders.bronze import ensure_tables
    from loaders.destinations import destination_of
    from loaders.feeds import read_feeds
    from loaders.run import kind_of_feed

    for name in ("player_events", "cdn_logs", "ip_ranges"):
        feed = read_feeds()[name]
        ensure_tables(spark, destination_of(feed), kind_of_feed(feed))
    events = spark.read.parquet(str(folder / "events"))
    of_stream = ("'qos' as _stream", "'shard' as _shard", "0L as _subsequence")
    _append("player_events", events, *of_stream)
    of_object = ("'bench' as _bucket", "'1' as _version", "current_timestamp() as _modified_at")
    _append("cdn_logs", spark.read.parquet(str(folder / "logs")), *of_object)
    ranges = [(text, "ranges", ordinal) for ordinal, text in enumerate(_ranges())]
    frame = spark.createDataFrame(ranges, "data string, _key string, _ordinal bigint")
    _append("ip_ranges", frame, *of_object)


def _append(table: str, frame: DataFrame, *expressions: str) -> None:
    """Append to a bronze table, as its first batch."""
    stamped = frame.selectExpr(
        "*", *expressions, "0L as _batch_id", "current_timestamp() as _ingested_at"
    )
    stamped.write.format("delta").mode("append").saveAsTable(f"bronze.{table}")


def _ranges() -> Iterator[str]:
    """The simulated networks, as `loaders ip-ranges` writes them."""
    day = date(2020, 1, 1)
    places = [(block, place) for place in world.ranges().values() for block in (place.v4, place.v6)]
    spans = [(b.version, int(b[0]), int(b[-1]), place) for b, place in places]
    countries = [AddressRange(*span, (place.country,)) for *span, place in spans]
    networks = [AddressRange(*s, (p.network.asn, p.network.isp)) for *s, p in spans]
    for records in (
        country_records(countries, day, "bench"),
        network_records(networks, day, "bench"),
    ):
        yield from (json.dumps(record) for record in records)


def _utc(epoch_ms: float) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


if __name__ == "__main__":
    main()
