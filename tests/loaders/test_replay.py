"""What takes the place of a row in quarantine when it is read again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.kinds import Kind, Objects, StreamRecords
from loaders.replay import _STAGED, BRONZE_COLUMNS, Quarantined, Reading, one_record, read_again
from loaders.sources.objects import ObjectVersion
from loaders.sources.records import ERRORS, Record, split_records
from loaders.sources.s3_events import ObjectRef

BODY = b'{"a":1}\n{"b":\n{"c":3}\n{"d"'


def a_row(reason: str, raw: bytes = b"", **changes: object) -> Quarantined:
    row = Quarantined(4, "bucket", "key", "etag", 0, 0, reason, raw, 1000, is_last=True)
    return row._replace(**changes)


def fetching(body: bytes) -> Callable[[ObjectVersion], Iterator[Record]]:
    return lambda item: split_records([body])


def gone(item: ObjectVersion) -> Iterator[Record]:
    yield Record(0, b"", 0, "deleted_before_read")


def never(item: ObjectVersion) -> Iterator[Record]:
    raise AssertionError(f"{item} was fetched")


def all_new(refs: list[ObjectRef]) -> list[tuple[ObjectRef, str | None]]:
    return [(ref, None) for ref in refs]


def records(readings: list[Reading] | None) -> list[tuple[int, bytes, str | None]] | None:
    if readings is None:
        return None
    return [(r.ordinal, r.data, r.error) for reading in readings for r in reading.records]


@pytest.mark.parametrize("raw", [b'{"a":1}', b' {"a":[1,{"b":"]"}]}\r\n', b"[1,2]", b"7", b'"x"'])
def test_bytes_that_are_one_record_are_that_record(raw: bytes) -> None:
    assert one_record(raw) == raw.strip()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b'{"a":',
        b'{"a":1}{"b":2}',
        b'{"a":1},{"b":2}',
        b'{"a":1}] {"b":2}',
        b"1]",
        b"\xff",
        b'{"a":"\xff"}',
        b"\x1f\x8b\x08\x00",
    ],
)
def test_bytes_that_are_none_or_several_are_not_taken_for_one(raw: bytes) -> None:
    assert one_record(raw) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_json_value_is_one_record(value: object) -> None:
    raw = json.dumps(value).encode()
    assert one_record(raw) == raw


def test_a_bad_record_is_judged_by_its_own_bytes_and_keeps_its_place() -> None:
    row = a_row("invalid_json", b'{"a":1}', ordinal=5, offset=77, is_last=False)
    (reading,) = read_again(row, never, all_new) or []
    assert reading[:5] == ("bucket", "key", "etag", 0, 1000)
    assert list(reading.records) == [Record(5, b'{"a":1}', 77, None)]
    assert read_again(a_row("invalid_json", b'{"a":'), never, all_new) is None
    # An overwrite that only the ledger could tell stands there record by record.
    overwritten = a_row("overwrite_ignored", b"7", ordinal=2)
    assert records(read_again(overwritten, never, all_new)) == [(2, b"7", None)]


def test_an_object_that_is_back_is_read_whole_its_bad_records_included() -> None:
    found = records(read_again(a_row("deleted_before_read"), fetching(BODY), all_new))
    assert found == [
        (0, b'{"a":1}', None),
        (1, b'{"b":', "invalid_json"),
        (2, b'{"c":3}', None),
        (3, b'{"d"', "truncated_json"),
    ]


def test_an_object_that_is_back_and_empty_leaves_quarantine_without_a_record() -> None:
    assert records(read_again(a_row("deleted_before_read"), fetching(b""), all_new)) == []


@pytest.mark.parametrize("reason", ["deleted_before_read", "refused:AccessDenied"])
def test_an_object_that_is_still_gone_stays(reason: str) -> None:
    assert read_again(a_row(reason), gone, all_new) is None


def test_a_tail_that_is_still_cut_off_stays() -> None:
    row = a_row("truncated_json", b'{"d"', ordinal=3, offset=22)
    assert read_again(row, fetching(BODY), all_new) is None


def test_what_follows_from_the_place_of_a_tail_is_counted_on_from_it() -> None:
    row = a_row("not_utf8", ordinal=1, offset=8)
    found = records(read_again(row, fetching(BODY), all_new)) or []
    assert [(ordinal, data) for ordinal, data, _ in found] == [
        (1, b'{"b":'),
        (2, b'{"c":3}'),
        (3, b'{"d"'),
    ]


def test_in_the_middle_of_an_object_one_good_record_at_its_place_is_taken_and_no_other() -> None:
    row = a_row("record_too_large", ordinal=9, offset=14, is_last=False)
    assert records(read_again(row, fetching(BODY), all_new)) == [(9, b'{"c":3}', None)]
    for offset in (8, 9, 30):
        other = row._replace(offset=offset)
        assert read_again(other, fetching(BODY), all_new) is None, offset


@pytest.mark.parametrize("reason", sorted(ERRORS))
def test_bytes_that_were_cut_are_never_taken_for_a_record(reason: str) -> None:
    """`12` of a cut `123` is a number, and not the record."""
    whole = {"invalid_json", "invalid_utf8", "nested_too_deeply"}
    taken = records(read_again(a_row(reason, b"12"), gone, all_new))
    assert taken == ([(0, b"12", None)] if reason in whole else None)


def a_message(*keys: str) -> bytes:
    entries = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": "1970-01-01T00:00:02.000Z",
            "s3": {"bucket": {"name": "b"}, "object": {"key": key, "eTag": "e", "size": 27}},
        }
        for key in keys
    ]
    return json.dumps({"Records": entries}).encode()


@pytest.mark.parametrize("kind", [Objects, StreamRecords])
def test_every_column_of_bronze_is_replayed(kind: type[Kind]) -> None:
    names = [column.split()[0] for column in f"data string, {kind.provenance}".split(",")]
    staged = {"batch_id", "ingested_at", *_STAGED.names}  # the first two by _apply
    assert {BRONZE_COLUMNS[name] for name in names} <= staged


def test_a_record_of_a_stream_keeps_its_partition_key_and_its_time() -> None:
    row = a_row("invalid_json", b"1", partition_key="player-7", modified_ms=5000)
    (reading,) = read_again(row, never, all_new) or []
    assert (reading.partition_key, reading.modified_ms) == ("player-7", 5000)


def test_a_message_that_can_be_read_gives_the_objects_that_were_not_loaded() -> None:
    row = a_row("unreadable_message", a_message("a", "b", "c"), container="sqs:q", item="m")

    def not_a(refs: list[ObjectRef]) -> list[tuple[ObjectRef, str | None]]:
        return [(ref, "no" if ref.key == "c" else None) for ref in refs if ref.key != "a"]

    (b, c) = read_again(row, fetching(BODY), not_a) or []
    assert b[:5] == ("b", "b", "e", 27, 2000)
    assert [record.ordinal for record in b.records] == [0, 1, 2, 3]
    assert (c.item, list(c.records)) == ("c", [Record(0, b"", 0, "no")])
    assert read_again(row._replace(raw=b"not json"), never, all_new) is None
