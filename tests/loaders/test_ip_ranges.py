"""Files of address ranges become snapshots whose ranges do not overlap."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import date
from ipaddress import ip_address

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
