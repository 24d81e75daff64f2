"""A Kinesis stream in memory, behind boto3's method names, in a time of its own.

It does what real servers for tests do not: records expire, iterators expire, pages come empty,
reads are throttled, producers write between any two calls.
"""

# ruff: noqa: N803 - arguments have the names that boto3 gives them
from __future__ import annotations

import hashlib
import random
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from loaders.sources.kinesis_client import Clock

START_MS = 1_800_000_000_000
HASH_KEYS = 2**128
ITERATOR_LIFE_S = 300
READS_A_SECOND = 5
MOST_EMPTY_PAGES = 3


class FakeClock(Clock):
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now_ms(self) -> int:
        return START_MS + round(self._seconds * 1000)

    def monotonic(self) -> float:
        return self._seconds

    def wait(self, seconds: float) -> None:
        self._seconds += seconds


@dataclass
class FakeRecord:
    sequence: int
    key: str
    data: bytes
    arrived_ms: int


@dataclass
class FakeShard:
    id: str
    parents: tuple[str, ...]
    first_hash: int
    last_hash: int
    closed_ms: int | None = None
    records: list[FakeRecord] = field(default_factory=list)
    trimmed_to: int = 0  # records up to this sequence number have expired
    reads: deque[float] = field(default_factory=deque)
    chance: random.Random = field(default_factory=lambda: random.Random(1))


@dataclass(frozen=True)
class FakeIterator:
    shard: str
    after: int
    made: float
    empty_pages: int = 0  # handed out in a row


class FakeKinesis:
    """One stream. Each GetRecords is answered by one of `moods`: ok, empty, throttled, expired."""

    def __init__(
        self,
        shards: int = 1,
        *,
        moods: tuple[str, ...] = ("ok",),
        page_records: int = 10_000,
        retention_hours: int = 24,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.meta = SimpleNamespace(region_name="eu-west-1", endpoint_url="http://127.0.0.1:1")
        self.created_ms = self.clock.now_ms()
        self.retention_hours = retention_hours
        self.page_records = page_records
        self.shards: dict[str, FakeShard] = {}
        self.before_each_read: Callable[[], None] = lambda: None
        self.reads_beyond_limit = 0
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._moods = moods
        self._iterators: dict[str, FakeIterator] = {}
        self._sequence = 49 * 10**54
        self._made = 0
        self._lock = threading.RLock()
        step = HASH_KEYS // shards
        for number in range(shards):
            last = HASH_KEYS if number == shards - 1 else (number + 1) * step
            self._add_shard((), number * step, last - 1)

    # What producers and operators do.

    def put(self, key: str, data: bytes) -> FakeRecord:
        hash_key = int.from_bytes(hashlib.md5(key.encode()).digest())
        with self._lock:
            (shard,) = (s for s in self.open_shards() if s.first_hash <= hash_key <= s.last_hash)
            self._sequence += 7
            record = FakeRecord(self._sequence, key, data, self.clock.now_ms())
            shard.records.append(record)
            return record

    def split(self, shard: FakeShard) -> None:
        middle = (shard.first_hash + shard.last_hash) // 2
        self._close(shard)
        self._add_shard((shard.id,), shard.first_hash, middle)
        self._add_shard((shard.id,), middle + 1, shard.last_hash)

    def merge(self, left: FakeShard, right: FakeShard) -> None:
        self._close(left)
        self._close(right)
        self._add_shard((left.id, right.id), left.first_hash, right.last_hash)

    def open_shards(self) -> list[FakeShard]:
        """Open shards in the order of their hash keys: neighbours can be merged."""
        shards = [shard for shard in self.shards.values() if shard.closed_ms is None]
        return sorted(shards, key=lambda shard: shard.first_hash)

    def expire(self) -> None:
        """Drop what is older than the retention."""
        horizon = self.clock.now_ms() - self.retention_hours * 3_600_000
        for shard in list(self.shards.values()):
            while shard.records and shard.records[0].arrived_ms < horizon:
                shard.trimmed_to = shard.records.pop(0).sequence
            if shard.closed_ms is not None and shard.closed_ms < horizon:
                del self.shards[shard.id]

    def recreate(self) -> None:
        """Delete the stream, and make another of its name and with the same shard ids."""
        self.clock.wait(60)
        self.created_ms = self.clock.now_ms()
        for shard in self.shards.values():
            shard.records.clear()
        self._iterators.clear()

    # What boto3 offers.

    def describe_stream_summary(self, StreamName: str) -> dict[str, Any]:
        return {
            "StreamDescriptionSummary": {
                "StreamName": StreamName,
                "StreamCreationTimestamp": _time(self.created_ms),
                "RetentionPeriodHours": self.retention_hours,
            }
        }

    def list_shards(
        self, StreamName: str | None = None, NextToken: str | None = None
    ) -> dict[str, Any]:
        """Two shards a page."""
        with self._lock:
            first = int(NextToken or 0)
            listed = list(self.shards.values())
            page = [_listed(shard) for shard in listed[first : first + 2]]
            more = {"NextToken": str(first + 2)} if first + 2 < len(listed) else {}
            return {"Shards": page} | more

    def get_shard_iterator(
        self, StreamName: str, ShardId: str, ShardIteratorType: str, **where: Any
    ) -> dict[str, Any]:
        with self._lock:
            self.calls.append((ShardId, {"ShardIteratorType": ShardIteratorType, **where}))
            shard = self._shard(ShardId)
            sequence = int(where.get("StartingSequenceNumber", 0))
            time_ms = where.get("Timestamp", 0) * 1000
            if time_ms > self.clock.now_ms():
                raise _error("InvalidArgumentException", "timestamp in the future")
            earlier = [r.sequence for r in shard.records if r.arrived_ms < time_ms]
            after = {
                "TRIM_HORIZON": 0,
                "LATEST": shard.records[-1].sequence if shard.records else shard.trimmed_to,
                "AT_TIMESTAMP": earlier[-1] if earlier else 0,
                "AT_SEQUENCE_NUMBER": sequence - 1,
                "AFTER_SEQUENCE_NUMBER": sequence,
            }[ShardIteratorType]
            return {"ShardIterator": self._iterator(ShardId, after)}

    def get_records(self, ShardIterator: str, Limit: int) -> dict[str, Any]:
        with self._lock:
            self.before_each_read()
            if ShardIterator not in self._iterators:
                raise _error("ResourceNotFoundException", "an iterator of another stream")
            iterator = self._iterators[ShardIterator]
            shard = self._shard(iterator.shard)
            mood = self.mood_of(shard)
            self._count_read(shard)
            if mood == "throttled":
                raise _error("ProvisionedThroughputExceededException", "slow down")
            if mood == "expired" or self.clock.monotonic() - iterator.made > ITERATOR_LIFE_S:
                raise _error("ExpiredIteratorException", "too old")
            rest = [record for record in shard.records if record.sequence > iterator.after]
            is_empty = mood == "empty" and iterator.empty_pages < MOST_EMPTY_PAGES
            page = [] if is_empty else rest[: min(Limit, self.page_records)]
            left = rest[len(page) :]
            after = page[-1].sequence if page else iterator.after
            answer: dict[str, Any] = {
                "Records": [_answered(record) for record in page],
                "MillisBehindLatest": max(1, self.clock.now_ms() - left[0].arrived_ms)
                if left
                else 0,
            }
            if left or shard.closed_ms is None:
                empty_pages = iterator.empty_pages + 1 if is_empty else 0
                answer["NextShardIterator"] = self._iterator(shard.id, after, empty_pages)
            return answer

    def _count_read(self, shard: FakeShard) -> None:
        now = self.clock.monotonic()
        while shard.reads and shard.reads[0] <= now - 1 + 1e-6:
            shard.reads.popleft()
        shard.reads.append(now)
        self.reads_beyond_limit += len(shard.reads) > READS_A_SECOND

    def mood_of(self, shard: FakeShard) -> str:
        return shard.chance.choice(self._moods)

    def _iterator(self, shard_id: str, after: int, empty_pages: int = 0) -> str:
        self._made += 1
        made = self.clock.monotonic()
        self._iterators[str(self._made)] = FakeIterator(shard_id, after, made, empty_pages)
        return str(self._made)

    def _shard(self, shard_id: str) -> FakeShard:
        if shard_id not in self.shards:
            raise _error("ResourceNotFoundException", f"no shard {shard_id}")
        return self.shards[shard_id]

    def _add_shard(self, parents: tuple[str, ...], first_hash: int, last_hash: int) -> None:
        with self._lock:
            self._made += 1
            shard_id = f"shardId-{self._made:012}"
            self.shards[shard_id] = FakeShard(shard_id, parents, first_hash, last_hash)

    def _close(self, shard: FakeShard) -> None:
        assert shard.closed_ms is None
        shard.closed_ms = self.clock.now_ms()


def group_by_key(pairs: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    """What each key carried, in its order."""
    groups: dict[str, list[bytes]] = defaultdict(list)
    for key, data in pairs:
        groups[key].append(data)
    return groups


def _listed(shard: FakeShard) -> dict[str, Any]:
    names = ("ParentShardId", "AdjacentParentShardId")
    # What a closed shard's ending number says is made up by some servers, so it is here.
    end = {} if shard.closed_ms is None else {"EndingSequenceNumber": "9223372036854775807"}
    return {
        "ShardId": shard.id,
        "HashKeyRange": {
            "StartingHashKey": str(shard.first_hash),
            "EndingHashKey": str(shard.last_hash),
        },
        "SequenceNumberRange": {"StartingSequenceNumber": "0", **end},
        **dict(zip(names, shard.parents, strict=False)),
    }


def _answered(record: FakeRecord) -> dict[str, Any]:
    return {
        "SequenceNumber": str(record.sequence),
        "PartitionKey": record.key,
        "Data": record.data,
        "ApproximateArrivalTimestamp": record.arrived_ms / 1000,
    }


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _error(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetRecords")
