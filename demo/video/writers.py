"""Where the simulator's output goes: player events to Kinesis, log objects to S3, as on AWS."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from demo.video.cdn_log import LogObject
from demo.video.simulator import PlayerEvent

STREAM = "player_events"
BUCKET = "multihop-landing"
THREADS = 8

# Limits of PutRecords.
MAX_RECORDS = 500
MAX_BYTES = 5 << 20
MAX_TRIES = 8
FIRST_PAUSE_S = 0.1


class DeliveryError(Exception):
    """Kinesis refused records again and again; the message says how many, and why."""


def make_stream(kinesis: Any, stream: str = STREAM, shards: int = 2) -> None:
    """Create the stream where it is missing, and wait until it takes records."""
    with suppress(kinesis.exceptions.ResourceInUseException):
        kinesis.create_stream(StreamName=stream, ShardCount=shards)
    kinesis.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})


def put_events(kinesis: Any, events: Iterable[PlayerEvent], stream: str = STREAM) -> int:
    """Put the events, each viewer's in order; returns their number.

    Records that Kinesis refuses for the moment are sent again, those alone.

    Raises:
        DeliveryError: some were refused MAX_TRIES times.
    """
    sent = 0
    for records in record_batches(events):
        left = records
        for attempt in range(MAX_TRIES):
            answer = kinesis.put_records(StreamName=stream, Records=left)
            if not answer["FailedRecordCount"]:
                break
            refused = [
                (record, result)
                for record, result in zip(left, answer["Records"], strict=True)
                if "ErrorCode" in result
            ]
            left = [record for record, _ in refused]
            if attempt + 1 == MAX_TRIES:
                raise DeliveryError(
                    f"{stream}: {len(left)} records were refused {MAX_TRIES} times, the last time "
                    f"with {refused[0][1]['ErrorCode']}; add shards or send less"
                )
            time.sleep(FIRST_PAUSE_S * 2**attempt)
        sent += len(records)
    return sent


def record_batches(events: Iterable[PlayerEvent]) -> Iterator[list[dict[str, Any]]]:
    """The events as records of PutRecords calls, within its limits."""
    records: list[dict[str, Any]] = []
    size = 0
    for event in events:
        weight = len(event.data) + len(event.user_id)
        if records and (len(records) == MAX_RECORDS or size + weight > MAX_BYTES):
            yield records
            records, size = [], 0
        records.append({"Data": event.data, "PartitionKey": event.user_id})
        size += weight
    if records:
        yield records


def put_logs(s3: Any, objects: Sequence[LogObject], bucket: str = BUCKET) -> int:
    """Put log objects; returns the number of rows in them."""
    with ThreadPoolExecutor(THREADS) as pool:
        puts = [
            pool.submit(s3.put_object, Bucket=bucket, Key=item.key, Body=item.body)
            for item in objects
        ]
        for put in puts:
            put.result()
    return sum(item.rows for item in objects)
