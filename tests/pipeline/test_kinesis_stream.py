"""kinesis in a Spark job of anybody's own, which imports nothing but register."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import ENVIRONMENT, a_client, roto

from loaders.sources import register

Pair = tuple[str, bytes]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with roto(tmp_path_factory.mktemp("roto") / "log") as server:
        yield server


@pytest.fixture
def stream(url: str) -> Stream:
    return Stream(url)


class Stream:
    """A stream of two shards, and what was put into it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = f"s-{uuid.uuid4().hex[:12]}"
        self.pairs: list[Pair] = []
        self.boto = a_client(url)
        self.boto.create_stream(StreamName=self.name, ShardCount=2)

    def put(self, number: int) -> None:
        start = len(self.pairs)
        pairs = [(f"key-{n % 7}", b"record %d" % n) for n in range(start, start + number)]
        records = [{"PartitionKey": key, "Data": data} for key, data in pairs]
        assert (
            self.boto.put_records(StreamName=self.name, Records=records)["FailedRecordCount"] == 0
        )
        self.pairs += pairs

    def read(self, spark: Any, **options: Any) -> Any:
        register(spark)
        return (
            spark.readStream.format("kinesis")
            .option("streamName", self.name)
            .option("region", ENVIRONMENT["AWS_DEFAULT_REGION"])
            .option("initialPosition", "TRIM_HORIZON")
            .option("endpointUrl", self.url)
            .option("awsAccessKey", ENVIRONMENT["AWS_ACCESS_KEY_ID"])
            .option("awsSecretKey", ENVIRONMENT["AWS_SECRET_ACCESS_KEY"])
            .options(**options)
            .load()
        )


def pairs_of(rows: Any) -> list[Pair]:
    return sorted((row.partitionKey, bytes(row.data)) for row in rows.collect())


def run_once(rows: Any, folder: Path, write: Callable[[Any, int], None]) -> list[Any]:
    """Run a query until it has all there was; returns the progress of its batches."""
    query = (
        rows.writeStream.foreachBatch(write)
        .option("checkpointLocation", str(folder / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    try:
        query.awaitTermination()
    finally:
        query.stop()
    return query.recentProgress


def test_every_record_arrives_once_over_restarts_and_a_split(
    spark: Any, stream: Stream, tmp_path: Path
) -> None:
    table = str(tmp_path / "table")
    for reshard in (True, False):
        stream.put(300)
        query = (
            stream.read(spark, maxRecordsPerTrigger=200)
            .writeStream.format("delta")
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .trigger(availableNow=True)
            .start(table)
        )
        query.awaitTermination()
        for p in query.recentProgress:
            print(p["batchId"], p["numInputRows"], p["durationMs"])
        if reshard:
            shard = stream.boto.list_shards(StreamName=stream.name)["Shards"][0]
            stream.boto.split_shard(
                StreamName=stream.name,
                ShardToSplit=shard["ShardId"],
                NewStartingHashKey=str(int(shard["HashKeyRange"]["EndingHashKey"]) // 2),
            )

    rows = spark.read.format("delta").load(table)
    assert pairs_of(rows) == sorted(stream.pairs)
    identity = ["stream", "shardId", "sequenceNumber", "subSequenceNumber"]
    assert rows.select(identity).distinct().count() == len(stream.pairs)
    assert rows.select("shardId").distinct().count() == 4
    assert rows.where("approximateArrivalTimestamp is null").count() == 0


def test_a_batch_that_failed_runs_again_with_the_same_records(
    spark: Any, stream: Stream, tmp_path: Path
) -> None:
    stream.put(100)
    seen: list[list[Pair]] = []

    def write_twice(rows: Any, _: int) -> None:
        # Two uses of one batch, as a merge and a count are.
        seen.extend(pairs_of(rows) for _ in range(2))
        if len(seen) == 2:
            raise OSError("the table is away")

    rows = stream.read(spark, maxRecordsPerTrigger=60)
    with pytest.raises(Exception, match="the table is away"):
        run_once(rows, tmp_path, write_twice)
    stream.put(100)
    run_once(stream.read(spark, maxRecordsPerTrigger=60), tmp_path, write_twice)

    first, first_again, replay, replay_again, *later = seen
    assert 0 < len(first) <= 60
    assert first == first_again == replay == replay_again
    assert later[::2] == later[1::2]
    assert sorted(sum(later[::2], first)) == sorted(stream.pairs)


def test_lag_stands_in_sparks_progress_report(spark: Any, stream: Stream, tmp_path: Path) -> None:
    stream.put(50)

    progress = run_once(stream.read(spark), tmp_path, lambda rows, _: rows.count())

    (source,) = progress[-1]["sources"]
    report = json.loads(source["latestOffset"])
    assert len(report["millisBehindLatest"]) == 2
    assert report["maxMillisBehindLatest"] == 0
    assert sum(batch["numInputRows"] for batch in progress) == 50
    ends = json.loads(source["endOffset"])["shards"]
    assert all("after" in position for position in ends.values())


def test_a_query_at_the_tip_misses_nothing_that_comes_before_its_first_batch(
    spark: Any, stream: Stream, tmp_path: Path
) -> None:
    stream.put(20)
    query = (
        stream.read(spark, initialPosition="LATEST")
        .writeStream.format("memory")
        .queryName("at_the_tip")
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .start()
    )
    try:
        query.processAllAvailable()  # the start is settled; Spark asks for it again and again
        before = len(stream.pairs)
        stream.put(30)
        while spark.table("at_the_tip").count() < 30 and query.isActive:
            query.processAllAvailable()
    finally:
        query.stop()

    assert pairs_of(spark.table("at_the_tip")) == sorted(stream.pairs[before:])


def test_a_wrong_option_is_named(spark: Any, stream: Stream) -> None:
    with pytest.raises(Exception, match="kinesis has no option 'startingposition'"):
        stream.read(spark, startingPosition="latest")
