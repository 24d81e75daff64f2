"""The schema of JSON records: inferred, corrected by hints, grown by new columns, kept in versions.

A column's type never changes by itself. What a column or a field is called decides by its letters,
not by their case, as Spark resolves names: a key that differs from a column in case only is no new
column.
"""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DecimalType,
    DoubleType,
    LongType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
)

from loaders.sources.clients import ClientSettings, client
from loaders.sources.ddl import parse_columns

_DECIMAL_DIGITS = 38


def infer_columns(values: Iterable[Any], *, typed: bool) -> StructType:
    """The top-level keys of JSON values, in order of appearance: as strings, or with types.

    Values that are no JSON object have no columns.
    """
    found: DataType = StructType([])
    for value in values:
        if isinstance(value, dict):
            found = merge_types(found, _type_of(value) if typed else _keys_of(value))
    assert isinstance(found, StructType)  # noqa: S101 - for the type checker
    return _distinct(StructField(field.name, settled(field.dataType)) for field in found)


def _keys_of(value: dict[str, Any]) -> StructType:
    return StructType([StructField(name, StringType()) for name in value])


def _type_of(value: Any) -> DataType:  # noqa: PLR0911 - a table of types
    if value is None:
        return NullType()
    if isinstance(value, bool):
        return BooleanType()
    if isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            return LongType()
        return DecimalType(38, 0) if len(str(abs(value))) <= _DECIMAL_DIGITS else StringType()
    if isinstance(value, float):
        return DoubleType()
    if isinstance(value, list):
        element: DataType = NullType()
        for item in value:
            element = merge_types(element, _type_of(item))
        return ArrayType(element)
    if isinstance(value, dict):
        return StructType([StructField(name, _type_of(item)) for name, item in value.items()])
    return StringType()


_NUMBERS = (LongType, DecimalType, DoubleType)  # each holds what those before it hold


def merge_types(one: DataType, other: DataType) -> DataType:
    """The type that holds values of both; string where nothing else does."""
    if one == other or isinstance(other, NullType):
        return one
    if isinstance(one, NullType):
        return other
    if isinstance(one, _NUMBERS) and isinstance(other, _NUMBERS):
        return max(one, other, key=lambda number: _NUMBERS.index(type(number)))
    if isinstance(one, ArrayType) and isinstance(other, ArrayType):
        return ArrayType(merge_types(one.elementType, other.elementType))
    if isinstance(one, StructType) and isinstance(other, StructType):
        types = {field.name: field.dataType for field in one}
        for field in other:
            types[field.name] = merge_types(types.get(field.name, NullType()), field.dataType)
        return StructType([StructField(name, kind) for name, kind in types.items()])
    return StringType()


def settled(kind: DataType) -> DataType:
    """The type without gaps: string where only nulls or empty objects were seen."""
    if isinstance(kind, ArrayType):
        return ArrayType(settled(kind.elementType))
    if isinstance(kind, StructType) and kind.fields:
        return _distinct(StructField(field.name, settled(field.dataType)) for field in kind)
    return StringType() if isinstance(kind, NullType | StructType) else kind


def _distinct(fields: Iterable[StructField]) -> StructType:
    """Of fields whose names differ in case only, the first."""
    by_name: dict[str, StructField] = {}
    for field in fields:
        by_name.setdefault(field.name.lower(), field)
    return StructType(list(by_name.values()))


def grow(known: DataType, seen: DataType) -> DataType:
    """The known type and, at the end of each struct, the fields that only `seen` has."""
    if isinstance(known, StructType) and isinstance(seen, StructType):
        newer = {field.name.lower(): field.dataType for field in reversed(seen.fields)}
        fields = [
            StructField(field.name, grow(field.dataType, newer.get(field.name.lower(), NullType())))
            for field in known
        ]
        return _distinct([*fields, *seen.fields])
    if isinstance(known, ArrayType) and isinstance(seen, ArrayType):
        return ArrayType(grow(known.elementType, seen.elementType))
    return known


def added_columns(old: StructType, new: StructType) -> list[str]:
    """Dotted paths of what `new` has and `old` has not."""
    before = dict(_paths(old, ""))
    return [path for path, _ in _paths(new, "") if path not in before]


def _paths(kind: DataType, prefix: str) -> Iterator[tuple[str, DataType]]:
    if isinstance(kind, StructType):
        for field in kind:
            yield prefix + field.name, field.dataType
            yield from _paths(field.dataType, f"{prefix}{field.name}.")
    if isinstance(kind, ArrayType):
        yield from _paths(kind.elementType, f"{prefix}element.")


def apply_hints(schema: StructType, hints: str) -> StructType:
    """The schema with the types that the hints give; a column that is not there yet is added.

    Args:
        hints: a column list; a dotted name reaches into structs, `element` into arrays, `key` and
            `value` into maps.

    Raises:
        ValueError: no column list.
    """
    for path, kind in parse_columns(hints):
        schema = _hinted(schema, path, kind)  # type: ignore[assignment]
    return schema


def _hinted(known: DataType, path: tuple[str, ...], kind: DataType) -> DataType:
    if not path:
        return kind
    name, rest = path[0], path[1:]
    if isinstance(known, ArrayType) and name.lower() == "element":
        return ArrayType(_hinted(known.elementType, rest, kind))
    if isinstance(known, MapType) and name.lower() == "key":
        return MapType(_hinted(known.keyType, rest, kind), known.valueType)
    if isinstance(known, MapType) and name.lower() == "value":
        return MapType(known.keyType, _hinted(known.valueType, rest, kind))
    fields = list(known.fields) if isinstance(known, StructType) else []
    for at, field in enumerate(fields):
        if field.name.lower() == name.lower():
            fields[at] = StructField(field.name, _hinted(field.dataType, rest, kind))
            return StructType(fields)
    return StructType([*fields, StructField(name, _hinted(StructType([]), rest, kind))])


class NewColumns(Exception):
    """Records have columns that the schema has not."""

    def __init__(self, schema: StructType, path: str) -> None:
        """schema: what the record at hand would make of it; path: of the object it stands in."""
        super().__init__(path)
        self.schema = schema
        self.path = path


class UnknownFieldError(Exception):
    """Ends the query: what is new, where, and what to do."""


class SchemaStore(ABC):
    """The versions of a stream's schema: <schemaLocation>/_schemas/0, 1, …, each a JSON text.

    Workers add versions, and of several that add the same one a single one succeeds.
    """

    @abstractmethod
    def _numbers(self) -> list[int]:
        """The versions that there are."""

    @abstractmethod
    def _read(self, version: int) -> bytes: ...

    @abstractmethod
    def _write_new(self, version: int, text: bytes) -> bool:
        """Write a version, whole and at once; False when it is there."""

    def latest(self) -> tuple[int, StructType] | None:
        """The newest version with its number, if there is one."""
        numbers = self._numbers()
        if not numbers:
            return None
        return max(numbers), StructType.fromJson(json.loads(self._read(max(numbers))))

    def add(self, version: int, schema: StructType) -> bool:
        """Write a version; False when another process was first."""
        return self._write_new(version, json.dumps(schema.jsonValue(), indent=1).encode())

    def evolve(self, seen: StructType) -> tuple[int, StructType]:
        """Grow the newest version by what was seen; returns what is the newest then."""
        while True:
            version, known = self.latest() or (-1, StructType([]))
            grown = grow(known, seen)
            if grown == known:
                return version, known
            if self.add(version + 1, grown):  # type: ignore[arg-type]
                return version + 1, grown  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class FolderSchemas(SchemaStore):
    """In a folder, which on a cluster must be one that all workers share."""

    folder: Path

    def __str__(self) -> str:
        return str(self.folder)

    def _numbers(self) -> list[int]:
        return [int(path.name) for path in self.folder.glob("[0-9]*") if path.name.isdecimal()]

    def _read(self, version: int) -> bytes:
        return (self.folder / str(version)).read_bytes()

    def _write_new(self, version: int, text: bytes) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{uuid.uuid4().hex}"
        draft.write_bytes(text)
        try:
            os.link(draft, self.folder / str(version))
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True


# The second: another one is writing it at this moment.
_ANOTHER_WAS_FIRST = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


@dataclass(frozen=True, slots=True)
class BucketSchemas(SchemaStore):
    """In a bucket. S3 writes an object whole, and on a condition only where there is none."""

    bucket: str
    prefix: str
    client: ClientSettings = dataclasses.field(repr=False)  # may hold secrets

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix.rstrip('/')}"

    def _numbers(self) -> list[int]:
        pages = client("s3", self.client).get_paginator("list_objects_v2")
        names = (
            item["Key"].removeprefix(self.prefix)
            for page in pages.paginate(Bucket=self.bucket, Prefix=self.prefix)
            for item in page.get("Contents", ())
        )
        return [int(name) for name in names if name.isdecimal()]

    def _read(self, version: int) -> bytes:
        found = client("s3", self.client).get_object(
            Bucket=self.bucket, Key=f"{self.prefix}{version}"
        )
        return found["Body"].read()

    def _write_new(self, version: int, text: bytes) -> bool:
        from botocore.exceptions import ClientError

        try:
            client("s3", self.client).put_object(
                Bucket=self.bucket, Key=f"{self.prefix}{version}", Body=text, IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _ANOTHER_WAS_FIRST:
                return False
            raise
        return True


@dataclass(frozen=True, slots=True)
class Evolution:
    """What happens at a new column: with a store it is added there; the query ends either way."""

    typed: bool
    store: SchemaStore | None
    own: frozenset[str] = frozenset()  # columns that records do not fill

    def grown(self, schema: StructType, value: dict[str, Any]) -> StructType:
        """The schema with what a record adds to it."""
        return grow(schema, self._seen([value]))  # type: ignore[return-value]

    def _seen(self, values: Iterable[Any]) -> StructType:
        columns = infer_columns(values, typed=self.typed)
        return StructType([field for field in columns if field.name not in self.own])

    def end(self, found: NewColumns, schema: StructType, batch: Iterable[Any]) -> UnknownFieldError:
        """Keep the new columns of the whole batch, so that the query stops once; say so."""
        if self.store is None:
            names = ", ".join(added_columns(schema, found.schema))
            return UnknownFieldError(
                f"new columns {names} in {found.path}, and cloudFiles.schemaEvolutionMode is "
                "failOnNewColumns: add them to the schema (or to cloudFiles.schemaHints), or take "
                "the object away, and start the query again"
            )
        version, kept = self.store.evolve(grow(found.schema, self._seen(batch)))  # type: ignore[arg-type]
        names = ", ".join(added_columns(schema, kept))
        return UnknownFieldError(
            f"new columns {names} in {found.path}: they stand in the schema now, version {version} "
            f"in {self.store}; start the query again"
        )
