"""ingest: objects to bronze, against Spark's own text source and against a script of one's own.

All write the same columns of the same records to Delta, on the same cores. Ours also check every
record, count what they read against what they wrote, and keep a ledger. Two rates are told of each:
of the whole run, with all that a start and a batch cost; and the steady one, of the rows that a
large run has more than a small one in the seconds that it takes longer. Each run starts a query, or
the script, anew in a JVM that is warm. Figures are of this machine; ratios travel.
"""

from __future__ import annotations

import math
import os
import random
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import boto3
import orjson
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import FLAT, cost, verdict
from demo.aws import embedded_aws, environment
from loaders.feeds import CloudFilesFeed, Feed, S3SqsFeed

RECORD_BYTES = 400
LARGE_BYTES, SMALL_BYTES = 1 << 20, 10 << 10
# Objects of a small run, and of a large one.
LARGE = (128, 640)
SMALL = (1_000, 4_000)
# The first round warms the JVM up for what is measured.
ROUNDS = max(2, int(os.environ.get("BENCH_ROUNDS", "2")))
BUCKET = "bench"
# Peak memory is compared between these numbers of one-record objects.
FEW, MANY = 1_000, int(os.environ.get("BENCH_OBJECTS") or 200_000)
# The goals: records a second, of the others'; small objects a second; seconds of a batch.
TIMES, OBJECTS_PER_SECOND, BATCH_S = 1.3, 300, 1
PARTS = {
    "rates": "1-MiB objects, ours against the others",
    "small": "10-KiB objects, and what a batch costs",
    "kinesis": "a stubbed client's answers to Arrow rows",
    "memory": f"peak memory at {FEW:,} and {MANY:,} objects (BENCH_OBJECTS)",
}


def main() -> None:
    """Print rows and objects a second, fixed cost of a batch, and peak memory (BENCH_PARTS)."""
    parts = os.environ.get("BENCH_PARTS", " ".join(PARTS)).split()
    if unknown := set(parts) - set(PARTS):
        raise SystemExit(f"bench: BENCH_PARTS has {unknown}; there are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="bench-ingest-") as name:
        folder = Path(name)
        os.environ["LAKEHOUSE_ROOT"] = str(folder / "lakehouse")
        with embedded_aws(folder / "aws") as aws:
            os.environ.update(environment(aws))
            Bench(folder).run(parts)


class Bench:
    """The objects, and every way to load them."""

    def __init__(self, folder: Path) -> None:
        from loaders.session import get_spark

        self.folder = folder
        self.spark = get_spark(resident=True)
        self.console = Console()
        self._number = 0

    def run(self, parts: Sequence[str]) -> None:
        """Measure and print the tables of some parts."""
        load = os.getloadavg()[0]
        self.console.print(f"{os.cpu_count()} cores, load {load:.1f} at the start, rounds {ROUNDS}")
        for part in parts:
            getattr(self, f"print_{part}")()
        self.console.print(f"load {os.getloadavg()[0]:.1f} at the end")
        self.spark.stop()

    def print_rates(self) -> None:
        """Rows a second, and how many times those of the peers."""
        few, many = (write_objects(self.folder / f"large{n}", n, LARGE_BYTES) for n in LARGE)
        queue_url = self.upload(*(self.folder / f"large{n}" for n in LARGE))
        text, script = "Spark's text source, folder", "boto3, orjson, deltalake, S3"
        ways: dict[str, Callable[[int], int]] = {
            text: lambda n: self.text(self.folder / f"large{n}"),
            "cloudFiles, folder": lambda n: self.load(self.files(f"{self.folder}/large{n}/")),
            script: lambda n: self.script(f"large{n}/"),
            "cloudFiles, S3": lambda n: self.load(self.files(f"s3://{BUCKET}/large{n}/")),
            "s3-sqs, S3": lambda n: self.load(self.announced(queue_url, f"large{n}/")),
        }
        rows = dict(zip(LARGE, (few, many), strict=True))
        seconds = self.fastest(ways, rows)
        others = seconds[text], seconds[script]
        table = Table(
            "source to bronze",
            title=(
                f"{many:,} records of {RECORD_BYTES} bytes in {LARGE[1]} objects of 1 MiB: whole "
                f"runs, and steadily beyond the first {few:,}"
            ),
            box=SIMPLE,
        )
        for title in (
            "s",
            "rows/s",
            "of text",
            "of script",
            "steady rows/s",
            "of text",
            "of script",
        ):
            table.add_column(title, justify="right")
        for way, spent in seconds.items():
            table.add_row(
                way,
                f"{spent[1]:.1f}",
                f"{many / spent[1]:,.0f}",
                *(f"{other[1] / spent[1]:.2f}" for other in others),
                f"{(many - few) / _more(spent):,.0f}",
                *(f"{_more(other) / _more(spent):.2f}" for other in others),
            )
        self.console.print(table)
        # Each beside the one that reads what it reads: a folder, or S3.
        for way, other in (("cloudFiles, folder", text), ("cloudFiles, S3", script)):
            for kind, spent in (("whole runs", itemgetter(1)), ("steadily", _more)):
                ratio = spent(seconds[other]) / spent(seconds[way])
                self.say(f"{way}, of {other}, {kind}", verdict(ratio, TIMES, " x", at_least=True))

    def fastest(
        self, ways: dict[str, Callable[[int], int]], rows: dict[int, int]
    ) -> dict[str, list[float]]:
        """The shortest seconds of each way, for each number of objects; the ways take turns."""
        seconds = {way: [float("inf")] * len(rows) for way in ways}
        for _ in range(ROUNDS):
            for at, (objects, expected) in enumerate(rows.items()):
                for way, load in ways.items():
                    with cost() as spent:
                        loaded = load(objects)
                    if loaded != expected:
                        raise SystemExit(f"bench: {way} loaded {loaded} records, not {expected}")
                    seconds[way][at] = min(spent.seconds, seconds[way][at])
        return seconds

    def print_small(self) -> None:
        """Objects a second where objects are small, and what a batch costs besides its rows."""
        folders = [self.folder / f"small{n}" for n in SMALL]
        rows = [
            write_objects(folder, n, SMALL_BYTES) for folder, n in zip(folders, SMALL, strict=True)
        ]
        self.upload(*folders)
        ways = {"cloudFiles": lambda n: self.load(self.files(f"s3://{BUCKET}/small{n}/"))}
        (spent,) = self.fastest(ways, dict(zip(SMALL, rows, strict=True))).values()
        one = self.folder / "one"
        write_objects(one, 12, RECORD_BYTES)
        durations = self.batches(self.files(f"{one}/", max_files_per_trigger=1))
        table = Table(title="small objects", box=SIMPLE, show_header=False)
        table.add_column()
        table.add_column(justify="right")
        whole, steady = SMALL[1] / spent[1], (SMALL[1] - SMALL[0]) / _more(spent)
        table.add_row(f"objects of 10 KiB a second, S3, a run of {SMALL[1]:,}", f"{whole:,.0f}")
        table.add_row(f"the same, beyond the first {SMALL[0]:,}", f"{steady:,.0f}")
        typical = {
            phase: statistics.median(batch.get(phase, 0) for batch in durations[2:]) / 1000
            for phase in durations[-1]
        }
        fixed = typical.pop("triggerExecution")
        table.add_row("a batch of one record, median s", f"{fixed:.2f}")
        for phase, seconds in typical.items():
            table.add_row(f"  of which {phase}", f"{seconds:.2f}")
        self.console.print(table)
        for kind, rate in ((f"a run of {SMALL[1]:,}", whole), ("steadily", steady)):
            said = verdict(rate, OBJECTS_PER_SECOND, " objects/s", at_least=True)
            self.say(f"objects of 10 KiB, {kind}", said)
        self.say("fixed cost of a batch", verdict(fixed, BATCH_S, " s"))

    def print_kinesis(self) -> None:
        """What the source does of a stubbed client's answers, in one process."""
        from bench import kinesis

        kinesis.main()

    def print_memory(self) -> None:
        """Peak memory of few and of many objects, listed from a folder."""
        table = Table("one-record objects", title="peak memory, MB", box=SIMPLE)
        table.add_column("s", justify="right")
        table.add_column("driver, JVM, workers", justify="right")
        peaks = []
        for count in (FEW, MANY):
            folder = self.folder / f"objects-{count}"
            write_objects(folder, count, RECORD_BYTES)
            with cost() as spent:
                self.load(self.files(f"{folder}/"))
            table.add_row(f"{count:,}", f"{spent.seconds:.1f}", f"{spent.peak_mb:,.0f}")
            peaks.append(spent.peak_mb)
        self.console.print(table)
        self.say(f"peak at {MANY:,}, of {FEW:,}", verdict(peaks[1] / peaks[0], FLAT, " x"))

    def say(self, what: str, said: str) -> None:
        """A goal, in one line."""
        self.console.print(f"{what}: {said}", soft_wrap=True, highlight=False)

    # The ways.

    def files(self, location: str, **options: Any) -> CloudFilesFeed:
        name = self.new_name()
        return CloudFilesFeed(name=name, table=name, description="", location=location, **options)

    def announced(self, queue_url: str, prefix: str) -> S3SqsFeed:
        announce(queue_url, prefix)
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

    def batches(self, feed: Feed) -> list[dict[str, int]]:
        """What Spark says of each batch's phases, ms."""
        from loaders.run import start

        query = start(self.spark, feed, lambda _: None, once=True)
        query.awaitTermination()
        return [
            dict(progress.durationMs) for progress in query.recentProgress if progress.numInputRows
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

    def script(self, prefix: str) -> int:
        """What one would write without Spark: list, get, parse each record, append."""
        s3 = boto3.client("s3")
        table = self.folder / "script" / self.new_name()
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
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

    def upload(self, *folders: Path) -> str:
        """The folders' objects under their names in the bucket; returns the URL of a queue."""
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        for path in (path for folder in folders for path in folder.iterdir()):
            key = f"{path.parent.name}/{path.name}"
            s3.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
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


def _more(seconds: list[float]) -> float:
    """How many seconds longer the large run took than the small one."""
    more = seconds[1] - seconds[0]
    return more if more > 0 else math.nan  # noise: they cannot be told apart


def announce(queue_url: str, prefix: str) -> None:
    """Put a notification of every object into the queue, ten objects a message."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    for at in range(0, len(found), 10):
        sqs.send_message(QueueUrl=queue_url, MessageBody=notification(found[at : at + 10]))


def notification(objects: Iterable[Mapping[str, Any]]) -> str:
    """What S3 says of objects that were put; each with Key, Size, ETag and LastModified."""
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
        for item in objects
    ]
    return orjson.dumps({"Records": entries}).decode()


if __name__ == "__main__":
    main()
