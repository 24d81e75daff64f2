"""Rows of records, whose Arrow columns are made without making each record a Python object."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.sources import row_formats
from loaders.sources.objects import ObjectVersion
from loaders.sources.records import one_by_one, split_runs
from loaders.sources.row_formats import RecordRows

LINES = st.sampled_from([b'{"a":1}', '{"ü":"é"}'.encode(), b"{}", b"7", b"{broken", b"\xff"])
OBJECTS = st.lists(
    st.tuples(st.lists(LINES, max_size=6), st.sampled_from([b"\n", b"\r\n", b""])), max_size=5
)


def an_object(number: int, data: bytes) -> ObjectVersion:
    return ObjectVersion("bucket", f"key {number}", f"v{number}", len(data), 1000 + number)


def slow_rows(contents: list[tuple[ObjectVersion, bytes]]) -> list[tuple[Any, ...]]:
    """Row by row: data, raw, error, ordinal, offset_bytes, key, modified ms, received, broken."""
    rows: list[tuple[Any, ...]] = []
    for item, data in contents:
        records = list(one_by_one(split_runs([data])))
        for record in records:
            is_good = record.error is None
            rows.append(
                (
                    record.data.decode() if is_good else None,
                    None if is_good else record.data,
                    record.error,
                    record.ordinal,
                    record.offset,
                    *(item.key, item.modified_ms, None, None),
                )
            )
        broken = sum(record.error is not None for record in records)
        rows.append((*[None] * 5, item.key, item.modified_ms, len(records), broken))
    return rows


@settings(deadline=None)
@pytest.mark.parametrize("batch_rows", [1, 3, 10_000])
@given(objects=OBJECTS)
def test_each_record_is_a_row_and_each_object_ends_with_its_counts(
    objects: list[tuple[list[bytes], bytes]], batch_rows: int
) -> None:
    contents = [separator.join(lines) for lines, separator in objects]
    items = [(an_object(number, data), data) for number, data in enumerate(contents)]
    with mock.patch.object(row_formats, "BATCH_ROWS", batch_rows):
        batches = list(RecordRows().batches((item, split_runs([data])) for item, data in items))
    found = []
    for batch in batches:
        batch.validate(full=True)
        names = ("data", "raw", "error", "ordinal", "offset_bytes", "key")
        columns = [batch.column(name).to_pylist() for name in names]
        columns.append(
            [round(at.timestamp() * 1000) for at in batch.column("modified_at").to_pylist()]
        )
        columns += [batch.column(name).to_pylist() for name in ("received", "broken")]
        found += zip(*columns, strict=True)
    assert found == slow_rows(items)
