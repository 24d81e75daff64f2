"""Records → Arrow batches: as they were received, or parsed into the columns of a schema."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
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
    keeps_errors: bool = True
    """Whether what cannot be read stands in the rows, with its bytes."""

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
        # The good records' bytes, and of each row how many of them are its own, its ordinal and
        # its offset. Rows without `data`, or without a place, are noted by their number.
        self._texts: list[bytes] = []
        self._sizes: list[np.ndarray] = []
        self._ordinals: list[np.ndarray] = []
        self._offsets: list[np.ndarray] = []
        self._errors: dict[int, Record] = {}
        self._ends: dict[int, tuple[int, int]] = {}  # `received` and `broken`
        self._objects: list[ObjectVersion] = []
        self._rows_of: list[int] = []  # each of them

    @property
    def is_full(self) -> bool:
        return self.rows >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    def add(self, item: ObjectVersion, piece: Record | Run) -> None:
        if isinstance(piece, Run):
            count = len(piece.sizes)
            places = np.cumsum(piece.sizes + piece.gap)
            offsets = np.concatenate([[0], places[:-1]]) + piece.offset
            ordinals = np.arange(piece.ordinal, piece.ordinal + count)
            self._append(piece.text, piece.sizes, ordinals, offsets)
        else:
            count = 1
            text = piece.data
            if piece.error is not None:
                self._errors[self.rows] = piece
                self._broken += 1
                self._bytes += len(text)
                text = b""
            self._append(text, *map(_one, (len(text), piece.ordinal, piece.offset)))
        self._received += count
        self._count(item, count)

    def close_object(self, item: ObjectVersion) -> None:
        self._ends[self.rows] = (self._received, self._broken)
        self._received = self._broken = 0
        self._append(b"", *map(_one, (0, 0, 0)))
        self._count(item, 1)

    def _append(
        self, text: bytes, sizes: np.ndarray, ordinals: np.ndarray, offsets: np.ndarray
    ) -> None:
        self._texts.append(text)
        self._sizes.append(sizes)
        self._ordinals.append(ordinals)
        self._offsets.append(offsets)
        self._bytes += len(text)

    def _count(self, item: ObjectVersion, rows: int) -> None:
        self.rows += rows
        if not self._objects or self._objects[-1] is not item:
            self._objects.append(item)
            self._rows_of.append(0)
        self._rows_of[-1] += rows

    def flush(self) -> pa.RecordBatch:
        """The rows since the last flush."""
        place = pa.array(np.repeat(np.arange(len(self._objects)), self._rows_of))
        is_end = self._mask(self._ends)
        columns = {
            "data": self._data(is_end | self._mask(self._errors)),
            "raw": {row: bad.data for row, bad in self._errors.items()},
            "error": {row: bad.error for row, bad in self._errors.items()},
            "ordinal": pa.array(np.concatenate(self._ordinals), mask=is_end),
            "offset_bytes": pa.array(np.concatenate(self._offsets), mask=is_end),
            "bucket": [item.bucket for item in self._objects],
            "key": [item.key for item in self._objects],
            "version": [item.version for item in self._objects],
            "size_bytes": [item.size_bytes for item in self._objects],
            "modified_at": [item.modified_ms * 1000 for item in self._objects],
            "received": {row: received for row, (received, _) in self._ends.items()},
            "broken": {row: broken for row, (_, broken) in self._ends.items()},
        }
        arrays = []
        for field in self._SCHEMA:
            column = columns[field.name]
            if isinstance(column, list):
                column = pa.array(column, field.type).take(place)
            elif isinstance(column, dict):
                column = self._sparse(column, field.type)
            arrays.append(column)
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._SCHEMA)
        self._start()
        return batch

    def _mask(self, rows: Iterable[int]) -> np.ndarray:
        mask = np.zeros(self.rows, bool)
        mask[list(rows)] = True
        return mask

    def _data(self, is_null: np.ndarray) -> pa.Array:
        """The column as it lies in memory: no record becomes a Python object."""
        places = np.zeros(self.rows + 1, np.int32)
        np.cumsum(np.concatenate(self._sizes), out=places[1:])
        is_there = np.packbits(~is_null, bitorder="little")
        buffers = [pa.py_buffer(part) for part in (is_there, places, b"".join(self._texts))]
        return pa.StringArray.from_buffers(self.rows, buffers[1], buffers[2], buffers[0])

    def _sparse(self, values: dict[int, Any], kind: pa.DataType) -> pa.Array:
        """A column of which most rows have no value."""
        if not values:
            return pa.nulls(self.rows, kind)
        column: list[Any] = [None] * self.rows
        for row, value in values.items():
            column[row] = value
        return pa.array(column, kind)


def _one(value: int) -> np.ndarray:
    return np.array([value], np.int64)


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
        self.keeps_errors = rescued_column in schema.names
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
