"""s3-sqs: S3 → SNS → SQS → rows, every record once, every message deleted after its batch."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from loaders.sources import register

Rows = list[tuple[str, int, str]]


@dataclass
class Landing:
    """A bucket whose new objects are announced to a topic, and a queue on that topic."""

    bucket: str
    queue_url: str
    s3: Any
    sqs: Any

    def put(self, key: str, *records: Any, body: bytes | None = None) -> None:
        text = "\n".join(json.dumps(record) for record in records).encode()
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=text if body is None else body)

    def messages(self) -> int:
        """Messages in the queue, waiting or in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def resend(self) -> None:
        """Announce every object again, as S3 may do."""
        for item in self.s3.list_objects_v2(Bucket=self.bucket)["Contents"]:
            self.announce(self.bucket, item["Key"], item["Size"], item["ETag"].strip('"'))

    def announce(self, bucket: str, key: str, size: int, etag: str) -> None:
        """Send a notification as S3 does, of an object that need not be there, and twice in one."""
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-01-01T00:00:00.000Z",
            "s3": {
                "bucket": {"name": bucket},
                "object": {
                    "key": key,
                    "size": size,
                    "eTag": etag,
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        }
        self.sqs.send_message(
            QueueUrl=self.queue_url, MessageBody=json.dumps({"Records": [record, record]})
        )


@pytest.fixture
def landing(aws: Any) -> Iterator[Landing]:
    s3, sns, sqs = (boto3.client(name) for name in ("s3", "sns", "sqs"))
    name = f"landing-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])
    s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={
            "TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    yield Landing(name, queue_url, s3, sqs)
    sqs.delete_queue(QueueUrl=queue_url)


def run_once(spark: Any, landing: Landing, folder: Path, **options: str) -> list[Any]:
    """Drain the queue with records as received; returns the rows that carry a record."""
    register(spark)
    rows: list[Any] = []
    frame = (
        spark.readStream.format("s3-sqs")
        .option("fileFormat", "records")
        .option("queueUrl", landing.queue_url)
        .option("stateLocation", str(folder / "state"))
        .options(**options)
        .load()
        .where("received is null")
    )
    query = (
        frame.writeStream.foreachBatch(lambda batch, _: rows.extend(batch.collect()))
        .option("checkpointLocation", str(folder / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    return rows


def records(rows: list[Any]) -> Rows:
    return sorted((row["key"], row["ordinal"], row["data"]) for row in rows if row["error"] is None)


def test_every_record_comes_once_and_the_drained_queue_is_empty(
    spark: Any, landing: Landing, tmp_path: Path
) -> None:
    keys = [f"in/a+b c%2B/ü={number}.json" for number in range(25)]
    for number, key in enumerate(keys):
        landing.put(key, {"n": number}, {"n": -number})
    landing.sqs.send_message(
        QueueUrl=landing.queue_url,
        MessageBody=json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
    )
    expected = sorted(
        (key, ordinal, json.dumps({"n": n}))
        for number, key in enumerate(keys)
        for ordinal, n in enumerate((number, -number))
    )
    assert records(run_once(spark, landing, tmp_path, maxFilesPerTrigger="10")) == expected
    assert landing.messages() == 0

    landing.resend()
    landing.put("in/new.json", {"n": "new"})
    assert records(run_once(spark, landing, tmp_path)) == [("in/new.json", 0, '{"n": "new"}')]
    assert landing.messages() == 0


def test_what_cannot_be_read_of_messages_and_objects_is_a_row_and_stops_nothing(
    spark: Any, landing: Landing, tmp_path: Path
) -> None:
    for body in ("not json", '{"Records":[{"eventVersion":"9.0"}]}'):
        landing.sqs.send_message(QueueUrl=landing.queue_url, MessageBody=body)
    landing.announce("no-such-bucket-here", "b.json", 1, "e")
    landing.announce("no bucket!", "b.json", 1, "e")
    landing.put("a.json", {"n": 1})
    rows = run_once(spark, landing, tmp_path)
    assert records(rows) == [("a.json", 0, '{"n": 1}')]
    unread = {(row["error"], bytes(row["raw"])) for row in rows if row["error"]}
    assert unread == {
        ("refused:NoSuchBucket", b""),
        ("refused:InvalidName", b""),
        ("unreadable_message", b"not json"),
        ("unreadable_message", b'{"Records":[{"eventVersion":"9.0"}]}'),
    }
    assert landing.messages() == 0


def test_a_deleted_object_and_an_ignored_overwrite_are_reported(
    spark: Any, landing: Landing, tmp_path: Path
) -> None:
    landing.put("kept.json", {"n": 1})
    assert len(records(run_once(spark, landing, tmp_path))) == 1
    landing.put("kept.json", {"n": 2})
    landing.put("gone.json", {"n": 3})
    landing.s3.delete_object(Bucket=landing.bucket, Key="gone.json")
    rows = run_once(spark, landing, tmp_path)
    assert {(row["key"], row["error"]) for row in rows} == {
        ("kept.json", "overwrite_ignored"),
        ("gone.json", "deleted_before_read"),
    }
    assert landing.messages() == 0


def test_overwrites_are_loaded_where_they_are_allowed(
    spark: Any, landing: Landing, tmp_path: Path
) -> None:
    found: Rows = []
    for n in (1, 2):
        landing.put("a.json", {"n": n})
        found += records(run_once(spark, landing, tmp_path, allowOverwrites="true"))
    assert found == [("a.json", 0, '{"n": 1}'), ("a.json", 0, '{"n": 2}')]


def test_the_ebooks_snippet_runs_with_its_blanks_filled_in(
    spark: Any, landing: Landing, tmp_path: Path
) -> None:
    landing.put("a.json", {"player": "p1", "score": 7}, {"player": "p2", "score": "high"})
    register(spark)
    frame = (
        spark.readStream.format("s3-sqs")
        .option("fileFormat", "json")
        .option("queueUrl", landing.queue_url)
        .schema("player string, score bigint, _rescued_data string")
        .load()
    )
    rows: list[Any] = []
    query = (
        frame.writeStream.foreachBatch(lambda batch, _: rows.extend(batch.collect()))
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    assert sorted((row["player"], row["score"]) for row in rows) == [("p1", 7), ("p2", None)]
    (rescued,) = (json.loads(row["_rescued_data"]) for row in rows if row["_rescued_data"])
    assert rescued["score"] == "high"


def test_listing_and_notifications_take_turns_on_one_checkpoint(
    spark: Any, landing: Landing, tmp_path: Path
) -> None:
    register(spark)

    def load(**options: str) -> Rows:
        rows: list[Any] = []
        query = (
            spark.readStream.format("cloudFiles")
            .option("cloudFiles.format", "records")
            .option("cloudFiles.schemaLocation", str(tmp_path / "state"))
            .options(**{f"cloudFiles.{name}": value for name, value in options.items()})
            .load(f"s3://{landing.bucket}/in/")
            .where("data is not null")
            .writeStream.foreachBatch(lambda batch, _: rows.extend(batch.collect()))
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        return records(rows)

    notified = {"useNotifications": "true", "queueUrl": landing.queue_url}
    landing.put("in/1.json", {"n": 1})
    landing.put("elsewhere/0.json", {"n": 0})
    assert load() == [("in/1.json", 0, '{"n": 1}')]
    landing.put("in/2.json", {"n": 2})
    assert load(**notified) == [("in/2.json", 0, '{"n": 2}')]
    assert landing.messages() == 0
    landing.put("in/3.json", {"n": 3})
    assert load() == [("in/3.json", 0, '{"n": 3}')]
    assert load(**notified) == []
