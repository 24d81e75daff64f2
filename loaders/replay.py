"""Loading from quarantine what has become readable since.

A replay is a batch of its own. What it will write is staged in a folder under checkpoints/replays
before any table is touched; then the tables are brought there step by step, each step of which
does nothing when it was done before. A replay that was cut short is finished by the next one, or
by the next run of the feed, before anything else gets a batch number.

The books stay true: what leaves quarantine is taken back in the ledger under the batch that had
put it there (received and quarantined below zero), and is received anew under the replay's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import reduce
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from loaders.bronze import LEDGER, LEDGER_COLUMNS, QUARANTINE, append_idempotently
from loaders.destinations import Destination, destination_of
from loaders.feeds import Feed
from loaders.kinds import Layout
from loaders.session import ConfigurationError, lakehouse_root
from loaders.sources.clients import ClientSettings, client_settings
from loaders.sources.discovery import object_version
from loaders.sources.objects import (
    ObjectGone,
    ObjectVersion,
    is_data,
    parse_location,
    read_object,
)
from loaders.sources.records import JUDGED_ALONE, Record, split_records
from loaders.sources.s3_events import ObjectRef, parse_notification

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

MESSAGE_REASON = "unreadable_message"
OVERWRITE_REASON = "overwrite_ignored"

_MAX_ROWS = 5_000
_MAX_BYTES = 256 << 20
_PART_BYTES = 16 << 20


# ---- reading again


class Quarantined(NamedTuple):
    """A row of quarantine.

    modified_ms: since 1970, when the record or its object came about.
    is_last: no record of its object comes after it, as the ledger says.
    """

    batch_id: int
    container: str
    item: str
    version: str
    ordinal: int
    offset: int
    reason: str
    raw: bytes
    modified_ms: int
    is_last: bool
    partition_key: str | None = None


class Reading(NamedTuple):
    """The records of an object, or of a part of it, that take a row's place."""

    container: str
    item: str
    version: str
    size_bytes: int
    modified_ms: int
    records: Iterable[Record]
    partition_key: str | None = None


Fetch = Callable[[ObjectVersion], Iterator[Record]]
NewObjects = Callable[[list[ObjectRef]], list[tuple[ObjectRef, str | None]]]


def read_again(row: Quarantined, fetch: Fetch, new_objects: NewObjects) -> list[Reading] | None:
    """What takes the row's place now; None: nothing better, it stays.

    A bad record that its own bytes condemn is judged by those. Anything else is a matter of its
    object, which is fetched again, in the version that was announced, and read from the row's
    place on. A message is read as a message, and its objects from their start.

    Args:
        fetch: an object's records; of one that is gone a single record with the reason.
        new_objects: those of the objects that the feed does not know, each with the reason for
            which it is not to be read, or None.
    """
    if row.reason == MESSAGE_REASON:
        return _read_message(row, fetch, new_objects)
    if row.reason in JUDGED_ALONE or (row.reason == OVERWRITE_REASON and row.raw):
        data = one_record(row.raw)
        return data and [_in_place_of(row, [Record(row.ordinal, data, row.offset, None)])]
    item = ObjectVersion(row.container, row.item, row.version, 0, row.modified_ms)
    records = (record for record in fetch(item) if record.offset >= row.offset)
    return _read_tail(row, records) if row.is_last else _read_one(row, records)


def _read_message(row: Quarantined, fetch: Fetch, new_objects: NewObjects) -> list[Reading] | None:
    notification = parse_notification(row.raw)
    if notification.error is not None:
        return None
    return [_new_object(ref, why_not, fetch) for ref, why_not in new_objects(notification.created)]


def _read_tail(row: Quarantined, records: Iterator[Record]) -> list[Reading] | None:
    head = list(islice(records, 2))
    if len(head) == 1 and head[0].error is not None:
        return None
    tail = enumerate(chain(head, records), start=row.ordinal)
    return [_in_place_of(row, (record._replace(ordinal=at) for at, record in tail))]


def _read_one(row: Quarantined, records: Iterator[Record]) -> list[Reading] | None:
    record = next(records, None)
    if record is None or record.offset != row.offset or record.error is not None:
        return None
    return [_in_place_of(row, [record._replace(ordinal=row.ordinal)])]


def one_record(raw: bytes) -> bytes | None:
    """The record that the bytes are, or None when they are none, or several."""
    found = list(islice(split_records([b"[", raw, b"]"]), 2))
    if len(found) != 1 or found[0].error is not None:
        return None
    return found[0].data


def _in_place_of(row: Quarantined, records: Iterable[Record]) -> Reading:
    # The size was counted when the object came.
    identity = (row.container, row.item, row.version)
    return Reading(*identity, 0, row.modified_ms, records, row.partition_key)


def _new_object(ref: ObjectRef, why_not: str | None, fetch: Fetch) -> Reading:
    item = object_version(ref)
    records = [Record(0, b"", 0, why_not)] if why_not else fetch(item)
    return Reading(*item[:3], item.size_bytes, item.modified_ms, records)


# ---- staging


_STAGED = pa.schema(
    [
        ("data", pa.string()),
        ("raw", pa.binary()),
        ("error", pa.string()),
        ("container", pa.string()),
        ("item", pa.string()),
        ("version", pa.string()),
        ("ordinal", pa.int64()),
        ("offset_bytes", pa.int64()),
        ("modified_at", pa.timestamp("us", tz="UTC")),
        ("partition_key", pa.string()),
    ]
)
_STAGED_DDL = (
    "data string, raw binary, error string, container string, item string, version string, "
    "ordinal bigint, offset_bytes bigint, modified_at timestamp, partition_key string"
)
_KEY = ("batch_id", "container", "item", "version", "ordinal")
_FLUSH_ROWS = 10_000
_FLUSH_BYTES = 8 << 20


@dataclass
class _Entry:
    """A row of the ledger in the making."""

    batch_id: int
    container: str
    item: str
    version: str
    modified_ms: int
    size_bytes: int = 0
    received: int = 0
    kept: int = 0
    quarantined: int = 0
    first_position: str | None = None
    last_position: str | None = None

    def count(self, record: Record) -> None:
        self.received += 1
        self.kept += record.error is None
        self.quarantined += record.error is not None


@dataclass
class _Stage:
    """The rows and the books of one replay, on their way to a folder."""

    folder: Path
    batch_id: int
    superseded: list[tuple] = field(default_factory=list)
    entries: dict[tuple, _Entry] = field(default_factory=dict)
    staged_bytes: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self._rows: list[dict[str, Any]] = []
        self._unflushed = 0
        self._writer = pq.ParquetWriter(self.folder / "rows.parquet", _STAGED)

    @property
    def is_full(self) -> bool:
        return len(self.superseded) >= _MAX_ROWS or self.staged_bytes >= _MAX_BYTES

    def take_back(self, row: Quarantined) -> None:
        """The row leaves quarantine: as if its batch had not received it."""
        self.superseded.append((row.batch_id, *row[1:5]))
        for_it = self._entry(row.batch_id, *row[1:4], row.modified_ms)
        for_it.received -= 1
        for_it.quarantined -= 1
        # The replay's batch is in the ledger even where nothing took the row's place.
        self._entry(self.batch_id, *row[1:4], row.modified_ms)

    def add(self, reading: Reading) -> None:
        """The reading's records are received in the replay's batch."""
        entry = self._entry(self.batch_id, *reading[:3], reading.modified_ms)
        entry.size_bytes += reading.size_bytes
        for record in reading.records:
            entry.count(record)
            entry.first_position = entry.first_position or str(record.ordinal)
            entry.last_position = str(record.ordinal)
            good = record.error is None
            self._rows.append(
                {
                    "data": record.data.decode() if good else None,
                    "raw": None if good else record.data,
                    "error": record.error,
                    "container": reading.container,
                    "item": reading.item,
                    "version": reading.version,
                    "ordinal": record.ordinal,
                    "offset_bytes": record.offset,
                    "modified_at": reading.modified_ms * 1000,
                    "partition_key": reading.partition_key,
                }
            )
            self.staged_bytes += len(record.data)
            self._unflushed += len(record.data)
            if len(self._rows) >= _FLUSH_ROWS or self._unflushed >= _FLUSH_BYTES:
                self._flush()

    def _entry(self, batch_id: int, *identity: Any) -> _Entry:
        *name, modified_ms = identity
        return self.entries.setdefault(
            (batch_id, *name), _Entry(batch_id, *name, modified_ms=modified_ms)
        )

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, _STAGED))
        self._rows, self._unflushed = [], 0

    def close(self) -> None:
        """Everything is on the disk."""
        self._flush()
        self._writer.close()
        plan = {
            "batch_id": self.batch_id,
            "at": datetime.now(UTC).isoformat(),
            "superseded": self.superseded,
            "entries": [asdict(entry) for entry in self.entries.values()],
        }
        (self.folder / "plan.json").write_text(json.dumps(plan))


# ---- replaying


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay did: rows looked at, rows replaced, records kept, records bad again."""

    feed: str
    looked_at: int = 0
    replaced: int = 0
    kept: int = 0
    quarantined: int = 0

    def __add__(self, other: ReplayReport) -> ReplayReport:
        return ReplayReport(
            self.feed,
            self.looked_at + other.looked_at,
            self.replaced + other.replaced,
            self.kept + other.kept,
            self.quarantined + other.quarantined,
        )


def replay(
    spark: SparkSession, feed: Feed, reason: str | None = None, fetch: Fetch | None = None
) -> ReplayReport:
    """Load what quarantine holds of a feed and can be read by now, exactly once.

    The feed must not be loading meanwhile.

    Args:
        reason: only rows of this reason. Without it ignored overwrites stay ignored.
        fetch: how to read an object; by default from where the feed reads.

    Raises:
        ConfigurationError: a batch of the feed was cut short; the message says how to finish it.
    """
    name, destination = feed.name, destination_of(feed)
    report = finish_replay(spark, feed)
    _require_whole_batches(spark, name, destination)
    fetch = fetch or _fetch_from(client_settings(feed.source_options()))
    new_objects = _NewObjects(spark, feed)
    stage: _Stage | None = None
    looked_at = 0
    for row in _candidates(spark, name, reason, is_stream=feed.source == "kinesis"):
        looked_at += 1
        readings = read_again(row, fetch, new_objects)
        if readings is None:
            continue
        stage = stage or _new_stage(spark, name)
        stage.take_back(row)
        for reading in readings:
            stage.add(reading)
        if stage.is_full:
            report += _apply_stage(spark, feed, stage)
            stage = None
    if stage is not None:
        report += _apply_stage(spark, feed, stage)
    return report + ReplayReport(name, looked_at=looked_at)


def _fetch_from(settings: ClientSettings) -> Fetch:
    def fetch(item: ObjectVersion) -> Iterator[Record]:
        try:
            yield from split_records(read_object(item, settings))
        except ObjectGone as gone:
            yield Record(0, b"", 0, str(gone))

    return fetch


def is_replay_unfinished(feed: str) -> bool:
    """Whether a replay of the feed was cut short."""
    folder = _folder(feed)
    return folder.exists() and any(folder.iterdir())


def finish_replay(spark: SparkSession, feed: Feed) -> ReplayReport:
    """Do what is left of a replay that was cut short."""
    folder = _folder(feed.name)
    report = ReplayReport(feed.name)
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        if path.suffix == "":
            report += _apply(spark, feed, path)
        else:
            shutil.rmtree(path)
    return report


def _folder(feed: str) -> Path:
    return lakehouse_root() / "checkpoints" / "replays" / feed


def _new_stage(spark: SparkSession, feed: str) -> _Stage:
    from pyspark.sql import functions as F

    last = spark.table(LEDGER).where(F.col("feed") == feed).agg(F.max("batch_id")).first()[0]
    return _Stage(_folder(feed) / f"{last + 1}.unfinished", last + 1)


def _apply_stage(spark: SparkSession, feed: Feed, stage: _Stage) -> ReplayReport:
    stage.close()
    return _apply(spark, feed, stage.folder.rename(stage.folder.with_suffix("")))


def _apply(spark: SparkSession, declared: Feed, folder: Path) -> ReplayReport:
    """Bring the tables to where the staged replay wants them, from wherever they are."""
    from pyspark.sql import functions as F

    feed, destination = declared.name, destination_of(declared)
    plan = json.loads((folder / "plan.json").read_text())
    batch_id, entries = plan["batch_id"], plan["entries"]
    at = datetime.fromisoformat(plan["at"])
    fresh = [entry for entry in entries if entry["batch_id"] == batch_id]
    kept, quarantined = (sum(entry[name] for entry in fresh) for name in ("kept", "quarantined"))
    rows = (
        spark.read.schema(_STAGED_DDL)
        .parquet((folder / "rows.parquet").as_uri())
        .withColumn("batch_id", F.lit(batch_id).cast("bigint"))
        .withColumn("ingested_at", F.lit(at))
    )

    def append(frame: DataFrame, name: str) -> None:
        append_idempotently(frame, name, f"replay:{feed}", batch_id)

    if kept:
        columns = spark.table(f"bronze.{destination.tables[0]}").columns
        good = rows.where("data is not null")
        destination.append(good.select(*_bronze_columns(columns, declared.layout)), append)
    if quarantined:
        append(
            rows.where("error is not null").select(
                F.lit(feed).alias("feed"),
                *("batch_id", "container", "item", "version", "ordinal", "offset_bytes"),
                F.col("error").alias("reason"),
                *("raw", "modified_at", "partition_key", "ingested_at"),
            ),
            QUARANTINE,
        )
    _delete(spark, feed, plan["superseded"])
    append(spark.createDataFrame(_ledger_rows(feed, batch_id, at, entries), LEDGER_COLUMNS), LEDGER)
    done = folder.rename(folder.with_suffix(".done"))
    shutil.rmtree(done)
    return ReplayReport(feed, 0, len(plan["superseded"]), kept, quarantined)


# Bronze's columns, of objects and of streams, and where they come from.
BRONZE_COLUMNS = {
    "data": "data",
    "_batch_id": "batch_id",
    "_ingested_at": "ingested_at",
    "_bucket": "container",
    "_key": "item",
    "_version": "version",
    "_ordinal": "ordinal",
    "_modified_at": "modified_at",
    "_stream": "container",
    "_shard": "item",
    "_sequence": "version",
    "_subsequence": "ordinal",
    "_arrived_at": "modified_at",
    "_partition_key": "partition_key",
}


def _bronze_columns(names: list[str], layout: Layout) -> list[Column]:
    """A bronze table's columns from the staged ones, without those that Delta extracts."""
    from pyspark.sql import functions as F

    known = {**BRONZE_COLUMNS, layout.record_column: BRONZE_COLUMNS["data"]}
    sources = ((name, known[name]) for name in names if name not in layout.extracted)
    return [F.col(of).alias(name) for name, of in sources]


def _delete(spark: SparkSession, feed: str, superseded: list[list]) -> None:
    types = "batch_id bigint, container string, item string, version string, ordinal bigint"
    spark.createDataFrame([tuple(key) for key in superseded], types).createOrReplaceTempView(
        "replayed"
    )
    same = " and ".join(f"quarantined.{name} = replayed.{name}" for name in _KEY)
    spark.sql(
        f"merge into {QUARANTINE} as quarantined using replayed "
        f"on quarantined.feed = '{feed}' and {same} when matched then delete"
    )
    spark.catalog.dropTempView("replayed")


def _ledger_rows(
    feed: str, batch_id: int, at: datetime, entries: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    rows = []
    for entry in entries:
        row = {"feed": feed, "query_id": f"replay-{batch_id}", "duplicates": 0, "ingested_at": at}
        row |= entry
        row["modified_at"] = datetime.fromtimestamp(row.pop("modified_ms") / 1000, UTC)
        rows.append(row)
    return rows


def _require_whole_batches(spark: SparkSession, feed: str, destination: Destination) -> None:
    """A batch that was cut short keeps its number until its query has completed it."""
    from pyspark.sql import functions as F

    ledger = spark.table(LEDGER).where(F.col("feed") == feed)
    last = ledger.agg(F.coalesce(F.max("batch_id"), F.lit(-1))).first()[0]
    written = [
        spark.table(f"bronze.{table}").select(F.col("_batch_id").alias("batch_id"))
        for table in destination.tables
    ]
    quarantined = spark.table(QUARANTINE).where(F.col("feed") == feed).select("batch_id")
    begun = (
        reduce(lambda one, two: one.unionByName(two), written, quarantined)
        .where(F.col("batch_id") > last)
        .first()
    )
    if begun is not None:
        raise ConfigurationError(
            f"feed {feed}: batch {begun[0]} was cut short: finish it first with "
            f"`python -m loaders run {feed} --once`"
        )


def _candidates(
    spark: SparkSession, feed: str, reason: str | None, *, is_stream: bool
) -> Iterator[Quarantined]:
    """The feed's rows in quarantine, with what the ledger knows of their objects."""
    from pyspark.sql import functions as F

    rows = spark.table(QUARANTINE).where(F.col("feed") == feed)
    rows = rows.where(
        F.col("reason") == reason if reason else F.col("reason") != OVERWRITE_REASON
    ).drop("feed", "ingested_at")
    if is_stream:  # its records stand in no object that could be fetched again
        rows = rows.where(F.col("reason").isin(sorted(JUDGED_ALONE)))
    names = ["batch_id", "container", "item", *([] if is_stream else ["version"])]
    ledger = (
        spark.table(LEDGER)
        .where((F.col("feed") == feed) & (F.col("received") >= 0))
        .groupBy(*names)
        .agg(
            F.max(F.expr("try_cast(last_position as bigint)")).alias("last"),
        )
    )
    size = spark.sql(f"describe detail {QUARANTINE}").first()["sizeInBytes"]
    parts = 1 + size // _PART_BYTES  # of which one at a time is in memory
    rows = rows.withColumn("modified_ms", F.unix_millis("modified_at"))
    for row in rows.join(ledger, names, "left").repartition(parts).toLocalIterator():
        yield Quarantined(
            *(row[name] for name in (*_KEY, "offset_bytes", "reason")),
            bytes(row["raw"] or b""),
            row["modified_ms"] or 0,
            row["last"] == row["ordinal"],
            row["partition_key"],
        )


class _NewObjects:
    """Tells of announced objects those that are the feed's and neither in its ledger nor taken."""

    def __init__(self, spark: SparkSession, feed: Feed) -> None:
        location = getattr(feed, "location", None)
        self._spark = spark
        self._feed = feed.name
        self._location = parse_location(location) if location else None
        self._overwrites = getattr(feed, "allow_overwrites", True)
        self._taken: set[tuple[str, str, str]] = set()
        self._kept: set[tuple[str, str]] = set()

    def __call__(self, refs: list[ObjectRef]) -> list[tuple[ObjectRef, str | None]]:
        from pyspark.sql import functions as F

        found = {object_version(ref)[:3]: ref for ref in refs}
        found = {name: ref for name, ref in found.items() if self._is_wanted(ref)}
        known = self._spark.table(LEDGER).where(
            (F.col("feed") == self._feed) & F.col("item").isin([key for _, key, _ in found])
        )
        for *name, kept in known.select("container", "item", "version", "kept").collect():
            self._taken.add(tuple(name))
            if kept:
                self._kept.add(tuple(name[:2]))
        fresh = []
        for name, ref in found.items():
            if name not in self._taken:
                is_overwrite = name[:2] in self._kept and not self._overwrites
                fresh.append((ref, OVERWRITE_REASON if is_overwrite else None))
                self._taken.add(name)
                self._kept.add(name[:2])
        return fresh

    def _is_wanted(self, ref: ObjectRef) -> bool:
        if self._location is None:
            return is_data(ref.key)
        return self._location.holds(ref.bucket, ref.key)
