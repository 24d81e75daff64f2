"""A run of feeds from a queue and from a stream: what the log and `status` say of it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from loaders.bronze import BatchReport
from loaders.feeds import CloudFilesFeed, KinesisFeed, S3SqsFeed
from loaders.journal import now_ms, read_progress
from loaders.run import run_continuously, run_once
from loaders.status import feed_status

SECRET = "not to be told"


def a_queue_of(bucket: str) -> str:
    """The URL of a queue to which new objects of a new bucket are announced."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    url = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    announced = {"QueueArn": arn["Attributes"]["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [announced]}
    )
    return url


def test_each_batch_is_told_with_its_backlog_and_no_record_and_status_sums_it_up(
    spark: Any, lakehouse: Path
) -> None:
    name = f"journal-{uuid.uuid4().hex[:8]}"
    queue = a_queue_of(name)
    began_ms = now_ms()
    for number in range(3):
        body = json.dumps({"n": number, "secret": SECRET}).encode()
        boto3.client("s3").put_object(Bucket=name, Key=f"in/{number}.json", Body=body)
    kinesis = boto3.client("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    kinesis.put_record(StreamName=name, PartitionKey="p", Data=json.dumps(SECRET).encode())
    announced = S3SqsFeed(
        name="announced",
        queue_url=queue,
        table="announced",
        description="objects",
        max_files_per_trigger=2,
    )
    streamed = KinesisFeed(name="streamed", stream=name, table="streamed", description="records")
    (lakehouse / "logs" / "loaders.jsonl").unlink(missing_ok=True)
    reports: list[BatchReport] = []

    assert run_once(spark, [announced, streamed], reports.append) == {}

    log = (lakehouse / "logs" / "loaders.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    told = {(line["feed"], line["batch_id"], line["received"], line["kept"]) for line in lines}
    assert told == {(each.feed, each.batch_id, each.received, each.kept) for each in reports}
    assert len(lines) == len(reports) == 3

    first, last = (line for line in lines if line["feed"] == "announced")
    assert first["kept"] == 2
    backlog = first["backlog"]
    assert (backlog["objects"], backlog["oldest_object"]) == (1, "in/2.json")
    assert backlog["size_bytes"] == len(json.dumps({"n": 2, "secret": SECRET}))
    # three objects, and the test event that S3 sends first
    assert (backlog["queue_messages"], backlog["queue_messages_in_flight"]) == (0, 4)
    assert began_ms - 1000 < backlog["oldest_message_ms"] <= now_ms()
    assert first["lag_ms"] > 0
    assert last["backlog"]["objects"] == 0
    assert last["backlog"]["queue_messages_in_flight"] == 1

    (stream_line,) = (line for line in lines if line["feed"] == "streamed")
    assert stream_line["backlog"]["millis_behind"] == {"shardId-000000000000": 0}
    assert (stream_line["source"], stream_line["lag_ms"]) == ("kinesis", 0)

    of_objects, of_stream = feed_status(lakehouse, [announced, streamed])
    assert (of_objects.state, of_objects.lag_seconds, of_objects.kept) == ("ended", 0, 3)
    assert (of_objects.backlog_objects, of_objects.queue_messages) == (0, 0)
    assert of_objects.oldest_unloaded is None
    assert (of_stream.state, of_stream.lag_seconds, of_stream.kept) == ("ended", 0, 1)
    assert of_stream.millis_behind_latest == {"shardId-000000000000": 0}
    assert of_stream.rows_per_second > 0

    written = [log, *(path.read_text() for path in (lakehouse / "progress").iterdir())]
    assert not any(SECRET in text for text in written)


@pytest.fixture
def quickly_idle(spark: Any) -> Iterator[None]:
    """Spark tells at once that a query has nothing to do; and signals are as they were."""
    interval = "spark.sql.streaming.noDataProgressEventInterval"
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    spark.conf.set(interval, "100")
    yield
    spark.conf.unset(interval)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("quickly_idle")
def test_a_continuous_run_loads_what_comes_says_when_it_has_no_more_and_ends_on_sigterm(
    spark: Any, lakehouse: Path, tmp_path: Path
) -> None:
    feed = CloudFilesFeed(
        name="things", location=str(tmp_path), table="things", description="", trigger_seconds=1
    )
    (tmp_path / "1.json").write_text('{"n": 1}')
    reports: list[BatchReport] = []
    idle_after_a_batch: list[bool] = []

    def seen_ms() -> int:
        said = read_progress(lakehouse, "things")
        return said.seen_ms if said and said.batch_id is not None else 0

    def comes_true(condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 120
        while not condition() and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        return condition()

    def produce() -> None:
        comes_true(lambda: seen_ms() > 0)
        after_batch = seen_ms()
        idle_after_a_batch.append(comes_true(lambda: seen_ms() > after_batch))
        (tmp_path / "2.json").write_text('{"n": 2}')

    def report(batch: BatchReport) -> None:
        reports.append(batch)
        if len(reports) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    producer = threading.Thread(target=produce)
    producer.start()
    assert run_continuously(spark, [feed], report) == {}
    producer.join()

    assert idle_after_a_batch == [True]
    assert [(batch.batch_id, batch.kept) for batch in reports] == [(0, 1), (1, 1)]
    kept = spark.sql("select data from bronze.things order by data").collect()
    assert [row[0] for row in kept] == ['{"n": 1}', '{"n": 2}']
    said = read_progress(lakehouse, "things")
    assert (said.state, said.batch_id, said.lag_ms) == ("ended", 1, 0)
    assert run_once(spark, [feed], reports.append) == {}
    assert len(reports) == 2
