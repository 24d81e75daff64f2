"""What the ledger and the quarantine prove of objects that are to be cleaned up."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from loaders.sources.books import Books
from loaders.sources.object_state import ObjectState
from loaders.sources.objects import ObjectVersion
from loaders.sources.records import MAX_RECORD_BYTES, split_records

OBJECT = ObjectVersion("landing", "in/a.json", "v1", 10, 0)

LEDGER = pa.schema(
    [(name, pa.string()) for name in ("feed", "container", "item", "version")]
    + [(name, pa.int64()) for name in ("received", "kept")]
)
QUARANTINE = pa.schema(
    [(name, pa.string()) for name in ("feed", "container", "item", "version", "reason")]
    + [("raw", pa.binary())]
)


def books(
    root: Path,
    ledger: list[tuple[int, int]],
    quarantine: list[tuple[str, bytes | None]] = (),
    feed: str = "prices",
    version: str = "v1",
) -> Books:
    """Books with these (received, kept), and these (reason, raw), of the object."""
    identity = (feed, OBJECT.bucket, OBJECT.key, version)
    for name, schema, rows in (
        ("ledger", LEDGER, ledger),
        ("quarantine", QUARANTINE, quarantine),
    ):
        whole = [dict(zip(schema.names, (*identity, *row), strict=True)) for row in rows]
        table = pa.Table.from_pylist(whole, schema)
        write_deltalake(str(root / "warehouse" / "bronze.db" / name), table)
    return Books(root, "prices")


@pytest.mark.parametrize(
    ("ledger", "quarantine"),
    [
        ([(3, 3)], []),
        ([(0, 0)], []),  # it has no records
        ([(3, 3), (3, 0)], []),  # and was met again by another query
        ([(3, 2)], [("invalid_json", b"{")]),
        ([(3, 2)], [("truncated_json", b"{")]),
        ([(2, 1)], [("overwrite_ignored", b"{}")]),
        ([(1, 0), (-1, 0), (5, 5)], []),  # refused, and replayed
    ],
)
def test_an_object_is_loaded_when_nobody_needs_it_any_more(
    tmp_path: Path, ledger: list, quarantine: list
) -> None:
    assert books(tmp_path, ledger, quarantine).loaded([OBJECT]) == {OBJECT}


@pytest.mark.parametrize(
    ("ledger", "quarantine"),
    [
        ([], []),
        ([(1, 0)], [("refused:InvalidObjectState", b"")]),
        ([(1, 0)], [("deleted_before_read", b"")]),
        ([(1, 0)], [("not_utf8", b"\xff\xfe")]),
        ([(2, 1)], [("corrupt_gzip", b"{")]),
        ([(2, 1)], [("truncated_zstd", None)]),
        ([(2, 1)], [("record_too_large", b"{")]),
        ([(3, 1)], [("invalid_json", b"{"), ("invalid_json", b"{" * MAX_RECORD_BYTES)]),
    ],
)
def test_an_object_that_quarantine_has_not_all_bytes_of_is_not(
    tmp_path: Path, ledger: list, quarantine: list
) -> None:
    assert books(tmp_path, ledger, quarantine).loaded([OBJECT]) == set()


def test_broken_lines_among_good_ones_do_not_hold_their_object_back(tmp_path: Path) -> None:
    body = b'{"n":1}\n{"broken":\n{"n":2}\nno JSON\n"\xff"\n{"n":3'
    bad = [(record.error, record.data) for record in split_records([body]) if record.error]
    assert b"".join(data for _, data in bad) == b'{"broken":no JSON"\xff"{"n":3'
    assert books(tmp_path, [(6, 2)], bad).loaded([OBJECT]) == {OBJECT}


def test_another_feeds_books_another_version_and_no_books_prove_nothing(tmp_path: Path) -> None:
    assert books(tmp_path / "feed", [(3, 3)], feed="other").loaded([OBJECT]) == set()
    assert books(tmp_path / "version", [(3, 3)], version="v0").loaded([OBJECT]) == set()
    assert Books(tmp_path / "none", "prices").loaded([OBJECT]) == set()


def test_what_is_not_proven_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    state = ObjectState(tmp_path / "s.sqlite")
    later = OBJECT._replace(key="in/b.json")
    state.mark_planned([OBJECT], loaded_ms=1)
    state.mark_planned([later], loaded_ms=2)
    assert state.loaded_before(2, 1) == [OBJECT]
    state.postpone_loaded([OBJECT], 9)
    assert state.loaded_before(2, 1) == [later]
    assert state.loaded_before(9, 2) == [later, OBJECT]
