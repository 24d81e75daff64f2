"""Records → Arrow batches: as they were received, or parsed into the columns of a schema."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import accumulate, islice
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql.types import StructType

from loaders.sources.json_columns import RESCUED, ColumnParser, parse_json
from loaders.sources.objects import ObjectVersion
from loaders.sources.records import Record, Run, one_by_one
from loaders.sources.schemas import Evolution, NewColumns, UnknownFieldError

BATCH_ROWS = 10_000
BATCH_BYTES = 8 << 20

ObjectRecords = Iterable[tuple[ObjectVersion, Iterable[Record | Run]]]


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
    object has only `received`, the number of its records, and `broken`, of how many of them
    there is an error; so an object without records shows too, and what was read can be held
    against what was kept.
    """

    DDL = (
        "data string, raw binary, error string, ordinal bigint, offset_bytes bigint, "
        "bucket string, key string, version string, size_bytes bigint, modified_at timestamp, "
        "received bigint, broken bigint"
    )

    def batches(self, objects: ObjectRecords) -> Iterator[pa.RecordBatch]:
        columns = _Columns()
        for item, pieces in objects:
            for piece in pieces:
                columns.add(item, piece)
                if columns.is_full:
                    yield columns.flush()
            columns.close_object(item)
        if columns.rows:
            yield columns.flush()


class _Columns:
    """Rows of RecordRows, column by column, until there are enough for a batch."""

    _SCHEMA = pa.schema(
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
            ("broken", pa.int64()),
        ]
    )

    def __init__(self) -> None:
        self._received = self._broken = 0  # of the object at hand
        self._start()

    def _start(self) -> None:
        self.rows = 0
        self._bytes = 0
        self._data: list[bytes | None] = []
        self._ordinal: list[int | None] = []
        self._offset: list[int | None] = []
        self._errors: dict[int, Record] = {}  # by row
        self._ends: dict[int, tuple[int, int]] = {}  # `received` and `broken` by row
        self._objects: list[ObjectVersion] = []
        self._rows_of: list[int] = []  # each of them

    @property
    def is_full(self) -> bool:
        return self.rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    def add(self, item: ObjectVersion, piece: Record | Run) -> None:
        if isinstance(piece, Run):
            count, sizes = len(piece.data), list(map(len, piece.data))
            self._data += piece.data
            self._ordinal += range(piece.ordinal, piece.ordinal + count)
            places = accumulate((size + piece.gap for size in sizes), initial=piece.offset)
            self._offset += islice(places, count)
            self._bytes += sum(sizes)
        else:
            count = 1
            if piece.error is not None:
                self._errors[self.rows] = piece
                self._broken += 1
            self._data.append(piece.data if piece.error is None else None)
            self._ordinal.append(piece.ordinal)
            self._offset.append(piece.offset)
            self._bytes += len(piece.data)
        self._received += count
        self._count(item, count)

    def close_object(self, item: ObjectVersion) -> None:
        self._ends[self.rows] = (self._received, self._broken)
        self._received = self._broken = 0
        for column in (self._data, self._ordinal, self._offset):
            column.append(None)
        self._count(item, 1)

    def _count(self, item: ObjectVersion, rows: int) -> None:
        self.rows += rows
        if not self._objects or self._objects[-1] is not item:
            self._objects.append(item)
            self._rows_of.append(0)
        self._rows_of[-1] += rows

    def flush(self) -> pa.RecordBatch:
        """The rows since the last flush."""
        place = pa.array(np.repeat(np.arange(len(self._objects)), self._rows_of))

        def sparse(values: dict[int, Any]) -> list[Any]:
            column = [None] * self.rows
            for row, value in values.items():
                column[row] = value
            return column

        columns = {
            "data": self._data,
            "raw": sparse({row: bad.data for row, bad in self._errors.items()}),
            "error": sparse({row: bad.error for row, bad in self._errors.items()}),
            "ordinal": self._ordinal,
            "offset_bytes": self._offset,
            "bucket": [item.bucket for item in self._objects],
            "key": [item.key for item in self._objects],
            "version": [item.version for item in self._objects],
            "size_bytes": [item.size_bytes for item in self._objects],
            "modified_at": [item.modified_ms * 1000 for item in self._objects],
            "received": sparse({row: received for row, (received, _) in self._ends.items()}),
            "broken": sparse({row: broken for row, (_, broken) in self._ends.items()}),
        }
        arrays = [pa.array(columns[field.name], field.type) for field in self._SCHEMA]
        arrays = [array if len(array) == self.rows else array.take(place) for array in arrays]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._SCHEMA)
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
        for item, pieces in objects:
            path = item.uri
            metadata = file_metadata(item) if parser.has_metadata else None
            for record in one_by_one(pieces):
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
