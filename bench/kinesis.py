"""kinesis: from GetRecords' answers to Arrow rows, in one process, without waiting for anyone."""

from __future__ import annotations

import base64
import json
import pickle
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import verdict
from loaders.sources.kinesis import KinesisReader, Settings
from loaders.sources.kinesis_client import Clock, KinesisClient, boto_client

SHARDS = 4
PAGES = 12
PAGE_RECORDS = 10_000
GOAL_MB_PER_SECOND = 20
SOURCE = "stubbed client: kinesis source"
RECORD_BYTES = 400

ACCESS = {
    "region_name": "us-east-1",
    "endpoint_url": "http://127.0.0.1:9",
    "aws_access_key_id": "test",
    "aws_secret_access_key": "test",
}
SETTINGS = tuple(sorted(ACCESS.items()))


def main() -> None:
    """Print what the source does in a second, and its ratio to a loop that drops what it reads."""
    stub = StubbedClient()
    plain, ours = answered(boto3.client("kinesis", **ACCESS)), answered(boto_client(SETTINGS))
    cases = {
        "stubbed client: loop": lambda: read_pages(stub),
        SOURCE: lambda: run_source(stub),
        "boto3, no network: loop": lambda: read_pages(plain),
        "boto3, no network: kinesis source": lambda: run_source(ours),
    }
    table = Table("case", title="kinesis: answers of GetRecords to Arrow rows", box=SIMPLE)
    for title in ("records", "MB", "records/s", "MB/s", "of the loop"):
        table.add_column(title, justify="right")
    seconds_before = 1.0
    rates: dict[str, float] = {}
    for case, work in cases.items():
        records, data_bytes, seconds = timed(work)
        table.add_row(
            case,
            f"{records:,}",
            f"{data_bytes / 1e6:,.0f}",
            f"{records / seconds:,.0f}",
            f"{data_bytes / 1e6 / seconds:,.0f}",
            f"{seconds_before / seconds:.2f}" if case.endswith("source") else "",
        )
        seconds_before = seconds
        rates[case] = data_bytes / 1e6 / seconds
    console = Console(highlight=False)
    console.print(table)
    said = verdict(rates[SOURCE], GOAL_MB_PER_SECOND, " MB/s", at_least=True)
    console.print(f"{SOURCE}: {said}")


def timed(work: Callable[[], tuple[int, int]]) -> tuple[int, int, float]:
    """The work's records and bytes, and its wall time."""
    started = time.perf_counter()
    records, data_bytes = work()
    return records, data_bytes, time.perf_counter() - started


def read_pages(boto: Any) -> tuple[int, int]:
    """A loop over GetRecords that drops what it gets."""
    records = data_bytes = 0
    for shard in range(SHARDS):
        iterator: str | None = f"{shard}/0"
        while iterator:
            answer = boto.get_records(ShardIterator=iterator, Limit=PAGE_RECORDS)
            records += len(answer["Records"])
            data_bytes += sum(len(record["Data"]) for record in answer["Records"])
            iterator = answer.get("NextShardIterator")
    return records, data_bytes


def run_source(boto: Any) -> tuple[int, int]:
    """All that the source does: plan, send tasks (pickled, as Spark does), hand out Arrow rows."""
    reader = KinesisReader(
        Settings("s"), connect=lambda _: KinesisClient("s", boto, ClockThatNeverWaits())
    )
    records = data_bytes = 0
    start = reader.initialOffset()
    while True:
        end = reader.latestOffset(start, reader.getDefaultReadLimit())
        if end == start:
            reader.stop()
            return records, data_bytes
        for partition in reader.partitions(start, end):
            for rows in reader.read(pickle.loads(pickle.dumps(partition))):  # noqa: S301
                records += rows.num_rows
                data_bytes += sum(len(data) for data in rows.column("data").to_pylist())
        start = end


class ClockThatNeverWaits(Clock):
    """The real time, in which it is always one's turn."""

    def wait(self, seconds: float) -> None:
        """Return at once."""


# ---- a stream that is all prepared answers


def pages() -> Iterator[list[dict[str, Any]]]:
    """A page of JSON records for each place in a shard; the same for all shards."""
    chance = random.Random(0)  # noqa: S311 - not for secrets
    for page in range(PAGES):
        yield [
            {
                "SequenceNumber": str(49 * 10**54 + page * PAGE_RECORDS + n),
                "PartitionKey": f"player-{chance.randrange(100_000)}",
                "Data": json.dumps({"n": n, "pad": chance.randbytes(RECORD_BYTES).hex()}).encode()[
                    :RECORD_BYTES
                ],
                "ApproximateArrivalTimestamp": time.time(),
            }
            for n in range(PAGE_RECORDS)
        ]


class StubbedClient:
    """boto3's method names, with the answers ready as Python objects."""

    def __init__(self) -> None:
        self._pages = list(pages())

    def describe_stream_summary(self, **_: Any) -> dict[str, Any]:
        """Answer as DescribeStreamSummary."""
        summary = {"StreamCreationTimestamp": datetime(2026, 1, 1, tzinfo=UTC)}
        return {"StreamDescriptionSummary": summary | {"RetentionPeriodHours": 24}}

    def list_shards(self, **_: Any) -> dict[str, Any]:
        """Answer as ListShards; all are closed, so that they end."""
        return {"Shards": [listed_shard(number) for number in range(SHARDS)]}

    def get_shard_iterator(self, ShardId: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Answer as GetShardIterator."""
        return {"ShardIterator": f"{int(ShardId[-12:])}/0"}

    def get_records(self, ShardIterator: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Answer as GetRecords."""
        return {"Records": self._pages[place_of(ShardIterator)], **next_iterator(ShardIterator)}


def listed_shard(number: int) -> dict[str, Any]:
    """A closed shard as ListShards has it."""
    return {
        "ShardId": f"shardId-{number:012}",
        "HashKeyRange": {"StartingHashKey": str(number), "EndingHashKey": str(number)},
        "SequenceNumberRange": {"StartingSequenceNumber": "0", "EndingSequenceNumber": "1"},
    }


def place_of(iterator: str) -> int:
    """The number of the page that an iterator stands at."""
    return int(iterator.partition("/")[2])


def next_iterator(iterator: str) -> dict[str, Any]:
    """What GetRecords says beside the records."""
    shard, place = iterator.split("/")
    if int(place) + 1 == PAGES:
        return {"MillisBehindLatest": 0}
    return {"MillisBehindLatest": 1000, "NextShardIterator": f"{shard}/{int(place) + 1}"}


def answered(client: Any) -> Any:
    """A real boto3 client that parses the answers it would get over the wire."""
    stub = StubbedClient()
    bodies = [
        json.dumps(
            [record | {"Data": base64.b64encode(record["Data"]).decode()} for record in page]
        ).encode()
        for page in pages()
    ]
    summary = {"StreamCreationTimestamp": 1767225600, "RetentionPeriodHours": 24}
    answers = {
        "ListShards": lambda _: stub.list_shards(),
        "GetShardIterator": lambda asked: stub.get_shard_iterator(**asked),
        "DescribeStreamSummary": lambda _: {"StreamDescriptionSummary": summary},
    }

    def answer(request: Any, **_: Any) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        asked = json.loads(request.body)
        if operation == "GetRecords":
            iterator = asked["ShardIterator"]
            rest = json.dumps(next_iterator(iterator)).encode()[1:]
            body = b'{"Records": ' + bodies[place_of(iterator)] + b", " + rest
        else:
            body = json.dumps(answers[operation](asked)).encode()
        response = AWSResponse(request.url, 200, {}, None)
        response._content = body  # there is no socket to read it from
        return response

    client.meta.events.register("before-send.kinesis", answer)
    return client


if __name__ == "__main__":
    main()
