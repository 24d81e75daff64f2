"""What differs between feeds of objects and feeds of a Kinesis stream; bronze.py has the rest."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa

from loaders.batch_settings import LARGE_BATCH_BYTES
from loaders.counting import CountedObjects, CountedShards, Counting, loaded_and_overwrites
from loaders.sources.records import MAX_RECORD_BYTES, BrokenStreamError, decompress

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, Row

_OBJECT = ("container", "item", "version")  # what identifies one

# Literals, and ranges, of the longest list that is pushed down to the ledger in one predicate.
_MAX_IN_LIST = 2000
_MAX_RANGES = 100

# Sequence numbers have 56 digits on AWS; shorter ones of other servers get zeros in front, so that
# they sort as text, in the ledger's statistics too.
_SEQUENCE_DIGITS = 56

_COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # how gzip and zstd begin


@dataclass(frozen=True, slots=True)
class Layout:
    """What a bronze table looks like besides the provenance of its rows.

    record_column: the column that keeps the record. extracted: type and SQL expression, over
    record_column, of columns that stand before it and that Delta itself computes whenever a row
    is written. clustered_by: the columns of liquid clustering.
    """

    record_column: str = "data"
    extracted: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    clustered_by: Sequence[str] = ("_batch_id",)


class Kind(ABC):
    """How one kind of feed is received, recognised and kept.

    An item is what the ledger has a row for: an object, or a shard's part of a batch.
    """

    provenance: str
    """The columns that say where a row of the bronze table came from."""

    def __init__(self, layout: Layout | None = None) -> None:
        self.layout = layout or Layout()

    @property
    def columns(self) -> str:
        """Columns of the feed's bronze table."""
        extracted = "".join(
            f"{name} {kind} generated always as ({expression}), "
            for name, (kind, expression) in self.layout.extracted.items()
        )
        return f"{extracted}{self.layout.record_column} string, {self.provenance}"

    @property
    def counted_columns(self) -> list[str]:
        """Columns of whose values Delta's log tells the least and the greatest: not the record.

        They would stay in the log when the rows are gone, and a record may begin with an address.
        """
        return [*self.layout.extracted, *(part.split()[0] for part in self.provenance.split(","))]

    def stored(self, rows: DataFrame, columns: Sequence[str]) -> DataFrame:
        """The rows as the bronze table of these columns takes them: without those extracted."""
        record = self.layout.record_column
        return rows.withColumnRenamed("data", record).select(
            [name for name in columns if name not in self.layout.extracted]
        )

    @abstractmethod
    def received(self, batch: DataFrame) -> DataFrame:
        """The source's rows with the same columns for every kind, besides the bronze table's own.

        container, item, version, ordinal, offset_bytes, raw, error: as quarantine has them;
            `error` and `raw` are null in a good row.
        data: the record, null in a row that holds none or a bad one.
        modified_at, _ingested_at: when the record or its object came about, and was planned.
        partition_key: of a stream's record.

        And what its counting needs.
        """

    @abstractmethod
    def counting(self, received: DataFrame, offset: Mapping[str, Any]) -> Counting:
        """How a batch is counted that ends at this offset of its source."""

    @abstractmethod
    def size_bytes(self, offset: Mapping[str, Any]) -> int:
        """About how large such a batch is."""

    @abstractmethod
    def known(self, ledger: DataFrame, items: Sequence[Any]) -> Sequence[tuple]:
        """What the feed's other batches have in the ledger of these items."""

    @abstractmethod
    def without(self, received: DataFrame, known: Sequence[tuple]) -> DataFrame:
        """The received rows that are not among the known ones.

        Those that may not be kept because of the known ones have that as their error.
        """


class Objects(Kind):
    """Objects of a bucket or folder: known as a whole, by bucket, key and version.

    Unless overwrites are allowed, the first version of a key that records were kept of is the
    only one: those of another go to quarantine. The source sees to that itself as long as it has
    its state; after a lost checkpoint only the ledger knows.
    """

    def __init__(self, *, allow_overwrites: bool, layout: Layout | None = None) -> None:
        super().__init__(layout)
        self._allow_overwrites = allow_overwrites

    provenance = """
        _bucket string, _key string, _version string, _ordinal bigint,
        _modified_at timestamp, _batch_id bigint, _ingested_at timestamp
    """

    def received(self, batch: DataFrame) -> DataFrame:
        from pyspark.sql import functions as F

        return batch.select(
            *_renamed(container="bucket", item="key", version="version"),
            *("ordinal", "offset_bytes", "raw", "error", "data", "modified_at"),
            F.lit(None).cast("string").alias("partition_key"),
            *("received", "broken", "size_bytes"),
            *_renamed(_bucket="bucket", _key="key", _version="version", _ordinal="ordinal"),
            *_renamed(_modified_at="modified_at"),
            "_ingested_at",
        )

    def counting(self, received: DataFrame, offset: Mapping[str, Any]) -> Counting:
        return CountedObjects(received, offset)

    def size_bytes(self, offset: Mapping[str, Any]) -> int:
        return sum(size for _, _, _, size, *_ in offset["files"])

    def known(self, ledger: DataFrame, items: Sequence[tuple]) -> list[tuple]:
        """Identities that were loaded, and with a reason those that may not be."""
        from pyspark.sql import functions as F

        wanted = set(items)
        found: set[tuple] = set()
        for keys in _portions(sorted({item for _, item, _ in items}), _MAX_IN_LIST):
            rows = ledger.where(F.col("item").isin(*keys)).select(*_OBJECT, "kept").distinct()
            found |= {tuple(row) for row in rows.collect()}
        loaded = {row[:3] for row in found} & wanted
        if self._allow_overwrites:
            return sorted(loaded)
        kept = {row[:2] for row in found if row[3]}
        overwrites = {row for row in wanted - loaded if row[:2] in kept}
        return [*sorted(loaded), *((*row, "overwrite_ignored") for row in sorted(overwrites))]

    def without(self, received: DataFrame, known: Sequence[tuple]) -> DataFrame:
        from pyspark.sql import functions as F

        loaded, overwrites = loaded_and_overwrites(known)
        fresh = received.where(~_is_one_of(_OBJECT, loaded)) if loaded else received
        if not overwrites:
            return fresh
        is_overwrite = F.col("data").isNotNull() & _is_one_of(_OBJECT, overwrites)
        return (
            fresh.withColumn("_is_overwrite", is_overwrite)
            .withColumn("error", F.expr("if(_is_overwrite, 'overwrite_ignored', error)"))
            .withColumn("raw", F.expr("if(_is_overwrite, cast(data as binary), raw)"))
            .withColumn("data", F.expr("if(_is_overwrite, null, data)"))
        )


class StreamRecords(Kind):
    """Records of a Kinesis stream: known by the ranges of a shard's sequence numbers.

    A batch holds every record between the first and the last that it has of a shard, so what the
    ledger says of a shard's earlier batches is all that need be asked, and of those only the
    ranges that the batch touches.
    """

    provenance = """
        _partition_key string, _stream string, _shard string, _sequence string,
        _subsequence bigint, _arrived_at timestamp, _batch_id bigint, _ingested_at timestamp
    """

    def received(self, batch: DataFrame) -> DataFrame:
        from pyspark.sql import functions as F

        judge = F.arrow_udf(_judgements, "struct<error: string, unpacked: binary>")
        judged = batch.withColumn("judged", judge("data"))
        error = F.col("judged.error")
        is_good = error.isNull()
        text = F.coalesce("judged.unpacked", "data").cast("string")
        return judged.select(
            *_renamed(container="stream", item="shardId", version="sequenceNumber"),
            *_renamed(ordinal="subSequenceNumber", modified_at="approximateArrivalTimestamp"),
            F.lit(None).cast("bigint").alias("offset_bytes"),
            F.when(~is_good, F.col("data")).alias("raw"),
            error.alias("error"),
            F.when(is_good, text).alias("data"),
            F.lit(1).cast("bigint").alias("received"),
            F.octet_length("data").cast("bigint").alias("size_bytes"),
            _position(F.col("sequenceNumber")).alias("position"),
            *_renamed(partition_key="partitionKey", _partition_key="partitionKey"),
            *_renamed(_stream="stream", _shard="shardId"),
            *_renamed(_sequence="sequenceNumber", _subsequence="subSequenceNumber"),
            *_renamed(_arrived_at="approximateArrivalTimestamp"),
            "_ingested_at",
        )

    def counting(self, received: DataFrame, offset: Mapping[str, Any]) -> Counting:
        return CountedShards(received, self.without)

    def size_bytes(self, offset: Mapping[str, Any]) -> int:
        return LARGE_BATCH_BYTES  # positions do not tell

    def known(self, ledger: DataFrame, items: Sequence[Row]) -> list[Row]:
        from pyspark.sql import functions as F

        found: list[Row] = []
        for some in _portions(items, _MAX_RANGES):
            touched = (
                (F.col("container") == row["container"])
                & (F.col("item") == row["item"])
                & (F.col("last_position") >= row["first_position"])
                & (F.col("first_position") <= row["last_position"])
                for row in some
            )
            columns = ("container", "item", "first_position", "last_position")
            found += ledger.where(reduce(or_, touched)).select(*columns).distinct().collect()
        return found

    def without(self, received: DataFrame, known: Sequence[Row]) -> DataFrame:
        from pyspark.sql import functions as F

        ranges = received.sparkSession.createDataFrame(
            known, "container string, item string, first_position string, last_position string"
        )
        in_range = (
            (received["container"] == ranges["container"])
            & (received["item"] == ranges["item"])
            & received["position"].between(ranges["first_position"], ranges["last_position"])
        )
        return received.join(F.broadcast(ranges), in_range, "left_anti")


def kind_of(source: str, *, allow_overwrites: bool, layout: Layout | None = None) -> Kind:
    """The kind of a feed, by the name of its source; streams know no overwrites."""
    if source == "kinesis":
        return StreamRecords(layout)
    return Objects(allow_overwrites=allow_overwrites, layout=layout)


def _is_one_of(columns: Sequence[str], rows: Iterable[tuple]) -> Column:
    from pyspark.sql import functions as F

    literals = [F.struct(*(F.lit(part) for part in row)) for row in sorted(rows)]
    return F.struct(*columns).isin(literals)


def _renamed(**columns: str) -> Iterator[Column]:
    """new=old."""
    from pyspark.sql import functions as F

    return (F.col(old).alias(new) for new, old in columns.items())


def _portions(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (values[at : at + size] for at in range(0, len(values), size))


def _position(sequence: Column) -> Column:
    from pyspark.sql import functions as F

    return F.lpad(sequence, _SEQUENCE_DIGITS, "0")


def _judgements(payloads: pa.Array) -> pa.Array:
    """What is wrong with each payload, and what stands behind those compressed: an arrow_udf."""
    found = [judge(payload) for payload in payloads.to_pylist()]
    errors, unpacked = zip(*found, strict=True) if found else ((), ())
    columns = [pa.array(errors, pa.string()), pa.array(unpacked, pa.binary())]
    return pa.StructArray.from_arrays(columns, ["error", "unpacked"])


def judge(payload: bytes) -> tuple[str | None, bytes | None]:
    """What keeps a payload from being a record, or None; what it is unpacked, if compressed.

    Subscriptions of CloudWatch Logs write gzip, and so do producers that pay by the byte.
    """
    if not payload.startswith(_COMPRESSED):
        return flaw(payload), None
    parts, size = [], 0
    try:
        for part in decompress([payload]):
            parts.append(part)
            size += len(part)
            if size > MAX_RECORD_BYTES:
                return "record_too_large", None
    except BrokenStreamError as error:
        return error.reason, None
    unpacked = b"".join(parts)
    return flaw(unpacked), unpacked


def flaw(payload: bytes) -> str | None:
    """What keeps a record from being one JSON value in UTF-8; None: nothing.

    The words are those of sources/records.py. As there, NaN and Infinity are accepted.
    """
    try:
        orjson.loads(payload)
    except ValueError:
        return _flaw_of_a_rare_one(payload)
    return None


def _flaw_of_a_rare_one(payload: bytes) -> str | None:
    try:
        json.loads(payload.decode())
    except UnicodeDecodeError:
        return "invalid_utf8"
    except RecursionError:
        return "nested_too_deeply"
    except ValueError:
        return "invalid_json"
    return None
