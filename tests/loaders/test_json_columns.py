"""JSON records in typed columns: what fits is in its column, everything else is rescued."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from loaders.sources.json_columns import ColumnParser, Misfit, converter


def parse(schema: StructType, *records: bytes, error: str | None = None) -> list[dict[str, Any]]:
    parser = ColumnParser(schema)
    for record in records:
        parser.add(record, error, path="s3://bucket/key")
    return parser.flush().to_pylist()


def strings(*names: str) -> StructType:
    return StructType([StructField(name, StringType()) for name in (*names, "_rescued_data")])


def test_a_string_column_shows_strings_bare_and_everything_else_as_json() -> None:
    (row,) = parse(strings("a", "b", "c", "d"), b'{"a":"x","b":{"y":[1]},"c":12.5,"d":true}')
    assert row == {"a": "x", "b": '{"y":[1]}', "c": "12.5", "d": "true", "_rescued_data": None}


def test_integers_beyond_64_bits_keep_every_digit() -> None:
    (row,) = parse(strings("a"), b'{"a":123456789012345678901234567890}')
    assert row["a"] == "123456789012345678901234567890"


def test_nan_and_infinity_are_read_as_python_writes_them() -> None:
    schema = StructType([StructField("a", DoubleType()), StructField("b", DoubleType())])
    (row,) = parse(schema, b'{"a":NaN,"b":-Infinity}')
    assert row["a"] != row["a"]
    assert row["b"] == float("-inf")


def test_a_key_without_a_column_is_rescued_with_the_file_it_came_from() -> None:
    (row,) = parse(strings("a"), b'{"a":"x","new":{"k":1}}')
    assert json.loads(row["_rescued_data"]) == {"new": {"k": 1}, "_file_path": "s3://bucket/key"}


def test_a_value_that_does_not_fit_is_rescued_and_the_rest_of_the_row_stays() -> None:
    schema = StructType(
        [
            StructField("n", IntegerType()),
            StructField("t", StringType()),
            StructField("_rescued_data", StringType()),
        ]
    )
    (row,) = parse(schema, b'{"n":"many","t":"x"}')
    assert (row["n"], row["t"]) == (None, "x")
    assert json.loads(row["_rescued_data"])["n"] == "many"


def test_times_are_kept_in_utc() -> None:
    schema = StructType([StructField("at", TimestampType()), StructField("days", DateType())])
    (row,) = parse(schema, b'{"at":"2012-01-01T02:00:00+02:00","days":"2012-01-01"}')
    assert row == {"at": datetime(2012, 1, 1, tzinfo=UTC), "days": date(2012, 1, 1)}


def test_half_a_surrogate_pair_stands_as_its_escape() -> None:
    (row,) = parse(strings("a"), b'{"a":"x\\ud800"}')
    assert row["a"] == "x\\ud800"


@pytest.mark.parametrize(
    ("record", "error", "expected"),
    [
        (b'{"a":', "truncated_json", {"_corrupt_record": '{"a":', "_error": "truncated_json"}),
        (b"[1]", None, {"_corrupt_record": "[1]", "_error": "not_an_object"}),
    ],
)
def test_a_broken_record_is_a_row_of_its_own(
    record: bytes, error: str | None, expected: dict[str, str]
) -> None:
    (row,) = parse(strings("a"), record, error=error)
    assert row["a"] is None
    assert json.loads(row["_rescued_data"]) == {**expected, "_file_path": "s3://bucket/key"}


@pytest.mark.parametrize(
    ("data_type", "value", "expected"),
    [
        (IntegerType(), 2**31 - 1, 2**31 - 1),
        (IntegerType(), "12", 12),
        (LongType(), 3.0, 3),
        (DoubleType(), "1.5", 1.5),
        (BooleanType(), "true", True),
        (DateType(), "2012-02-29", date(2012, 2, 29)),
        (TimestampType(), "2012-01-01T00:00:00Z", datetime(2012, 1, 1, tzinfo=UTC)),
        (TimestampType(), "2012-01-01 00:00:00", datetime(2012, 1, 1, tzinfo=UTC)),
        (DecimalType(6, 2), 12.5, Decimal("12.50")),
        (DecimalType(38, 0), 10**37 + 1, Decimal(10**37 + 1)),
        (ArrayType(IntegerType()), [1, None], [1, None]),
        (MapType(StringType(), LongType()), {"a": 1}, [("a", 1)]),
        (StructType([StructField("a", LongType())]), {"a": 1}, {"a": 1}),
    ],
)
def test_values_become_what_the_column_says(data_type: Any, value: Any, expected: Any) -> None:
    assert converter(data_type)(value) == expected


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        (IntegerType(), 2**31),
        (IntegerType(), 1.5),
        (LongType(), True),
        (LongType(), "1e3"),
        (DoubleType(), {}),
        (BooleanType(), 1),
        (DateType(), "2012-02-30"),
        (TimestampType(), 7),
        (DecimalType(4, 2), 100),
        (DecimalType(4, 2), "0.001"),
        (ArrayType(LongType()), {}),
        (StructType([StructField("a", LongType())]), {"b": 1}),
    ],
)
def test_values_that_would_lose_something_do_not_fit(data_type: Any, value: Any) -> None:
    with pytest.raises(Misfit):
        converter(data_type)(value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("abcde") | st.text(max_size=3), json_values, max_size=6))
def test_nothing_of_a_record_is_lost_between_columns_and_rescued_data(record: dict) -> None:
    record = {key: value for key, value in record.items() if not key.startswith("_")}
    schema = StructType(
        [
            StructField("a", LongType()),
            StructField("b", DoubleType()),
            StructField("c", BooleanType()),
            StructField("_rescued_data", StringType()),
        ]
    )
    (row,) = parse(schema, json.dumps(record).encode())
    rescued = json.loads(row["_rescued_data"] or "{}")
    for key, value in record.items():
        if key in ("a", "b", "c") and (value is None or row[key] is not None):
            if isinstance(value, str):
                assert converter(schema[key].dataType)(value) == row[key]
            else:
                assert row[key] == (float(value) if key == "b" and value is not None else value)
        else:
            assert rescued[key] == value
