"""Objects as they come: odd, cut and broken, and what becomes of each.

The splitter's tests and those of the whole way into bronze and quarantine go through all of them.
"""

import gzip

import zstandard


def good(*values: bytes) -> list[tuple[bytes, None]]:
    return [(value, None) for value in values]


# what it shows: (bytes of the object, its pieces in order: bytes and what is wrong with them)
OBJECTS: dict[str, tuple[bytes, list[tuple[bytes, str | None]]]] = {
    "an empty object has no record": (b"", []),
    "nor has one of blanks": (b" \r\n\n\t", []),
    "nor has a lone byte order mark": (b"\xef\xbb\xbf", []),
    "an empty array has none": (b"[]", []),
    "an empty array among others is a record": (b"[]\n[1]", good(b"[]", b"[1]")),
    "nested arrays stay whole": (b"[[1,2],[3]]", good(b"[1,2]", b"[3]")),
    "an array with an object behind it is a record": (b'[1]{"a":2}', good(b"[1]", b'{"a":2}')),
    "only the first value is unpacked": (b'{"a":1}[1,2]', good(b'{"a":1}', b"[1,2]")),
    "garbage behind an array is an error": (
        b"[1,2] garbage",
        [*good(b"1", b"2"), (b"garbage", "invalid_json")],
    ),
    "a scalar behind an array stands alone": (b"[1,2]\n3", good(b"1", b"2", b"3")),
    "an array cut inside an element": (
        b'[{"a":1},{"b":',
        [*good(b'{"a":1}'), (b'{"b":', "truncated_json")],
    ),
    "an array cut behind an element": (b'[{"a":1}', [*good(b'{"a":1}'), (b"", "truncated_json")]),
    "an array cut behind a comma": (b"[1,", [*good(b"1"), (b"", "truncated_json")]),
    "an array cut behind an element that follows a broken one": (
        b'[\noops,\n{"a":1},\n',
        [(b"oops,", "invalid_json"), (b'{"a":1}', None), (b"", "truncated_json")],
    ),
    "an array cut at once": (b"[", [(b"", "truncated_json")]),
    "a trailing comma does no harm": (b"[1,2,]", good(b"1", b"2")),
    "a missing comma does no harm": (b'[{"a":1}{"b":2} 3]', good(b'{"a":1}', b'{"b":2}', b"3")),
    "a broken element goes with its line": (
        b'[\n{"a":1},\n{"b":oops},\n{"c":3}\n]',
        [(b'{"a":1}', None), (b'{"b":oops},', "invalid_json"), (b'{"c":3}', None)],
    ),
    "bare NaN and infinities are values": (
        b'{"a":NaN,"b":-Infinity}\nNaN\nInfinity',
        good(b'{"a":NaN,"b":-Infinity}', b"NaN", b"Infinity"),
    ),
    "a number too large for a double is kept": (b'{"a":1e999}', good(b'{"a":1e999}')),
    "so is a lone surrogate": (b'{"a":"\\ud800"}', good(b'{"a":"\\ud800"}')),
    "so are repeated keys": (b'{"a":1,"a":2}', good(b'{"a":1,"a":2}')),
    "several values on a line": (
        b'1 "a""b" {"c":2}null',
        good(b"1", b'"a"', b'"b"', b'{"c":2}', b"null"),
    ),
    "a seam inside a string is none": (b'{"a":"}{"}{"b":"}{"}', good(b'{"a":"}{"}', b'{"b":"}{"}')),
    "words do not touch": (
        b"truefalse\n12x\n01\n1.\n-\n1",
        [
            (b"truefalse", "invalid_json"),
            (b"12x", "invalid_json"),
            (b"01", "invalid_json"),
            (b"1.", "invalid_json"),
            (b"-", "invalid_json"),
            (b"1", None),
        ],
    ),
    "a broken line does not harm the next": (
        b'{"a":1}\n{"b": "no end\n{"c":3}\n',
        [(b'{"a":1}', None), (b'{"b": "no end', "invalid_json"), (b'{"c":3}', None)],
    ),
    "a line without its closing bracket neither": (
        b'{"a":1}\n{"b":2\n{"c":3}\n{"d":[\n{"e":5}\n{"f":6}',
        [
            (b'{"a":1}', None),
            (b'{"b":2', "invalid_json"),
            (b'{"c":3}', None),
            (b'{"d":[', "invalid_json"),
            (b'{"e":5}', None),
            (b'{"f":6}', None),
        ],
    ),
    "a broken value among joined ones ends at the seam": (
        b'{"a":1}{"b":oops}{"c":3}',
        [(b'{"a":1}', None), (b'{"b":oops}', "invalid_json"), (b'{"c":3}', None)],
    ),
    "a stray bracket": (
        b'{"a":1}}{"b":2}',
        [(b'{"a":1}', None), (b"}", "invalid_json"), (b'{"b":2}', None)],
    ),
    "what is good before the break of a line is read": (
        b'{"a":1} {"b":2} oops {"c":3}\n4',
        [*good(b'{"a":1}', b'{"b":2}'), (b'oops {"c":3}', "invalid_json"), (b"4", None)],
    ),
    "commas between lines belong to arrays only": (
        b'{"a":1},\n{"b":2}',
        [(b'{"a":1}', None), (b",", "invalid_json"), (b'{"b":2}', None)],
    ),
    "a broken value over several lines goes with the line of its break": (
        b'{\n  "a": 1,\n  oops\n}\n{\n  "b": 2\n}',
        [
            (b'{\n  "a": 1,\n  oops', "invalid_json"),
            (b"}", "invalid_json"),
            (b'{\n  "b": 2\n}', None),
        ],
    ),
    "a trailing comma in a value": (
        b'{\n  "a": 1,\n}\n[\n  1,\n]\n2',
        [(b'{\n  "a": 1,\n}', "invalid_json"), (b"[\n  1,\n]", "invalid_json"), (b"2", None)],
    ),
    "invalid UTF-8 takes one value only": (
        b'{"a":"\xff"}{"b":2} {"c":"\xed\xa0\x80"}\n3',
        [
            (b'{"a":"\xff"}', "invalid_utf8"),
            (b'{"b":2}', None),
            (b'{"c":"\xed\xa0\x80"}', "invalid_utf8"),
            (b"3", None),
        ],
    ),
    "half a character in a broken line": (
        b'{"a":"\xc3\n1',
        [(b'{"a":"\xc3', "invalid_utf8"), (b"1", None)],
    ),
    "binary is reported by the line": (
        b'\x80\x81\n{"a":1}\n\x00\x00',
        [(b"\x80\x81", "invalid_utf8"), (b'{"a":1}', None), (b"\x00\x00", "invalid_json")],
    ),
    "UTF-16 is one error": (
        '{"a":1}\n'.encode("utf-16"),
        [('{"a":1}\n'.encode("utf-16"), "not_utf8")],
    ),
    "UTF-32 is one error": (
        b"\x00\x00\xfe\xff" + "[1]".encode("utf-32-be"),
        [(b"\x00\x00\xfe\xff" + "[1]".encode("utf-32-be"), "not_utf8")],
    ),
    "a CloudWatch Logs envelope stays one record": (
        b'{"messageType":"DATA_MESSAGE","logEvents":[{"message":"a"},{"message":"b"}]}',
        good(b'{"messageType":"DATA_MESSAGE","logEvents":[{"message":"a"},{"message":"b"}]}'),
    ),
    "line separators of Unicode are no line ends": (
        '{"a":"\u2028\x85"}'.encode(),
        good('{"a":"\u2028\x85"}'.encode()),
    ),
    "gzip needs no extension": (gzip.compress(b'{"a":1}'), good(b'{"a":1}')),
    "zstd neither": (zstandard.compress(b'{"a":1}\n2'), good(b'{"a":1}', b"2")),
    "a gzip stream cut behind a value": (
        gzip.compress(b'{"a":1}')[:-8],
        [(b'{"a":1}', None), (b"", "truncated_gzip")],
    ),
    "a gzip stream cut inside a value": (
        gzip.compress(b'{"a":1}\n{"b":')[:-8],
        [(b'{"a":1}', None), (b'{"b":', "truncated_gzip")],
    ),
    "bytes behind a gzip stream": (
        gzip.compress(b'{"a":1}') + b"oops",
        [(b'{"a":1}', None), (b"oops", "trailing_garbage")],
    ),
    "a value of five megabytes": (
        b'{"a":"' + b"x" * 5_000_000 + b'"}\n{"b":1}',
        good(b'{"a":"' + b"x" * 5_000_000 + b'"}', b'{"b":1}'),
    ),
}
