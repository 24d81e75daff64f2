"""Column lists as SQL writes them → pyspark types, in a process that has no Spark session."""

from __future__ import annotations

import re

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
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

_SIMPLE: dict[str, type[DataType]] = {
    "string": StringType,
    "boolean": BooleanType,
    "byte": ByteType,
    "tinyint": ByteType,
    "short": ShortType,
    "smallint": ShortType,
    "int": IntegerType,
    "integer": IntegerType,
    "long": LongType,
    "bigint": LongType,
    "float": FloatType,
    "real": FloatType,
    "double": DoubleType,
    "date": DateType,
    "timestamp": TimestampType,
    "timestamp_ltz": TimestampType,
    "timestamp_ntz": TimestampNTZType,
    "binary": BinaryType,
}
_DECIMALS = ("decimal", "dec", "numeric")
_TOKEN = re.compile(r"\s*(?:(`(?:[^`]|``)+`)|([\w$@-]+)|([<>(),:.]))", re.UNICODE)


def parse_columns(text: str) -> list[tuple[tuple[str, ...], DataType]]:
    """`a.b int, c array<string>` → ((a, b), int), ((c,), array<string>).

    Raises:
        ValueError: no such list; the message says from where on.
    """
    return _Parser(text).columns()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def columns(self) -> list[tuple[tuple[str, ...], DataType]]:
        columns = []
        while True:
            path = [self._name()]
            while self._take("."):
                path.append(self._name())
            self._take(":")
            columns.append((tuple(path), self._type()))
            if not self.text[self.at :].strip():
                return columns
            self._expect(",")

    def _type(self) -> DataType:
        at = self.at
        kind = self._name().lower()
        if kind in _SIMPLE:
            return _SIMPLE[kind]()
        if kind in _DECIMALS:
            return self._decimal()
        if kind == "array":
            return ArrayType(self._between("<", self._type))
        if kind == "map":
            return self._between("<", self._map)
        if kind == "struct":
            return self._between("<", self._struct)
        self.at = at
        raise self._error("a type")

    def _decimal(self) -> DecimalType:
        if not self._take("("):
            return DecimalType(10, 0)
        precision = self._digits()
        scale = self._digits() if self._take(",") else 0
        self._expect(")")
        return DecimalType(precision, scale)

    def _map(self) -> MapType:
        key = self._type()
        self._expect(",")
        return MapType(key, self._type())

    def _struct(self) -> StructType:
        fields = []
        while True:
            name = self._name()
            self._take(":")
            fields.append(StructField(name, self._type()))
            if not self._take(","):
                return StructType(fields)

    def _between(self, opening: str, inner: object) -> DataType:
        self._expect(opening)
        found = inner()  # type: ignore[operator]
        self._expect(">")
        return found

    def _digits(self) -> int:
        at = self.at
        digits = self._name()
        if not digits.isdecimal():
            self.at = at
            raise self._error("a number")
        return int(digits)

    def _name(self) -> str:
        match = _TOKEN.match(self.text, self.at)
        if match is None or match[3]:
            raise self._error("a name")
        self.at = match.end()
        return match[1][1:-1].replace("``", "`") if match[1] else match[2]

    def _take(self, symbol: str) -> bool:
        match = _TOKEN.match(self.text, self.at)
        if match is None or match[3] != symbol:
            return False
        self.at = match.end()
        return True

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            raise self._error(repr(symbol))

    def _error(self, expected: str) -> ValueError:
        rest = self.text[self.at :].strip()
        return ValueError(f"{self.text!r}: expected {expected} at {rest or 'the end'!r}")
