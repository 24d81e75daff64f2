"""Splitting objects into records: what comes out, whatever comes in."""

import gzip
import itertools
import json
import random
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import pytest
import zstandard
from corpus import OBJECTS, good
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loaders.sources import records
from loaders.sources.records import (
    ERRORS,
    MAX_DEPTH,
    MAX_RECORD_BYTES,
    BrokenStreamError,
    Record,
    decompress,
    split_records,
)

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def split(data: bytes, **options: int) -> list[Record]:
    return list(split_records([data], **options))


def pieces(data: bytes, **options: int) -> list[tuple[bytes, str | None]]:
    return [(record.data, record.error) for record in split(data, **options)]


# A slow reference: the module's promises, spelled out byte by byte for data held whole.


class Bad(Exception):
    """The byte at this place cannot continue a value."""


class Cut(Exception):
    """The data ends inside a value."""


class SlowSplitter:
    WORDS = (b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity")

    def __init__(self, data: bytes, limit: int, look_ahead: int) -> None:
        self.data = data
        self.limit = limit
        self.look_ahead = min(limit, look_ahead)
        self.deepest = 0

    def byte(self, at: int) -> bytes:
        if at == len(self.data):
            raise Cut
        return self.data[at : at + 1]

    # The grammar of JSON: each method takes the place where a thing begins, returns where it ends.

    def value(self, at: int, depth: int = 0) -> int:
        self.deepest = max(self.deepest, depth)
        match self.byte(at):
            case b"{":
                return self.members(at, depth + 1)
            case b"[":
                return self.elements(at, depth + 1)
            case b'"':
                return self.string(at)
        return self.word(at)

    def members(self, at: int, depth: int) -> int:
        self.deepest = max(self.deepest, depth)
        at = self.blanks(at + 1)
        if self.byte(at) == b"}":
            return at + 1
        while True:
            if self.byte(at) != b'"':
                raise Bad(at)
            at = self.blanks(self.string(at))
            if self.byte(at) != b":":
                raise Bad(at)
            at = self.blanks(self.value(self.blanks(at + 1), depth))
            if self.byte(at) == b"}":
                return at + 1
            if self.byte(at) != b",":
                raise Bad(at)
            at = self.blanks(at + 1)

    def elements(self, at: int, depth: int) -> int:
        self.deepest = max(self.deepest, depth)
        at = self.blanks(at + 1)
        if self.byte(at) == b"]":
            return at + 1
        while True:
            at = self.blanks(self.value(at, depth))
            if self.byte(at) == b"]":
                return at + 1
            if self.byte(at) != b",":
                raise Bad(at)
            at = self.blanks(at + 1)

    def string(self, at: int) -> int:
        at += 1
        while (byte := self.byte(at)) != b'"':
            if byte < b" ":
                raise Bad(at)
            if byte == b"\\":
                at = self.escape(at)
            else:
                at += 1
        return at + 1

    def escape(self, at: int) -> int:
        if self.byte(at + 1) == b"u":
            for place in range(at + 2, at + 6):
                if self.byte(place) not in b"0123456789abcdefABCDEF":
                    raise Bad(at + 1)
            return at + 6
        if self.byte(at + 1) not in b'"\\/bfnrt':
            raise Bad(at)
        return at + 2

    def word(self, at: int) -> int:
        for word in self.WORDS:
            if self.data.startswith(word, at):
                return at + len(word)
            if word.startswith(self.data[at:]):
                raise Cut
        return self.number(at)

    def number(self, at: int) -> int:
        first = at + 1 if self.byte(at) == b"-" else at
        if not self.byte(first).isdigit():
            raise Bad(at)
        end = first + 1 if self.byte(first) == b"0" else self.digits(first)
        if self.data[end : end + 1] == b"." and self.byte(end + 1).isdigit():
            end = self.digits(end + 1)
        if self.data[end : end + 1] in (b"e", b"E"):
            power = end + 1
            if self.byte(power) in b"+-":
                power += 1
            if self.byte(power).isdigit():
                end = self.digits(power)
        return end

    def digits(self, at: int) -> int:
        while self.data[at : at + 1].isdigit():
            at += 1
        return at

    def blanks(self, at: int, more: tuple[bytes, ...] = ()) -> int:
        while True:
            for blank in (b" ", b"\t", b"\r", b"\n", *more):
                if self.data.startswith(blank, at):
                    at += len(blank)
                    break
            else:
                return at

    # What is made of it.

    def top_value(self, at: int) -> int:
        self.deepest = 0
        end = self.value(at)
        if self.data[at] not in b'{["' and self.data[end : end + 1] not in (
            *(bytes([byte]) for byte in b' \t\r\n,[]{}"'),
            b"",
        ):
            raise Bad(end)
        return end

    def is_lone_array(self, at: int) -> bool:
        if self.data[at : at + 1] != b"[":
            return False
        try:
            end = self.top_value(at)
        except (Bad, Cut):
            return True
        following = self.blanks(end, (b"\xef\xbb\xbf",))
        if following - at > self.look_ahead or self.deepest > MAX_DEPTH:
            return True
        return self.data[following : following + 1] not in (b"[", b"{")

    def end_of_bad_piece(self, at: int, gave_up: int) -> int:
        for place in range(at, min(gave_up, len(self.data) - 1)):
            if self.data[place : place + 2] in (b"\n{", b"\n["):
                return place + 1
        for place in range(gave_up, len(self.data)):
            if self.data[place : place + 1] == b"\n" or self.data[place : place + 2] == b"}{":
                return place + 1
        return len(self.data)

    def end_of_large_value(self, at: int) -> int:
        if self.data[at] not in b'{["':
            while at < len(self.data) and self.data[at] not in b' \t\r\n,[]{}"':
                at += 1
            return at
        depth, in_string = 0, False
        while at < len(self.data):
            byte = self.data[at : at + 1]
            at += 1
            if in_string:
                if byte == b"\n":
                    return at
                if byte == b"\\" and self.data[at : at + 1] != b"\n":
                    at += 1
                in_string = byte != b'"'
            elif byte == b'"':
                in_string = True
            else:
                depth += (byte in b"[{") - (byte in b"]}")
            if depth <= 0 and not in_string and byte in b'"]}':
                return at
        return min(at, len(self.data))

    def pieces(self) -> Iterator[tuple[bytes, int, str | None]]:
        if self.data.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
            yield self.data[: self.limit], 0, "not_utf8"
            return
        at = self.blanks(0, (b"\xef\xbb\xbf",))
        in_array = self.is_lone_array(at)
        at += in_array
        error = None
        while True:
            at = self.blanks(at, (b"\xef\xbb\xbf", b",") if in_array else (b"\xef\xbb\xbf",))
            if at == len(self.data):
                break
            if in_array and self.byte(at) == b"]":
                in_array = False
                at += 1
                continue
            piece, end, error = self.piece(at)
            yield piece, at, error
            at = end
        if in_array and error is None:
            yield b"", at, "truncated_json"

    def piece(self, at: int) -> tuple[bytes, int, str | None]:
        try:
            end = reached = self.top_value(at)
            error = "nested_too_deeply" if self.deepest > MAX_DEPTH else None
            gave_up = at
        except Bad as bad:
            gave_up = reached = bad.args[0]
            error = "invalid_json"
        except Cut:
            gave_up = reached = len(self.data)
            error = "truncated_json"
        if error != "nested_too_deeply" and reached - at > self.limit:
            return (
                self.data[at : at + self.limit],
                self.end_of_large_value(at),
                "record_too_large",
            )
        if error is not None:
            end = self.end_of_bad_piece(at, gave_up)
        data = self.data[at : min(end, at + self.limit)].rstrip(b" \t\r\n")
        if error in (None, "invalid_json"):
            try:
                data.decode()
            except UnicodeDecodeError as problem:
                cut_by_limit = len(data) == self.limit and error is not None
                if not (cut_by_limit and problem.reason == "unexpected end of data"):
                    error = "invalid_utf8"
        return data, end, error


def slow_split(data: bytes, limit: int, look_ahead: int) -> list[Record]:
    found = SlowSplitter(data, limit, look_ahead).pieces()
    return [Record(ordinal, *piece) for ordinal, piece in enumerate(found)]


# Inputs.

TOKENS = [
    *(bytes([byte]) for byte in b'{}[]",:\\-+.eEu1a0 \n\r\t\x00\x0b'),
    *(b"}{", b"\n{", b"\n[", b'"a":', b'{"a":1}', b"[1,2]", b'{"b":[{"c":"}{"}]}', b'"x y"', b"{}"),
    *(b"true", b"nul", b"NaN", b"-Infinity", b"Inf", b"-0.5e+3", b"1e999", b"12345678901234567890"),
    *(b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\xc3\xa9", b"\\u00e9", b"\\ud800", b'"\\ud8', b'"\\n"'),
]
soup = st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def json_texts(draw: st.DrawFn, values: st.SearchStrategy = json_values) -> bytes:
    value = draw(values)
    return json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, None, 2])),
        separators=draw(st.sampled_from([None, (",", ":")])),
    ).encode()


SEPARATORS = [b"\n", b"\r\n", b" ", b"\n\n", b"\t", b"\n\xef\xbb\xbf", b""]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """JSON values and what may stand between them, then damaged here and there."""
    separator = draw(st.sampled_from(SEPARATORS))
    texts = draw(st.lists(json_texts(), max_size=6))
    data = separator.join(texts)
    if draw(st.booleans()):
        data = b"[" + b",\n".join(texts) + b"]"
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 3, len(data))))
        data = data[:start] + draw(st.sampled_from([b"", *TOKENS])) + data[end:]
    return data


@st.composite
def chunkings(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)])]


@contextmanager
def sizes(read: int, text: int, look_ahead: int) -> Iterator[None]:
    """Move the places where the splitter runs out of what it holds."""
    with mock.patch.multiple(records, _READ=read, _TEXT=text, _LOOK_AHEAD=look_ahead):
        yield


small = st.sampled_from([1, 2, 3, 5, 8, 13, 40, 1000])


# What becomes a record.


@UNTIMED
@given(
    texts=st.lists(json_texts(st.dictionaries(st.text(), json_values, max_size=5)), max_size=5),
    separator=st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \r\n\t", b"", b"\n\xef\xbb\xbf"]),
)
def test_every_object_is_a_record_with_its_bytes_whatever_stands_between(texts, separator):
    assert pieces(separator.join(texts)) == good(*texts)


@UNTIMED
@given(texts=st.lists(json_texts(), max_size=5))
def test_scalars_and_values_over_several_lines_are_records_too(texts):
    # A first array alone would be unpacked.
    assert pieces(b"\n".join([b"0", *texts])) == good(b"0", *texts)


@UNTIMED
@given(texts=st.lists(json_texts(), max_size=5), indent=st.sampled_from([b"", b"\n", b"\n  "]))
def test_the_elements_of_a_lone_array_are_the_records(texts, indent):
    array = b"[" + b",".join(indent + text for text in texts) + indent + b"]"
    assert pieces(array) == good(*texts)
    assert pieces(b"\xef\xbb\xbf\n" + array + b"\n") == good(*texts)


@UNTIMED
@given(rows=st.lists(json_texts(st.lists(json_values, max_size=3)), min_size=2, max_size=5))
def test_arrays_that_follow_one_another_are_records_themselves(rows):
    assert pieces(b"\n".join(rows)) == good(*rows)
    assert pieces(b"".join(rows)) == good(*rows)


def test_a_first_array_is_unpacked_when_what_follows_it_is_too_far_away():
    for blanks, expected in [(5, good(b"[1]", b"[2]")), (6, good(b"1", b"[2]"))]:
        with sizes(1000, 1000, 8):
            assert pieces(b"[1]" + b" " * blanks + b"[2]") == expected


def test_ordinals_count_good_and_bad_pieces_and_offsets_point_at_their_first_bytes():
    assert split(b'\n {"a":1}\r\noops\r\n{"b":2}{"c":3}') == [
        Record(0, b'{"a":1}', 2, None),
        Record(1, b"oops", 11, "invalid_json"),
        Record(2, b'{"b":2}', 17, None),
        Record(3, b'{"c":3}', 24, None),
    ]


@pytest.mark.parametrize(("data", "expected"), OBJECTS.values(), ids=OBJECTS.keys())
def test_objects_of_the_corpus_are_split_as_it_says(data, expected):
    assert pieces(data) == expected


@pytest.mark.parametrize(
    "text",
    ['{"a": "x\\u00e9y", "b": [1.5e-7, {}], "c": -Infinity}', '{"a": null, "b": -12.75}'],
)
def test_a_value_cut_anywhere_is_truncated_and_what_stands_before_it_is_read(text):
    for end in range(1, len(text)):
        assert pieces(b"0\n" + text[:end].encode()) == [
            (b"0", None),
            (text[:end].encode().rstrip(), "truncated_json"),
        ]


def test_the_largest_record_is_kept_and_a_larger_one_reported_with_its_beginning():
    def of_size(size):
        return b'{"a":"' + b"x" * (size - 8) + b'"}'

    for large, error in [(of_size(100), None), (of_size(101), "record_too_large")]:
        for separator in (b"\n", b"", b" "):
            data = separator.join([b'{"b":1}', large, b'{"c":2}'])
            assert pieces(data, max_record_bytes=100) == [
                (b'{"b":1}', None),
                (large[:100], error),
                (b'{"c":2}', None),
            ]


@pytest.mark.parametrize(
    "large",
    [b'{"a":"}{\\"}{","b":[{}]}', b'["\\\\",{"x":"]"}]', b'"}{\\\\\\"[ "', b"1234567890.5e10"],
    ids=repr,
)
def test_reading_goes_on_right_behind_a_record_that_is_too_large(large):
    array = b"[[1]," + large + b',{"z":2}]'
    for read in range(1, 12):
        with sizes(read, 4, 4):
            assert pieces(array, max_record_bytes=8) == [
                (b"[1]", None),
                (large[:8], "record_too_large"),
                (b'{"z":2}', None),
            ]


@pytest.mark.parametrize("separator", [b"\n", b" \n"])
@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 800, 5000, 100_000])
def test_nesting_is_limited(depth, separator):
    deep = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    error = None if depth <= MAX_DEPTH else "nested_too_deeply"
    assert pieces(separator.join([b"1", deep, b"2"])) == [(b"1", None), (deep, error), (b"2", None)]


def test_brackets_in_strings_are_no_nesting():
    text = json.dumps({"a": '[{\\"' * MAX_DEPTH, "b": [{}] * MAX_DEPTH}).encode()
    assert pieces(text) == good(text)


# Fast and general ways, chunks and windows: the same records as the slow reference.


@settings(UNTIMED, max_examples=500)
@given(
    data=st.one_of(soup, streams()),
    limit=st.sampled_from([1, 4, 9, 20, 10_000]),
    read=small,
    text=small,
    look_ahead=small,
    chunks=st.data(),
)
@example(b"[\xef\xbb\xbf1]", 9, 1, 1, 1, None)
def test_records_are_those_of_the_slow_reference(data, limit, read, text, look_ahead, chunks):
    parts = [data] if chunks is None else chunks.draw(chunkings(data))
    with sizes(read, text, look_ahead):
        found = list(split_records(parts, max_record_bytes=limit))
    assert found == slow_split(data, limit, look_ahead)


@pytest.mark.parametrize(
    "data",
    [
        # As many values as there are cuts, in other places.
        b'{"a":"}{"} {"b":1}',
        b'{"a":"}{"}\n{"b":1}{"c":2}',
        b'{"a":"}\n{"}\n{"b":1}{"c":2}',
        b'{"a":"}\r\n{"}\r\n{"b":1} {"c":2}',
        b'{"a":1}{"b":2}\n{"c":{"d":3} }\n{"e":4}',
        # Bytes that the decoder passes over, and nesting that it accepts.
        b'{"a":"\xff"}\n{"b":1}',
        b'{"a":1}\n{"b":' + b"[" * 300 + b"]" * 300 + b"}",
    ],
)
def test_as_many_values_as_parts_are_not_taken_for_the_parts(data):
    for tail in (b"", b"\n", b"\r\n{}", b"{}"):  # what is cut is what has more behind it
        assert split(data + tail) == slow_split(data + tail, 10 * 2**20, 2**20)


@settings(UNTIMED, max_examples=200)
@given(data=st.one_of(soup, streams(), st.binary()))
@example(b"\x28\xb5\x2f\xfd")  # the beginning of zstd, and no more
def test_what_stands_between_the_records_is_only_what_separates(data):
    in_array = data.lstrip(b" \t\r\n\xef\xbb\xbf").startswith(b"[")
    at = 0
    for record in split(data):
        if (record.error or "").endswith(("trailing_garbage", "_gzip", "_zstd")):
            return  # offsets are of what was unpacked
        gap = data[at : record.offset].replace(b"\xef\xbb\xbf", b"")
        assert gap.strip(b" \t\r\n,[]" if in_array else b" \t\r\n") == b""
        assert data.startswith(record.data, record.offset)
        assert record.error is None or record.error in ERRORS
        at = record.offset + len(record.data)
    gap = data[at:].replace(b"\xef\xbb\xbf", b"")
    assert gap.strip(b" \t\r\n,[]" if in_array else b" \t\r\n") == b""


@UNTIMED
@given(data=streams(), chunks=st.data(), pack=st.sampled_from([gzip.compress, zstandard.compress]))
def test_chunks_and_compression_change_nothing(data, chunks, pack):
    packed = pack(data)
    assert list(split_records(chunks.draw(chunkings(packed)))) == split(data)


def test_many_records_across_many_windows_keep_their_bytes_and_places():
    rng = random.Random(7)
    texts = [
        json.dumps({"n": number, "text": "}{\n[é" * rng.randrange(200)}).encode()
        for number in range(5000)
    ]
    for separator in (b"\n", b"", b"\r\n", b" "):
        data = separator.join(texts)
        found = split(data)
        assert [record.data for record in found] == texts
        assert [record.ordinal for record in found] == list(range(5000))
        assert all(data.startswith(record.data, record.offset) for record in found)
        assert {record.error for record in found} == {None}


# Compression.

LINES = b"".join(b'{"n":%d,"text":"%x"}\n' % (n, n**9) for n in range(40))
PACKERS = {"gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS.keys())
def test_members_and_frames_follow_one_another_and_zeros_are_padding(pack):
    parts = [pack(LINES[:300]), pack(LINES[300:700]), pack(b""), pack(LINES[700:])]
    for joined in (b"".join(parts), b"".join(parts) + b"\0" * 1000, b"\0\0\0".join(parts)):
        for size in (1, 7, len(joined)):
            chunks = [joined[at : at + size] for at in range(0, len(joined), size)]
            assert b"".join(decompress(chunks)) == LINES


def test_skippable_frames_are_skipped():
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    packed = skippable + zstandard.compress(LINES) + skippable
    assert b"".join(decompress([packed])) == LINES


def test_what_cloudwatch_compressed_may_be_compressed_again():
    twice = gzip.compress(gzip.compress(LINES[:300]) + gzip.compress(LINES[300:]))
    assert b"".join(decompress([twice])) == LINES


@pytest.mark.parametrize("name", PACKERS)
def test_a_stream_cut_anywhere_gives_what_can_be_read_and_the_place_of_the_break(name):
    pack = PACKERS[name]
    middle = LINES.index(b"\n", 500) + 1
    first = pack(LINES[:middle])
    packed = first + pack(LINES[middle:])
    whole = split(LINES)
    for end in range(4, len(packed)):
        *read, last = split(packed[:end])
        assert read == whole[: len(read)]
        if end == len(first):
            assert (len(read), last.error) == (LINES[:middle].count(b"\n") - 1, None)
        elif last.error == "trailing_garbage":  # too little of the second one to tell what it is
            assert (last.offset, last.data) == (middle, packed[len(first) : end])
            assert end - len(first) < 4
        else:
            assert last.error == f"truncated_{name}"
            lines = [*(record.data for record in read), last.data]
            assert LINES[: last.offset].rstrip(b"\n") == b"\n".join(lines).rstrip(b"\n")


def test_a_cut_never_passes_half_a_number_for_a_whole_one():
    for cut, expected in [
        (b"1234", [(b"1234", "truncated_gzip")]),
        (b"1234\n", [(b"1234", None), (b"", "truncated_gzip")]),
        (b'{"a":1}', [(b'{"a":1}', None), (b"", "truncated_gzip")]),
        (b"[1,\n12", [(b"1", None), (b"12", "truncated_gzip")]),
    ]:
        assert pieces(gzip.compress(cut)[:-8]) == expected


@pytest.mark.parametrize("name", PACKERS)
def test_bytes_behind_the_stream_are_reported_and_kept(name):
    for size in (1, 2, 3, 4, 5000):
        packed = PACKERS[name](b'{"a":1}\n2') + b"x" * size
        assert split(packed) == [
            Record(0, b'{"a":1}', 0, None),
            Record(1, b"2", 8, None),
            Record(2, b"x" * size, 9, "trailing_garbage"),
        ]


@settings(UNTIMED, max_examples=200)
@given(
    place=st.integers(0, 10**6), flip=st.integers(1, 255), name=st.sampled_from(["gzip", "zstd"])
)
def test_damage_inside_a_stream_never_passes_unseen(place, flip, name):
    packed = bytearray(
        gzip.compress(LINES)
        if name == "gzip"
        else zstandard.ZstdCompressor(write_checksum=True).compress(LINES)
    )
    packed[place % len(packed)] ^= flip
    found = split(bytes(packed))
    # Flags and times in gzip's header are not covered by its checksum, and do not matter.
    assert found == split(LINES) or found[-1].error is not None


def test_all_that_stands_before_the_damage_is_read():
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(LINES) + packer.flush(zlib.Z_SYNC_FLUSH)
    no_such_block = b"\x07"
    assert split(packed + no_such_block + bytes(100)) == [
        *split(LINES),
        Record(40, b"", len(LINES), "corrupt_gzip"),
    ]


def test_a_broken_stream_says_why():
    with pytest.raises(BrokenStreamError, match="truncated_gzip"):
        list(decompress([gzip.compress(b"x" * 1000)[:-1]]))
    with pytest.raises(BrokenStreamError, match="trailing_garbage: b'abc'"):
        list(decompress([gzip.compress(b"x"), b"a", b"bc"]))


# Memory.


def peak_mib(chunks: Iterator[bytes], **options: int) -> float:
    """The most memory held, as Python counts it, while an object is read and dropped."""
    tracemalloc.start()
    try:
        for _ in split_records(chunks, **options):
            pass
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_object():
    line = b'{"a":"' + b"x" * 10_000 + b'"}\n'
    chunk = line * 20
    limit = 2**20
    small_object = peak_mib(iter([chunk] * 30), max_record_bytes=limit)
    large_object = peak_mib(iter([chunk] * 300), max_record_bytes=limit)
    assert large_object < small_object * 1.2


@pytest.mark.parametrize(
    ("opening", "filling"),
    [
        (b'{"a":"', b"x" * 2**17),  # one endless string
        (b"", b"garbage " * 2**14),  # one endless line of garbage
        (b"0", b"0123456789" * 10_000),  # one endless number
        (b'{"a":[0', b",[%s]" % (b"1" * 1000) * 2**7),  # one endless array in an object
    ],
)
def test_memory_does_not_grow_with_the_record(opening, filling):
    limit = 2**18
    short = peak_mib(itertools.chain([opening], [filling] * 30), max_record_bytes=limit)
    long = peak_mib(itertools.chain([opening], [filling] * 90), max_record_bytes=limit)
    assert long < short * 1.2


@pytest.mark.parametrize("name", PACKERS)
def test_a_decompression_bomb_does_not_burst(name):
    bomb = PACKERS[name](b" " * (64 * 2**20))
    assert len(bomb) < 100_000
    assert peak_mib(iter([bomb]), max_record_bytes=2**20) < 24


def test_the_largest_record_is_what_kinesis_and_firehose_allow():
    assert MAX_RECORD_BYTES == 10 * 2**20
