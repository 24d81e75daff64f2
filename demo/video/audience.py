"""Who watches: viewers with their line, device, player and habits."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from demo.video import world
from demo.video.network import LINES

# The causal anchors: Krishnan and Sitaraman, "Video stream quality impacts viewer behavior",
# IMC 2012. They are what a model trained on these events has to find again.
PATIENCE_S = 2.0
"""Nobody leaves within so many seconds of waiting for the first frame."""
ABANDONED_PER_S = 0.058
"""Share of all viewers that each second beyond PATIENCE_S loses."""
PLAY_LOST_PER_REBUFFERING = 5.0
"""Rebuffering of 1 % of a video's duration costs 5 % of what would have been watched."""
RETURN_LOST_BY_FAILURE = 0.0232
"""A visit with a failure makes the return within a week so much (relatively) less likely."""

NEWER_SDK_SHARE = 0.6
BOT_SHARE = 0.01
LOWER_CASING_SHARE = 0.05
WRONG_CLOCK_SHARE = 0.03
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Viewer:
    """One viewer at one device.

    app_version: None for players with the older SDK, which send no field of the newer one.
    clock_ms: how far the device's clock is ahead. lower_casing: sends through a collector that
    lower-cases the whole event. preloads: the page loads the video before it is played.
    return_probability: chance to come back within a week after a visit without failure.
    """

    user_id: str
    country: str
    network: world.Network
    ip: str
    device: world.Device
    user_agent: str
    connection: str
    app_version: str | None
    clock_ms: int
    lower_casing: bool
    preloads: bool
    return_probability: float
    is_bot: bool


def new_viewer(rng: Random, networks: Sequence[world.Network] = world.NETWORKS) -> Viewer:
    """A viewer drawn from the audience of these networks."""
    network = rng.choices(networks, [each.weight for each in networks])[0]
    countries, shares = zip(*network.countries, strict=True)
    country = rng.choices(countries, shares)[0]
    device = rng.choices(world.DEVICES, [each.weight for each in world.DEVICES])[0]
    is_bot = rng.random() < BOT_SHARE
    user_agent = device.user_agent
    if is_bot:
        user_agent = rng.choice(world.BOT_AGENTS)
    elif network.is_hosting:
        user_agent = world.HEADLESS_AGENT
    newer = rng.random() < NEWER_SDK_SHARE
    versions, version_shares = zip(*world.APP_VERSIONS, strict=True)
    return Viewer(
        user_id=f"us-west-2:{uuid.UUID(int=rng.getrandbits(128), version=4)}",
        country=country,
        network=network,
        ip=world.ranges()[network.asn, country].address(rng),
        device=device,
        user_agent=user_agent,
        connection=_connection(network, device, rng),
        app_version=rng.choices(versions, version_shares)[0] if newer else None,
        clock_ms=_clock_ms(rng),
        lower_casing=rng.random() < LOWER_CASING_SHARE,
        preloads=rng.random() < 0.1,
        return_probability=rng.uniform(0.5, 0.95),
        is_bot=is_bot,
    )


def _connection(network: world.Network, device: world.Device, rng: Random) -> str:
    if device.device_type == "phone" and rng.random() < network.mobile_share:
        kinds = ("4g", "3g", "cellular")
        return rng.choices(kinds, (0.8, 0.14, 0.06))[0]
    return "wifi" if device.knows_rtt and rng.random() < 0.6 else "not available"


def _clock_ms(rng: Random) -> int:
    if rng.random() >= WRONG_CLOCK_SHARE:
        return int(rng.gauss(0, 150))
    if rng.random() < 0.9:
        return int(rng.gauss(0, 180_000))
    # set to a wrong day, month or year
    return int(rng.choice((-1, 1)) * rng.uniform(0.5, 400) * DAY_MS)


def new_line_kind(viewer: Viewer) -> str:
    """The kind of the viewer's line, as network.LINES has it."""
    return viewer.connection if viewer.connection in LINES else "wifi"


def patience_s(rng: Random) -> float:
    """How long a viewer waits for the first frame.

    Uniform above PATIENCE_S, so that each second takes the same share of all viewers.
    """
    return PATIENCE_S + rng.random() / ABANDONED_PER_S


def intended_s(video: world.Video, rng: Random) -> float:
    """Seconds that a viewer would watch of a video if nothing stalled; all of it at most."""
    if video.playlist_type == "LIVE":
        return min(video.duration_s, rng.lognormvariate(6.0, 0.9))
    if rng.random() < 0.25:
        return float(video.duration_s)
    return video.duration_s * rng.betavariate(0.9, 1.4)


def leaves_at_s(intended: float, stalled: float, duration: float) -> float:
    """How many seconds a viewer watches before leaving, after so many seconds of stalls."""
    return intended * max(0.0, 1 - PLAY_LOST_PER_REBUFFERING * stalled / duration)


def longest_stall_s(intended: float, played: float, duration: float) -> float:
    """The sum of stalls, in seconds, at which a viewer who has watched so much leaves."""
    return duration * (1 - played / intended) / PLAY_LOST_PER_REBUFFERING


def returns(viewer: Viewer, *, failed: bool, rng: Random) -> bool:
    """Whether the viewer comes back within a week."""
    lost = RETURN_LOST_BY_FAILURE if failed else 0.0
    return rng.random() < viewer.return_probability * (1 - lost)


def return_delay_ms(rng: Random) -> float:
    """After how long: at about the same time of one of the next six days."""
    return rng.randint(1, 6) * DAY_MS + rng.uniform(-0.08, 0.08) * DAY_MS
