"""ingest: objects to bronze, against Spark's own text source and against a script of one's own.

All write the same columns of the same records to Delta. Ours also check every record, count what
they read against what they wrote, and keep a ledger. Figures are of this machine; ratios travel.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import orjson
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import cost
from demo.aws import embedded_aws, environment
from loaders.feeds import CloudFilesFeed, Feed, S3SqsFeed

RECORD_BYTES = 400
LARGE, LARGE_BYTES = 128, 1 << 20
SMALL, SMALL_BYTES = 3_000, 10 << 10
ROUNDS = 3
BUCKET = "bench"
# Peak memory is compared between these numbers of one-record objects.
FEW, MANY = 1_000, int(os.environ.get("BENCH_OBJECTS", "20000"))


def main() -> None:
    """Print rows and objects a second, fixed cost of a batch, and peak memory."""
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as name:
        folder = Path(name)
        os.environ["LAKEHOUSE_ROOT"] = str(folder / "lakehouse")
        with embedded_aws(folder / "aws") as aws:
            os.environ.update(environment(aws))
            Bench(folder).run()


class Bench:
    """The objects, and every way to load them."""

    def __init__(self, folder: Path) -> None:
        from loaders.session import get_spark

        self.folder = folder
        self.spark = get_spark(resident=True)
        self.console = Console()
        self._number = 0

    def run(self) -> None:
        """Measure everything and print the tables."""
        large = self.folder / "large"
        rows = write_objects(large, LARGE, LARGE_BYTES)
        queue_url = self.upload(large)
        ways: dict[str, Callable[[], int]] = {
            "Spark's text source, folder": lambda: self.text(large),
            "boto3, orjson, deltalake, S3": self.script,
            "cloudFiles, S3": lambda: self.load(self.files("s3://bench/large/")),
            "s3-sqs, S3": lambda: self.load(self.announced(queue_url, large)),
            "cloudFiles, folder": lambda: self.load(self.files(f"{large}/")),
        }
        self.print_rates(rows, self.fastest(ways, rows))
        self.print_small()
        self.print_memory()
        self.spark.stop()

    def fastest(self, ways: dict[str, Callable[[], int]], rows: int) -> dict[str, float]:
        """The shortest seconds of each way; the ways take turns."""
        seconds: dict[str, float] = {}
        for _ in range(ROUNDS):
            for way, load in ways.items():
                with cost() as spent:
                    loaded = load()
                if loaded != rows:
                    raise SystemExit(f"bench: {way} loaded {loaded} records, not {rows}")
                seconds[way] = min(spent.seconds, seconds.get(way, spent.seconds))
        return seconds

    def print_rates(self, rows: int, seconds: dict[str, float]) -> None:
        """Rows a second, and how many times those of the peers."""
        text, script, *_ = seconds.values()
        size = LARGE * LARGE_BYTES >> 20
        table = Table(
            "source to bronze",
            title=f"{rows:,} records of {RECORD_BYTES} bytes in {LARGE} objects, {size} MiB",
            box=SIMPLE,
        )
        for title in ("s", "rows/s", "MB/s", "of text", "of script"):
            table.add_column(title, justify="right")
        for way, spent in seconds.items():
            table.add_row(
                way,
                f"{spent:.1f}",
                f"{rows / spent:,.0f}",
                f"{rows * RECORD_BYTES / spent / 1e6:.0f}",
                f"{text / spent:.2f}",
                f"{script / spent:.2f}",
            )
        self.console.print(table)

    def print_small(self) -> None:
        """Objects a second where objects are small, and what a batch costs besides its rows."""
        small = self.folder / "small"
        write_objects(small, SMALL, SMALL_BYTES)
        self.upload(small)
        with cost() as spent:
            self.load(self.files("s3://bench/small/"))
        one = self.folder / "one"
        write_objects(one, 12, RECORD_BYTES)
        durations = self.batches(self.files(f"{one}/", max_files_per_trigger=1))
        table = Table(title="small objects", box=SIMPLE, show_header=False)
        table.add_column()
        table.add_column(justify="right")
        table.add_row("objects of 10 KiB a second, S3", f"{SMALL / spent.seconds:,.0f}")
        table.add_row("a batch of one record, median s", f"{statistics.median(durations[2:]):.2f}")
        self.console.print(table)

    def print_memory(self) -> None:
        """Peak memory of few and of many objects."""
        table = Table("one-record objects", title="peak memory, MB", box=SIMPLE)
        table.add_column("s", justify="right")
        table.add_column("driver, JVM, workers", justify="right")
        for count in (FEW, MANY):
            folder = self.folder / f"objects-{count}"
            write_objects(folder, count, RECORD_BYTES)
            with cost() as spent:
                self.load(self.files(f"{folder}/"))
            table.add_row(f"{count:,}", f"{spent.seconds:.1f}", f"{spent.peak_mb:,.0f}")
        self.console.print(table)

    # The ways.

    def files(self, location: str, **options: Any) -> CloudFilesFeed:
        name = self.new_name()
        return CloudFilesFeed(name=name, table=name, description="", location=location, **options)

    def announced(self, queue_url: str, folder: Path) -> S3SqsFeed:
        announce(queue_url, folder)
        name = self.new_name()
        return S3SqsFeed(name=name, table=name, description="", queue_url=queue_url)

    def new_name(self) -> str:
        self._number += 1
        return f"way_{self._number}"

    def load(self, feed: Feed) -> int:
        """Run the feed once; returns the records kept."""
        from loaders.run import run_once

        kept = []
        failed = run_once(self.spark, [feed], lambda batch: kept.append(batch.kept))
        if failed:
            raise SystemExit(f"bench: {failed}")
        return sum(kept)

    def batches(self, feed: Feed) -> list[float]:
        """Seconds of each batch, from trigger to trigger."""
        from loaders.run import start

        query = start(self.spark, feed, lambda _: None, once=True)
        query.awaitTermination()
        return [
            progress.durationMs["triggerExecution"] / 1000
            for progress in query.recentProgress
            if progress.numInputRows
        ]

    def text(self, folder: Path) -> int:
        """Spark's text source with its file metadata, appended batch by batch."""
        from pyspark.sql import functions as F

        name = self.new_name()

        def append(batch: Any, batch_id: int) -> None:
            (
                batch.withColumn("_batch_id", F.lit(batch_id).cast("bigint"))
                .withColumn("_ordinal", F.monotonically_increasing_id())
                .write.format("delta")
                .mode("append")
                .saveAsTable(f"bronze.{name}")
            )

        query = (
            self.spark.readStream.option("maxFilesPerTrigger", 1000)
            .text(str(folder))
            .select(
                F.col("value").alias("data"),
                F.lit("file").alias("_bucket"),
                F.col("_metadata.file_path").alias("_key"),
                F.col("_metadata.file_size").cast("string").alias("_version"),
                F.col("_metadata.file_modification_time").alias("_modified_at"),
                F.current_timestamp().alias("_ingested_at"),
            )
            .writeStream.foreachBatch(append)
            .option("checkpointLocation", str(self.folder / "text" / name))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        return self.spark.table(f"bronze.{name}").count()

    def script(self) -> int:
        """What one would write without Spark: list, get, parse each record, append."""
        s3 = boto3.client("s3")
        table = self.folder / "script" / self.new_name()
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="large/")
        for batch_id, page in enumerate(pages):
            now = datetime.now(UTC)
            columns: dict[str, list[Any]] = {name: [] for name in SCRIPT_SCHEMA.names}
            for item in page["Contents"]:
                body = s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
                for ordinal, line in enumerate(body.splitlines()):
                    orjson.loads(line)  # a broken one would stop the script
                    row = (line.decode(), BUCKET, item["Key"], item["ETag"], ordinal)
                    row += (item["LastModified"], batch_id, now)
                    for values, value in zip(columns.values(), row, strict=True):
                        values.append(value)
            write_deltalake(table, pa.table(columns, SCRIPT_SCHEMA), mode="append")
        return DeltaTable(table).to_pyarrow_dataset().count_rows()

    def upload(self, folder: Path) -> str:
        """The folder's objects under its name in the bucket; returns the URL of a queue."""
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        for path in folder.iterdir():
            s3.put_object(Bucket=BUCKET, Key=f"{folder.name}/{path.name}", Body=path.read_bytes())
        return boto3.client("sqs").create_queue(QueueName="bench")["QueueUrl"]


SCRIPT_SCHEMA = pa.schema(
    [
        ("data", pa.string()),
        ("_bucket", pa.string()),
        ("_key", pa.string()),
        ("_version", pa.string()),
        ("_ordinal", pa.int64()),
        ("_modified_at", pa.timestamp("us", tz="UTC")),
        ("_batch_id", pa.int64()),
        ("_ingested_at", pa.timestamp("us", tz="UTC")),
    ]
)


def records(draw: random.Random) -> Iterator[bytes]:
    """Player events of exactly RECORD_BYTES - 1 bytes, to which a line's end comes."""
    while True:
        event = {
            "id": f"{draw.getrandbits(128):032x}",
            "type": draw.choice(["start", "heartbeat", "stall", "stop"]),
            "ts": 1_700_000_000_000 + draw.getrandbits(36),
            "values": [draw.randint(0, 10_000) for _ in range(20)],
            "agent": "",
        }
        missing = RECORD_BYTES - 1 - len(orjson.dumps(event))
        event["agent"] = f"{draw.getrandbits(4 * missing):0{missing}x}"
        yield orjson.dumps(event)


def write_objects(folder: Path, count: int, size: int) -> int:
    """Files of records, a line each; returns how many records."""
    folder.mkdir()
    source = records(random.Random(1))  # noqa: S311 - no secret
    a_file = max(1, size // RECORD_BYTES)
    for number in range(count):
        lines = b"".join(next(source) + b"\n" for _ in range(a_file))
        (folder / f"{number:06}.json").write_bytes(lines)
    return count * a_file


def announce(queue_url: str, folder: Path) -> None:
    """Put a notification of every object into the queue, ten objects a message."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{folder.name}/")["Contents"]
    for at in range(0, len(found), 10):
        entries = [
            {
                "eventVersion": "2.1",
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "eventTime": f"{item['LastModified']:%Y-%m-%dT%H:%M:%S.000Z}",
                "s3": {
                    "bucket": {"name": BUCKET},
                    "object": {
                        "key": item["Key"],
                        "size": item["Size"],
                        "eTag": item["ETag"].strip('"'),
                    },
                },
            }
            for item in found[at : at + 10]
        ]
        sqs.send_message(
            QueueUrl=queue_url, MessageBody=orjson.dumps({"Records": entries}).decode()
        )


if __name__ == "__main__":
    main()
