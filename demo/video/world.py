"""The synthetic world that viewers live in: videos, edges, networks, devices.

All of it is invented. Addresses are the ones set aside for documentation (RFC 5737, RFC 3849),
AS numbers too (RFC 5398), and range_rows() says which network and country each belongs to, as a
range database would.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from random import Random
from typing import TextIO

SEGMENT_S = 4
"""Media seconds in a segment."""
LADDER = (
    # bit/s, resolution
    (450_560, "480x270"),
    (1_330_203, "640x360"),
    (2_412_544, "960x540"),
    (3_604_480, "1280x720"),
    (5_996_544, "1920x1080"),
)
LIVE_ORIGIN = "live-packager"
VOD_ORIGIN = "vod-store"


@dataclass(frozen=True, slots=True)
class Video:
    """One title. `hit_ratio`: share of its requests that an edge has in its cache."""

    video_id: str
    playlist_type: str
    duration_s: int
    weight: float
    hit_ratio: float
    distribution: str
    origin: str
    fps: str = "29.970"


V2_DISTRIBUTION = "E1MULTIHOP0LIVE"
REFERENCE_DISTRIBUTION = "E2MULTIHOP0VOD"

VIDEOS = (
    Video("harbour_lights", "LIVE", 3600, 0.26, 0.96, V2_DISTRIBUTION, LIVE_ORIGIN),
    Video("city_marathon", "LIVE", 7200, 0.10, 0.97, V2_DISTRIBUTION, LIVE_ORIGIN),
    Video("glass_mountain", "VOD", 597, 0.20, 0.93, V2_DISTRIBUTION, VOD_ORIGIN, "24.000"),
    Video("paper_boats", "VOD", 735, 0.16, 0.90, V2_DISTRIBUTION, VOD_ORIGIN, "24.000"),
    Video("the_long_orbit", "VOD", 2710, 0.14, 0.86, V2_DISTRIBUTION, VOD_ORIGIN, "23.976"),
    Video("small_kitchens", "VOD", 1260, 0.09, 0.82, V2_DISTRIBUTION, VOD_ORIGIN, "25.000"),
    # Delivered by an older distribution, whose logs have the shape of the reference solution.
    Video("tin_orchestra", "VOD", 888, 0.05, 0.75, REFERENCE_DISTRIBUTION, VOD_ORIGIN, "25.000"),
)


@dataclass(frozen=True, slots=True)
class Network:
    """An access or hosting network; `quality` scales the throughput of its lines."""

    asn: int
    isp: str
    countries: tuple[tuple[str, float], ...]
    weight: float
    mobile_share: float
    quality: float = 1.0
    is_hosting: bool = False


NETWORKS = (
    Network(64496, "Nordlicht Telekom", (("DE", 1.0),), 0.20, 0.35),
    Network(64497, "Rheinkabel", (("DE", 0.9), ("NL", 0.1)), 0.13, 0.0, 1.2),
    Network(64498, "Thames Broadband", (("GB", 1.0),), 0.16, 0.25),
    Network(64499, "Albion Mobile", (("GB", 1.0),), 0.09, 1.0),
    Network(64500, "Carpat Net", (("RO", 1.0),), 0.09, 0.3, 1.3),
    Network(64501, "Polder Fiber", (("NL", 1.0),), 0.06, 0.1, 1.4),
    Network(64502, "Cascadia Cable", (("US", 1.0),), 0.12, 0.1),
    Network(64503, "Potomac Wireless", (("US", 1.0),), 0.11, 1.0, 0.9),
    Network(64504, "Cumulus Hosting", (("DE", 0.7), ("US", 0.3)), 0.04, 0.0, 3.0, is_hosting=True),
)

# Edge locations by country of the viewer, the nearest first, with the share that DNS sends there.
EDGES: dict[str, tuple[tuple[str, float], ...]] = {
    "DE": (("FRA56-P3", 0.55), ("TXL52-P1", 0.30), ("AMS50-C1", 0.15)),
    "NL": (("AMS50-C1", 0.70), ("FRA56-P3", 0.30)),
    "GB": (("LHR61-C1", 0.55), ("MAN50-C2", 0.30), ("AMS50-C1", 0.15)),
    "RO": (("OTP50-C1", 0.65), ("BUD50-C1", 0.35)),
    "US": (("SEA19-C1", 0.35), ("SFO20-C1", 0.30), ("IAD89-P2", 0.35)),
}
ALL_EDGES = tuple(sorted({edge for edges in EDGES.values() for edge, _ in edges}))


@dataclass(frozen=True, slots=True)
class Device:
    """A kind of player. `rtt` is known where the browser tells the SDK of its connection."""

    device_type: str
    os: str
    app_type: str
    user_agent: str
    weight: float
    top_level: int
    decode_ms: int
    knows_rtt: bool


_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0"
DEVICES = (
    Device(
        "desktop",
        "Windows",
        "web",
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36",
        0.26,
        4,
        60,
        knows_rtt=True,
    ),
    Device(
        "desktop",
        "Linux",
        "web",
        "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
        0.08,
        4,
        70,
        knows_rtt=False,
    ),
    Device(
        "desktop",
        "Mac OS X",
        "web",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
        " Version/18.0 Safari/605.1.15",
        0.10,
        4,
        60,
        knows_rtt=False,
    ),
    Device(
        "phone",
        "Android",
        "android",
        f"Mozilla/5.0 (Linux; Android 14; K) {_CHROME} Mobile Safari/537.36",
        0.24,
        3,
        90,
        knows_rtt=True,
    ),
    Device(
        "phone",
        "iOS",
        "ios",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"
        " (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
        0.18,
        3,
        80,
        knows_rtt=False,
    ),
    Device(
        "tv",
        "Tizen",
        "tv",
        "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko)"
        " SamsungBrowser/4.0 TV Safari/537.36",
        0.14,
        4,
        220,
        knows_rtt=False,
    ),
)
BOT_AGENTS = (
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "WhatsApp/2.23.20.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
)
HEADLESS_AGENT = f"Mozilla/5.0 (X11; Linux x86_64) {_CHROME} Safari/537.36"
APP_VERSIONS = (("5.2.0", 0.2), ("5.3.1", 0.5), ("5.4.0", 0.3))
"""Versions of players with the newer SDK; players with the older one name no version."""

_V4_BLOCKS = [
    block
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
    for block in IPv4Network(network).subnets(new_prefix=28)
]
_V6_BLOCKS = IPv6Network("2001:db8::/32")


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses of one network in one country, of both protocols.

    The IPv4 blocks are finer than /24: who truncates an address before looking it up names the
    wrong network.
    """

    network: Network
    country: str
    v4: IPv4Network
    v6: IPv6Network

    def address(self, rng: Random) -> str:
        """An address of the range, IPv6 in 3 of 5 cases; never that of the network itself."""
        if rng.random() < 0.6:
            low = int(self.v6.network_address)
            return str(IPv6Address(low | (rng.getrandbits(80) or 1)))
        return str(IPv4Address(int(self.v4.network_address) | (rng.getrandbits(4) or 1)))


@cache
def ranges() -> dict[tuple[int, str], Range]:
    """The range of each (asn, country)."""
    found = {}
    for network in NETWORKS:
        for country, _ in network.countries:
            number = len(found)
            v6 = IPv6Network((int(_V6_BLOCKS.network_address) + ((number + 1) << 80), 48))
            # 5 and 48 have no common divisor: neighbours in the list are strangers in a /24.
            block = _V4_BLOCKS[number * 5 % len(_V4_BLOCKS)]
            found[network.asn, country] = Range(network, country, block, v6)
    return found


COUNTRY_HEADER = ("ip_range_start", "ip_range_end", "country_code")
ASN_HEADER = ("ip_range_start", "ip_range_end", "as_number", "as_organization")


def country_rows() -> Iterator[tuple[str, str, str]]:
    """First address, last address and ISO 3166 alpha-2 code, as ip-location-db publishes them."""
    for place in ranges().values():
        for block in (place.v4, place.v6):
            yield str(block[0]), str(block[-1]), place.country


def asn_rows() -> Iterator[tuple[str, str, str, str]]:
    """First address, last address, AS number and organisation, as ip-location-db does."""
    for place in ranges().values():
        for block in (place.v4, place.v6):
            yield str(block[0]), str(block[-1]), str(place.network.asn), place.network.isp


def write_ranges(country: TextIO, asn: TextIO) -> None:
    """Write both range files; like the originals they have no header line."""
    csv.writer(country, lineterminator="\n").writerows(country_rows())
    csv.writer(asn, lineterminator="\n").writerows(asn_rows())
