"""Simulated viewers: what they sent and the CDN logged, as Parquet files, and in bronze."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from demo.video.cdn_log import CdnLog, LogObject
from demo.video.networks import range_records
from demo.video.simulator import Settings, Simulator

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from demo.video.incidents import Script

# A file each; more at once takes memory by the gigabyte.
CHUNK_MINUTES = 10
EVENT = pa.schema(
    [
        ("jsonData", pa.string()),
        ("_partition_key", pa.string()),
        ("_sequence", pa.string()),
        ("_arrived_at", pa.timestamp("us", "UTC")),
    ]
)
RECORD = pa.schema([("data", pa.string()), ("_key", pa.string()), ("_ordinal", pa.int64())])


def simulate(
    folder: Path, settings: Settings, minutes: float, script: Script | None = None
) -> None:
    """Write events/ and logs/ of so many minutes, files of CHUNK_MINUTES."""
    simulator = Simulator(settings, script)
    log, sent = CdnLog(settings.seed), 0
    for table in ("events", "logs"):
        (folder / table).mkdir()
    for number, output in enumerate(simulator.run(minutes, 60 * CHUNK_MINUTES)):
        log.add(output.requests)
        rows = [
            (event.data.decode(), event.user_id, f"{sent + place:056d}", utc(event.arrived_ms))
            for place, event in enumerate(output.events)
        ]
        sent += len(rows)
        _write(folder / "events" / f"{number:04}.parquet", rows, EVENT)
        _write_logs(folder / "logs" / f"{number:04}.parquet", log.due(simulator.now_ms))
        done = min(minutes, CHUNK_MINUTES * (number + 1))
        print(f"{done:.0f} of {minutes:.0f} minutes: {sent:,} events", file=sys.stderr, flush=True)
    _write_logs(folder / "logs" / "late.parquet", log.flush())


def utc(epoch_ms: float) -> datetime:
    """A time of the simulation."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)


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


# ---- in Spark


def create_tables(spark: SparkSession) -> None:
    """The bronze tables of video, with the networks that the addresses are of."""
    from loaders.bronze import ensure_tables
    from loaders.destinations import destination_of
    from loaders.feeds import read_feeds
    from loaders.run import kind_of_feed

    for name in ("player_events", "cdn_logs", "ip_ranges"):
        feed = read_feeds()[name]
        ensure_tables(spark, destination_of(feed), kind_of_feed(feed))
    ranges = [(text, "ranges", ordinal) for ordinal, text in enumerate(range_records("bench"))]
    frame = spark.createDataFrame(ranges, "data string, _key string, _ordinal bigint")
    _append("ip_ranges", frame, 0, *_OF_OBJECT)


def append_events(frame: DataFrame, batch: int) -> None:
    """Append what has the columns of EVENT to bronze.player_events, as a batch."""
    of_stream = ("'qos' as _stream", "'shard' as _shard", "0L as _subsequence")
    _append("player_events", frame, batch, *of_stream)


def append_logs(frame: DataFrame, batch: int) -> None:
    """Append what has the columns of RECORD to bronze.cdn_logs, as a batch."""
    _append("cdn_logs", frame, batch, *_OF_OBJECT)


_OF_OBJECT = ("'bench' as _bucket", "'1' as _version", "current_timestamp() as _modified_at")


def _append(table: str, frame: DataFrame, batch: int, *expressions: str) -> None:
    stamped = frame.selectExpr(
        "*", *expressions, f"{batch}L as _batch_id", "current_timestamp() as _ingested_at"
    )
    stamped.write.format("delta").mode("append").saveAsTable(f"bronze.{table}")
