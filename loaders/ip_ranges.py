"""Files of address ranges → a snapshot that the feed `ip_ranges` loads.

The files are databases of MaxMind's format (`.mmdb`), with records as GeoLite2 and DB-IP have them,
or CSV as ip-location-db publishes it: without a header, first and last address of a range and then
its country, or its AS number and organisation; the addresses as text or, in the `-num` variants, as
whole numbers. Either may be gzipped.

Ranges of such files overlap. A snapshot's do not: of several that hold an address the narrowest
counts, as in routing. So a look-up finds one range at most, whoever joins.
"""

from __future__ import annotations

import csv
import gzip
import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any, NamedTuple

from loaders.session import ConfigurationError

_V4_NUMBERS = 1 << 32
_DATABASE = (".mmdb", ".mmdb.gz")

Value = tuple[Any, ...]


class AddressRange(NamedTuple):
    """Addresses from first to last, both included, of an IP version, and what is said of them."""

    version: int
    first: int
    last: int
    value: Value


def read_country_ranges(path: Path) -> list[AddressRange]:
    """Ranges whose value is (ISO 3166 alpha-2 code,).

    Raises:
        ConfigurationError: a file, or a row of it, that has no such ranges; the message names it.
    """
    if path.name.endswith(_DATABASE):
        return _of_database(path, "country.iso_code", _country)
    return [
        AddressRange(*span, (row[2].strip().upper(),))
        for span, row in _rows(path, columns=3)
        if row[2].strip()
    ]


def read_network_ranges(path: Path) -> list[AddressRange]:
    """Ranges whose value is (AS number, organisation or None).

    Raises:
        ConfigurationError: as read_country_ranges, also for an AS number that is none.
    """
    if path.name.endswith(_DATABASE):
        return _of_database(path, "autonomous_system_number", _network)
    ranges = []
    for span, row in _rows(path, columns=4):
        number = row[2].strip().removeprefix("AS")
        if not number.isdecimal():
            raise ConfigurationError(f"{path}: {row[2]!r} in {row} is no AS number")
        if int(number):  # 0: not routed
            ranges.append(AddressRange(*span, (int(number), row[3].strip() or None)))
    return ranges


def _country(record: dict) -> Value | None:
    country = record.get("country")
    code = country.get("iso_code") if isinstance(country, dict) else None
    return (code.upper(),) if isinstance(code, str) and code else None


def _network(record: dict) -> Value | None:
    number = record.get("autonomous_system_number")
    if not isinstance(number, int) or not number:
        return None
    return number, record.get("autonomous_system_organization") or None


def _of_database(
    path: Path, field: str, value_of: Callable[[dict], Value | None]
) -> list[AddressRange]:
    """What a database says, IPv4 once: subtrees that lead to it by way of IPv6 add nothing."""
    import maxminddb

    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                database = maxminddb.open_database(file, maxminddb.MODE_FD)
        else:
            database = maxminddb.open_database(path)
        with database:
            kind = database.metadata().database_type
            ranges = [
                AddressRange(*_span(network), value)
                for network, record in database
                if isinstance(record, dict) and (value := value_of(record))
            ]
    except (maxminddb.InvalidDatabaseError, ValueError) as error:
        raise ConfigurationError(f"{path} is no database of MaxMind's format: {error}") from error
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path}: {reason}") from error
    if not ranges:
        raise ConfigurationError(f"{path}: no record of this {kind} database has a {field}")
    return ranges


def _span(network: IPv4Network | IPv6Network) -> tuple[int, int, int]:
    """IP version, first and last address; of IPv4 also where it stands mapped into IPv6."""
    first, last = network.network_address, network.broadcast_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped and network.prefixlen >= 96:
        return 4, int(first) % _V4_NUMBERS, int(last) % _V4_NUMBERS
    return network.version, int(first), int(last)


def _rows(path: Path, columns: int) -> Iterator[tuple[tuple[int, int, int], list[str]]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not row or (number == 1 and row[0] == "ip_range_start"):
                    continue
                try:
                    first, last = _address(row[0]), _address(row[1])
                    if len(row) < columns or first.version != last.version or first > last:
                        raise ValueError
                except (ValueError, IndexError) as error:
                    raise ConfigurationError(
                        f"{path} line {number}: {','.join(row)!r} is no range; expected first "
                        f"address, last address and {columns - 2} more columns"
                    ) from error
                yield (first.version, int(first), int(last)), row
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error


def _address(text: str) -> IPv4Address | IPv6Address:
    text = text.strip()
    if text.isdecimal():
        number = int(text)
        return IPv4Address(number) if number < _V4_NUMBERS else IPv6Address(number)
    return ip_address(text)


def disjoint(ranges: Iterable[AddressRange]) -> Iterator[AddressRange]:
    """Ranges that hold the same addresses and do not overlap, in their order.

    Of several that hold an address the narrowest counts, of equals the last in `ranges`.
    Neighbours that say the same become one.
    """
    by_version: dict[int, list[tuple[int, int, int, Value]]] = {4: [], 6: []}
    for order, (version, first, last, value) in enumerate(ranges):
        by_version[version].append((first, last, -order, value))
    for version, some in by_version.items():
        pending: AddressRange | None = None
        for first, last, value in _narrowest(sorted(some, key=lambda each: each[:3])):
            if pending and pending.last + 1 == first and pending.value == value:
                pending = pending._replace(last=last)
                continue
            if pending:
                yield pending
            pending = AddressRange(version, first, last, value)
        if pending:
            yield pending


def _narrowest(ranges: list[tuple[int, int, int, Value]]) -> Iterator[tuple[int, int, Value]]:
    """A sweep over the addresses: the open ranges stand in a heap, the narrowest on top."""
    open_ranges: list[tuple[int, int, int, Value]] = []  # width, minus place in the file, last
    at, position = 0, 0
    while position < len(ranges) or open_ranges:
        while open_ranges and open_ranges[0][2] < at:
            heapq.heappop(open_ranges)
        if not open_ranges:
            if position == len(ranges):
                return
            at = max(at, ranges[position][0])
        while position < len(ranges) and ranges[position][0] <= at:
            first, last, order, value = ranges[position]
            heapq.heappush(open_ranges, (last - first, order, last, value))
            position += 1
        while open_ranges and open_ranges[0][2] < at:
            heapq.heappop(open_ranges)
        if open_ranges:
            until = open_ranges[0][2]
            if position < len(ranges):
                until = min(until, ranges[position][0] - 1)
            yield at, until, open_ranges[0][3]
            at = until + 1


def key(version: int, number: int) -> str:
    """An address as the macro ip_address has it: 8 or 32 hexadecimal digits."""
    return f"{number:0{8 if version == 4 else 32}x}"


def country_records(
    ranges: Iterable[AddressRange], valid_from: date, source: str
) -> Iterator[dict]:
    """Records of the feed `ip_ranges` that say in which country addresses are."""
    for each in disjoint(ranges):
        yield _record("country", each, valid_from, source) | {"country": each.value[0]}


def network_records(
    ranges: Iterable[AddressRange], valid_from: date, source: str
) -> Iterator[dict]:
    """Records of the feed `ip_ranges` that say to which network addresses belong."""
    for each in disjoint(ranges):
        number, organisation = each.value
        yield _record("asn", each, valid_from, source) | {
            "as_number": number,
            "organisation": organisation,
        }


def _record(kind: str, item: AddressRange, valid_from: date, source: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "first": key(item.version, item.first),
        "last": key(item.version, item.last),
        "valid_from": valid_from.isoformat(),
        "source": source,
    }


class Snapshots:
    """The snapshots at a location: an object for each kind and day."""

    def __init__(self, location: str) -> None:
        self._bucket, self._prefix = "", location.rstrip("/") + "/"
        if location.startswith("s3://"):
            self._bucket, _, prefix = location.removeprefix("s3://").partition("/")
            self._prefix = prefix.rstrip("/") + "/" if prefix else ""

    def require_newer(self, kind: str, valid_from: date) -> None:
        """Refuse a day that has a snapshot of a kind already, or is before one.

        Raises:
            ConfigurationError: it is such a day. What was looked up in the meantime would have to
                be looked up again.
        """
        last = max(self._days(kind), default=None)
        if last is not None and valid_from <= last:
            raise ConfigurationError(
                f"there is a {kind} snapshot that is valid from {last}; "
                f"this one must be valid from a later day, not from {valid_from}"
            )

    def write(self, kind: str, valid_from: date, records: Iterable[dict]) -> tuple[str, int]:
        """Write a snapshot; returns where it is, and its number of records.

        Raises:
            ConfigurationError: as require_newer; or the folder cannot be written to.
        """
        self.require_newer(kind, valid_from)
        lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in records]
        body = gzip.compress("".join(lines).encode(), 6, mtime=0)
        name = f"{self._prefix}{kind}/{valid_from}.json.gz"
        if self._bucket:
            _s3().put_object(Bucket=self._bucket, Key=name, Body=body)
            return f"s3://{self._bucket}/{name}", len(lines)
        path = Path(name)
        unfinished = path.with_name(f".{path.name}")  # a loader may be looking
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(body)
            unfinished.rename(path)
        except OSError as error:
            raise ConfigurationError(
                f"cannot write to {path.parent}: {error.strerror or error}"
            ) from error
        return str(path), len(lines)

    def _days(self, kind: str) -> list[date]:
        folder = f"{self._prefix}{kind}/"
        if self._bucket:
            pages = _s3().get_paginator("list_objects_v2")
            names = [
                item["Key"]
                for page in pages.paginate(Bucket=self._bucket, Prefix=folder)
                for item in page.get("Contents", ())
            ]
        else:
            names = [str(path) for path in Path(folder).glob("[0-9]*.json.gz")]
        return [date.fromisoformat(Path(name).name.removesuffix(".json.gz")) for name in names]


def _s3() -> Any:
    import boto3

    return boto3.client("s3")
