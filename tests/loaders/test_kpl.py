"""Aggregated Kinesis records: unpacking what the producer library packed."""

import hashlib

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from loaders.sources.kpl import MAGIC, UserRecord, deaggregate

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# An encoder of the wire format, to compare with.


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def aggregate(message: bytes) -> bytes:
    return MAGIC + message + hashlib.md5(message).digest()


def encode(records: list[tuple[str, str | None, bytes]]) -> bytes:
    """(partition key, explicit hash key, data) as the producer library packs them."""
    keys = list(dict.fromkeys(key for key, _, _ in records))
    hash_keys = list(dict.fromkeys(key for _, key, _ in records if key is not None))
    fields = [field(1, key.encode()) for key in keys]
    fields += [field(2, key.encode()) for key in hash_keys]
    for key, hash_key, data in records:
        record = field(1, keys.index(key))
        if hash_key is not None:
            record += field(2, hash_keys.index(hash_key))
        fields.append(field(3, record + field(3, data)))
    return aggregate(b"".join(fields))


hash_numbers = st.integers(0, 2**128 - 1) | st.sampled_from([0, 1, 2**127, 2**128 - 1])
packed = st.lists(
    st.tuples(st.text(max_size=8), st.none() | hash_numbers.map(str), st.binary(max_size=300)),
    min_size=1,
    max_size=8,
)


def unpacked(records):
    return [UserRecord(*record, place) for place, record in enumerate(records)]


def hash_of(record: UserRecord) -> int:
    if record.explicit_hash_key is not None:
        return int(record.explicit_hash_key)
    return int(hashlib.md5(record.partition_key.encode()).hexdigest(), 16)


@UNTIMED
@given(records=packed)
def test_every_record_comes_back_in_its_order_with_its_subsequence(records):
    assert deaggregate(encode(records), "outer", "7") == unpacked(records)


def test_an_aggregate_byte_by_byte():
    message = bytes.fromhex(
        "0a 01 61"  # partition key 0: "a"
        "0a 02 6262"  # partition key 1: "bb"
        "12 01 39"  # explicit hash key 0: "9"
        "1a 05 0800 1a01 78"  # record: key 0, data "x"
        "1a 07 0801 1000 1a01 79"  # record: key 1, hash key 0, data "y"
    )
    digest = bytes.fromhex(hashlib.md5(message).hexdigest())
    assert deaggregate(bytes.fromhex("f3899ac2") + message + digest, "outer") == [
        UserRecord("a", None, b"x", 0),
        UserRecord("bb", "9", b"y", 1),
    ]


def test_large_data_and_many_records_survive():
    records = [(f"key {n}", None, bytes([n % 256]) * n) for n in range(0, 1_000_000, 99_999)]
    records += [("k", None, b"%d" % n) for n in range(3000)]
    assert deaggregate(encode(records), "outer") == unpacked(records)


@UNTIMED
@given(records=packed, bounds=st.tuples(hash_numbers, hash_numbers))
def test_a_shards_range_keeps_subsequence_numbers(records, bounds):
    first, last = sorted(bounds)
    found = deaggregate(encode(records), "outer", starting_hash_key=first, ending_hash_key=last)
    assert found == [one for one in unpacked(records) if first <= hash_of(one) <= last]


@UNTIMED
@given(records=packed, split=st.integers(0, 2**128 - 2))
def test_the_two_halves_of_a_split_shard_hold_every_record_once(records, split):
    low = deaggregate(encode(records), "outer", ending_hash_key=split)
    high = deaggregate(encode(records), "outer", starting_hash_key=split + 1)
    assert sorted(low + high, key=lambda one: one.subsequence) == unpacked(records)


@UNTIMED
@given(data=st.binary(), hash_key=st.none() | hash_numbers.map(str))
def test_an_ordinary_record_is_itself_whatever_the_shards_range(data, hash_key):
    assume(not data.startswith(MAGIC))
    found = deaggregate(data, "key", hash_key, starting_hash_key=5, ending_hash_key=5)
    assert found == [UserRecord("key", hash_key, data, 0)]


@UNTIMED
@given(records=packed, place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_damage_makes_it_an_ordinary_record_with_a_flag(records, place, flip):
    data = bytearray(encode(records))
    place = len(MAGIC) + place % (len(data) - len(MAGIC))
    data[place] ^= flip
    found = deaggregate(bytes(data), "outer", "7")
    assert found == [UserRecord("outer", "7", bytes(data), 0, "kpl_bad_checksum")]


@UNTIMED
@given(records=packed, size=st.integers(0, 10**6))
def test_so_does_a_missing_end(records, size):
    whole = encode(records)
    data = whole[: len(MAGIC) + size % (len(whole) - len(MAGIC))]
    assert deaggregate(data, "outer") == [UserRecord("outer", None, data, 0, "kpl_bad_checksum")]


KEY = field(1, b"k")
GOOD = field(3, field(1, 0) + field(3, b"x"))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        KEY,  # no record
        GOOD,  # no partition key
        KEY + field(3, field(3, b"x")),  # no index of a partition key
        KEY + field(3, field(1, 0)),  # no data
        KEY + field(3, field(1, 1) + field(3, b"x")),  # an index beyond the table
        KEY + field(3, field(1, 0) + field(2, 0) + field(3, b"x")),  # no such hash key
        KEY + field(3, field(1, b"0") + field(3, b"x")),  # an index that is bytes
        KEY + field(3, field(1, 0) + field(3, 7)),  # data that is a number
        KEY + field(3, 5),
        field(1, b"\xff") + GOOD,  # a key that is not UTF-8
        KEY + field(2, b"-1") + GOOD,
        KEY + field(2, b"") + GOOD,
        KEY + field(2, str(2**128).encode()) + GOOD,
        KEY + field(2, b"9" * 5000) + GOOD,
        KEY + GOOD[:-1],  # shorter than it says
        KEY + GOOD + b"\x1a",  # no length
        KEY + GOOD + b"\x1a\x80",  # half a length
        KEY + GOOD + b"\x1a" + b"\xff" * 11,  # a number without end
        KEY + GOOD + b"\x02\x00",  # field 0
        KEY + GOOD + b"\x0b",  # wire type 3
        KEY + GOOD + b"\x29\x00",  # half a fixed number
    ],
)
def test_what_cannot_be_decoded_is_an_ordinary_record_with_a_flag(message):
    data = aggregate(message)
    assert deaggregate(data, "outer", "7") == [UserRecord("outer", "7", data, 0, "kpl_undecodable")]


def test_unknown_fields_are_passed_over():
    unknown = field(9, 1) + field(10, b"x") + b"\x59" + bytes(8) + b"\x5d" + bytes(4)
    tags = field(4, field(1, b"name") + field(2, b"value"))
    message = unknown + KEY + unknown + field(3, tags + field(1, 0) + unknown + field(3, b"x"))
    assert deaggregate(aggregate(message), "outer") == [UserRecord("k", None, b"x", 0)]


@UNTIMED
@given(message=st.binary())
def test_no_message_raises(message):
    data = aggregate(message)
    found = deaggregate(data, "outer")
    assert found[0].data == data or [one.subsequence for one in found] == list(range(len(found)))
