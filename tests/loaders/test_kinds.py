"""What a record of a stream must be to be kept: one JSON value in UTF-8."""

from __future__ import annotations

import gzip
import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from loaders.kinds import flaw, judge
from loaders.sources.records import ERRORS, MAX_RECORD_BYTES

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=values, ascii_only=st.booleans(), end=st.sampled_from(["", "\n", " \r\n"]))
def test_any_json_value_is_kept_with_or_without_a_line_end(
    value: object, ascii_only: bool, end: str
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only) + end
    assert flaw(text.encode()) is None


@given(value=values)
def test_what_is_followed_by_another_value_is_not_one_record(value: object) -> None:
    assert flaw(f"{json.dumps(value)} {{}}".encode()) == "invalid_json"


@given(payload=st.binary())
def test_a_reason_is_one_that_objects_have_too(payload: bytes) -> None:
    reason = flaw(payload)
    assert reason is None or reason in ERRORS


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"a":1}\n{"a":2}', "invalid_json"),
        (b'{"a":', "invalid_json"),
        (b"", "invalid_json"),
        (b'\xef\xbb\xbf{"a":1}', "invalid_json"),  # Spark's JSON functions refuse the mark
        (b'{"a":"\xff"}', "invalid_utf8"),
        ('{"a":1}'.encode("utf-16"), "invalid_utf8"),
        (b"\x1f\x8b\x08\x00", "invalid_utf8"),  # gzip
        (b"[" * 100_000, "nested_too_deeply"),
        (b'{"a":NaN,"b":-Infinity}', None),
        (b'{"a":"\\ud800"}', None),
        (b"1" * 400, None),
    ],
)
def test_a_broken_record_is_told_why(payload: bytes, reason: str | None) -> None:
    assert flaw(payload) == reason
    if not payload.startswith(b"\x1f\x8b"):
        assert judge(payload) == (reason, None)


def test_what_a_producer_compressed_is_kept_unpacked() -> None:
    envelope = b'{"messageType":"DATA_MESSAGE","logEvents":[]}'
    for pack in (gzip.compress, zstandard.compress):
        assert judge(pack(envelope)) == (None, envelope)
        assert judge(pack(b"{}{}")) == ("invalid_json", b"{}{}")
    assert judge(gzip.compress(envelope)[:-9]) == ("truncated_gzip", None)
    assert judge(gzip.compress(b"[" + b"1," * MAX_RECORD_BYTES)) == ("record_too_large", None)
