"""The options of cloudFiles, without Spark: what is planned, what is refused and how."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql.streaming.datasource import ReadMaxFiles
from pyspark.sql.types import StructField, StructType

from loaders.sources.cloud_files import OPTIONS, CloudFiles
from loaders.sources.ddl import parse_columns
from loaders.sources.object_stream import ObjectStreamReader
from loaders.sources.objects import glob_pattern, parse_location
from loaders.sources.options import interval_option
from loaders.sources.schemas import FolderSchemas, UnknownFieldError

METADATA = (
    "_metadata struct<file_path: string, file_name: string, file_size: bigint, "
    "file_modification_time: timestamp>"
)


def schema_of(text: str) -> StructType:
    return StructType([StructField(path[0], kind) for path, kind in parse_columns(text)])


def source(folder: Path | str, **options: str) -> CloudFiles:
    """A source of JSON; options without their prefix."""
    named = {
        name if name in ("rescuedDataColumn", "pathGlobFilter") else f"cloudFiles.{name}": value
        for name, value in options.items()
    }
    return CloudFiles({"path": str(folder), "cloudFiles.format": "json", **named})


def plan(reader: ObjectStreamReader, offset: dict | None = None) -> dict:
    return reader.latestOffset(offset or reader.initialOffset(), ReadMaxFiles(100))


def names(offset: dict) -> list[str]:
    return [Path(item[1]).name for item in offset["files"]]


def read(reader: ObjectStreamReader, end: dict) -> list[dict[str, Any]]:
    batches = [batch for part in reader.partitions(end, end) for batch in reader.read(part)]
    rows = pa.Table.from_batches(batches).to_pylist()
    return sorted(rows, key=str)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "in"
    path.mkdir()
    (path / "a.json").write_text('{"id":1,"when":"2012-01-01"}\n{"id":2,"when":null}')
    return path


# Schemas


def test_columns_are_strings_unless_types_are_asked_for(folder: Path) -> None:
    assert source(folder).schema() == schema_of("id string, when string, _rescued_data string")
    assert source(folder, inferColumnTypes="true").schema() == schema_of(
        "id bigint, when string, _rescued_data string"
    )


def test_hints_correct_what_is_inferred(folder: Path) -> None:
    found = source(folder, schemaHints="when date, extra array<int>").schema()
    assert found == schema_of("id string, when date, extra array<int>, _rescued_data string")


def test_the_rescued_data_column_has_the_name_one_gives_it(folder: Path) -> None:
    assert source(folder, rescuedDataColumn="rest").schema().names == ["id", "when", "rest"]


def test_the_schema_is_kept_and_a_later_hint_makes_a_new_version(
    folder: Path, tmp_path: Path
) -> None:
    location = str(tmp_path / "location")
    first = source(folder, schemaLocation=location).schema()
    (folder / "0.json").write_text('{"other":1}')
    assert source(folder, schemaLocation=location).schema() == first
    hinted = source(folder, schemaLocation=location, schemaHints="id bigint").schema()
    assert hinted == schema_of("id bigint, when string, _rescued_data string")
    assert FolderSchemas(tmp_path / "location" / "_schemas").latest() == (1, hinted)


def inferred(folder: Path, **options: str) -> ObjectStreamReader:
    """A reader as Spark makes it: the schema is asked for first."""
    cloud_files = source(folder, **options)
    return cloud_files.streamReader(cloud_files.schema())


def test_a_new_column_ends_the_query_once_and_is_there_at_the_restart(
    folder: Path, tmp_path: Path
) -> None:
    options = {"schemaLocation": str(tmp_path / "location")}
    first = inferred(folder, **options)
    one = plan(first)
    assert [row["id"] for row in read(first, one)] == ["1", "2"]
    (folder / "b.json").write_text('{"id":3,"score":7}')
    (folder / "c.json").write_text('{"id":4,"level":{"n":1}}')
    first = inferred(folder, **options)
    two = plan(first, one)
    with pytest.raises(UnknownFieldError, match=r"new columns .*: they stand in the schema now"):
        read(first, two)

    again = inferred(folder, **options)
    rows = read(again, two)
    assert {row["id"]: (row["score"], row["level"]) for row in rows} == {
        "3": ("7", None),
        "4": (None, '{"n":1}'),
    }
    assert all(row["_rescued_data"] is None for row in rows)


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({"schemaEvolutionMode": "rescue"}, ["id", "when", "_rescued_data"]),
        ({}, ["id", "when", "_rescued_data"]),  # nowhere to keep a new column: rescue
        ({"schemaEvolutionMode": "none"}, ["id", "when"]),
        (
            {"schemaEvolutionMode": "none", "rescuedDataColumn": "rest"},
            ["id", "when", "rest"],
        ),
    ],
)
def test_without_evolution_the_columns_stay_and_data_is_rescued_where_there_is_a_column(
    folder: Path, options: dict[str, str], columns: list[str]
) -> None:
    reader = inferred(folder, **options)
    (folder / "a.json").write_text('{"id":1,"score":7}')
    (row,) = read(reader, plan(reader))
    assert list(row) == columns
    assert row["id"] == "1"
    if len(columns) > 2:
        assert json.loads(row[columns[-1]])["score"] == 7


def test_fail_on_new_columns_fails_until_the_schema_is_given_or_the_object_gone(
    folder: Path,
) -> None:
    given = source(folder, schemaEvolutionMode="failOnNewColumns")
    reader = given.streamReader(schema_of("id bigint"))
    end = plan(reader)
    for _ in range(2):
        with pytest.raises(UnknownFieldError, match=r"new columns when in file://.*/a\.json"):
            read(reader, end)
    widened = given.streamReader(schema_of("id bigint, when date"))
    assert [row["id"] for row in read(widened, end)] == [1, 2]


def test_metadata_names_the_object_that_a_record_came_from(folder: Path) -> None:
    os.utime(folder / "a.json", (1325376000, 1325376000))
    reader = source(folder).streamReader(schema_of(f"id bigint, {METADATA}"))
    row = read(reader, plan(reader))[0]
    assert row["_metadata"] == {
        "file_path": f"file://{folder}/a.json",
        "file_name": "a.json",
        "file_size": (folder / "a.json").stat().st_size,
        "file_modification_time": row["_metadata"]["file_modification_time"],
    }
    assert row["_metadata"]["file_modification_time"].isoformat() == "2012-01-01T00:00:00+00:00"


def test_metadata_may_be_hinted_in_part_and_a_key_of_that_name_is_rescued(folder: Path) -> None:
    (folder / "a.json").write_text('{"id":1,"_metadata":{"file_size":0,"x":1}}')
    reader = inferred(folder, schemaHints="_metadata struct<file_name: string>")
    (row,) = read(reader, plan(reader))
    assert row["_metadata"] == {"file_name": "a.json"}
    assert json.loads(row["_rescued_data"])["_metadata"] == {"file_size": 0, "x": 1}


# Objects


@pytest.mark.parametrize(
    ("path", "holds", "holds_not"),
    [
        (
            "s3://b/x/*/y-*.json",
            ["x/1/y-1.json", "x/2/y-.json"],
            ["x/y-1.json", "x/1/2/y-1.json", "x/1/z.json", "y-1.json"],
        ),
        ("s3://b/x/2012-*/", ["x/2012-01/a", "x/2012-/a/b"], ["x/2013-01/a"]),
        ("s3://b/x/{a,b[0-9]}/?", ["x/a/1", "x/b7/1"], ["x/b/1", "x/a/12", "x/c/1"]),
        ("s3://b/x/[^a]*", ["x/b"], ["x/a1"]),
        ("s3://b/x/a\\*b", ["x/a*b"], ["x/a1b"]),
        ("s3://b/x", ["x/a", "x_1/a", "x_1"], ["x/_a", "x_1/_a", "x/processing-failed/a"]),
        ("s3://b/processing-failed/", ["processing-failed/a"], ["a"]),
        ("s3://b/", ["a/b"], ["a/processing-failed/1/b", "format-conversion-failed/1", "a/"]),
        ("/data/*/in", ["/data/1/in/a"], ["/data/1/out/a", "/data/in/a", "/data1/1/in/a"]),
    ],
)
def test_a_path_says_which_objects_it_holds(
    path: str, holds: list[str], holds_not: list[str]
) -> None:
    location = parse_location(path)
    assert [key for key in holds if not location.holds(location.bucket, key)] == []
    assert [key for key in holds_not if location.holds(location.bucket, key)] == []
    assert not location.holds("other", holds[0])


@pytest.mark.parametrize(
    ("path", "prefix"),
    [("s3://b/x/*/y-*.json", "x/"), ("s3://b/x/2012-*", "x/2012-"), ("/data/x-*/y", "/data")],
)
def test_only_what_precedes_the_first_wildcard_is_listed(path: str, prefix: str) -> None:
    assert parse_location(path).prefix == prefix


@pytest.mark.parametrize("glob", ["a[b", "a{b", "[z-a]"])
def test_a_glob_that_cannot_be_read_is_refused_by_name(glob: str) -> None:
    with pytest.raises(ValueError, match="the glob"):
        glob_pattern(glob)


def test_globs_choose_files_by_their_path_and_by_their_name(folder: Path) -> None:
    (folder / "b.csv").write_text("1")
    (folder / "sub").mkdir()
    (folder / "sub" / "c.json").write_text("{}")
    assert names(plan(inferred(folder, pathGlobFilter="*.json"))) == ["a.json", "c.json"]
    assert names(plan(inferred(folder / "s*"))) == ["c.json"]


def test_files_that_were_there_before_may_be_left_out(folder: Path) -> None:
    first = source(folder, includeExistingFiles="false").streamReader(schema_of("id bigint"))
    start = plan(first)
    assert (names(start), start["planned"], start["skipped"]) == ([], 1, 1)
    assert read_nothing(first, start)
    first.stop()
    (folder / "b.json").write_text("{}")
    again = source(folder, includeExistingFiles="false").streamReader(schema_of("id bigint"))
    end = plan(again, start)
    assert (names(end), end["planned"]) == (["b.json"], 2)
    assert plan(again, end) == end


def read_nothing(reader: ObjectStreamReader, end: dict) -> bool:
    return reader.partitions(end, end) == []


def test_progress_names_the_oldest_object_that_waits(folder: Path) -> None:
    for at, name in enumerate(("first", "second", "third")):
        (folder / name).write_text("{}")
        os.utime(folder / name, (at, at))
    reader = source(folder, maxFilesPerTrigger="1").streamReader(schema_of("id bigint"))
    offset = reader.latestOffset(reader.initialOffset(), ReadMaxFiles(1))
    progress = reader.reportLatestOffset()
    assert progress["oldestWaiting"] == {"key": f"{folder}/second", "modifiedMs": 1000}
    plan(reader, offset)
    assert reader.reportLatestOffset()["oldestWaiting"] is None


# Clean-up


def loads_all(folder: Path, **options: str) -> tuple[ObjectStreamReader, dict]:
    """A reader whose every object is in the sink, as Spark tells it."""
    reader = source(folder, **options).streamReader(schema_of("id bigint"))
    end = plan(reader)
    read(reader, end)
    return reader, end


def moving(tmp_path: Path, retention: str = "0 seconds") -> dict[str, str]:
    return {
        "cleanSource": "MOVE",
        "cleanSource.moveDestination": str(tmp_path / "archive"),
        "cleanSource.retentionDuration": retention,
    }


def test_an_object_is_moved_once_its_batch_is_in_the_sink_and_not_before(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "b.json").write_text("{}")
    reader, end = loads_all(folder, **moving(tmp_path))
    assert (folder / "a.json").exists()
    plan(reader, end)  # Spark asks on: everything up to `end` is in the sink
    moved = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.json"))
    assert [str(path) for path in moved] == ["archive/a.json", "archive/sub/b.json"]
    assert plan(reader, end) == end
    assert reader.reportLatestOffset()["cleanedObjects"] == 2


def test_an_object_stays_until_its_time_has_passed(folder: Path, tmp_path: Path) -> None:
    reader, end = loads_all(folder, **moving(tmp_path, "1 hour"))
    plan(reader, end)
    assert (folder / "a.json").exists()


def test_an_object_overwritten_since_stays(folder: Path, tmp_path: Path) -> None:
    reader, end = loads_all(folder, **moving(tmp_path))
    (folder / "a.json").write_text('{"id":9}')
    plan(reader, end)
    assert (folder / "a.json").read_text() == '{"id":9}'
    assert not (tmp_path / "archive").exists()


def test_files_that_were_never_loaded_stay(folder: Path, tmp_path: Path) -> None:
    reader = source(folder, includeExistingFiles="false", **moving(tmp_path)).streamReader(
        schema_of("id bigint")
    )
    plan(reader, plan(reader))
    assert (folder / "a.json").exists()


def test_a_failing_clean_up_stops_nothing_and_is_counted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file where a folder should be")
    reader, end = loads_all(folder, **moving(tmp_path))
    assert plan(reader, end) == end
    assert (folder / "a.json").exists()
    assert reader.reportLatestOffset()["cleaningFailures"] == 1


# Options


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1 day", 86400),
        ("2 weeks", 1209600),
        ("interval 1 hour 30 MINUTES", 5400),
        ("0 seconds", 0),
    ],
)
def test_intervals_are_read_in_units_of_fixed_length(text: str, seconds: int) -> None:
    assert interval_option({"x": text}, "x") == seconds


@pytest.mark.parametrize("text", ["", "1", "day", "1 month", "1.5 days", "1 day ago", "-1 day"])
def test_an_interval_that_is_none_names_the_option_and_the_value(text: str) -> None:
    with pytest.raises(ValueError, match=f"x is '{text}': give an interval"):
        interval_option({"x": text}, "x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "csv"}, "cloudFiles.format is 'csv': use one of json, records"),
        ({"inferColumnTypes": "yes"}, "cloudFiles.inferColumnTypes is 'yes': give true or false"),
        (
            {"schemaEvolutionMode": "all"},
            "cloudFiles.schemaEvolutionMode is 'all': use one of addNewColumns, rescue",
        ),
        (
            {"schemaEvolutionMode": "addNewColumns"},
            "cloudFiles.schemaEvolutionMode is 'addNewColumns': it needs cloudFiles.schemaLocation",
        ),
        (
            {"schemaHints": "id nothing"},
            "cloudFiles.schemaHints is 'id nothing': expected a type at 'nothing'",
        ),
        (
            {"schemaHints": "_metadata struct<path: string>"},
            "the column _metadata is struct<path:string>: it holds struct<file_path: string",
        ),
        ({"schemaLocation": "gs://b/x"}, "schemaLocation is 'gs://b/x': give a folder or s3://"),
        ({"schemaLocation": "/a/*"}, r"schemaLocation is '/a/\*': give a folder or s3://"),
        ({"includeExistingFiles": "no"}, "cloudFiles.includeExistingFiles is 'no'"),
        ({"backfillInterval": "daily"}, "cloudFiles.backfillInterval is 'daily'"),
        (
            {"cleanSource": "ARCHIVE"},
            "cloudFiles.cleanSource is 'ARCHIVE': use one of OFF, DELETE, MOVE",
        ),
        ({"cleanSource": "MOVE"}, "it needs cloudFiles.cleanSource.moveDestination"),
        (
            {"cleanSource": "DELETE", "cleanSource.retentionDuration": "7 days"},
            "cloudFiles.cleanSource.retentionDuration is '7 days': .* more than 7 days",
        ),
        (
            {"cleanSource": "MOVE", "cleanSource.moveDestination": "s3://b/x"},
            "cloudFiles.cleanSource.moveDestination is 's3://b/x': give a folder",
        ),
        ({"format": "records", "schemaHints": "a int"}, "cloudFiles.schemaHints is for"),
        ({"pathGlobFilter": "[a"}, r"the glob '\[a' has a \[ without \]"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    folder: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        inferred(folder, **options)


def test_every_option_stands_in_the_documentation() -> None:
    text = (Path(__file__).parent.parent.parent / "docs" / "ingestion.md").read_text()
    missing = [name for name in OPTIONS if name.removeprefix("cloudFiles.") not in text]
    assert missing == []


def test_objects_are_not_moved_to_where_they_would_be_found_again(folder: Path) -> None:
    options = {"cleanSource": "MOVE", "cleanSource.moveDestination": f"{folder}/archive"}
    with pytest.raises(ValueError, match="it must not lie below the path"):
        inferred(folder, **options)


@pytest.mark.parametrize(
    ("schema", "options", "message"),
    [
        ("id int", {"schemaEvolutionMode": "addNewColumns"}, "a given schema does not allow"),
        ("id int", {"schemaEvolutionMode": "rescue"}, "no column '_rescued_data'"),
        ("id int", {"rescuedDataColumn": "rest"}, "add `rest string`"),
        ("_rescued_data int", {}, "rescued data is a string"),
        ("_metadata struct<x: int>", {}, "it holds struct<file_path: string"),
    ],
)
def test_a_given_schema_is_checked_against_the_options(
    folder: Path, schema: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        source(folder, **options).streamReader(schema_of(schema))
