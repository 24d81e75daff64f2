"""Throttling and errors of AWS delay a stream; they neither end it nor lose or repeat a record."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from kinesis_query import Query
from pyspark.sql.streaming.datasource import ReadMaxFiles
from servers import ENVIRONMENT, faults_of, faulty

from loaders.sources.kinesis import Kinesis
from loaders.sources.object_stream import ObjectStreamReader
from loaders.sources.s3_sqs import S3Sqs

OBJECTS, RECORDS = 8, 3


def failing(service: str, operation: str, code: str, fail: int = 1) -> dict[str, Any]:
    """Some calls fail, the next one passes, and so on."""
    error = {"code": code}
    sequence = {"fail": fail, "pass": 1}
    return {"service": service, "operation": operation, "error": error, "sequence": sequence}


RULES = [
    failing("s3", "GetObject", "SlowDown"),
    failing("sqs", "ReceiveMessage", "ServiceUnavailable"),
    failing("sqs", "DeleteMessageBatch", "ServiceUnavailable"),
    failing("kinesis", "ListShards", "LimitExceededException"),
    failing("kinesis", "GetShardIterator", "InternalFailure"),
    failing("kinesis", "GetRecords", "ProvisionedThroughputExceededException", fail=2),
]


@pytest.fixture
def proxy(aws: Any, tmp_path: Path) -> Iterator[str]:
    with faulty(aws.endpoint_url, RULES, tmp_path / "proxy.log") as url:
        yield url


def at(url: str) -> dict[str, str]:
    return {
        "endpointUrl": url,
        "region": ENVIRONMENT["AWS_DEFAULT_REGION"],
        "awsAccessKey": ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        "awsSecretKey": ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
    }


def rows_of(reader: ObjectStreamReader, start: dict, end: dict) -> Iterator[tuple[str, str]]:
    for partition in reader.partitions(start, end):
        for batch in reader.read(partition):
            for row in batch.to_pylist():
                assert row["error"] is None
                if row["data"] is not None:
                    yield row["key"], row["data"]


def test_announced_objects_are_read_once_through_throttling_and_errors(
    proxy: str, tmp_path: Path
) -> None:
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    bucket = f"landing-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    queue_url = sqs.create_queue(QueueName=bucket)["QueueUrl"]
    sent = []
    for number in range(OBJECTS):
        records = [(f"{number}.json", json.dumps([number, record])) for record in range(RECORDS)]
        body = "\n".join(data for _, data in records)
        etag = s3.put_object(Bucket=bucket, Key=f"{number}.json", Body=body)["ETag"].strip('"')
        place = {"bucket": {"name": bucket}, "object": {"key": f"{number}.json", "eTag": etag}}
        event = {"eventVersion": "2.1", "eventSource": "aws:s3", "s3": place}
        event["eventName"] = "ObjectCreated:Put"
        sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps({"Records": [event]}))
        sent += records

    options = {"fileFormat": "records", "queueUrl": queue_url, "stateLocation": str(tmp_path)}
    source = S3Sqs(options | at(proxy))
    reader = source.streamReader(source.schema())
    reader.prepareForTriggerAvailableNow()
    found: Counter[tuple[str, str]] = Counter()
    start = reader.initialOffset()
    while (end := reader.latestOffset(start, ReadMaxFiles(5))) != start:
        found.update(rows_of(reader, start, end))
        start = end
    reader.stop()

    assert found == Counter(sent)
    left = sqs.get_queue_attributes(
        QueueUrl=queue_url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )
    assert set(left["Attributes"].values()) == {"0"}
    failed = {operation for operation, _ in faults_of(proxy)}
    assert failed == {"GetObject", "ReceiveMessage", "DeleteMessageBatch"}


def test_a_stream_is_read_once_and_in_order_through_throttling_and_errors(proxy: str) -> None:
    kinesis = boto3.client("kinesis")
    stream = f"events-{uuid.uuid4().hex[:8]}"
    kinesis.create_stream(StreamName=stream, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    sent = [(f"key-{number % 5}", f"record {number}".encode()) for number in range(60)]
    records = [{"PartitionKey": key, "Data": data} for key, data in sent]
    assert kinesis.put_records(StreamName=stream, Records=records)["FailedRecordCount"] == 0

    source = Kinesis({"streamName": stream, "maxRecordsPerTrigger": "20"} | at(proxy))
    query = Query(lambda: source.streamReader(source.schema())).start(available_now=True).run()
    query.stop()

    def by_key(pairs: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
        return {key: [data for k, data in pairs if k == key] for key in {key for key, _ in pairs}}

    assert by_key(query.pairs()) == by_key(sent)
    failed = {operation for operation, _ in faults_of(proxy)}
    assert failed == {"ListShards", "GetShardIterator", "GetRecords"}
