"""Records → Arrow batches: as they were received, or parsed into the columns of a schema."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql.types import StructType

from loaders.sources.json_columns import RESCUED, ColumnParser, parse_json
from loaders.sources.objects import ObjectVersion
from loaders.sources.records import Record
from loaders.sources.schemas import Evolution, NewColumns, UnknownFieldError

BATCH_ROWS = 10_000
BATCH_BYTES = 8 << 20

ObjectRecords = Iterable[tuple[ObjectVersion, Iterable[Record]]]


class RowFormat(ABC):
    """How a source presents records as rows."""

    evolution: Evolution | None = None

    @abstractmethod
    def batches(self, objects: ObjectRecords) -> Iterator[pa.RecordBatch]:
        """The rows of the objects, in their order.

        Raises:
            NewColumns: there are some, and the format has an evolution.
        """


class RecordRows(RowFormat):
    """One row a record, bytes unchanged; a last row per object says how many were read.

    A good record stands in `data`, a bad one in `raw` with its `error`. The last row of an
    object has only `received`, so that an object without records shows too, and so that what
    was read can be held against what was kept.
    """

    _ARROW = pa.schema(
        [
            ("data", pa.string()),
            ("raw", pa.binary()),
            ("error", pa.string()),
            ("ordinal", pa.int64()),
            ("offset_bytes", pa.int64()),
            ("bucket", pa.string()),
            ("key", pa.string()),
            ("version", pa.string()),
            ("size_bytes", pa.int64()),
            ("modified_at", pa.timestamp("us", tz="UTC")),
            ("received", pa.int64()),
        ]
    )

    DDL = (
        "data string, raw binary, error string, ordinal bigint, offset_bytes bigint, "
        "bucket string, key string, version string, size_bytes bigint, modified_at timestamp, "
        "received bigint"
    )

    def batches(self, objects: ObjectRecords) -> Iterator[pa.RecordBatch]:
        columns = _Columns()
        for item, records in objects:
            received = 0
            for record in records:
                received += 1
                columns.add(item, record)
                if columns.is_full:
                    yield columns.flush(self._ARROW)
            columns.close_object(item, received)
        if columns.rows:
            yield columns.flush(self._ARROW)


class _Columns:
    """Rows of RecordRows, column by column, until there are enough for a batch."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.rows = 0
        self._bytes = 0
        self._data: list[bytes | None] = []
        self._raw: list[bytes | None] = []
        self._error: list[str | None] = []
        self._ordinal: list[int | None] = []
        self._offset: list[int | None] = []
        self._received: list[int | None] = []
        self._objects: list[tuple[ObjectVersion, int]] = []  # with its number of rows

    @property
    def is_full(self) -> bool:
        return self.rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    def add(self, item: ObjectVersion, record: Record) -> None:
        good = record.error is None
        self._data.append(record.data if good else None)
        self._raw.append(None if good else record.data)
        self._error.append(record.error)
        self._ordinal.append(record.ordinal)
        self._offset.append(record.offset)
        self._received.append(None)
        self._bytes += len(record.data)
        self._count(item)

    def close_object(self, item: ObjectVersion, received: int) -> None:
        for column in (self._data, self._raw, self._error, self._ordinal, self._offset):
            column.append(None)
        self._received.append(received)
        self._count(item)

    def _count(self, item: ObjectVersion) -> None:
        self.rows += 1
        if self._objects and self._objects[-1][0] is item:
            self._objects[-1] = (item, self._objects[-1][1] + 1)
        else:
            self._objects.append((item, 1))

    def flush(self, schema: pa.Schema) -> pa.RecordBatch:
        def repeated(field: int, factor: int = 1) -> list[Any]:
            values: list[Any] = []
            for item, rows in self._objects:
                values += [item[field] * factor] * rows
            return values

        arrays = [
            self._data,
            self._raw,
            self._error,
            self._ordinal,
            self._offset,
            repeated(0),
            repeated(1),
            repeated(2),
            repeated(3),
            repeated(4, 1000),
            self._received,
        ]
        batch = pa.RecordBatch.from_arrays(
            [pa.array(values, field.type) for values, field in zip(arrays, schema, strict=True)],
            schema=schema,
        )
        self._start()
        return batch


class JsonRows(RowFormat):
    """One row a record, parsed into the columns of a schema.

    What does not fit, a broken record included, stands in the rescued-data column as JSON when
    the schema has one; the row itself is never left out. With an evolution, a record with a new
    column raises NewColumns instead.
    """

    def __init__(
        self,
        schema: StructType,
        rescued_column: str = RESCUED,
        evolution: Evolution | None = None,
    ) -> None:
        self.schema = schema
        self.evolution = evolution
        self._rescued_column = rescued_column

    def batches(self, objects: ObjectRecords) -> Iterator[pa.RecordBatch]:
        parser = ColumnParser(self.schema, self._rescued_column, self.evolution)
        for item, records in objects:
            path = item.uri
            metadata = file_metadata(item) if parser.has_metadata else None
            for record in records:
                parser.add(record.data, record.error, path=path, metadata=metadata)
                if parser.rows >= BATCH_ROWS or parser.bytes >= BATCH_BYTES:
                    yield parser.flush()
        if parser.rows:
            yield parser.flush()

    def end(self, found: NewColumns, batch: Iterable[Record]) -> UnknownFieldError:
        """What ends the query because of new columns."""
        assert self.evolution is not None  # noqa: S101 - or nothing would have been found
        values = (parse_json(record.data) for record in batch if record.error is None)
        return self.evolution.end(found, self.schema, values)


def file_metadata(item: ObjectVersion) -> dict[str, Any]:
    """The value of `_metadata` for the records of an object."""
    return {
        "file_path": item.uri,
        "file_name": item.key.rpartition("/")[2],
        "file_size": item.size_bytes,
        "file_modification_time": datetime.fromtimestamp(item.modified_ms / 1000, UTC),
    }
