"""The state file of a streaming query over objects, and what the reader plans from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql.streaming.datasource import ReadMaxBytes, ReadMaxFiles
from pyspark.sql.types import StructType

from loaders.sources.cloud_files import CloudFiles
from loaders.sources.object_state import Message, ObjectState, StateLost
from loaders.sources.object_stream import ObjectStreamReader, balance
from loaders.sources.objects import OVERWRITE, ObjectVersion, is_data, parse_location
from loaders.sources.options import byte_option, positive_option


def an_object(name: str, *, version: str = "v1", size: int = 10, at: int = 0) -> ObjectVersion:
    return ObjectVersion("bucket", name, version, size, at)


def test_waiting_objects_come_oldest_first_and_within_the_limits(tmp_path: Path) -> None:
    state = ObjectState(tmp_path / "s.sqlite")
    objects = [an_object("c", at=3), an_object("a", at=1), an_object("b", at=2)]
    state.discover(objects, allow_overwrites=False)
    assert [item.key for item in state.waiting(2, None)] == ["a", "b"]
    assert [item.key for item in state.waiting(10, 20)] == ["a", "b"]
    assert state.backlog() == (3, 30)


def test_an_object_larger_than_the_byte_limit_is_planned_alone(tmp_path: Path) -> None:
    state = ObjectState(tmp_path / "s.sqlite")
    state.discover([an_object("giant", size=10**9), an_object("z")], allow_overwrites=False)
    assert [item.key for item in state.waiting(10, 100)] == ["giant"]


def test_planned_objects_do_not_wait_again_however_often_they_are_found(tmp_path: Path) -> None:
    state = ObjectState(tmp_path / "s.sqlite")
    item = an_object("a")
    state.discover([item], allow_overwrites=False)
    state.mark_planned([item])
    state.mark_planned([item])
    state.discover([item, item], allow_overwrites=False)
    assert state.waiting(10, None) == []


def test_an_overwrite_waits_as_a_note_unless_overwrites_are_allowed(tmp_path: Path) -> None:
    for allow_overwrites, kind in ((False, OVERWRITE), (True, "object")):
        state = ObjectState(tmp_path / f"{kind}.sqlite")
        state.discover([an_object("a")], allow_overwrites=allow_overwrites)
        state.mark_planned([an_object("a")])
        state.discover([an_object("a", version="v2")], allow_overwrites=allow_overwrites)
        assert [(item.version, item.kind) for item in state.waiting(10, None)] == [("v2", kind)]


def test_a_version_written_in_place_of_a_planned_one_neither_waits_nor_counts(
    tmp_path: Path,
) -> None:
    for allow_overwrites in (False, True):
        state = ObjectState(tmp_path / f"{allow_overwrites}.sqlite")
        state.mark_planned([an_object("a")], loaded_ms=5)
        state.discover([an_object("waits")], allow_overwrites=allow_overwrites)
        rewritten = an_object("a", version="v2", size=11)
        assert state.note_rewritten(rewritten)
        assert state.note_rewritten(rewritten)
        assert not state.note_rewritten(an_object("waits", version="v2"))
        assert not state.note_rewritten(an_object("another"))
        announced = Message("m", [rewritten], None)
        state.note_messages([announced], allow_overwrites=allow_overwrites)
        assert state.finished_messages() == ["m"]
        assert state.waiting(10, None) == [an_object("waits")]
        assert state.fact("planned") == 1
        # it is cleaned up in the other's place
        assert state.loaded_before(5, 10) == [rewritten]


def test_a_version_overwritten_while_it_waits_does_not_keep_the_later_one_out(
    tmp_path: Path,
) -> None:
    state = ObjectState(tmp_path / "s.sqlite")
    state.discover([an_object("a", at=1), an_object("b", at=2)], allow_overwrites=False)
    state.discover(
        [an_object("a", version="v2", at=2), an_object("b", version="v0", at=1)],
        allow_overwrites=False,
    )
    assert {(item.key, item.version, item.kind) for item in state.waiting(10, None)} == {
        ("a", "v1", "object"),  # gone when it is read, and reported
        ("a", "v2", "object"),
        ("b", "v1", "object"),
        ("b", "v0", OVERWRITE),  # announced late
    }


def test_a_version_that_the_bucket_keeps_is_the_first_and_only_one(tmp_path: Path) -> None:
    state = ObjectState(tmp_path / "s.sqlite")
    first = an_object("a", at=1)._replace(version_id="1")
    later = an_object("a", version="v2", at=2)._replace(version_id="2")
    state.discover([first, later], allow_overwrites=False)
    assert [(item.version, item.kind) for item in state.waiting(10, None)] == [
        ("v1", "object"),
        ("v2", OVERWRITE),
    ]


def test_the_count_of_planned_objects_survives_a_file_that_did_not_keep_it(
    tmp_path: Path,
) -> None:
    state = ObjectState(tmp_path / "s.sqlite")
    state.mark_planned([an_object("a"), an_object("b")])
    state._db.execute("delete from fact")
    state.close()
    again = ObjectState(tmp_path / "s.sqlite")
    again.mark_planned([an_object("b"), an_object("c")])
    assert again.fact("planned") == 3


def test_a_message_is_finished_when_none_of_its_objects_waits(tmp_path: Path) -> None:
    state = ObjectState(tmp_path / "s.sqlite")
    a, b = an_object("a"), an_object("b")
    state.note_messages(
        [Message("m1", [a, b], None), Message("m2", [b], None), Message("test", [], None)],
        allow_overwrites=False,
    )
    assert state.finished_messages() == ["test"]
    state.mark_planned([b])
    assert state.finished_messages() == ["m2", "test"]
    state.forget_messages(["m2", "test"])
    state.mark_planned([a])
    assert state.finished_messages() == ["m1"]


def test_a_lost_state_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    state = ObjectState(tmp_path / "s.sqlite")
    state.mark_planned([an_object("a")])
    state.require_planned(1)
    with pytest.raises(StateLost, match=r"knows 1 of the 3 .*new checkpoint"):
        state.require_planned(3)


def reader(folder: Path, state: Path, **options: str) -> ObjectStreamReader:
    settings = {"path": str(folder), "cloudFiles.schemaLocation": str(state), **options}
    return CloudFiles({"cloudFiles.format": "records", **settings}).streamReader(StructType())


def test_a_crash_between_planning_and_logging_an_offset_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / name).write_text("1")
    first = reader(folder, tmp_path)
    start = first.initialOffset()
    one = first.latestOffset(start, ReadMaxFiles(1))
    two = first.latestOffset(one, ReadMaxFiles(1))  # planned, never logged
    first.stop()

    after_crash = reader(folder, tmp_path)
    assert after_crash.latestOffset(one, ReadMaxFiles(1)) == two
    three = after_crash.latestOffset(two, ReadMaxFiles(5))
    assert after_crash.latestOffset(three, ReadMaxFiles(5)) == three
    planned = [item[1] for offset in (one, two, three) for item in offset["files"]]
    assert sorted(Path(key).name for key in planned) == ["a", "b", "c"]
    assert three["planned"] == 3


def test_available_now_ends_at_what_was_there_when_it_began(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a").write_text("1")
    run = reader(folder, tmp_path)
    run.prepareForTriggerAvailableNow()
    one = run.latestOffset(run.initialOffset(), ReadMaxFiles(5))
    (folder / "late").write_text("1")
    assert run.latestOffset(one, ReadMaxFiles(5)) == one
    run.stop()

    next_run = reader(folder, tmp_path)
    next_run.prepareForTriggerAvailableNow()
    two = next_run.latestOffset(one, ReadMaxFiles(5))
    assert [Path(item[1]).name for item in two["files"]] == ["late"]


def test_available_now_ends_at_what_was_there_also_when_that_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a").write_text("1")
    run = reader(folder, tmp_path, **{"cloudFiles.includeExistingFiles": "false"})
    run.prepareForTriggerAvailableNow()
    one = run.latestOffset(run.initialOffset(), ReadMaxFiles(5))
    (folder / "late").write_text("1")
    assert run.latestOffset(one, ReadMaxFiles(5)) == one


def test_two_queries_over_one_folder_do_not_share_what_they_have_seen(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    for _ in range(2):
        run = reader(tmp_path / "in", tmp_path)
        assert run.latestOffset(run.initialOffset(), ReadMaxFiles(5))["planned"] == 1


def test_limits_on_files_and_bytes_hold_together(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "abcd":
        (tmp_path / "in" / name).write_text("x" * 100)
    options = {"cloudFiles.maxFilesPerTrigger": "3", "cloudFiles.maxBytesPerTrigger": "250b"}
    run = reader(tmp_path / "in", tmp_path, **options)
    assert run.getDefaultReadLimit() == ReadMaxFiles(3)
    offset = run.latestOffset(run.initialOffset(), ReadMaxFiles(3))
    assert len(offset["files"]) == 2
    only_bytes = reader(
        tmp_path / "in", tmp_path, **{"cloudFiles.maxBytesPerTrigger": "1m"}
    ).getDefaultReadLimit()
    assert only_bytes == ReadMaxBytes(1 << 20)


@given(
    st.lists(st.integers(min_value=0, max_value=10**7), max_size=50),
    st.integers(min_value=1, max_value=8),
)
def test_balance_keeps_every_object_once_and_parts_even(sizes: list[int], groups: int) -> None:
    objects = [an_object(f"{at:03}", size=size) for at, size in enumerate(sizes)]
    parts = balance(objects, groups)
    assert sorted(item for part in parts for item in part) == objects
    assert all(part == sorted(part, key=lambda item: item.key) and part for part in parts)
    loads = [sum(item.size_bytes + 4096 for item in part) for part in parts]
    if loads:
        assert max(loads) - min(loads) <= max(sizes) + 4096


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("64m", 64 << 20), ("1GB", 1 << 30), ("10kb", 10240)]
)
def test_byte_sizes_are_read_with_their_units(text: str, size: int) -> None:
    assert byte_option({"x": text}, "x") == size


@pytest.mark.parametrize("text", ["", "m", "-1", "0", "1t", "ten"])
def test_a_byte_size_that_is_none_names_the_option_and_the_value(text: str) -> None:
    with pytest.raises(ValueError, match=f"limit is '{text}'"):
        byte_option({"limit": text}, "limit")


def test_a_count_that_is_none_names_the_option_and_the_value() -> None:
    with pytest.raises(ValueError, match="limit is '0'"):
        positive_option({"limit": "0"}, "limit")


@pytest.mark.parametrize(
    ("path", "bucket", "prefix"),
    [
        ("s3://b/a/b/", "b", "a/b/"),
        ("s3a://b", "b", ""),
        ("file:///tmp/a%20b", "file", "/tmp/a b"),
        ("/tmp/x", "file", "/tmp/x"),
    ],
)
def test_locations_are_buckets_or_folders(path: str, bucket: str, prefix: str) -> None:
    location = parse_location(path)
    assert (location.bucket, location.prefix) == (bucket, prefix)


@pytest.mark.parametrize("path", ["s3:///a", "gs://b/a", "https://example.com/a"])
def test_a_location_that_cannot_be_read_is_refused_by_name(path: str) -> None:
    with pytest.raises(ValueError, match=path):
        parse_location(path)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.json", True),
        ("year=2013/a.json", True),
        ("", False),
        ("folder/", False),
        ("_SUCCESS", False),
        ("_delta_log/0.json", False),
        (".hidden", False),
        ("processing-failed/2013/a", False),
        ("2013/processing-failed-not/a", True),
    ],
)
def test_markers_hidden_files_and_error_output_are_no_data(key: str, expected: bool) -> None:
    assert is_data(key) is expected
