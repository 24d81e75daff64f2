"""What the ledger says of an object, by what was read of it and what was known before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.counting import loaded_and_overwrites, object_entry


@st.composite
def summaries(draw: st.DrawFn) -> dict[str, int]:
    received = draw(st.integers(0, 1000))
    return {"received": received, "broken": draw(st.integers(0, received))}


@given(row=summaries(), is_duplicate=st.booleans(), is_overwrite=st.booleans())
def test_every_record_of_an_object_is_kept_a_duplicate_or_quarantined(
    row: dict[str, int], is_duplicate: bool, is_overwrite: bool
) -> None:
    entry = object_entry(dict(row), is_duplicate=is_duplicate, is_overwrite=is_overwrite)
    assert entry["received"] == entry["kept"] + entry["duplicates"] + entry["quarantined"]
    assert min(entry["kept"], entry["duplicates"], entry["quarantined"]) >= 0


@pytest.mark.parametrize(
    ("known", "kept", "duplicates", "quarantined"),
    [("", 5, 0, 2), ("loaded", 0, 7, 0), ("overwrite", 0, 0, 7)],
)
def test_of_seven_records_two_of_them_broken(
    known: str, kept: int, duplicates: int, quarantined: int
) -> None:
    entry = object_entry(
        {"received": 7, "broken": 2},
        is_duplicate=known == "loaded",
        is_overwrite=known == "overwrite",
    )
    assert (entry["kept"], entry["duplicates"], entry["quarantined"]) == (
        kept,
        duplicates,
        quarantined,
    )
    assert (entry["first_position"], entry["last_position"]) == ("0", "6")


def test_an_object_without_records_has_no_positions() -> None:
    entry = object_entry({"received": 0, "broken": 0}, is_duplicate=False, is_overwrite=False)
    assert (entry["first_position"], entry["last_position"]) == (None, None)


def test_known_objects_are_told_apart_by_a_reason() -> None:
    known = [("b", "k", "1"), ("b", "k", "2", "overwrite_ignored")]
    assert loaded_and_overwrites(known) == ({("b", "k", "1")}, {("b", "k", "2")})
