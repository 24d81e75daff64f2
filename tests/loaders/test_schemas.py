"""The schema of JSON records: inference, hints, growth, versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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

from loaders.sources.ddl import parse_columns
from loaders.sources.json_columns import ColumnParser
from loaders.sources.schemas import (
    Evolution,
    FolderSchemas,
    NewColumns,
    added_columns,
    apply_hints,
    grow,
    infer_columns,
)


def schema_of(text: str) -> StructType:
    return StructType([StructField(path[0], kind) for path, kind in parse_columns(text)])


def typed(*values: Any) -> str:
    return infer_columns(values, typed=True).simpleString()


def test_without_types_every_top_level_key_is_a_string_in_order_of_appearance() -> None:
    found = infer_columns([{"a": 1, "b": {"c": 2}}, {"d": None, "a": 2}, 7], typed=False)
    assert found == schema_of("a string, b string, d string")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, None], "bigint"),
        ([True], "boolean"),
        ([1, 2.5], "double"),
        ([1, 2**63], "decimal(38,0)"),
        ([2**63, 0.5], "double"),
        ([10**40], "string"),
        (["2012-01-01"], "string"),
        ([1, "x"], "string"),
        ([1, True], "string"),
        ([None], "string"),
        ([{}], "string"),
        ([[], [1], [2.5]], "array<double>"),
        ([[]], "array<string>"),
        ([[{"x": 1}, {"y": None}]], "array<struct<x:bigint,y:string>>"),
        ([{"x": 1}, {"y": {"z": "a"}, "x": 0.5}], "struct<x:double,y:struct<z:string>>"),
        ([{"x": 1}, [1]], "string"),
    ],
)
def test_a_column_gets_the_type_that_holds_all_its_values(values: list[Any], kind: str) -> None:
    assert typed(*({"a": value} for value in values)) == f"struct<a:{kind}>"


def test_of_names_that_differ_in_case_only_the_first_is_a_column() -> None:
    assert (
        typed({"Id": 1, "id": 2, "x": {"A": 1, "a": 2}}) == "struct<Id:bigint,x:struct<A:bigint>>"
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), json_values), min_size=1, max_size=5))
def test_inferred_types_hold_every_value_they_were_inferred_from(records: list[dict]) -> None:
    schema = infer_columns(records, typed=True)
    parser = ColumnParser(StructType([*schema, StructField("_rescued_data", StringType())]))
    for record in records:
        parser.add(json.dumps(record).encode(), None, path="x")
    assert [row["_rescued_data"] for row in parser.flush().to_pylist()] == [None] * len(records)


types = st.recursive(
    st.sampled_from(
        [
            BinaryType(),
            BooleanType(),
            ByteType(),
            DateType(),
            DoubleType(),
            FloatType(),
            IntegerType(),
            LongType(),
            ShortType(),
            StringType(),
            TimestampNTZType(),
            TimestampType(),
        ]
    )
    | st.builds(DecimalType, st.integers(10, 38), st.integers(0, 9)),
    lambda inner: (
        st.builds(ArrayType, inner)
        | st.builds(MapType, inner, inner)
        | st.lists(inner, min_size=1, max_size=3).map(
            lambda kinds: StructType([StructField(f"f{n}", kind) for n, kind in enumerate(kinds)])
        )
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(types)
def test_a_type_is_read_as_spark_writes_it(kind: DataType) -> None:
    assert parse_columns(f"a.`b c` {kind.simpleString()}, d int") == [
        (("a", "b c"), kind),
        (("d",), IntegerType()),
    ]


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("", "'the end'"),
        ("a", "'the end'"),
        ("a nothing", "'nothing'"),
        ("a int b", "'b'"),
        ("a array<int", "'the end'"),
        ("a decimal(x)", "'x)'"),
        ("a int,", "'the end'"),
        ("a map<string>", "'>'"),
    ],
)
def test_what_is_no_column_list_is_refused_with_its_place(text: str, rest: str) -> None:
    with pytest.raises(ValueError, match=r"expected .* at") as refused:
        parse_columns(text)
    assert str(refused.value).endswith(f"at {rest}")


def test_hints_set_types_reach_into_columns_and_add_what_is_not_there() -> None:
    schema = schema_of(
        "Day string, user struct<dob: string>, ips array<string>, h map<string, int>"
    )
    hinted = apply_hints(
        schema, "day date, user.dob date, ips.element bigint, h.value double, new.x int"
    )
    assert hinted == schema_of(
        "Day date, user struct<dob: date>, ips array<bigint>, h map<string, double>, "
        "new struct<x: int>"
    )


def test_new_columns_and_fields_come_last_and_known_types_stay() -> None:
    known = schema_of("a int, s struct<x: int>, l array<struct<x: int>>")
    seen = schema_of("b string, l array<struct<y: int>>, s struct<y: date, X: string>, A string")
    grown = grow(known, seen)
    assert grown == schema_of(
        "a int, s struct<x: int, y: date>, l array<struct<x: int, y: int>>, b string"
    )
    assert added_columns(known, grown) == ["s.y", "l.element.y", "b"]


def test_versions_are_kept_and_growing_twice_adds_one(tmp_path: Path) -> None:
    store = FolderSchemas(tmp_path / "_schemas")
    assert store.latest() is None
    assert store.add(0, schema_of("a int"))
    assert not store.add(0, schema_of("b int"))
    assert store.evolve(schema_of("b string")) == (1, schema_of("a int, b string"))
    assert store.evolve(schema_of("b string")) == (1, schema_of("a int, b string"))
    assert sorted(path.name for path in (tmp_path / "_schemas").iterdir()) == ["0", "1"]


def parse(schema: str, record: str, evolution: Evolution | None = None) -> dict[str, Any]:
    parser = ColumnParser(schema_of(schema), evolution=evolution)
    parser.add(record.encode(), None, path="s3://b/k")
    return parser.flush().to_pylist()[0]


def test_a_key_in_another_case_is_rescued_and_no_new_column(tmp_path: Path) -> None:
    evolution = Evolution(typed=True, store=FolderSchemas(tmp_path))
    row = parse("Id bigint, _rescued_data string", '{"id":1}', evolution)
    assert row["Id"] is None
    assert json.loads(row["_rescued_data"])["id"] == 1


def test_a_new_field_of_a_struct_is_a_new_column(tmp_path: Path) -> None:
    evolution = Evolution(typed=True, store=FolderSchemas(tmp_path))
    with pytest.raises(NewColumns) as found:
        parse("s struct<x: bigint>", '{"s":{"x":1,"y":"a"}}', evolution)
    assert found.value.schema == schema_of("s struct<x: bigint, y: string>")


def test_of_structs_and_arrays_what_fits_stays_and_the_rest_is_rescued() -> None:
    row = parse(
        "s struct<x: bigint, t: struct<z: int>>, l array<int>, m map<string, int>, "
        "_rescued_data string",
        '{"s":{"x":1,"y":2,"t":{"z":"no"}},"l":[1,"no"],"m":{"a":1,"b":"no"}}',
    )
    assert row["s"] == {"x": 1, "t": {"z": None}}
    assert row["l"] == [1, None]
    assert row["m"] == [("a", 1), ("b", None)]
    assert json.loads(row["_rescued_data"]) == {
        "s": {"y": 2, "t": {"z": "no"}},
        "l": [1, "no"],
        "m": {"a": 1, "b": "no"},
        "_file_path": "s3://b/k",
    }


def test_the_end_names_all_new_columns_of_the_batch_and_keeps_them(tmp_path: Path) -> None:
    store = FolderSchemas(tmp_path / "_schemas")
    store.add(0, schema_of("a bigint"))
    evolution = Evolution(typed=True, store=store)
    found = NewColumns(schema_of("a bigint, b bigint"), "s3://b/k")
    end = evolution.end(found, schema_of("a bigint"), [{"b": 1}, {"c": 0.5}, 7])
    assert str(end) == (
        f"new columns b, c in s3://b/k: they stand in the schema now, version 1 in "
        f"{tmp_path}/_schemas; start the query again"
    )
    assert store.latest() == (1, schema_of("a bigint, b bigint, c double"))


def test_without_a_store_the_end_says_what_to_do() -> None:
    found = NewColumns(schema_of("a int, b int"), "s3://b/k")
    end = Evolution(typed=True, store=None).end(found, schema_of("a int"), [])
    assert str(end).startswith("new columns b in s3://b/k, and cloudFiles.schemaEvolutionMode is")
