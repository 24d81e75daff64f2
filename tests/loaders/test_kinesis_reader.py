"""The kinesis source against servers of the protocol: two, because each errs elsewhere."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from fake_kinesis import HASH_KEYS, group_by_key
from kinesis_query import Query
from servers import ENVIRONMENT, a_client, kinesis_local, roto

from loaders.sources.kinesis import Kinesis, KinesisReader
from loaders.sources.kinesis_client import KinesisError, boto_client
from loaders.sources.kpl import MAGIC

Pair = tuple[str, bytes]

SERVERS = {"roto": roto, "kinesis-local": kinesis_local}


@pytest.fixture(scope="module", params=SERVERS)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with SERVERS[request.param](tmp_path_factory.mktemp("server") / "log") as server:
        yield server


class Stream:
    """A stream of a server: what a producer and an operator do with it."""

    def __init__(self, url: str, shards: int = 1) -> None:
        self.url = url
        self.name = f"s-{uuid.uuid4().hex[:12]}"
        self.put_pairs: list[Pair] = []
        self.boto = a_client(url)
        self.boto.create_stream(StreamName=self.name, ShardCount=shards)
        self.wait()

    def wait(self) -> None:
        while True:
            summary = self.boto.describe_stream_summary(StreamName=self.name)
            if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return

    def put(self, number: int) -> list[Pair]:
        start = len(self.put_pairs)
        pairs = [(f"key-{n % 17}", f"record {n}".encode()) for n in range(start, start + number)]
        self.put_records([{"PartitionKey": key, "Data": data} for key, data in pairs])
        self.put_pairs += pairs
        return pairs

    def put_records(self, records: list[dict[str, Any]]) -> None:
        answer = self.boto.put_records(StreamName=self.name, Records=records)
        assert answer["FailedRecordCount"] == 0

    def open_shards(self) -> list[dict[str, Any]]:
        shards = self.boto.list_shards(StreamName=self.name)["Shards"]
        still_open = [s for s in shards if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
        return sorted(still_open, key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))

    def split(self, at: int = 0) -> None:
        shard = self.open_shards()[at]
        bounds = shard["HashKeyRange"]
        middle = (int(bounds["StartingHashKey"]) + int(bounds["EndingHashKey"])) // 2
        self.boto.split_shard(
            StreamName=self.name, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle)
        )
        self.wait()

    def merge(self, at: int = 0) -> None:
        left, right = self.open_shards()[at : at + 2]
        self.boto.merge_shards(
            StreamName=self.name,
            ShardToMerge=left["ShardId"],
            AdjacentShardToMerge=right["ShardId"],
        )
        self.wait()

    def query(self, **options: str) -> Query:
        source = Kinesis(
            {
                "streamName": self.name,
                "endpointUrl": self.url,
                "region": ENVIRONMENT["AWS_DEFAULT_REGION"],
                "awsAccessKey": ENVIRONMENT["AWS_ACCESS_KEY_ID"],
                "awsSecretKey": ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
                **options,
            }
        )
        return Query(lambda: source.streamReader(source.schema()))


def assert_each_once_and_in_order(query: Query, expected: list[Pair]) -> None:
    # The data are unique: equal lists by key are equal sets, in the order of each key.
    assert group_by_key(query.pairs()) == group_by_key(expected)


# ---- resharding


def test_split_merge_and_split_again_while_being_read(url: str) -> None:
    stream = Stream(url)
    query = stream.query(maxRecordsPerTrigger="25").start()
    for reshard in (stream.split, stream.merge, stream.split, lambda: stream.split(1)):
        stream.put(40)
        query.step()
        reshard()
        stream.put(40)
        query.step()

    query.run()

    assert_each_once_and_in_order(query, stream.put_pairs)
    assert len({row["shardId"] for row in query.rows()}) == 8


def test_a_query_that_was_down_during_reshards_misses_nothing(url: str) -> None:
    stream = Stream(url, shards=2)
    stream.put(60)
    query = stream.query(maxRecordsPerTrigger="20").start()
    query.step()
    query.stop()
    for reshard in (stream.split, stream.split, lambda: stream.merge(1)):
        reshard()
        stream.put(30)

    query.start().run()

    assert_each_once_and_in_order(query, stream.put_pairs)


def test_a_start_at_trim_horizon_after_reshards_reads_parents_first(url: str) -> None:
    stream = Stream(url)
    for reshard in (stream.split, stream.merge, stream.split):
        stream.put(30)
        reshard()
    stream.put(30)

    query = stream.query().start(available_now=True).run()

    assert_each_once_and_in_order(query, stream.put_pairs)


@pytest.mark.parametrize("seed", [1, 2])
def test_reshards_and_kills_in_any_order(url: str, seed: int) -> None:
    chance = random.Random(seed)
    stream = Stream(url, shards=2)
    query = stream.query(maxRecordsPerTrigger="30").start()

    def merge() -> None:
        if len(stream.open_shards()) > 1:
            stream.merge(chance.randrange(len(stream.open_shards()) - 1))

    def kill_after_logging() -> None:
        query.plan()
        query.start()

    def kill_after_writing() -> None:
        if query.plan():
            query.read_last_batch()
        query.start()

    def run_what_is_there() -> None:
        before = list(stream.put_pairs)
        query.start(available_now=True)
        stream.put(5)
        query.run()
        assert_each_once_and_in_order(query, before)
        query.start()

    deeds = [stream.split, merge, query.step, kill_after_logging, kill_after_writing]
    for deed in chance.sample([*deeds, run_what_is_there] * 2, 9):
        stream.put(chance.randrange(1, 20))
        deed()
    query.start().run()

    assert_each_once_and_in_order(query, stream.put_pairs)


# ---- replays and run-once


def test_a_batch_that_runs_again_reads_the_same_records_from_the_stream(url: str) -> None:
    stream = Stream(url, shards=3)
    stream.put(90)
    query = stream.query(maxRecordsPerTrigger="50").start()
    query.plan()
    query.read_last_batch()
    written = query.sink[0]
    stream.put(90)
    stream.split()

    query.start()

    assert 0 < len(written) <= 50
    assert sorted(map(repr, query.sink[0])) == sorted(map(repr, written))


def test_an_available_now_run_leaves_what_came_during_it_to_the_next(url: str) -> None:
    stream = Stream(url, shards=2)
    before = stream.put(50)
    query = stream.query(maxRecordsPerTrigger="20").start(available_now=True)
    query.step()
    stream.split()
    stream.put(50)

    query.run()
    assert_each_once_and_in_order(query, before)

    query.start(available_now=True).run()
    assert_each_once_and_in_order(query, stream.put_pairs)


# ---- where a query starts


def test_latest_leaves_out_what_was_there(url: str) -> None:
    stream = Stream(url, shards=2)
    stream.put(20)
    query = stream.query(initialPosition="LATEST").start()
    assert not query.step()
    pairs = stream.put(20)

    query.run()

    assert_each_once_and_in_order(query, pairs)


def test_a_query_starts_at_a_time(url: str) -> None:
    stream = Stream(url)
    stream.put(10)
    # The parent has records after that time: without any, roto would never end it.
    later = stream.put(10)
    stream.split()
    stream.put(20)
    rows = stream.query().start().run().rows()
    times = {(row["partitionKey"], row["data"]): row["approximateArrivalTimestamp"] for row in rows}
    start = min(times[pair] for pair in later)
    start -= timedelta(microseconds=start.microsecond % 1000)  # the protocol has milliseconds

    position = json.dumps({"at_timestamp": start.isoformat()})
    query = stream.query(initialPosition=position).start().run()

    expected = [pair for pair in stream.put_pairs if times[pair] >= start]
    assert 30 <= len(expected) < 40
    assert_each_once_and_in_order(query, expected)


def test_a_query_starts_by_shard_where_another_ended(url: str) -> None:
    stream = Stream(url)
    stream.put(10)
    stream.split()
    stream.put(30)
    ended = stream.query().start().run().offset()["shards"]
    pairs = stream.put(30)
    ends = {
        name: {"after_sequence_number": position["after"]}
        for name, position in ended.items()
        if not position.get("drained")
    }

    query = stream.query(initialPosition=json.dumps(ends)).start().run()

    assert_each_once_and_in_order(query, pairs)


# ---- rows


def test_a_row_has_the_record_and_where_it_stood(url: str) -> None:
    stream = Stream(url)
    data = bytes(range(256))
    before = datetime.now(UTC)
    put = stream.boto.put_record(StreamName=stream.name, PartitionKey="käse", Data=data)

    (row,) = stream.query().start().run().rows()

    arrived = row.pop("approximateArrivalTimestamp")
    assert row == {
        "partitionKey": "käse",
        "data": data,
        "stream": stream.name,
        "shardId": put["ShardId"],
        "sequenceNumber": put["SequenceNumber"],
        "subSequenceNumber": 0,
    }
    assert -1 <= (arrived - before).total_seconds() <= 60


def test_the_largest_record_that_the_server_takes_arrives_whole(url: str) -> None:
    stream = Stream(url)
    data = random.Random(7).randbytes((1 << 20) - 100)
    stream.put_records([{"PartitionKey": "key", "Data": data}])

    (row,) = stream.query().start().run().rows()

    assert row["data"] == data


def aggregate(pairs: list[Pair]) -> bytes:
    """The pairs in one record, as the Kinesis Producer Library packs them."""

    def part(field: int, value: bytes) -> bytes:
        assert len(value) < 128
        return bytes([field << 3 | 2, len(value)]) + value

    keys = [key for key, _ in pairs]
    message = b"".join(part(1, key.encode()) for key in keys)
    for place, (_, data) in enumerate(pairs):
        message += part(3, bytes([1 << 3, place]) + part(3, data))
    return MAGIC + message + hashlib.md5(message).digest()


def test_an_aggregated_record_gives_its_records_of_this_shard_and_their_places(url: str) -> None:
    stream = Stream(url)
    pairs = [(f"key-{n}", f"user record {n}".encode()) for n in range(20)]
    stream.put_records([{"PartitionKey": "a", "Data": aggregate(pairs)}])
    stream.split()
    # A producer that has not seen the split sends all of it to one of the children; what belongs
    # to the other one it sends again.
    stream.put_records([{"PartitionKey": "a", "ExplicitHashKey": "0", "Data": aggregate(pairs)}])
    broken = aggregate(pairs)[:-1] + b"?"
    stream.put_records([{"PartitionKey": "a", "ExplicitHashKey": "0", "Data": broken}])

    rows = stream.query().start().run().rows()

    def is_left(key: str) -> bool:
        hash_key = int.from_bytes(hashlib.md5(key.encode()).digest())
        return hash_key < HASH_KEYS // 2 - 1

    left = [(place, *pair) for place, pair in enumerate(pairs) if is_left(pair[0])]
    assert 0 < len(left) < 20
    found = [(row["subSequenceNumber"], row["partitionKey"], row["data"]) for row in rows]
    expected = [(place, *pair) for place, pair in enumerate(pairs)]
    assert found == [*expected, *left, (0, "a", broken)]


# ---- trouble


def test_throttling_delays_and_loses_nothing(url: str) -> None:
    stream = Stream(url, shards=2)
    stream.put(60)
    query = stream.query().start(available_now=True)
    client = boto_client(query.reader.settings.client)
    refusal = {"__type": "ProvisionedThroughputExceededException", "message": "slow down"}
    refused: list[str] = []

    def refuse_six(request: Any, **_: Any) -> AWSResponse | None:
        """More often in a row than boto3 tries again."""
        if len(refused) == 6:
            return None
        refused.append(request.url)
        response = AWSResponse(request.url, 400, {}, None)
        response._content = json.dumps(refusal).encode()
        return response

    client.meta.events.register("before-send.kinesis.GetRecords", refuse_six)
    try:
        query.run()
    finally:
        client.meta.events.unregister("before-send.kinesis.GetRecords", refuse_six)

    assert len(refused) == 6
    assert_each_once_and_in_order(query, stream.put_pairs)


def test_a_recreated_stream_is_refused(url: str) -> None:
    stream = Stream(url)
    stream.put(5)
    query = stream.query().start().run()
    stream.boto.delete_stream(StreamName=stream.name)
    while stream.name in stream.boto.list_streams()["StreamNames"]:
        pass
    stream.boto.create_stream(StreamName=stream.name, ShardCount=1)
    stream.wait()

    with pytest.raises(KinesisError, match="start with a new checkpoint"):
        query.start().step()


def test_a_stream_that_is_not_there_is_named(url: str) -> None:
    stream = Stream(url)
    stream.name = "no-such-stream"

    with pytest.raises(KinesisError, match="no Kinesis stream 'no-such-stream' in us-east-1"):
        stream.query().start().step()


def test_lag_is_reported_by_shard(url: str) -> None:
    stream = Stream(url, shards=2)
    stream.put(40)
    query = stream.query(maxRecordsPerTrigger="4").start()
    query.step()
    behind = query.reader.reportLatestOffset()["millisBehindLatest"]
    query.run()
    caught_up = query.reader.reportLatestOffset()["millisBehindLatest"]

    assert len(behind) == 2
    assert set(caught_up.values()) == {0}


def test_a_server_that_is_not_there_is_named() -> None:
    source = Kinesis(
        {
            "streamName": "s",
            "endpointUrl": "http://127.0.0.1:9",
            "region": "us-east-1",
            "awsAccessKey": "test",
            "awsSecretKey": "test",
        }
    )
    reader = source.streamReader(source.schema())
    assert isinstance(reader, KinesisReader)

    with pytest.raises(KinesisError, match=r"127\.0\.0\.1:9.*Check region and endpointUrl"):
        reader.initialOffset()
