"""The `kinesis` source: the records of a Kinesis stream, each exactly once.

How it reads. An offset names the exact last record of each shard, and Kinesis tells sequence
numbers only to those who read the records. So the planner, a process on the driver that lives as
long as the query, reads them, once, and hands the tasks the records. Beside the positions the
offset holds the first and last sequence number, and the number, of each shard's records in its
batch. When a batch runs again after a crash, its records went with the planner: then the tasks
read exactly that range from the stream, and fail unless all of it is there.

Two other ways were weighed:

- The planner keeps only sequence numbers, and the tasks read again. But a shard gives 2 MB and
  five reads a second to all its readers together, and takes in 1 MB a second: reading twice
  leaves nothing to catch up with, and nothing to a second consumer.
- The tasks read first and report where they ended. But Spark logs a batch's end before the batch
  runs, and runs it again by that log: a replay would read something else.

The price is that all records pass through one process on the driver, at the rate that `python
-m bench.kinesis` prints. In return a task that is tried again, and a batch used twice (two
actions in a foreachBatch, speculation), do not read the stream again.

An offset is a JSON object:

    stream, created    the stream's name and creation time (ms); a recreated stream is refused
    shards             position by shard id, as sources/shards.py says
    batch              [first, last, count] by shard id: the batch that ends at this offset
    losses             how often records were found to have expired unread (failOnDataLoss=false);
                       those of a batch that ran again are counted in the next one
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxRows,
    SupportsTriggerAvailableNow,
)
from pyspark.sql.types import StructType

from loaders.sources.clients import ClientSettings, client_settings
from loaders.sources.kinesis_client import RECORDS, DataLoss, KinesisClient, boto_client
from loaders.sources.kinesis_planner import Budget, Planner, Range, range_of
from loaders.sources.kpl import MAGIC, deaggregate
from loaders.sources.options import byte_option, flag_option, positive_option, spelled
from loaders.sources.shards import InitialPosition, parse_initial_position

DEFAULT_MAX_BYTES = 64 << 20

# Spark sends a task with its records in one message, which may have 128 MiB.
PARTITION_BYTES = 16 << 20
# What a range weighs whose records are yet to be read; only balance depends on it.
NOMINAL_RECORD_BYTES = 1000

BATCH_ROWS = 10_000

DDL = (
    "partitionKey string, data binary, stream string, shardId string, sequenceNumber string, "
    "subSequenceNumber bigint, approximateArrivalTimestamp timestamp"
)
_ARROW = pa.schema(
    [
        ("partitionKey", pa.string()),
        ("data", pa.binary()),
        ("stream", pa.string()),
        ("shardId", pa.string()),
        ("sequenceNumber", pa.string()),
        ("subSequenceNumber", pa.int64()),
        ("approximateArrivalTimestamp", pa.timestamp("us", tz="UTC")),
    ]
)

_OPTIONS = (
    "streamName",
    "region",
    "endpointUrl",
    "awsAccessKey",
    "awsSecretKey",
    "awsSessionToken",
    "initialPosition",
    "maxRecordsPerTrigger",
    "maxBytesPerTrigger",
    "failOnDataLoss",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a kinesis source, checked."""

    stream: str
    client: ClientSettings = field(default=(), repr=False)  # may hold secrets
    initial: InitialPosition = field(default_factory=InitialPosition)
    max_records: int | None = None
    max_bytes: int = DEFAULT_MAX_BYTES
    fail_on_data_loss: bool = True


def parse_options(options: Mapping[str, str]) -> Settings:
    """The options; their names are taken in any case.

    Raises:
        ValueError: an option that does not exist, is missing, or cannot have that value.
    """
    given = spelled("kinesis", options, _OPTIONS)
    if not given.get("streamName"):
        raise ValueError('kinesis needs a stream: .option("streamName", "…")')
    return Settings(
        stream=given["streamName"],
        client=client_settings(given),
        initial=parse_initial_position(given.get("initialPosition", "TRIM_HORIZON")),
        max_records=positive_option(given, "maxRecordsPerTrigger"),
        max_bytes=byte_option(given, "maxBytesPerTrigger") or DEFAULT_MAX_BYTES,
        fail_on_data_loss=flag_option(given, "failOnDataLoss", default=True),
    )


class Kinesis(DataSource):
    """spark.readStream.format("kinesis").option("streamName", …).option("region", …).load()

    Options:
        streamName             the stream; required
        region, endpointUrl, awsAccessKey, awsSecretKey, awsSessionToken
                               where boto3 is not to find them by itself
        initialPosition        where a new query starts: TRIM_HORIZON (default), LATEST, or JSON
                               as shards.parse_initial_position says
        maxRecordsPerTrigger   most Kinesis records in a batch (default: no limit)
        maxBytesPerTrigger     a batch ends once it has so much data (default: 64m)
        failOnDataLoss         true (default): stop when records expired unread; false: count it
                               and go on with the oldest record kept

    One row a record. Of a record that the Kinesis Producer Library aggregated, one row for each
    user record whose key belongs to the shard; subSequenceNumber is its place in the record,
    and 0 for any other record. (stream, shardId, sequenceNumber, subSequenceNumber) is unique.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.settings = parse_options(options)

    @classmethod
    def name(cls) -> str:
        return "kinesis"

    def schema(self) -> str:
        return DDL

    def streamReader(self, schema: StructType) -> KinesisReader:
        return KinesisReader(self.settings)


def connect(settings: Settings) -> KinesisClient:
    """A client for the stream that the options name."""
    return KinesisClient(settings.stream, boto_client(settings.client))


class KinesisPartition(InputPartition):
    """The records that one task hands out."""

    def __init__(self, ranges: list[Range]) -> None:
        super().__init__(None)
        self.ranges = ranges

    def __getstate__(self) -> dict[str, Any]:
        # Arrow's own pickle of a slice holds all of what it was cut from.
        packed = [None if item.records is None else _packed(item.records) for item in self.ranges]
        bare = [item._replace(records=None) for item in self.ranges]
        return {**self.__dict__, "ranges": list(zip(bare, packed, strict=True))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ranges = [
            item if packed is None else item._replace(records=_unpacked(packed))
            for item, packed in state["ranges"]
        ]
        self.__dict__ = {**state, "ranges": ranges}


def _packed(records: pa.RecordBatch) -> bytes:
    return records.serialize().to_pybytes()


def _unpacked(packed: bytes) -> pa.RecordBatch:
    return pa.ipc.read_record_batch(pa.py_buffer(packed), RECORDS)


class KinesisReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """What Spark calls: read() in tasks, everything else in the planning process."""

    def __init__(
        self, settings: Settings, connect: Callable[[Settings], KinesisClient] = connect
    ) -> None:
        self.settings = settings
        self._connect = connect
        self._planner: Planner | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_planner": None}

    @property
    def planner(self) -> Planner:
        """Made when first used."""
        if self._planner is None:
            self._planner = Planner(
                self._connect(self.settings),
                self.settings.initial,
                fail_on_data_loss=self.settings.fail_on_data_loss,
            )
        return self._planner

    def initialOffset(self) -> dict:
        return self.planner.start()

    def getDefaultReadLimit(self) -> ReadLimit:
        if self.settings.max_records is not None:
            return ReadMaxRows(self.settings.max_records)
        return ReadMaxBytes(self.settings.max_bytes)

    def prepareForTriggerAvailableNow(self) -> None:
        self.planner.end_at_the_tips()

    def latestOffset(self, start: dict, limit: ReadLimit) -> dict:
        return self.planner.plan(start, self._budget(limit))

    def _budget(self, limit: ReadLimit) -> Budget:
        if isinstance(limit, ReadAllAvailable):
            return Budget(None, None)
        max_rows = limit.max_rows if isinstance(limit, ReadMaxRows) else None
        max_bytes = limit.max_bytes if isinstance(limit, ReadMaxBytes) else self.settings.max_bytes
        return Budget(max_rows, max_bytes)

    def reportLatestOffset(self) -> dict | None:
        return self.planner.lag()

    def partitions(self, start: dict, end: dict) -> list[KinesisPartition]:
        # Not from `start`: that of a query's first batch is made anew when the batch runs again.
        ranges = self.planner.ranges(end) if start != end else []
        return [KinesisPartition(group) for group in in_groups(ranges, os.cpu_count() or 1)]

    def commit(self, end: dict) -> None:
        """Nothing to do: the stream keeps its records until they expire."""

    def stop(self) -> None:
        if self._planner is not None:
            self._planner.close()
            self._planner = None

    def read(self, partition: KinesisPartition) -> Iterator[pa.RecordBatch]:
        return rows(self.settings.stream, self._records(partition.ranges))

    def _records(self, ranges: list[Range]) -> Iterator[tuple[Range, pa.RecordBatch]]:
        client = None
        for item in ranges:
            if item.records is not None:
                yield item, item.records
                continue
            client = client or self._connect(self.settings)
            try:
                for page in client.read_range(item.shard_id, item.first, item.last, item.count):
                    yield item, page
            except DataLoss as loss:
                if self.settings.fail_on_data_loss:
                    raise
                # The planner, who looked before, counts it.
                log.warning("%s; going on, because failOnDataLoss is false", loss)


def in_groups(ranges: Iterable[Range], groups: int) -> list[list[Range]]:
    """The ranges in about `groups` parts of about equal bytes, none larger than a task may be.

    Ranges keep their order; one whose records are at hand may be divided.
    """
    ranges = list(ranges)
    share = min(PARTITION_BYTES, -(-sum(map(_weight, ranges)) // groups))
    parts: list[list[Range]] = []
    filled = share
    for piece in (piece for item in ranges for piece in _halved(item, share)):
        if filled >= share or filled + _weight(piece) > PARTITION_BYTES:
            parts.append([])
            filled = 0
        parts[-1].append(piece)
        filled += _weight(piece)
    return parts


def _weight(item: Range) -> int:
    return item.count * NOMINAL_RECORD_BYTES if item.records is None else item.records.nbytes


def _halved(item: Range, max_bytes: int) -> Iterator[Range]:
    """Parts of the range, none above so many bytes unless it is a single record."""
    if item.records is None or item.count == 1 or _weight(item) <= max_bytes:
        yield item
        return
    half = item.count // 2
    for records in (item.records.slice(0, half), item.records.slice(half)):
        yield from _halved(range_of(item.shard_id, item.hash_keys, records), max_bytes)


# ---- rows


def rows(stream: str, pages: Iterable[tuple[Range, pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """Arrow batches of the source's columns, in the order of the records."""
    for item, records in pages:
        if pc.any(pc.starts_with(records.column("data"), pattern=MAGIC)).as_py():
            users, places = _user_records(records, item.hash_keys)
        else:
            users, places = records, pa.repeat(0, records.num_rows)
        columns = {
            "stream": pa.repeat(stream, users.num_rows),
            "shardId": pa.repeat(item.shard_id, users.num_rows),
            "subSequenceNumber": places,
        }
        columns |= {name: users.column(name) for name in users.schema.names}
        batch = pa.RecordBatch.from_arrays([columns[name] for name in _ARROW.names], schema=_ARROW)
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


def _user_records(
    records: pa.RecordBatch, hash_keys: tuple[int, int] | None
) -> tuple[pa.RecordBatch, pa.Array]:
    """The records with the aggregated ones taken apart, and each one's place in its aggregate."""
    first, last = hash_keys or (None, None)
    origins, keys, payloads, places = [], [], [], []
    together = zip(
        records.column("partitionKey").to_pylist(), records.column("data").to_pylist(), strict=True
    )
    for origin, (key, data) in enumerate(together):
        for user in deaggregate(data, key, starting_hash_key=first, ending_hash_key=last):
            origins.append(origin)
            keys.append(user.partition_key)
            payloads.append(user.data)
            places.append(user.subsequence)
    users = records.take(pa.array(origins, pa.int64()))
    columns = {name: users.column(name) for name in users.schema.names}
    columns |= {
        "partitionKey": pa.array(keys, pa.string()),
        "data": pa.array(payloads, pa.binary()),
    }
    return pa.RecordBatch.from_pydict(columns, schema=RECORDS), pa.array(places, pa.int64())
