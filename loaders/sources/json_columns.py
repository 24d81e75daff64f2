"""JSON records → typed columns, with everything that does not fit kept apart, never dropped."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import orjson
import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from loaders.sources.schemas import Evolution, NewColumns

RESCUED = "_rescued_data"

Converter = Callable[[Any], Any]


# orjson turns integers beyond 64 bits into floats, so long numbers take the exact way.
_LONG_NUMBER = re.compile(rb"[0-9.]{17}")


class Misfit(ValueError):
    """A JSON value that a column's type cannot hold without loss.

    rest: what does not fit; fitted: what of a struct or an array does.
    """

    def __init__(self, rest: Any, fitted: Any = None) -> None:
        super().__init__(rest)
        self.rest = rest
        self.fitted = fitted


def parse_json(data: bytes) -> Any:
    """The JSON value, integers exact; NaN and Infinity, which Python emits, are accepted.

    Raises:
        ValueError: no JSON.
    """
    if not _LONG_NUMBER.search(data):
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
    return json.loads(data)


def as_text(value: Any) -> str:
    """A JSON value as a string column shows it: strings bare, everything else as JSON."""
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    )
    # Half a surrogate pair is no UTF-8; it stands as the JSON escape it came from.
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


class ColumnParser:
    """Collects records as rows of a schema and hands them out as Arrow batches.

    Columns are matched by name, exactly. A key without a column, a value that does not fit its
    column, and a record that is no JSON object go to the rescued-data column, as a JSON object
    that names the file; the other columns of the row are filled as far as they fit. Of a struct
    or an array the parts that fit stay, and the rest is rescued.

    Args:
        schema: the columns. `_metadata` is filled from what is known of the object, where it is
            a struct of METADATA_FIELDS.
        rescued_column: the name of the rescued-data column, if the schema has it.
        evolution: where given, a record with a key that the schema has not raises NewColumns.

    Raises:
        ValueError: a column of a type that JSON cannot fill.
    """

    def __init__(
        self,
        schema: StructType,
        rescued_column: str = RESCUED,
        evolution: Evolution | None = None,
    ) -> None:
        self.schema = schema
        self._arrow = to_arrow_schema(schema, timezone="UTC", prefers_large_types=False)
        self._rescued_column = rescued_column
        self._evolution = evolution
        self.has_metadata = is_file_metadata(schema)
        self._has_rescued = rescued_column in schema.names
        own = {METADATA if self.has_metadata else None, rescued_column}
        self._converters = {
            field.name: converter(field.dataType)
            for field in schema.fields
            if field.name not in own
        }
        self._names = schema.names
        self._start()

    def _start(self) -> None:
        self.rows = 0
        self.bytes = 0
        self._columns: dict[str, list[Any]] = {name: [] for name in self._names}

    def add(
        self,
        data: bytes,
        error: str | None,
        *,
        path: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one record; `error` is why it could not be read whole, or None.

        Raises:
            NewColumns: the record has columns that the schema has not, and the schema evolves.
        """
        rescued: dict[str, Any] = {}
        value: Any = None
        if error is None:
            value = parse_json(data)
        if not isinstance(value, dict):
            rescued["_corrupt_record"] = data.decode(errors="replace")
            rescued["_error"] = error or "not_an_object"
            value = {}
        cells = self._convert(value, rescued)
        known = self._converters.keys()
        if rescued or not value.keys() <= known:
            self._refuse_new_columns(value, path)
            rescued |= {name: value[name] for name in value if name not in known}
            rescued["_file_path"] = path
        if self._has_rescued:
            cells[self._rescued_column] = as_text(rescued) if rescued else None
        if self.has_metadata:
            cells[METADATA] = metadata
        for name, column in self._columns.items():
            column.append(cells[name])
        self.rows += 1
        self.bytes += len(data)

    def _refuse_new_columns(self, value: dict[str, Any], path: str) -> None:
        if self._evolution is not None:
            grown = self._evolution.grown(self.schema, value)
            if grown != self.schema:
                raise NewColumns(grown, path)

    def _convert(self, value: dict[str, Any], rescued: dict[str, Any]) -> dict[str, Any]:
        """The columns' cells; what does not fit is added to `rescued`."""
        cells = {}
        for name, convert in self._converters.items():
            cell = value.get(name)
            if cell is not None:
                try:
                    cell = convert(cell)
                except Misfit as misfit:
                    rescued[name] = misfit.rest
                    cell = misfit.fitted
            cells[name] = cell
        return cells

    def flush(self) -> pa.RecordBatch:
        """The rows since the last flush."""
        batch = pa.RecordBatch.from_arrays(
            [pa.array(self._columns[field.name], field.type) for field in self._arrow],
            schema=self._arrow,
        )
        self._start()
        return batch


METADATA = "_metadata"
METADATA_FIELDS: dict[str, DataType] = {
    "file_path": StringType(),
    "file_name": StringType(),
    "file_size": LongType(),
    "file_modification_time": TimestampType(),
}


def is_file_metadata(schema: StructType) -> bool:
    """Whether the schema asks for `_metadata`: a struct of METADATA_FIELDS and nothing else."""
    kind = schema[METADATA].dataType if METADATA in schema.names else None
    return isinstance(kind, StructType) and all(
        METADATA_FIELDS.get(field.name) == field.dataType for field in kind
    )


def converter(data_type: DataType) -> Converter:  # noqa: PLR0911 - a table of types
    """A function from a JSON value (not null) to a value of the type; raises Misfit.

    Raises:
        ValueError: a type that JSON cannot fill.
    """
    if isinstance(data_type, StringType):
        return as_text
    if isinstance(data_type, tuple(_INTEGER_BITS)):
        return _integer(_INTEGER_BITS[type(data_type)])
    if type(data_type) in _SIMPLE:
        return _SIMPLE[type(data_type)]
    if isinstance(data_type, DecimalType):
        return _decimal(data_type)
    if isinstance(data_type, ArrayType):
        return _array(converter(data_type.elementType))
    if isinstance(data_type, MapType) and isinstance(data_type.keyType, StringType):
        return _map(converter(data_type.valueType))
    if isinstance(data_type, StructType):
        return _struct({field.name: converter(field.dataType) for field in data_type.fields})
    raise ValueError(f"a JSON source cannot fill a column of type {data_type.simpleString()}")


_INTEGER_BITS: dict[type[DataType], int] = {ByteType: 8, ShortType: 16, IntegerType: 32}
_INTEGER_BITS[LongType] = 64


def _integer(bits: int) -> Converter:
    limit = 1 << (bits - 1)

    def convert(value: Any) -> int:
        number = value
        if isinstance(value, str):
            try:
                number = int(value)
            except ValueError:
                raise Misfit(value) from None
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, bool) or not isinstance(number, int):
            raise Misfit(value)
        if not -limit <= number < limit:
            raise Misfit(value)
        return number

    return convert


def _double(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Misfit(value)
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise Misfit(value) from None


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise Misfit(value)


def _date(value: Any) -> date:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise Misfit(value) from None


def _timestamp(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Misfit(value) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _timestamp_ntz(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value).replace(tzinfo=None)
    except (TypeError, ValueError):
        raise Misfit(value) from None


def _binary(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise Misfit(value) from None


_SIMPLE: dict[type[DataType], Converter] = {
    DoubleType: _double,
    FloatType: _double,
    BooleanType: _boolean,
    DateType: _date,
    TimestampType: _timestamp,
    TimestampNTZType: _timestamp_ntz,
    BinaryType: _binary,
}


_ALL_DIGITS = Context(prec=38)  # Python's default rounds to 28


def _decimal(data_type: DecimalType) -> Converter:
    unit = Decimal(1).scaleb(-data_type.scale)
    limit = Decimal(10) ** (data_type.precision - data_type.scale)

    def convert(value: Any) -> Decimal:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise Misfit(value)
        try:
            number = Decimal(str(value))
            exact = number.quantize(unit, context=_ALL_DIGITS)
        except InvalidOperation:
            raise Misfit(value) from None
        if exact != number or abs(exact) >= limit:
            raise Misfit(value)
        return exact

    return convert


def _array(element: Converter) -> Converter:
    def convert(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Misfit(value)
        fitted, fits = _each(element, value)
        if not fits:
            raise Misfit(value, fitted)
        return fitted

    return convert


def _map(element: Converter) -> Converter:
    def convert(value: Any) -> list[tuple[str, Any]]:
        if not isinstance(value, dict):
            raise Misfit(value)
        fitted, fits = _each(element, value.values())
        pairs = list(zip(value, fitted, strict=True))
        if not fits:
            raise Misfit(value, pairs)
        return pairs

    return convert


def _each(element: Converter, values: Iterable[Any]) -> tuple[list[Any], bool]:
    """The values converted as far as they fit, and whether all of them did."""
    fitted, fits = [], True
    for item in values:
        try:
            fitted.append(None if item is None else element(item))
        except Misfit as misfit:
            fitted.append(misfit.fitted)
            fits = False
    return fitted, fits


def _struct(fields: dict[str, Converter]) -> Converter:
    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit(value)
        fitted: dict[str, Any] = dict.fromkeys(fields)
        rest: dict[str, Any] = {}
        for name, item in value.items():
            if name not in fields:
                rest[name] = item
            elif item is not None:
                try:
                    fitted[name] = fields[name](item)
                except Misfit as misfit:
                    fitted[name], rest[name] = misfit.fitted, misfit.rest
        if rest:
            raise Misfit(rest, fitted)
        return fitted

    return convert
