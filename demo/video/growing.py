"""A small service whose incidents mostly grow: what can be foreseen, and what cannot.

When one begins does not depend on when the last one did: a model would learn that by heart.
"""

from __future__ import annotations

from random import Random

from demo.video import world
from demo.video.incidents import MINUTE_MS, Incident, Script
from demo.video.simulator import Settings

NETWORKS = tuple(each for each in world.NETWORKS if each.isp in ("Nordlicht Telekom", "Rheinkabel"))
ATTEMPTS_PER_MINUTE = 10.0
# Those with so many viewers that their trouble is no chance; of each kind who may be affected.
TARGETS = {
    "edge_slow": ({"edge": "FRA56-P3"}, {"edge": "TXL52-P1"}),
    "edge_overloaded": ({"edge": "FRA56-P3"}, {"edge": "TXL52-P1"}),
    "isp_congested": tuple({"isp": each.isp} for each in NETWORKS),
    "app_failing": (
        {"app_version": "5.3.1", "device_type": "phone"},
        {"app_version": "5.3.1", "device_type": "desktop"},
    ),
    "origin_outage": ({"origin": world.LIVE_ORIGIN}, {"origin": world.VOD_ORIGIN}),
}
SUDDEN_SHARE = 0.25
RAMP_MINUTES = (12.0, 28.0)
HELD_MINUTES = (3.0, 6.0)
# Before the next one all has to be quiet again; from then on it may come in any minute.
LEAST_PAUSE_MINUTES, MEAN_MORE_MINUTES = 10.0, 10.0


def settings(seed: int, start_ms: int) -> Settings:
    """The service, from a time (epoch ms) on."""
    return Settings(seed, start_ms, ATTEMPTS_PER_MINUTE, daily_swing=0, networks=NETWORKS)


def growing_script(seed: int, start_ms: int, end_ms: int) -> Script:
    """Incidents of the kinds of TARGETS in random order, all over by the end.

    Args:
        start_ms, end_ms: epoch ms between which something may happen.
    """
    rng = Random(f"growing/{seed}")
    kinds: list[str] = []
    incidents: list[Incident] = []
    at_ms = start_ms
    while True:
        kinds = kinds or rng.sample(sorted(TARGETS), len(TARGETS))
        ramp = 0.0 if rng.random() < SUDDEN_SHARE else rng.uniform(*RAMP_MINUTES)
        onset_ms = at_ms + _ms(rng.expovariate(1 / MEAN_MORE_MINUTES))
        over_ms = onset_ms + _ms(ramp + rng.uniform(*HELD_MINUTES))
        if over_ms > end_ms:
            return Script(incidents)
        kind = kinds.pop()
        incidents.append(Incident(kind, onset_ms, over_ms, rng.choice(TARGETS[kind]), _ms(ramp)))
        at_ms = over_ms + _ms(LEAST_PAUSE_MINUTES)


def _ms(minutes: float) -> int:
    return int(minutes * MINUTE_MS)
