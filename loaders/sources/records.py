"""Object bytes to records: decompression and splitting, without ever holding a whole object.

What becomes a record
    A stream is a sequence of JSON values, one record each, whatever stands between them: line
    ends (LF, CRLF), blanks, nothing at all (Firehose's default), or a UTF-8 byte order mark (also
    a stray one, where files were joined). Values may spread over lines. Top-level scalars are
    records; a bare word or number ends at a blank, a quote or a bracket. ``NaN``, ``Infinity``
    and ``-Infinity`` are accepted, for many producers emit them. The envelope of CloudWatch Logs
    stays one record: docs/ingestion.md has the SQL that opens it.

One top-level array
    When the first value is an array, its elements are the records and nested arrays stay whole;
    ``[]`` has none. Only where another array or object follows it (rows written as arrays, one
    after the other) is the array itself a record: that is looked for within the first MiB.
    Commas between elements are not policed, each element is judged by itself. What follows the
    closing bracket is read as if it stood alone: garbage is an error, never a reason to drop the
    elements. An array cut off right behind an element ends with a ``truncated_json`` of no bytes.

What is broken
    A bad piece becomes a record with an error and its raw bytes, at most ``max_record_bytes`` of
    them. It ends with the line in which the parser gave up, or before that: at ``}{``, the seam
    of joined objects, or ahead of a line within it that starts with ``{`` or ``[``, so that one
    broken line does not swallow its neighbours. Reading goes on there. Where only a value's size
    or its UTF-8 is at fault, the piece is exactly the value.
"""

import codecs
import functools
import itertools
import json
import re
import string
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson
import zstandard

MAX_RECORD_BYTES = 10 * 2**20
MAX_DEPTH = 256

ERRORS = {
    "invalid_json": "not a JSON value",
    "invalid_utf8": "bytes that are not UTF-8",
    "not_utf8": "the object starts with a UTF-16 or UTF-32 byte order mark; it is not read further",
    "truncated_json": "the object ends inside a value, or inside its array",
    "record_too_large": "more than max_record_bytes; the record holds the first of them",
    "nested_too_deeply": f"more than {MAX_DEPTH} arrays and objects inside one another",
    "truncated_gzip": "the gzip stream ends early; the record holds the value this cut, if any",
    "corrupt_gzip": "the gzip stream breaks; the record holds the value this cut, if any",
    "truncated_zstd": "the zstd stream ends early; the record holds the value this cut, if any",
    "corrupt_zstd": "the zstd stream breaks; the record holds the value this cut, if any",
    "trailing_garbage": "bytes after the compressed stream, held as they are; zeros are padding",
}
"""Every value that `Record.error` can have, with its meaning."""

JUDGED_ALONE = frozenset({"invalid_json", "invalid_utf8", "nested_too_deeply"})
"""What is wrong with these shows in their bytes alone; with all others, in what is around them."""

_READ = 2**20  # bytes taken up at a time: whatever sizes arrive, the parser sees these
_TEXT = 4 * 1024  # bytes shown to the standard library's parser at first
_LOOK_AHEAD = 2**20  # bytes within which a first array shows that others follow it


class Record(NamedTuple):
    """One piece of an object, good or bad.

    ordinal: place within the object from 0, counting good and bad pieces alike; the same whenever
        and in whatever chunks the same bytes are read.
    data: the bytes as received, without delimiters and surrounding whitespace.
    offset: of the first byte, in the decompressed stream; where decompression ends early, breaks
        or leaves garbage, the place of that.
    error: None, or one of `ERRORS`.
    """

    ordinal: int
    data: bytes
    offset: int
    error: str | None


_make_record = functools.partial(tuple.__new__, Record)  # half the time of Record(…)


class Run(NamedTuple):
    """Good records that follow one another, which is what most of an object is.

    ordinal, offset: of the first; each other one's follow from those before it.
    text: the bytes of all, one right behind the other.
    sizes: of each, in bytes.
    gap: bytes between one and the next in the object.
    """

    ordinal: int
    offset: int
    text: bytes
    sizes: np.ndarray
    gap: int

    def records(self) -> Iterator[Record]:
        """The records one by one."""
        at, offset = 0, self.offset
        for ordinal, size in enumerate(self.sizes.tolist(), self.ordinal):
            yield _make_record((ordinal, self.text[at : at + size], offset, None))
            at += size
            offset += size + self.gap


class BrokenStreamError(Exception):
    """A compressed stream ends or breaks here; all that could be read has been yielded."""

    def __init__(self, reason: str, garbage: bytes = b"") -> None:
        """reason: one of `ERRORS`; garbage: what follows a complete stream."""
        super().__init__(f"{reason}: {garbage[:40]!r}" if garbage else reason)
        self.reason = reason
        self.garbage = garbage


def split_records(
    chunks: Iterable[bytes], *, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Record]:
    """Yield the records of one object, whose bytes come in chunks of any size.

    Raises nothing of its own: whatever is wrong with the bytes is told by `Record.error`. Memory
    stays within a small multiple of chunk size + ``max_record_bytes``.
    """
    return one_by_one(split_runs(chunks, max_record_bytes=max_record_bytes))


def split_runs(
    chunks: Iterable[bytes], *, max_record_bytes: int = MAX_RECORD_BYTES
) -> Iterator[Record | Run]:
    """The same records, with good ones in runs where they could be told all at once."""
    return _Splitter(chunks, max_record_bytes).pieces()


def one_by_one(pieces: Iterable[Record | Run]) -> Iterator[Record]:
    """The records, those of runs too."""
    for piece in pieces:
        if isinstance(piece, Run):
            yield from piece.records()
        else:
            yield piece


# Decompression


def decompress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what stands behind gzip or zstd, both known by their magic bytes; else the same bytes.

    Members and frames may follow one another, and zeros after them. Up to two layers are taken
    off, since Firehose may compress what CloudWatch Logs had compressed. Raises
    `BrokenStreamError` where a stream ends early or breaks, after yielding what could be read.
    """
    return unpack_layer(unpack_layer(chunks))


def compression_of(head: bytes) -> str | None:
    """The name of the compression that bytes begin with: gzip, zstd or None."""
    return next((codec.name for codec in _CODECS if codec.magic.match(head)), None)


class _Codec(NamedTuple):
    name: str
    magic: re.Pattern[bytes]
    piece_bytes: int  # fed at a time, which bounds the output in hand
    new_decoder: Callable[[], Any]
    decode: Callable[[Any, bytes], Iterator[bytes]]


def _gunzip(decoder: Any, data: bytes) -> Iterator[bytes]:
    output = b""
    while not decoder.eof and (data or len(output) == _READ):
        before = decoder.copy()
        try:
            output = decoder.decompress(data, _READ)
        except zlib.error:
            yield from _gunzip_up_to_error(before, data)
            raise
        yield output
        data = decoder.unconsumed_tail


def _gunzip_up_to_error(decoder: Any, data: bytes) -> Iterator[bytes]:
    """Yield what zlib had decoded but drops when it raises: byte by byte, none is lost."""
    for place in range(len(data)):
        try:
            yield decoder.decompress(data[place : place + 1])
        except zlib.error:
            return


def _unzstd(decoder: Any, data: bytes) -> Iterator[bytes]:
    yield decoder.decompress(data)


_CODECS = (
    _Codec("gzip", re.compile(rb"\x1f\x8b"), 64 * 1024, lambda: zlib.decompressobj(31), _gunzip),
    # The second magic is a skippable frame's. Its decoder knows no output limit, and a few bytes
    # can stand for 128 KiB: hence the small pieces.
    _Codec(
        "zstd",
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        128,
        lambda: zstandard.ZstdDecompressor().decompressobj(),
        _unzstd,
    ),
)
_MAGIC_BYTES = 4


def unpack_layer(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Take one layer of compression off, if there is one, as decompress() takes two."""
    source = iter(chunks)
    head = b""
    try:
        while len(head) < _MAGIC_BYTES:
            head += next(source)
    except StopIteration:
        pass
    except BrokenStreamError:
        yield head
        raise
    whole = itertools.chain([head], source)
    for codec in _CODECS:
        if codec.magic.match(head):
            return (yield from _unpack_members(_rechunk(whole, codec.piece_bytes), codec))
    yield from whole


def _unpack_members(pieces: Iterator[bytes], codec: _Codec) -> Iterator[bytes]:
    decoder = None
    data = b""
    for piece in pieces:
        data += piece
        while data:
            if decoder is None:
                data = data.lstrip(b"\0")
                if len(data) < _MAGIC_BYTES:
                    break
                if not codec.magic.match(data):
                    raise BrokenStreamError("trailing_garbage", _first(data, pieces))
                decoder = codec.new_decoder()
            try:
                yield from codec.decode(decoder, data)
            except (zlib.error, zstandard.ZstdError):
                raise BrokenStreamError(f"corrupt_{codec.name}") from None
            data = decoder.unused_data
            if decoder.eof:
                decoder = None
    if decoder is not None or codec.magic.match(data):
        raise BrokenStreamError(f"truncated_{codec.name}")
    if data:
        raise BrokenStreamError("trailing_garbage", data)


def _first(data: bytes, more: Iterator[bytes]) -> bytes:
    """The first MAX_RECORD_BYTES of the bytes that are left."""
    parts, size = [data], len(data)
    while size < MAX_RECORD_BYTES and (piece := next(more, b"")):
        parts.append(piece)
        size += len(piece)
    return b"".join(parts)[:MAX_RECORD_BYTES]


def _rechunk(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of this size, the last one shorter."""
    held: list[bytes] = []  # joined only where they must be: most objects come in one chunk
    held_bytes = 0
    try:
        for chunk in chunks:
            held.append(chunk)
            held_bytes += len(chunk)
            if held_bytes >= size:
                block = b"".join(held)
                whole = held_bytes - held_bytes % size
                for start in range(0, whole, size):
                    yield block[start : start + size]
                held_bytes -= whole
                held = [block[whole:]] if held_bytes else []
    except BrokenStreamError:
        if held_bytes:
            yield b"".join(held)
        raise
    if held_bytes:
        yield b"".join(held)


# Splitting

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_OR_32 = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
_BLANK = b" \t\r\n"
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_BETWEEN_VALUES = re.compile(rb"(?:[ \t\r\n]|\xef\xbb\xbf)*+")
_BETWEEN_ELEMENTS = re.compile(rb"(?:[ \t\r\n,]|\xef\xbb\xbf)*+")
_WORD_END = re.compile(rb'[ \t\r\n,\[\]{}"]')
_SEAM_IN_ARRAY = re.compile(rb"\},[ \t\r\n]*+\{")
_PIECE_END = re.compile(rb"\n|\}(?=\{)")
_LINE_OF_A_VALUE = re.compile(rb"\n(?=[{\[])")
_OUTSIDE_STRING = re.compile(rb'["{}\[\]]')
_INSIDE_STRING = re.compile(rb'["\n]|\\[^\n]')
_ESCAPE = re.compile(rb"\\.")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NEITHER_QUOTE_NOR_BRACKET = bytes(set(range(256)) - set(b'"[]{}'))
_WORDS = (b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity")
_HALF_A_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.|(?:\.[0-9]+)?[eE][+-]?)")
_WORD_BYTES = b"-+.0123456789" + string.ascii_letters.encode()
_HALF_AN_ESCAPE = re.compile(rb"u[0-9a-fA-F]{0,4}")
_LONGEST_TOKEN = 16  # longer than any word or escape: more is not needed to judge one

# Whether a value is an object, without making its members: four times as fast as orjson. It does
# not look at the UTF-8 of strings.
_any_object = msgspec.json.Decoder(msgspec.defstruct("AnyObject", ()))
_OPENING, _CLOSING, _LF, _CR = b"{}\n\r"
_MAY_FOLLOW_A_VALUE = np.isin(np.arange(256), list(b"{ \t\r\n"))  # by byte

# Parses latin-1 text, where a character is a byte; numbers are only looked at.
_scan_value = json.JSONDecoder(parse_int=str, parse_float=str).scan_once


class _Scan(NamedTuple):
    """What the parser says of a value.

    end: where it ends; where the parser gave up, when there is an error.
    error: None or one of `ERRORS`.
    """

    end: int
    error: str | None


class _Splitter:
    """A window that moves along the stream, and what is known at its place.

    Most values are objects, one a line or one right behind the other: `_run` tells all of them that
    the window holds at once. Others are found without parsing twice: `_easy_records` guesses that
    a value ends with its line, or at the next ``}{``, and has orjson try. A JSON value that is not
    a bare word is never the beginning of a longer one, so a guess that holds is the truth. Where it
    does not,
    `_hard_record` finds the end of one value with the standard library's parser.
    """

    def __init__(self, chunks: Iterable[bytes], max_record_bytes: int) -> None:
        self._pieces = _rechunk(decompress(chunks), _READ)
        self._limit = max_record_bytes
        self._ordinals = itertools.count()
        self._buffer = b""
        self._base = 0  # offset of the buffer in the stream
        self._at = 0  # place in the buffer
        self._text = ""  # some of the buffer from _text_at on, for the standard library's parser
        self._text_at = -1
        self._line_end = self._seam = -1  # the next of each, or the buffer's size
        self._refused = -1  # a guess for the end of a value that did not hold
        self._run_was_taken = False  # from this window
        self._ended = False
        self._break: BrokenStreamError | None = None
        self._in_array = False
        self._last_was_good = True

    def pieces(self) -> Iterator[Record | Run]:
        self._fill()
        if self._buffer.startswith(_UTF16_OR_32):
            while len(self._buffer) < self._limit and self._fill():
                pass
            yield self._record(self._buffer[: self._limit], 0, "not_utf8")
            return
        if self._starts_with_lone_array():
            self._in_array = True
            self._at += 1
        while True:
            run = self._run()
            if run is not None:
                yield run
            yield from self._easy_records()
            record = self._hard_record()
            if record is None:
                break
            self._last_was_good = record.error is None
            yield record
        yield from self._closing_record()

    # The window

    def _fill(self) -> bool:
        """Drop what is done and read on, at least doubling what is left; False at the end."""
        left = self._buffer[self._at :]
        wanted = min(2 * len(left), self._limit + _LONGEST_TOKEN)
        parts, size = [left] if left else [], len(left)
        try:
            while size == len(left) or size < wanted:
                parts.append(next(self._pieces))
                size += len(parts[-1])
        except StopIteration:
            self._ended = True
        except BrokenStreamError as error:
            self._ended, self._break = True, error
        self._base += self._at
        self._at = 0
        self._buffer = b"".join(parts)
        self._text_at = self._line_end = self._seam = self._refused = -1
        self._run_was_taken = False
        return size > len(left)

    @property
    def _is_cut(self) -> bool:
        """Whether what ends the stream may have cut its last word."""
        return self._break is not None and not self._break.garbage

    def _record(self, data: bytes, offset: int, error: str | None) -> Record:
        return Record(next(self._ordinals), data, offset, error)

    def _skip_blanks(self) -> bool:
        """Go to the next value; False when there is none."""
        between = _BETWEEN_ELEMENTS if self._in_array else _BETWEEN_VALUES
        while True:
            self._at = between.match(self._buffer, self._at).end()
            # A byte order mark may lie across the end of the buffer.
            if self._at <= len(self._buffer) - len(_UTF8_MARK):
                return True
            if self._ended or not self._fill():
                return self._at < len(self._buffer)

    # Many objects at once

    def _run(self) -> Run | None:
        """The good objects from here on, if the window is made of them; once a window.

        As with `_easy_records`, a part between delimiters that is an object is the next value, for
        what stands before it was one too.
        """
        if self._run_was_taken or self._in_array:
            return None
        self._run_was_taken = True
        self._at = _BLANKS.match(self._buffer, self._at).end()
        end = len(self._buffer)
        if not self._ended or self._is_cut:
            end = self._buffer.rfind(b"\n", self._at)
            end = end if end >= 0 else self._buffer.rfind(b"}{", self._at) + 1
        chunk = self._buffer[self._at : end].rstrip(_BLANK)
        cut = _cut_into_objects(chunk)
        good = cut and self._count_good(chunk, cut)
        if not good:
            return None
        chunk = chunk[: cut.ends[good - 1]]
        sizes = (cut.ends - cut.starts)[:good]
        text = chunk.replace(_DELIMITERS[cut.gap], b"") if cut.gap else chunk
        run = Run(next(self._ordinals), self._base + self._at, text, sizes, cut.gap)
        self._ordinals = itertools.count(run.ordinal + good)
        self._at = min(self._at + len(chunk) + cut.gap, len(self._buffer))
        self._last_was_good = True
        return run

    def _count_good(self, chunk: bytes, cut: "_Cut") -> int:
        """How many parts of the chunk, from its start, are good objects."""
        good = _count_objects(chunk, cut)
        sizes = (cut.ends - cut.starts)[:good]
        suspicious = min(self._limit, 2 * MAX_DEPTH)
        for at in np.flatnonzero(sizes > suspicious).tolist():
            if sizes[at] > self._limit or _is_too_deep(cut.part(chunk, at)):
                good = at
                break
        if good and not _is_utf8(chunk[: cut.ends[good - 1]]):
            good = next(at for at in range(good) if not _is_utf8(cut.part(chunk, at)))
        return good

    # Values whose end is easily guessed

    def _easy_records(self) -> Iterator[Record]:
        buffer, at, base, limit = self._buffer, self._at, self._base, self._limit
        size = len(buffer)
        end_counts = self._ended and not self._is_cut
        suspicious = min(limit, 2 * MAX_DEPTH)
        blank = _BLANK + b"," if self._in_array else _BLANK
        loads, ordinals = orjson.loads, self._ordinals
        line_end, seam = self._line_end, self._seam
        while at < size:
            if line_end < at:
                line_end = buffer.find(b"\n", at)
                line_end = size if line_end < 0 else line_end
            if seam < at:
                seam = self._find_seam(at)
            end = line_end if line_end <= seam else seam + 1
            if end == self._refused or (end == size and not end_counts):
                break
            data = buffer[at:end].rstrip(blank)
            offset = base + at
            if not data:
                at = end + 1
                continue
            if data[0] in blank:
                offset += len(data)
                data = data.lstrip(blank)
                offset -= len(data)
            try:
                loads(data)
            except ValueError:
                self._refused = end
                break
            if len(data) > suspicious and (len(data) > limit or _is_too_deep(data)):
                self._refused = end
                break
            at = end
            self._last_was_good = True
            yield _make_record((next(ordinals), data, offset, None))
        self._at, self._line_end, self._seam = min(at, size), line_end, seam

    def _find_seam(self, at: int) -> int:
        """The next place where an object may end because another one follows."""
        if self._in_array:
            found = _SEAM_IN_ARRAY.search(self._buffer, at)
            return found.start() if found else len(self._buffer)
        seam = self._buffer.find(b"}{", at)
        return len(self._buffer) if seam < 0 else seam

    # Any value

    def _hard_record(self) -> Record | None:
        """The next record, or None at the end of the stream."""
        while self._skip_blanks():
            if self._in_array and self._buffer[self._at] == ord("]"):
                self._in_array = False
                self._at += 1
                continue
            end, error = self._scan(self._limit)
            if error == "record_too_large":
                return self._pass_large_value()
            if error is not None:
                return self._pass_bad_piece(end, error)
            data = self._buffer[self._at : end]
            offset = self._base + self._at
            self._at = end
            return self._record(data, offset, None if _is_utf8(data) else "invalid_utf8")
        return None

    def _scan(self, limit: int) -> _Scan:
        """Judge the value at hand, reading on until that can be done."""
        wanted = _TEXT
        while True:
            text_end = self._hold_text(wanted)
            final = self._ended and text_end == len(self._buffer)
            end, error = self._scan_text(text_end, final)
            cut = error == "truncated_json"
            reach = (text_end if cut else end) - self._at
            if cut and not final and reach <= limit + _LONGEST_TOKEN:
                wanted *= 4
                if self._at + wanted > len(self._buffer) and not self._ended:
                    self._fill()
            else:
                return _Scan(end, "record_too_large" if reach > limit else error)

    def _hold_text(self, wanted: int) -> int:
        """Have that much of the buffer as text, if it is there; returns where the text ends."""
        at, size = self._at, len(self._buffer)
        text_end = self._text_at + len(self._text)
        if not 0 <= self._text_at <= at or text_end < min(at + wanted, size):
            # Some more at once, since several values come to lie in it.
            self._text = self._buffer[at : at + 4 * wanted].decode("latin-1")
            self._text_at, text_end = at, at + len(self._text)
        return text_end

    def _scan_text(self, text_end: int, final: bool) -> _Scan:
        """Judge the value at hand by the text alone; final: nothing follows the text."""
        at, origin = self._at, self._text_at
        try:
            end = origin + _scan_value(self._text, at - origin)[1]
        except StopIteration as stop:
            end = origin + stop.value
            rest = self._buffer[end : min(end + _LONGEST_TOKEN, text_end)]
            cut = any(word.startswith(rest) for word in _WORDS)
        except json.JSONDecodeError as error:
            end = origin + error.pos
            if error.msg.startswith("Unterminated string"):
                end = text_end
            elif error.msg.startswith("Illegal trailing comma"):  # Python 3.13 points at the comma
                end = _BLANKS.match(self._buffer, end + 1).end()
            cut = self._is_cut_behind(end, text_end)
            if error.msg.startswith("Invalid \\u"):
                cut = _HALF_AN_ESCAPE.fullmatch(self._buffer, end, text_end) is not None
        except RecursionError:
            return _Scan(at, "nested_too_deeply")
        else:
            if _is_too_deep(self._buffer[at:end]):
                return _Scan(at, "nested_too_deeply")
            ends_itself = self._buffer[at] in b'{["'
            if ends_itself or self._is_word_end(end, text_end, final):
                return _Scan(end, None)
            cut = self._is_cut_behind(end, text_end)
        return _Scan(end, "truncated_json" if cut else "invalid_json")

    def _is_word_end(self, end: int, text_end: int, final: bool) -> bool:
        if end < text_end:
            return _WORD_END.match(self._buffer, end) is not None
        return final and not self._is_cut

    def _is_cut_behind(self, end: int, text_end: int) -> bool:
        """Whether the text ends where the parser gave up, or in a number it took the half of."""
        if end == text_end or text_end - end > _LONGEST_TOKEN:
            return end == text_end
        value = self._buffer[self._at : text_end]
        start = self._at + len(value.rstrip(_WORD_BYTES))
        return start < end and _HALF_A_NUMBER.fullmatch(self._buffer, start, text_end) is not None

    def _pass_bad_piece(self, gave_up: int, error: str) -> Record:
        while True:
            end = self._piece_end(gave_up)
            if end or self._ended or len(self._buffer) - self._at > self._limit:
                break
            gave_up -= self._at
            self._fill()
        offset = self._base + self._at
        data = self._buffer[self._at : min(end or len(self._buffer), self._at + self._limit)]
        data = data.rstrip(_BLANK)
        if end:
            self._at = end
        else:
            self._at = gave_up
            self._advance_past(_PIECE_END)
            if error == "truncated_json" and self._is_cut:
                offset, error = self._base + len(self._buffer), self._break.reason
                self._break = None
        if error == "invalid_json" and not _is_utf8(data, whole=len(data) < self._limit):
            error = "invalid_utf8"
        return self._record(data, offset, error)

    def _piece_end(self, gave_up: int) -> int:
        """Where the bad piece at hand ends; 0 when the buffer does not tell."""
        found = _LINE_OF_A_VALUE.search(self._buffer, self._at, gave_up + 1) or _PIECE_END.search(
            self._buffer, gave_up
        )
        return found.end() if found else 0

    def _pass_large_value(self) -> Record:
        offset = self._base + self._at
        data = self._buffer[self._at : self._at + self._limit]
        if self._buffer[self._at] in b'{["':
            self._skip_nested()
        elif self._advance_past(_WORD_END):
            self._at -= 1
        return self._record(data, offset, "record_too_large")

    def _skip_nested(self) -> None:
        """Go past a string, array or object; out of a broken one with the line of its string."""
        depth = 0
        while token := self._advance_past(_OUTSIDE_STRING):
            if token == b'"':
                while (token := self._advance_past(_INSIDE_STRING)).startswith(b"\\"):
                    pass
                if token != b'"':
                    return
            else:
                depth += 1 if token in b"[{" else -1
            if depth <= 0:
                return

    def _advance_past(self, pattern: re.Pattern[bytes]) -> bytes:
        """Go past the next match, dropping what is passed; b"" at the end of the stream."""
        while True:
            found = pattern.search(self._buffer, self._at)
            if found:
                self._at = found.end()
                return found[0]
            # The last byte may begin a match.
            self._at = max(self._at, len(self._buffer) - 1)
            if self._ended or not self._fill():
                self._at = len(self._buffer)
                return b""

    # The ends of the stream

    def _starts_with_lone_array(self) -> bool:
        if not self._skip_blanks() or self._buffer[self._at] != ord("["):
            return False
        limit = min(self._limit, _LOOK_AHEAD)
        end, error = self._scan(limit)
        if error is not None:
            return True
        while True:
            following = _BETWEEN_VALUES.match(self._buffer, end).end()
            if following - self._at > limit:
                return True
            if self._ended or following <= len(self._buffer) - len(_UTF8_MARK):
                return self._buffer[following : following + 1] not in (b"[", b"{")
            end -= self._at
            self._fill()

    def _closing_record(self) -> Iterator[Record]:
        end = self._base + len(self._buffer)
        if self._break is not None:
            yield self._record(self._break.garbage[: self._limit], end, self._break.reason)
        elif self._in_array and self._last_was_good:
            yield self._record(b"", end, "truncated_json")


class _Cut(NamedTuple):
    """Where a chunk is cut into parts that start with a brace and end with one.

    gap: bytes between two parts; the same everywhere.
    is_sure: nowhere but at the cuts can one object end and another follow.
    """

    starts: np.ndarray
    ends: np.ndarray
    gap: int
    is_sure: bool

    def part(self, chunk: bytes, at: int) -> bytes:
        return chunk[self.starts[at] : self.ends[at]]


_DELIMITERS = (b"", b"\n", b"\r\n")  # by their length


def _cut_into_objects(chunk: bytes) -> _Cut | None:
    """Cut between lines, or where there are none at every ``}{``; None where the gap varies."""
    if not chunk or chunk[0] != _OPENING or chunk[-1] != _CLOSING:
        return None
    places = np.frombuffer(chunk, np.uint8)
    closings = np.flatnonzero(places[:-1] == _CLOSING)
    following = places[closings + 1]
    feeds = np.flatnonzero(places == _LF)
    if not len(feeds):
        gap, ends = 0, closings[following == _OPENING] + 1
    else:
        gap = 2 if places[feeds[0] - 1] == _CR else 1
        is_regular = (
            (places[feeds + 1] == _OPENING).all()
            and (places[feeds - gap] == _CLOSING).all()
            and (gap == 1 or (places[feeds - 1] == _CR).all())
        )
        if not is_regular:
            return None
        ends = feeds - gap + 1
    is_sure = np.count_nonzero(_MAY_FOLLOW_A_VALUE[following]) == len(ends)
    starts = np.concatenate([[0], ends + gap])
    return _Cut(starts, np.concatenate([ends, [len(chunk)]]), gap, is_sure)


def _count_objects(chunk: bytes, cut: _Cut) -> int:
    """How many parts from the start are JSON objects.

    The decoder of lines goes by values, and does not care for line ends. Where values can end at
    the cuts only, and are as many as the parts, each part is one.
    """
    count = len(cut.ends)
    try:
        if cut.is_sure and len(_any_object.decode_lines(chunk)) == count:
            return count
    except (ValueError, RecursionError):
        pass
    for at in range(count):
        try:
            _any_object.decode(cut.part(chunk, at))
        except (ValueError, RecursionError):
            return at
    return count


def _is_utf8(data: bytes, *, whole: bool = True) -> bool:
    """whole: False where the last character may be cut."""
    try:
        codecs.utf_8_decode(data, "strict", whole)
    except UnicodeDecodeError:
        return False
    return True


def _is_too_deep(data: bytes) -> bool:
    """Whether a JSON value nests deeper than MAX_DEPTH."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    bare = _ESCAPE.sub(b"", data).translate(None, _NEITHER_QUOTE_NOR_BRACKET)
    brackets = b"".join(bare.split(b'"')[::2])
    return max(itertools.accumulate(map(_STEP.__getitem__, brackets))) > MAX_DEPTH
