"""Files of address ranges become snapshots whose ranges do not overlap."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import date
from ipaddress import ip_address, ip_network

import boto3
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from demo.video import world
from loaders.cli import cli
from loaders.ip_ranges import (
    AddressRange,
    Snapshots,
    country_records,
    disjoint,
    network_records,
    read_country_ranges,
    read_network_ranges,
)
from loaders.session import ConfigurationError

DAY = date(2026, 1, 31)


def number(text):
    return int(ip_address(text))


# ---- reading


def test_countries_are_read_of_both_protocols(tmp_path):
    path = tmp_path / "country.csv"
    path.write_text("192.0.2.0,192.0.2.15,de\n2001:db8::,2001:db8:0:ffff:ffff:ffff:ffff:ffff,GB\n")
    assert read_country_ranges(path) == [
        AddressRange(4, number("192.0.2.0"), number("192.0.2.15"), ("DE",)),
        AddressRange(
            6, number("2001:db8::"), number("2001:db8:0:ffff:ffff:ffff:ffff:ffff"), ("GB",)
        ),
    ]


def test_addresses_may_be_written_as_numbers(tmp_path):
    path = tmp_path / "country-num.csv"
    v6 = number("2001:db8::")
    path.write_text(f"{number('192.0.2.0')},{number('192.0.2.255')},DE\n{v6},{v6 + 5},GB\n")
    assert [each[:3] for each in read_country_ranges(path)] == [
        (4, number("192.0.2.0"), number("192.0.2.255")),
        (6, v6, v6 + 5),
    ]


def test_networks_are_read_and_what_is_not_routed_is_left_out(tmp_path):
    path = tmp_path / "asn.csv.gz"
    rows = '192.0.2.0,192.0.2.7,64496,"Net, Inc."\n192.0.2.8,192.0.2.15,0,none\n'
    path.write_bytes(gzip.compress((rows + "192.0.2.16,192.0.2.31,AS64497,\n").encode()))
    assert [each.value for each in read_network_ranges(path)] == [
        (64496, "Net, Inc."),
        (64497, None),
    ]


def test_a_header_is_no_range(tmp_path):
    path = tmp_path / "country.csv"
    path.write_text("ip_range_start,ip_range_end,country_code\n192.0.2.0,192.0.2.15,DE\n")
    assert len(read_country_ranges(path)) == 1


@pytest.mark.parametrize(
    "row",
    [
        "192.0.2.0,192.0.2.15",
        "192.0.2.0",
        "192.0.2.15,192.0.2.0,DE",
        "192.0.2.0,2001:db8::,DE",
        "here,there,DE",
        "192.0.2.0/24,192.0.2.255,DE",
    ],
)
def test_a_row_that_is_no_range_is_named(tmp_path, row):
    path = tmp_path / "country.csv"
    path.write_text(f"192.0.2.0,192.0.2.15,DE\n{row}\n")
    with pytest.raises(ConfigurationError, match=r"country.csv line 2: .*is no range"):
        read_country_ranges(path)


def test_a_number_that_is_no_as_number_is_named(tmp_path):
    path = tmp_path / "asn.csv"
    path.write_text("192.0.2.0,192.0.2.15,many,Net\n")
    with pytest.raises(ConfigurationError, match=r"'many' in .* is no AS number"):
        read_network_ranges(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none.csv: No such file"):
        read_country_ranges(tmp_path / "none.csv")


# ---- databases of MaxMind's format


UINT16, UINT32, UINT64 = 5, 6, 9


def encoded(value):
    """A value of the data section: https://maxmind.github.io/MaxMind-DB/."""
    if isinstance(value, dict):
        kind, size = 7, len(value)
        body = b"".join(encoded(part) for pair in value.items() for part in pair)
    elif isinstance(value, list):
        kind, size, body = 11, len(value), b"".join(map(encoded, value))
    elif isinstance(value, str):
        body = value.encode()
        kind, size = 2, len(body)
    else:
        kind, whole = value if isinstance(value, tuple) else (UINT32, value)
        body = whole.to_bytes((whole.bit_length() + 7) // 8, "big")
        size = len(body)
    length = bytes([size - 29]) if size >= 29 else b""
    extended = bytes([kind - 7]) if kind > 7 else b""
    return bytes([(kind if kind <= 7 else 0) << 5 | min(size, 29)]) + extended + length + body


def write_database(path, records, *, ip_version=6, kind="Test", aliases=()):
    """An MMDB of records by network; an alias is an IPv6 network that leads to the IPv4 ones."""
    nodes, data = [[None, None]], b""

    def walk(bits):
        at = 0
        for bit in bits:
            if nodes[at][bit] is None:
                nodes[at][bit] = len(nodes)
                nodes.append([None, None])
            at = nodes[at][bit]
        return at

    def bits_of(network):
        bits = f"{int(network.network_address):0{network.max_prefixlen}b}"[: network.prefixlen]
        inside = "0" * 96 if network.version < ip_version else ""
        return [int(bit) for bit in inside + bits]

    for network, record in records.items():
        *parents, last = bits_of(ip_network(network))
        nodes[walk(parents)][last] = ("data", len(data))
        data += encoded(record)
    for network in aliases:
        *parents, last = bits_of(ip_network(network))
        nodes[walk(parents)][last] = walk([0] * 96)

    def pointer(to):
        if to is None:
            return len(nodes)
        return len(nodes) + 16 + to[1] if isinstance(to, tuple) else to

    metadata = {
        "node_count": len(nodes),
        "record_size": (UINT16, 32),
        "ip_version": (UINT16, ip_version),
        "database_type": kind,
        "languages": [],
        "binary_format_major_version": (UINT16, 2),
        "binary_format_minor_version": (UINT16, 0),
        "build_epoch": (UINT64, 1_800_000_000),
        "description": {},
    }
    tree = b"".join(pointer(to).to_bytes(4, "big") for node in nodes for to in node)
    content = tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + encoded(metadata)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


NETWORKS = {
    "192.0.2.0/28": {
        "autonomous_system_number": 64496,
        "autonomous_system_organization": "A network whose name is longer than 29 bytes",
    },
    "192.0.2.16/28": {"autonomous_system_number": 4200000000},
    "198.51.100.0/24": {"autonomous_system_organization": "not routed"},
    "2001:db8::/32": {
        "autonomous_system_number": 64497,
        "autonomous_system_organization": "Netz und Söhne",
    },
}
COUNTRIES = {
    "192.0.2.0/25": {"country": {"iso_code": "de", "names": {"en": "Germany"}}},
    "192.0.2.128/25": {"registered_country": {"iso_code": "NL"}},
    "2001:db8::/48": {"continent": {"code": "EU"}, "country": {"iso_code": "GB"}},
}


@pytest.mark.parametrize("name", ["asn.mmdb", "asn.mmdb.gz"])
def test_networks_are_read_from_a_database(tmp_path, name):
    path = write_database(tmp_path / name, NETWORKS)
    v4, v6 = number("192.0.2.0"), number("2001:db8::")
    organisation = NETWORKS["192.0.2.0/28"]["autonomous_system_organization"]
    assert set(read_network_ranges(path)) == {
        AddressRange(4, v4, v4 + 15, (64496, organisation)),
        AddressRange(4, v4 + 16, v4 + 31, (4200000000, None)),
        AddressRange(6, v6, v6 + 2**96 - 1, (64497, "Netz und Söhne")),
    }


def test_countries_are_read_from_a_database(tmp_path):
    path = write_database(tmp_path / "country.mmdb", COUNTRIES)
    v4, v6 = number("192.0.2.0"), number("2001:db8::")
    assert set(read_country_ranges(path)) == {
        AddressRange(4, v4, v4 + 127, ("DE",)),
        AddressRange(6, v6, v6 + 2**80 - 1, ("GB",)),
    }


def test_a_database_may_hold_ipv4_alone(tmp_path):
    networks = {name: record for name, record in NETWORKS.items() if ":" not in name}
    path = write_database(tmp_path / "asn.mmdb", networks, ip_version=4)
    assert {each[:2] for each in read_network_ranges(path)} == {
        (4, number("192.0.2.0")),
        (4, number("192.0.2.16")),
    }


@pytest.mark.parametrize("name", ["asn.mmdb", "asn.mmdb.gz"])
def test_ipv4_counts_once_however_many_ways_lead_to_it(tmp_path, name):
    plain = write_database(tmp_path / "plain.mmdb", NETWORKS)
    aliased = write_database(tmp_path / name, NETWORKS, aliases=["::ffff:0:0/96", "2002::/16"])
    assert read_network_ranges(aliased) == read_network_ranges(plain)


def test_ipv4_that_is_written_out_as_mapped_is_ipv4(tmp_path):
    mapped = {"::ffff:192.0.2.0/124": NETWORKS["192.0.2.0/28"]}
    path = write_database(tmp_path / "asn.mmdb", NETWORKS | mapped)
    plain = write_database(tmp_path / "plain.mmdb", NETWORKS)
    assert set(read_network_ranges(path)) == set(read_network_ranges(plain))


def test_a_database_and_a_csv_that_say_the_same_give_the_same_snapshot(tmp_path):
    path = tmp_path / "country.csv"
    path.write_text("192.0.2.0,192.0.2.127,DE\n2001:db8::,2001:db8:0:ffff:ffff:ffff:ffff:ffff,GB\n")
    database = write_database(tmp_path / "country.mmdb", COUNTRIES)
    of_csv, of_database = (
        list(country_records(read_country_ranges(each), DAY, "test")) for each in (path, database)
    )
    assert of_database == of_csv


def test_a_database_of_another_kind_is_named(tmp_path):
    path = write_database(tmp_path / "asn.mmdb", NETWORKS, kind="GeoLite2-ASN")
    with pytest.raises(ConfigurationError, match=r"GeoLite2-ASN database has a country.iso_code"):
        read_country_ranges(path)


@pytest.mark.parametrize("name", ["broken.mmdb", "broken.mmdb.gz"])
def test_a_file_that_is_no_database_is_named(tmp_path, name):
    content = b"192.0.2.0,192.0.2.15,DE\n"
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    with pytest.raises(ConfigurationError, match=rf"{name} is no database"):
        read_country_ranges(path)


@pytest.mark.parametrize("name", ["none.mmdb", "none.mmdb.gz"])
def test_a_database_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(ConfigurationError, match=rf"{name}: No such file"):
        read_network_ranges(tmp_path / name)


def test_a_gzipped_database_that_is_cut_off_is_named(tmp_path):
    path = write_database(tmp_path / "asn.mmdb.gz", NETWORKS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigurationError, match=r"asn.mmdb.gz: "):
        read_network_ranges(path)


def test_the_command_reads_databases(tmp_path):
    country = write_database(tmp_path / "country.mmdb", COUNTRIES)
    asn = write_database(tmp_path / "asn.mmdb.gz", NETWORKS)
    files = ["--country", str(country), "--asn", str(asn), "--to", str(tmp_path / "to")]
    outcome = CliRunner().invoke(cli, ["ip-ranges", *files, "--valid-from", "2026-01-31"])
    assert outcome.exit_code == 0
    records = [
        json.loads(line)
        for path in sorted((tmp_path / "to").rglob("*.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    assert {(each["kind"], each["source"], each["first"]) for each in records} == {
        ("country", "country.mmdb", "c0000200"),
        ("country", "country.mmdb", f"20010db8{0:024x}"),
        ("asn", "asn.mmdb.gz", "c0000200"),
        ("asn", "asn.mmdb.gz", "c0000210"),
        ("asn", "asn.mmdb.gz", f"20010db8{0:024x}"),
    }


# ---- without overlaps


def test_the_narrowest_range_counts_and_what_is_left_of_the_others_stays():
    ranges = [AddressRange(4, 0, 99, ("A",)), AddressRange(4, 10, 19, ("B",))]
    assert list(disjoint(ranges)) == [
        AddressRange(4, 0, 9, ("A",)),
        AddressRange(4, 10, 19, ("B",)),
        AddressRange(4, 20, 99, ("A",)),
    ]


def test_neighbours_that_say_the_same_become_one():
    ranges = [AddressRange(4, 5, 9, ("A",)), AddressRange(4, 0, 4, ("A",))]
    assert list(disjoint(ranges)) == [AddressRange(4, 0, 9, ("A",))]


def test_of_equal_ranges_the_last_counts():
    ranges = [AddressRange(6, 0, 9, ("A",)), AddressRange(6, 0, 9, ("B",))]
    assert list(disjoint(ranges)) == [AddressRange(6, 0, 9, ("B",))]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([4, 6]), st.integers(0, 60), st.integers(0, 30), st.integers(0, 4)
        ),
        max_size=25,
    )
)
def test_every_address_has_what_the_narrowest_of_its_ranges_says(drawn):
    ranges = [AddressRange(v, first, first + width, (value,)) for v, first, width, value in drawn]

    def slowly(version, address):
        holding = [
            (each.last - each.first, -order, each.value)
            for order, each in enumerate(ranges)
            if each.version == version and each.first <= address <= each.last
        ]
        return min(holding)[2] if holding else None

    found = list(disjoint(ranges))
    for version in (4, 6):
        said = {}
        for each in (each for each in found if each.version == version):
            for address in range(each.first, each.last + 1):
                assert address not in said
                said[address] = each.value
        assert said == {a: slowly(version, a) for a in range(95) if slowly(version, a) is not None}


# ---- snapshots


def test_records_have_addresses_as_digits_that_sort():
    v4 = AddressRange(4, number("192.0.2.0"), number("192.0.2.15"), ("DE",))
    assert list(country_records([v4], DAY, "test")) == [
        {
            "kind": "country",
            "first": "c0000200",
            "last": "c000020f",
            "valid_from": "2026-01-31",
            "source": "test",
            "country": "DE",
        }
    ]
    v6 = AddressRange(6, number("2001:db8::"), number("2001:db8::1"), (64496, "Net"))
    (record,) = network_records([v6], DAY, "test")
    assert (record["first"], record["last"]) == (f"20010db8{0:024x}", f"20010db8{1:024x}")
    assert (record["as_number"], record["organisation"]) == (64496, "Net")


def test_a_snapshot_must_be_later_than_the_last_of_its_kind(tmp_path):
    snapshots = Snapshots(str(tmp_path))
    path, count = snapshots.write("country", DAY, [{"a": 1}, {"a": 2}])
    assert count == 2
    assert gzip.decompress((tmp_path / "country" / "2026-01-31.json.gz").read_bytes()) == (
        b'{"a":1}\n{"a":2}\n'
    )
    assert path.endswith("country/2026-01-31.json.gz")
    for day in (DAY, date(2025, 12, 31)):
        with pytest.raises(ConfigurationError, match="valid from 2026-01-31"):
            snapshots.write("country", day, [])
    snapshots.write("asn", DAY, [])
    snapshots.write("country", date(2026, 2, 1), [])


def published(folder):
    folder.mkdir()
    with (folder / "country.csv").open("w") as country, (folder / "asn.csv").open("w") as asn:
        world.write_ranges(country, asn)
    return ["--country", str(folder / "country.csv"), "--asn", str(folder / "asn.csv")]


def test_the_command_writes_both_kinds_to_a_folder(tmp_path):
    files = published(tmp_path / "files")
    arguments = ["ip-ranges", *files, "--valid-from", "2026-01-31", "--to", str(tmp_path / "to")]
    outcome = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0
    records = [
        json.loads(line)
        for path in sorted((tmp_path / "to").rglob("*.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    with (tmp_path / "files" / "asn.csv").open() as file:
        organisations = {row[3] for row in csv.reader(file)}
    assert {record.get("organisation") for record in records} == organisations | {None}
    assert {record.get("country") for record in records} == {"DE", "GB", "NL", "RO", "US", None}
    assert {record["valid_from"] for record in records} == {"2026-01-31"}


def test_the_command_writes_to_a_bucket(aws, tmp_path):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="ranges")
    arguments = ["ip-ranges", *published(tmp_path / "files")[:2], "--to", "s3://ranges/qos"]
    outcome = CliRunner().invoke(cli, [*arguments, "--valid-from", "2026-01-31"])
    assert outcome.exit_code == 0
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="ranges")["Contents"]]
    assert keys == ["qos/country/2026-01-31.json.gz"]
    again = CliRunner().invoke(cli, [*arguments, "--valid-from", "2026-01-31"])
    assert isinstance(again.exception, ConfigurationError)


def test_the_command_wants_a_file():
    outcome = CliRunner().invoke(cli, ["ip-ranges"])
    assert outcome.exit_code == 2
    assert "--country" in outcome.output


def test_nothing_is_written_where_one_of_the_files_is_wrong(tmp_path):
    files = published(tmp_path / "files")
    arguments = ["ip-ranges", *files, "--valid-from", "2026-01-31", "--to", str(tmp_path / "to")]
    networks = tmp_path / "files" / "asn.csv"
    right = networks.read_text()
    networks.write_text(f"{right}here,there,1,Net\n")
    refused = CliRunner().invoke(cli, arguments)
    assert isinstance(refused.exception, ConfigurationError)
    assert not (tmp_path / "to").exists()
    networks.write_text(right)
    assert CliRunner().invoke(cli, arguments, catch_exceptions=False).exit_code == 0


def test_nothing_is_written_where_one_kind_has_a_newer_snapshot(tmp_path):
    Snapshots(str(tmp_path / "to")).write("asn", DAY, [])
    files = published(tmp_path / "files")
    arguments = ["ip-ranges", *files, "--valid-from", "2026-01-31", "--to", str(tmp_path / "to")]
    refused = CliRunner().invoke(cli, arguments)
    assert isinstance(refused.exception, ConfigurationError)
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["asn"]


def test_a_bucket_that_is_not_there_is_said_in_one_line(aws, tmp_path):
    arguments = ["ip-ranges", *published(tmp_path / "files"), "--to", "s3://missing/qos"]
    refused = CliRunner().invoke(cli, arguments)
    assert isinstance(refused.exception, ConfigurationError)
    assert "there is no such bucket" in str(refused.exception)
    assert "\n" not in str(refused.exception)


def test_a_folder_that_is_a_file_is_said_in_one_line(tmp_path):
    files = published(tmp_path / "files")
    refused = CliRunner().invoke(cli, ["ip-ranges", *files, "--to", files[1]])
    assert isinstance(refused.exception, ConfigurationError)
    assert "cannot write to" in str(refused.exception)


def test_the_help_tells_of_its_own_command_alone():
    lines = CliRunner().invoke(cli, ["ip-ranges", "--help"]).output.splitlines()
    shown = [line.split()[3] for line in lines if line.strip().startswith("python -m loaders")]
    assert shown == ["ip-ranges", "run"]
