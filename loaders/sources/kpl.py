"""Records of the Kinesis Producer Library: several user records packed into one.

The format: four magic bytes, a protobuf message, the MD5 of that message. The message holds a
table of partition keys (field 1), a table of explicit hash keys (2) and the records (3), each with
its index into the first (1), maybe its index into the second (2), and its data (3).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\xf3\x89\x9a\xc2"
_DIGEST_BYTES = 16
_HASH_KEYS = 2**128  # hash keys are smaller than this


@dataclass(frozen=True, slots=True)
class UserRecord:
    """A record as its producer wrote it.

    explicit_hash_key: decimal, or None when the partition key decides.
    subsequence: place within the aggregate from 0, which together with the sequence number
        identifies the record; 0 for a record that stands alone.
    error: None; ``kpl_bad_checksum`` or ``kpl_undecodable`` when the bytes look like an aggregate
        but are none, and are handed out as the ordinary record that they then are.
    """

    partition_key: str
    explicit_hash_key: str | None
    data: bytes
    subsequence: int
    error: str | None = None


class _UndecodableError(ValueError):
    """Bytes that are no aggregate, or half of one."""


def deaggregate(
    data: bytes,
    partition_key: str,
    explicit_hash_key: str | None = None,
    *,
    starting_hash_key: int | None = None,
    ending_hash_key: int | None = None,
) -> list[UserRecord]:
    """Return the user records in one Kinesis record, which may be no aggregate at all.

    Of an aggregate only the records are returned whose hash key lies between the shard's first
    and last, both included: after a reshard the others are read elsewhere. Their subsequence
    numbers are those of the whole aggregate.
    """

    def alone(error: str | None) -> list[UserRecord]:
        return [UserRecord(partition_key, explicit_hash_key, data, 0, error)]

    if not data.startswith(MAGIC):
        return alone(None)
    message, digest = data[len(MAGIC) : -_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        return alone("kpl_bad_checksum")
    try:
        records = _decode_aggregate(message)
    except (_UndecodableError, UnicodeDecodeError):
        return alone("kpl_undecodable")
    first = 0 if starting_hash_key is None else starting_hash_key
    last = _HASH_KEYS if ending_hash_key is None else ending_hash_key
    return [record for record in records if first <= _hash_key(record) <= last]


def _hash_key(record: UserRecord) -> int:
    """Where a record lies in the stream's hash key range, 0 … 2^128 - 1."""
    if record.explicit_hash_key is not None:
        return int(record.explicit_hash_key)
    digest = hashlib.md5(record.partition_key.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest)


def _decode_aggregate(message: bytes) -> list[UserRecord]:
    """Raises _UndecodableError or UnicodeDecodeError, for anything but a well-formed aggregate."""
    partition_keys: list[str] = []
    hash_keys: list[str] = []
    records: list[bytes] = []
    for number, value in _fields(message):
        match number:
            case 1:
                partition_keys.append(_bytes(value).decode())
            case 2:
                hash_keys.append(_decimal_hash_key(_bytes(value)))
            case 3:
                records.append(_bytes(value))
    if not records:
        raise _UndecodableError("an aggregate without records")
    return [
        _decode_record(record, partition_keys, hash_keys, subsequence)
        for subsequence, record in enumerate(records)
    ]


def _decode_record(
    message: bytes, partition_keys: list[str], hash_keys: list[str], subsequence: int
) -> UserRecord:
    partition_key = hash_key = data = None
    for number, value in _fields(message):
        match number:
            case 1:
                partition_key = _entry(partition_keys, value)
            case 2:
                hash_key = _entry(hash_keys, value)
            case 3:
                data = _bytes(value)
    if partition_key is None or data is None:
        raise _UndecodableError(f"record {subsequence} lacks its partition key or its data")
    return UserRecord(partition_key, hash_key, data, subsequence)


def _entry(table: list[str], index: int | bytes) -> str:
    if isinstance(index, bytes) or index >= len(table):
        raise _UndecodableError(f"{index!r} is no index into a table of {len(table)}")
    return table[index]


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _UndecodableError(f"{value} stands where bytes belong")
    return value


def _decimal_hash_key(value: bytes) -> str:
    if not value.isdigit() or len(value) > len(str(_HASH_KEYS)) or int(value) >= _HASH_KEYS:
        raise _UndecodableError(f"{value!r} is no hash key")
    return value.decode()


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The number and value of each field: an int, or the bytes of what has a length."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, end = _varint(message, place)
        elif wire_type == 2:
            size, place = _varint(message, place)
            end = place + size
            value = message[place:end]
        elif wire_type in (1, 5):  # fixed width: no field of ours has one
            value, end = None, place + (8 if wire_type == 1 else 4)
        else:
            raise _UndecodableError(f"wire type {wire_type} before byte {place}")
        if number == 0 or end > len(message):
            raise _UndecodableError(f"field {number} up to byte {end} of {len(message)}")
        if value is not None:
            yield number, value
        place = end


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """The number at this place, and the place behind it."""
    number = 0
    for shift in range(0, 64, 7):
        if place == len(message):
            break
        byte = message[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
    raise _UndecodableError(f"no varint before byte {place}")
