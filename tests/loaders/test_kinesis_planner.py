"""The kinesis source against a stream that resharded, expired, throttled and was written to."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from fake_kinesis import FakeClock, FakeKinesis, FakeShard, group_by_key
from hypothesis import given, settings
from hypothesis import strategies as st
from kinesis_query import Query
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadMaxBytes, ReadMaxRows

from loaders.sources import kinesis, kinesis_planner, shards
from loaders.sources.kinesis import KinesisReader, Settings, parse_options
from loaders.sources.kinesis_client import RECORDS, DataLoss, KinesisClient, KinesisError
from loaders.sources.kinesis_planner import range_of

HOUR_S = 3600


def a_query(stream: FakeKinesis, **options: str) -> Query:
    """A query on a stream in memory."""
    chosen = parse_options({"streamName": "s", **options})
    client = KinesisClient("s", stream, stream.clock)
    return Query(lambda: KinesisReader(chosen, lambda _: client))


def put(stream: FakeKinesis, number: int, start: int = 0) -> list[tuple[str, bytes]]:
    """Records of many keys; returns them."""
    pairs = [(f"key-{n % 11}", f"record {n}".encode()) for n in range(start, start + number)]
    for key, data in pairs:
        stream.put(key, data)
    return pairs


# ---- anything that can happen, in any order


class Turmoil:
    """A producer, an operator who reshards, and a query that is killed anywhere."""

    def __init__(self, seed: int, moods: tuple[str, ...], page_records: int) -> None:
        self.chance = random.Random(seed)
        self.stream = FakeKinesis(2, moods=moods, page_records=page_records)
        self.put_pairs: list[tuple[str, bytes]] = []
        self.query = a_query(self.stream, maxRecordsPerTrigger=str(self.chance.randint(1, 30)))
        self.query.start()
        self.stream.before_each_read = self.put_now_and_then

    def put(self) -> None:
        for _ in range(self.chance.randrange(12)):
            pair = (f"key-{self.chance.randrange(8)}", b"%d" % len(self.put_pairs))
            self.put_pairs.append(pair)
            self.stream.put(*pair)

    def put_now_and_then(self) -> None:
        if self.chance.random() < 0.2:
            self.put()

    def split(self) -> None:
        if len(self.stream.shards) < 12:
            self.stream.split(self.chance.choice(self.stream.open_shards()))

    def merge(self) -> None:
        neighbours = self.stream.open_shards()
        if len(neighbours) > 1:
            at = self.chance.randrange(len(neighbours) - 1)
            self.stream.merge(neighbours[at], neighbours[at + 1])

    def step(self) -> None:
        self.query.step()

    def pass_time(self) -> None:
        self.stream.clock.wait(self.chance.choice([1, 60, 400, 2 * HOUR_S]))

    def kill(self) -> None:
        self.stream.clock.wait(1)
        self.query.start()

    def kill_after_logging(self) -> None:
        self.query.plan()
        self.kill()

    def kill_after_writing(self) -> None:
        if self.query.plan():
            self.query.read_last_batch()
        self.kill()

    def run_what_is_there(self) -> None:
        """A run-once query: all that was there when it began, nothing that came during it."""
        self.stream.clock.wait(1)
        before = list(self.put_pairs)
        self.query.start(available_now=True).run()
        assert sorted(self.query.pairs()) == sorted(before)
        self.kill()


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.integers(1, 25),
    page_records=st.sampled_from([1, 3, 10_000]),
    moods=st.sampled_from([("ok",), ("ok", "empty"), ("ok", "empty", "empty")]),
)
def test_every_record_once_and_in_order_whatever_happens(
    seed: int, steps: int, page_records: int, moods: tuple[str, ...]
) -> None:
    it = Turmoil(seed, moods, page_records)
    deeds: list[Callable[[], None]] = [it.put, it.put, it.step, it.step, it.split, it.merge]
    deeds += [it.pass_time, it.kill, it.kill_after_logging, it.kill_after_writing]
    deeds += [it.run_what_is_there]
    for _ in range(steps):
        it.chance.choice(deeds)()
    it.stream.before_each_read = lambda: None
    it.kill()
    it.query.run()

    # Data are unique, so equal lists by key are equal sets, and order besides.
    assert group_by_key(it.query.pairs()) == group_by_key(it.put_pairs)
    identities = [(row["shardId"], row["sequenceNumber"]) for row in it.query.rows()]
    assert len(set(identities)) == len(identities)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    troubles=st.sets(st.sampled_from(["empty", "throttled", "expired"])),
)
def test_errors_of_the_service_neither_lose_nor_repeat(seed: int, troubles: set[str]) -> None:
    chance = random.Random(seed)
    stream = FakeKinesis(3, moods=("ok", *sorted(troubles)), page_records=4)
    pairs = put(stream, 40)
    stream.split(chance.choice(stream.open_shards()))
    pairs += put(stream, 40, start=40)
    stream.clock.wait(1)
    query = a_query(stream).start(available_now=True)
    put(stream, 40, start=80)

    query.run()

    assert group_by_key(query.pairs()) == group_by_key(pairs)


# ---- run once


def test_an_available_now_run_ends_where_the_stream_ended_when_it_began() -> None:
    stream = FakeKinesis(2)
    before = put(stream, 50)
    query = a_query(stream).start(available_now=True)
    stream.before_each_read = lambda: put(stream, 3, start=1000 + len(query.log))

    query.run()

    assert sorted(query.pairs()) == sorted(before)


def test_shards_made_during_an_available_now_run_are_left_to_the_next() -> None:
    stream = FakeKinesis(1)
    before = put(stream, 20)
    query = a_query(stream, maxRecordsPerTrigger="7").start(available_now=True)
    query.step()
    stream.split(stream.open_shards()[0])
    after = put(stream, 20, start=20)

    query.run()
    assert sorted(query.pairs()) == sorted(before)

    query.start(available_now=True).run()
    assert sorted(query.pairs()) == sorted(before + after)


def test_an_available_now_run_with_nothing_new_plans_no_batch() -> None:
    stream = FakeKinesis(2)
    put(stream, 20)
    query = a_query(stream).start(available_now=True).run()
    batches = len(query.log)

    query.start(available_now=True).run()

    assert len(query.log) == batches


def test_an_available_now_run_outlasts_its_iterators() -> None:
    stream = FakeKinesis(1)
    before = put(stream, 20)
    query = a_query(stream, maxRecordsPerTrigger="5").start(available_now=True)
    stream.clock.wait(1)
    while query.step():
        put(stream, 2, start=100 * len(query.log))
        stream.clock.wait(400)  # a long batch: iterators live 300 s

    assert sorted(query.pairs()) == sorted(before)


# ---- replays


def test_a_batch_that_runs_again_has_exactly_the_same_rows() -> None:
    stream = FakeKinesis(3)
    put(stream, 100)
    query = a_query(stream, maxRecordsPerTrigger="60").start()
    query.step()
    put(stream, 100, start=100)
    query.plan()
    query.read_last_batch()
    written = query.sink[1]
    put(stream, 100, start=200)

    query.start()

    # Another division into tasks may order shards differently, never the records of one.
    assert len(written) == 60
    assert sorted(map(repr, query.sink[1])) == sorted(map(repr, written))


def test_the_first_batch_of_a_query_that_starts_at_the_tip_runs_again_alike() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    query = a_query(stream, initialPosition="LATEST").start()
    assert not query.step()
    pairs = put(stream, 5, start=5)
    assert query.plan()
    stream.clock.wait(60)

    query.start()

    assert query.pairs() == pairs


def test_a_batch_that_runs_again_fails_when_a_record_of_it_has_expired() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    stream.clock.wait(HOUR_S)
    put(stream, 5, start=5)
    query = a_query(stream).start()
    query.plan()
    stream.clock.wait(23.5 * HOUR_S)
    stream.expire()

    with pytest.raises(DataLoss, match=r"10 records .* 5 of them are not kept"):
        query.start()


def test_a_batch_that_runs_again_goes_on_with_what_is_left_if_loss_is_accepted() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    stream.clock.wait(HOUR_S)
    left = put(stream, 5, start=5)
    query = a_query(stream, failOnDataLoss="false").start()
    query.plan()
    stream.clock.wait(23.5 * HOUR_S)
    stream.expire()

    assert query.start().pairs() == left


def test_what_a_batch_lost_that_runs_again_is_counted_once_with_the_next_one() -> None:
    stream = FakeKinesis(2)
    put(stream, 10)
    stream.clock.wait(HOUR_S)
    put(stream, 10, start=10)
    query = a_query(stream, failOnDataLoss="false").start()
    query.plan()
    stream.clock.wait(23.5 * HOUR_S)
    stream.expire()
    query.start()
    assert query.offset()["losses"] == 0  # as it was logged

    query.plan()
    query.start()  # the next one, in which nothing expired, runs again
    query.run()

    assert query.offset()["losses"] == 2  # one a shard
    assert query.reader.reportLatestOffset()["losses"] == 2


def test_two_uses_of_a_batch_read_the_stream_once() -> None:
    stream = FakeKinesis(1)
    pairs = put(stream, 10)
    query = a_query(stream).start()
    query.plan()
    reads = len(stream.calls)

    query.read_last_batch()
    query.read_last_batch()

    assert query.pairs() == pairs
    assert len(stream.calls) == reads


# ---- idle shards


def test_an_idle_shard_moves_on_and_is_not_read_from_its_last_record_again() -> None:
    stream = FakeKinesis(2)
    stream.put("key-0", b"early")
    query = a_query(stream).start()
    query.step()
    for _ in range(6):  # two days, and the busy shard alone has records
        stream.clock.wait(8 * HOUR_S)
        stream.expire()
        stream.put("key-1", b"later")
        query.step()
        query.start()
    stream.calls.clear()
    stream.put("key-0", b"late")

    assert query.step()

    assert query.pairs()[-1] == ("key-0", b"late")
    assert query.offset()["losses"] == 0
    assert [call["ShardIteratorType"] for _, call in stream.calls if "Timestamp" in call]


def test_an_idle_stream_costs_no_batch_but_once_an_hour() -> None:
    stream = FakeKinesis(2)
    put(stream, 20)
    query = a_query(stream).start().run()
    batches = len(query.log)
    for _ in range(59):
        stream.clock.wait(60)
        assert not query.step()
    stream.clock.wait(120)

    assert query.step()

    assert query.offset()["batch"] == {}
    assert len(query.log) == batches + 1
    assert query.sink[batches] == []


# ---- loss


def stop_for_longer_than_the_retention(stream: FakeKinesis, query: Query) -> None:
    """The query stops after ten records; of the next ten, five expire."""
    query.start().run()
    put(stream, 5, start=10)
    stream.clock.wait(12 * HOUR_S)
    put(stream, 5, start=15)
    stream.clock.wait(13 * HOUR_S)
    stream.expire()


def test_records_that_expired_unread_stop_the_query() -> None:
    stream = FakeKinesis(1)
    put(stream, 10)
    query = a_query(stream)
    stop_for_longer_than_the_retention(stream, query)

    with pytest.raises(DataLoss, match=r"shardId-0+1: records from 2027-.* set failOnDataLoss"):
        query.start().step()


def test_if_loss_is_accepted_it_is_counted_and_the_rest_is_read() -> None:
    stream = FakeKinesis(1)
    pairs = put(stream, 10)
    query = a_query(stream, failOnDataLoss="false")
    stop_for_longer_than_the_retention(stream, query)

    query.start().run()

    rest = [(f"key-{n % 11}", f"record {n}".encode()) for n in range(15, 20)]
    assert sorted(query.pairs()) == sorted(pairs + rest)
    assert query.offset()["losses"] == 1
    assert query.reader.reportLatestOffset()["losses"] == 1


def test_nothing_is_lost_while_the_record_read_last_is_still_there() -> None:
    stream = FakeKinesis(1)
    pairs = put(stream, 10)
    query = a_query(stream).start().run()
    pairs += put(stream, 5, start=10)
    stream.clock.wait(25 * HOUR_S)  # expired by the clock, but the service has not got to it

    assert sorted(query.start().run().pairs()) == sorted(pairs)


def test_a_longer_retention_is_noticed() -> None:
    stream = FakeKinesis(1)
    pairs = put(stream, 10)
    query = a_query(stream).start().run()
    pairs += put(stream, 5, start=10)
    stream.retention_hours = 48
    stream.clock.wait(25 * HOUR_S)
    stream.expire()

    assert sorted(query.run().pairs()) == sorted(pairs)


def test_a_shard_that_expired_unread_stops_the_query() -> None:
    stream = FakeKinesis(1)
    put(stream, 10)
    query = a_query(stream, maxRecordsPerTrigger="4").start()
    query.step()
    stream.split(stream.open_shards()[0])
    stream.clock.wait(25 * HOUR_S)
    stream.expire()

    with pytest.raises(DataLoss, match=r"shardId-0+1 expired before it was read to its end"):
        query.start().step()


def test_if_loss_is_accepted_the_children_of_an_expired_shard_are_read() -> None:
    stream = FakeKinesis(1)
    put(stream, 10)
    query = a_query(stream, maxRecordsPerTrigger="4", failOnDataLoss="false").start()
    query.step()
    stream.split(stream.open_shards()[0])
    stream.clock.wait(25 * HOUR_S)
    stream.expire()
    rest = put(stream, 10, start=10)

    query.start().run()

    assert sorted(query.pairs()[4:]) == sorted(rest)
    assert query.offset()["losses"] == 1


def test_a_shard_that_expires_under_a_running_query_is_noticed() -> None:
    stream = FakeKinesis(1)
    put(stream, 10)
    query = a_query(stream, maxRecordsPerTrigger="4").start()
    query.step()
    stream.split(stream.open_shards()[0])
    stream.clock.wait(25 * HOUR_S)
    stream.expire()

    with pytest.raises(DataLoss, match=r"shardId-0+1 expired"):
        query.run()


@pytest.mark.parametrize("code", ["InvalidArgumentException", "ResourceNotFoundException"])
def test_a_position_whose_record_the_stream_never_had_is_refused(code: str) -> None:
    class Strict(FakeKinesis):
        """Refuses an unknown number."""

        def get_shard_iterator(self, **request: Any) -> dict[str, Any]:
            if request.get("StartingSequenceNumber") == "17":
                raise ClientError({"Error": {"Code": code}}, "GetShardIterator")
            return super().get_shard_iterator(**request)

    stream = Strict(1)
    (name,) = stream.shards
    query = a_query(stream, initialPosition=json.dumps({name: {"after_sequence_number": "17"}}))

    with pytest.raises(DataLoss, match=f"{name}: the record 17 is unknown"):
        query.start().step()


def test_a_start_at_the_oldest_record_is_no_loss() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    stream.split(stream.open_shards()[0])
    stream.clock.wait(20 * HOUR_S)
    pairs = put(stream, 5, start=5)
    stream.clock.wait(3.9 * HOUR_S)
    query = a_query(stream, maxRecordsPerTrigger="3").start()
    while query.step():
        stream.clock.wait(200)

    assert sorted(query.pairs())[-5:] == sorted(pairs)[-5:]
    assert query.offset()["losses"] == 0


# ---- which stream


def test_a_recreated_stream_is_refused() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    query = a_query(stream).start().run()
    stream.recreate()

    with pytest.raises(KinesisError, match=r"created at 2027-\S+; the checkpoint belongs"):
        query.start().step()


@pytest.mark.parametrize("fail_on_data_loss", ["true", "false"])
def test_a_stream_recreated_under_a_running_query_is_refused(fail_on_data_loss: str) -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    query = a_query(stream, failOnDataLoss=fail_on_data_loss).start().run()
    stream.recreate()
    put(stream, 5)

    with pytest.raises(KinesisError, match="start with a new checkpoint"):
        query.step()


def test_a_recreated_stream_is_refused_in_a_replay_and_if_loss_is_accepted() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    query = a_query(stream, failOnDataLoss="false").start()
    query.plan()
    stream.recreate()

    with pytest.raises(KinesisError, match="start with a new checkpoint"):
        query.start()


def test_the_checkpoint_of_another_stream_is_refused() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    query = a_query(stream).start().run()
    client = KinesisClient("t", stream, stream.clock)
    query.make_reader = lambda: KinesisReader(Settings("t"), lambda _: client)

    with pytest.raises(KinesisError, match="belongs to stream 's', not to 't'"):
        query.start().step()


# ---- limits


def test_a_batch_has_at_most_so_many_records() -> None:
    stream = FakeKinesis(4, page_records=3)
    pairs = put(stream, 100)
    query = a_query(stream, maxRecordsPerTrigger="13").start()
    assert query.reader.getDefaultReadLimit() == ReadMaxRows(13)

    query.run()

    sizes = [len(query.sink[batch]) for batch in sorted(query.sink)]
    assert max(sizes) <= 13
    assert sorted(query.pairs()) == sorted(pairs)


def test_every_shard_gets_its_turn() -> None:
    stream = FakeKinesis(8)
    pairs = put(stream, 88)
    query = a_query(stream, maxRecordsPerTrigger="1").start()
    for _ in range(24):
        query.step()

    assert len(query.rows()) == 24
    read = {row["shardId"] for row in query.rows()}
    assert read == {name for name, shard in stream.shards.items() if shard.records}
    assert set(query.pairs()) < set(pairs)


def test_a_batch_ends_soon_after_so_many_bytes() -> None:
    stream = FakeKinesis(1, page_records=1)
    for n in range(10):
        stream.put("key", b"%d" % n * 1000)
    query = a_query(stream, maxBytesPerTrigger="2500").start()
    assert query.reader.getDefaultReadLimit() == ReadMaxBytes(2500)

    query.run()

    assert [len(query.sink[batch]) for batch in sorted(query.sink)] == [3, 3, 3, 1]


def test_an_engine_that_wants_all_gets_all() -> None:
    stream = FakeKinesis(1, page_records=2)
    pairs = put(stream, 40)
    query = a_query(stream, maxRecordsPerTrigger="3").start()

    query.step(ReadAllAvailable())

    assert query.pairs() == pairs


def test_a_batch_ends_after_some_time_of_reading() -> None:
    stream = FakeKinesis(1, page_records=1)
    put(stream, 1000)
    query = a_query(stream).start()

    query.step()

    assert stream.clock.monotonic() <= kinesis_planner.PLANNING_S + 1
    assert 0 < len(query.rows()) < 1000


def test_what_is_too_much_to_keep_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinesis_planner, "KEPT_BYTES", 1500)
    stream = FakeKinesis(2, page_records=3)
    pairs = put(stream, 100)
    query = a_query(stream).start()

    query.step()

    assert sorted(query.pairs()) == sorted(pairs)
    assert query.reader.planner._batch.kept_bytes <= 1500
    assert any("AT_SEQUENCE_NUMBER" in call.values() for _, call in stream.calls)


def test_a_closed_shard_that_the_service_never_ends_is_an_error() -> None:
    class Endless(FakeKinesis):
        """Hands out iterators for ever."""

        def get_records(self, ShardIterator: str, Limit: int) -> dict[str, Any]:  # noqa: N803
            answer = super().get_records(ShardIterator, Limit)
            return {"NextShardIterator": ShardIterator} | answer

    stream = Endless(1)
    put(stream, 5)
    stream.split(stream.open_shards()[0])

    with pytest.raises(KinesisError, match=r"shardId-0+1 is closed .* is this Kinesis\?"):
        a_query(stream).start(available_now=True).run()


# ---- throttling and lag


def test_a_throttled_shard_is_asked_less_and_less_often_and_delays_no_other() -> None:
    class OneThrottled(FakeKinesis):
        """Its first shard answers nobody."""

        asked: list[float]

        def mood_of(self, shard: FakeShard) -> str:
            if shard.id != min(self.shards):
                return "ok"
            self.asked.append(self.clock.monotonic())
            return "throttled"

    stream = OneThrottled(2, page_records=5)
    stream.asked = []
    put(stream, 60)
    query = a_query(stream).start()
    for _ in range(4):
        query.step()
        stream.clock.wait(1)

    other = max(stream.shards)
    assert len(query.rows()) == len(stream.shards[other].records)
    gaps = [after - before for before, after in pairwise(stream.asked)]
    assert len(gaps) >= 3
    assert all(after >= before for before, after in pairwise(gaps))
    assert gaps[-1] > 2 * gaps[0]


@pytest.mark.parametrize("available_now", [False, True])
def test_a_shard_is_read_at_most_five_times_a_second(available_now: bool) -> None:
    stream = FakeKinesis(2, moods=("ok", "empty"), page_records=2)
    put(stream, 100)

    query = a_query(stream, maxRecordsPerTrigger="9").start(available_now=available_now).run()

    assert len(query.rows()) == 100
    assert stream.reads_beyond_limit == 0


def test_lag_is_reported_by_shard() -> None:
    stream = FakeKinesis(2, page_records=1)
    put(stream, 20)
    stream.clock.wait(30)
    query = a_query(stream, maxRecordsPerTrigger="2").start()
    assert query.reader.reportLatestOffset() is None

    query.step()
    report = query.reader.reportLatestOffset()
    query.run()

    assert set(report["millisBehindLatest"]) == set(stream.shards)
    assert 30_000 <= report["maxMillisBehindLatest"] < 40_000
    assert query.reader.reportLatestOffset()["maxMillisBehindLatest"] == 0


# ---- where a query starts


def test_a_query_starts_at_the_oldest_record_by_default() -> None:
    stream = FakeKinesis(1)
    pairs = put(stream, 5)

    assert a_query(stream).start().run().pairs() == pairs


def test_latest_is_the_moment_of_the_start_also_after_a_crash() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    query = a_query(stream, initialPosition="LATEST").start(available_now=True).run()
    assert query.rows() == []
    stream.clock.wait(1)
    query = a_query(stream, initialPosition="LATEST").start()
    assert not query.step()
    pairs = put(stream, 5, start=5)
    assert query.plan()
    query.start()

    assert query.pairs() == pairs


def test_a_time_to_start_at_holds_for_parents_and_children() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    stream.clock.wait(100)
    stream.split(stream.open_shards()[0])
    put(stream, 20, start=5)
    stream.clock.wait(100)
    pairs = put(stream, 20, start=30)
    time = (stream.clock.now_ms() - 50_000) / 1000

    query = a_query(stream, initialPosition=json.dumps({"at_timestamp": time})).start().run()

    assert sorted(query.pairs()) == sorted(pairs)


def test_a_query_starts_where_another_ended_by_shard() -> None:
    stream = FakeKinesis(1)
    put(stream, 5)
    stream.split(stream.open_shards()[0])
    put(stream, 20, start=5)
    other = a_query(stream).start().run()
    ends = {
        name: {"after_sequence_number": position["after"]}
        for name, position in other.offset()["shards"].items()
        if not position.get("drained")
    }
    assert len(ends) == 2
    pairs = put(stream, 20, start=30)

    query = a_query(stream, initialPosition=json.dumps(ends)).start().run()

    assert sorted(query.pairs()) == sorted(pairs)


# ---- tasks


def test_records_of_ten_mebibytes_arrive_whole() -> None:
    stream = FakeKinesis(1)
    big = [bytes([n]) * (10 << 20) for n in range(3)]
    for data in big:
        stream.put("key", data)
    query = a_query(stream).start()

    query.step()

    assert [row["data"] == data for row, data in zip(query.rows(), big, strict=True)] == [True] * 3


def records_of(sizes: list[int]) -> pa.RecordBatch:
    columns = {
        "sequenceNumber": [str(n) for n in range(len(sizes))],
        "partitionKey": ["key"] * len(sizes),
        "data": [bytes(size) for size in sizes],
        "approximateArrivalTimestamp": [0] * len(sizes),
    }
    return pa.RecordBatch.from_pydict(columns, schema=RECORDS)


def test_no_task_carries_more_than_spark_can_send() -> None:
    item = range_of("s", None, records_of([10 << 20] * 9 + [1000] * 500))

    parts = kinesis.in_groups([item, item], 2)

    messages = [len(pickle.dumps(kinesis.KinesisPartition(part))) for part in parts]
    assert sum(piece.count for part in parts for piece in part) == 1018
    assert max(messages) < kinesis.PARTITION_BYTES + (1 << 20)


@given(
    counts=st.lists(st.integers(1, 20), max_size=8),
    groups=st.integers(1, 5),
    kept=st.booleans(),
)
def test_tasks_share_the_records_in_their_order(counts: list[int], groups: int, kept: bool) -> None:
    ranges = [range_of(f"s{n}", None, records_of(list(range(c)))) for n, c in enumerate(counts)]
    if not kept:
        ranges = [item._replace(records=None) for item in ranges]

    parts = kinesis.in_groups(ranges, groups)

    pieces = [piece for part in parts for piece in part]
    assert all(parts)
    assert [p.shard_id for p in pieces] == sorted(p.shard_id for p in pieces)
    for item in ranges:
        mine = [piece for piece in pieces if piece.shard_id == item.shard_id]
        assert sum(piece.count for piece in mine) == item.count
        assert (mine[0].first, mine[-1].last) == (item.first, item.last)
        if kept:
            found = pa.Table.from_batches([piece.records for piece in mine]).to_pylist()
            assert found == item.records.to_pylist()


# ---- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "kinesis needs a stream"),
        ({"streamName": "s", "startingPosition": "latest"}, "no option 'startingPosition'"),
        ({"streamName": "s", "failOnDataLoss": "no"}, "failOnDataLoss is 'no'"),
        ({"streamName": "s", "maxRecordsPerTrigger": "0"}, "maxRecordsPerTrigger is '0'"),
        ({"streamName": "s", "maxBytesPerTrigger": "many"}, "maxBytesPerTrigger is 'many'"),
        ({"streamName": "s", "initialPosition": "newest"}, "initialPosition is newest"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_options(options)


def test_options_are_taken_in_any_case() -> None:
    chosen = parse_options(
        {
            "streamname": "s",
            "REGION": "eu-west-1",
            "initialposition": "latest",
            "failondataloss": "False",
        }
    )

    assert chosen.stream == "s"
    assert chosen.client == (("region_name", "eu-west-1"),)
    assert chosen.initial.everywhere == shards.LATEST
    assert not chosen.fail_on_data_loss


def test_time_passes_in_a_fake_clock_only_by_waiting() -> None:
    clock = FakeClock()
    before = clock.now_ms()
    clock.wait(1.5)

    assert clock.now_ms() - before == 1500
