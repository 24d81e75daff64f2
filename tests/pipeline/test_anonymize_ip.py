"""anonymize_ip and ip_address: every way in which an address reaches a log."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# What the log says, what may be kept of it.
KEPT = {
    "203.0.113.77": "203.0.113.0",
    "2001:db8:85a3:1:2:8a2e:370:7334": "2001:db8:85a3::",
    "2001:db8::1": "2001:db8::",
    "2001:DB8::A": "2001:db8::",
    "::1": "::",
    "::": "::",
    "::ffff:203.0.113.77": "203.0.113.0",
    "::ffff:cb00:714d": "203.0.113.0",
    "::FFFF:CB00:714D": "203.0.113.0",
    "::203.0.113.77": "::",
    "fe80::1%eth0": "fe80::",
    "203.0.113.77:443": "203.0.113.0",
    "[2001:db8::1]:443": "2001:db8::",
    "[2001:db8::1]": "2001:db8::",
    "[fe80::1%eth0]:443": "fe80::",
    " 203.0.113.77 ": "203.0.113.0",
    "203.0.113.77, 198.51.100.9": "203.0.113.0",
    "10.0.0.7, 203.0.113.77": "203.0.113.0",
    "unknown, [2001:db8:1::2]:80, 203.0.113.77": "2001:db8:1::",
    "2002:cb00:714d::1": "203.0.113.0",
    "64:ff9b::cb00:714d": "203.0.113.0",
    "64:ff9b::203.0.113.77": "203.0.113.0",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2": "2001:0:4136::",
    "0:0:5::1": "0:0:5::",
    "0:5::1": "0:5::",
    "1:0:2::3": "1:0:2::",
    "0.0.0.1": "0.0.0.0",
    "1:2:3:4:5:6:7:8": "1:2:3::",
    "1:2:3:4:5:6:7::": "1:2:3::",
    "1:2:3:4:5:6:1.2.3.4": "1:2:3::",
}
REFUSED = {
    None: "missing",
    "": "missing",
    " ": "missing",
    "-": "missing",
    "host.example": "not_an_address",
    "host.example:80": "not_an_address",
    "010.0.0.1": "not_an_address",
    "1.2.3": "not_an_address",
    "1.2.3.4.5": "not_an_address",
    "1.2.3.256": "not_an_address",
    "1.2.3.4%eth0": "not_an_address",
    "1.2.3.4:port": "not_an_address",
    "[203.0.113.77": "not_an_address",
    "[::1": "not_an_address",
    ":::": "not_an_address",
    "1::2::3": "not_an_address",
    "1:2:3:4:5:6:7": "not_an_address",
    "1:2:3:4:5:6:7:8:9": "not_an_address",
    "1:2:3:4:5:6:7:8::": "not_an_address",
    ":1:2:3:4:5:6:7": "not_an_address",
    "12345::": "not_an_address",
    "g::": "not_an_address",
    "::1.2.3.256": "not_an_address",
    "%": "not_an_address",
    ",": "not_an_address",
    "unknown, unknown": "not_an_address",
    "10.0.0.1, 192.168.1.1": "no_public_address",
    "fe80::1, 127.0.0.1": "no_public_address",
}
KINDS = {
    "203.0.113.77": "public",
    "2001:db8::1": "public",
    "10.1.2.3": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "172.32.0.1": "public",
    "192.168.0.1": "private",
    "fd00::1": "private",
    "127.0.0.1": "loopback",
    "::1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "169.254.1.1": "link_local",
    "fe80::1%eth0": "link_local",
    "febf::1": "link_local",
    "fec0::1": "public",
    "100.64.0.1": "carrier_nat",
    "100.127.255.255": "carrier_nat",
    "100.128.0.1": "public",
    "224.0.0.1": "multicast",
    "ff02::1": "multicast",
    "::": "unspecified",
    "0.0.0.0": "unspecified",
}


@pytest.fixture(scope="module")
def facts_of(spark: Any, dbt: Callable[..., Any]) -> Callable[[list[str | None]], list[Any]]:
    """ip_address of each text, as rows with text, ip_key, network, kind, problem."""
    compiled = dbt(
        "compile", "--inline", "select address, {{ ip_address('address') }} as facts from addresses"
    )
    sql = compiled.result.results[0].node.compiled_code

    def run(addresses: list[str | None]) -> list[Any]:
        frame = spark.createDataFrame([(each,) for each in addresses], "address string")
        frame.createOrReplaceTempView("addresses")
        return spark.sql(sql).selectExpr("address", "facts.*").collect()

    return run


def test_what_may_be_kept_of_an_address(facts_of: Any) -> None:
    rows = facts_of(list(KEPT))
    assert {row.address: row.network for row in rows} == KEPT
    assert {row.problem for row in rows} == {None}


def test_what_is_no_address_says_why(facts_of: Any) -> None:
    rows = facts_of(list(REFUSED))
    assert {row.address: row.problem for row in rows} == REFUSED
    assert {(row.network, row.kind, row.ip_key) for row in rows} == {(None, None, None)}


def test_the_kind_of_an_address(facts_of: Any) -> None:
    assert {row.address: row.kind for row in facts_of(list(KINDS))} == KINDS


def test_anonymize_ip_is_the_network(spark: Any, dbt: Callable[..., Any]) -> None:
    compiled = dbt("compile", "--inline", "select {{ anonymize_ip(\"'203.0.113.77'\") }} as ip")
    assert spark.sql(compiled.result.results[0].node.compiled_code).first().ip == "203.0.113.0"


# ---- properties


def expected_key(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address that counts: what an IPv6 address carries, or itself."""
    if address.version == 6:
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in ip_network("64:ff9b::/96") and int(address) & 0xFFFFFFFF:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def expected_network(text: str) -> str:
    address = expected_key(ip_address(text))
    prefix = 24 if address.version == 4 else 48
    return str(ip_network((address, prefix), strict=False).network_address)


def as_text(address: IPv6Address, style: int) -> str:
    """One of the ways in which an IPv6 address is written."""
    return [str(address), address.exploded, address.compressed.upper()][style % 3]


SPECIAL = st.sampled_from(
    [
        "::ffff:0:0/96",
        "2002::/16",
        "64:ff9b::/96",
        "64:ff9b::/48",
        "2001::/32",
        "fe80::/10",
        "::/80",
    ]
).map(ip_network)
IPV6 = st.one_of(
    st.ip_addresses(v=6),
    SPECIAL.flatmap(lambda network: st.ip_addresses(network=network)),
    st.lists(st.sampled_from([0, 0, 1, 0xFFFF, 0xDB8]), min_size=8, max_size=8).map(
        lambda groups: IPv6Address(int("".join(f"{group:04x}" for group in groups), 16))
    ),
)
ADDRESSES = st.one_of(
    st.ip_addresses(v=4).map(str), st.tuples(IPV6, st.integers(0, 2)).map(lambda p: as_text(*p))
)
ONCE = settings(
    max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@ONCE
@given(st.lists(ADDRESSES, min_size=200, max_size=300))
def test_generated_addresses_keep_what_the_standard_library_says(
    facts_of: Any, addresses: list[str]
) -> None:
    rows = facts_of(addresses)
    assert {row.address: row.network for row in rows} == {
        each: expected_network(each) for each in addresses
    }
    for row in rows:
        key = expected_key(ip_address(row.address))
        assert row.ip_key == f"{int(key):0{8 if key.version == 4 else 32}x}"
        network = ip_address(row.network)
        assert str(network) == row.network  # canonical
        host_bits = 8 if network.version == 4 else 80
        assert int(network) % 2**host_bits == 0


@ONCE
@given(st.lists(ADDRESSES, min_size=200, max_size=300))
def test_anonymizing_twice_changes_nothing(facts_of: Any, addresses: list[str]) -> None:
    once = sorted({row.network for row in facts_of(addresses)})
    assert sorted(row.network for row in facts_of(once)) == once


@ONCE
@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.text(alphabet="0123456789abcdef:.%[], -", max_size=45),
            ADDRESSES.map(lambda text: text.replace("0", "::", 1)),
        ),
        min_size=200,
        max_size=300,
    )
)
def test_no_text_fails_and_what_is_kept_is_a_network(facts_of: Any, texts: list[str]) -> None:
    for row in facts_of(texts):
        assert (row.network is None) == (row.problem is not None)
        if row.network is not None:
            assert expected_network(row.network) == row.network
        elif "," not in row.address:
            with pytest.raises(ValueError):  # noqa: PT011
                ip_address(row.address)
