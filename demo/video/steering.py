"""Which edge a viewer is sent to: players obey the CDN weights that remediation writes.

loaders/alerts/weights.py says what the object in S3 looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from demo.video import world
from loaders.alerts.weights import WeightsError, WeightsObject

WEIGHTS_KEY = "qos/control/cdn_weights.json"


class Steering:
    """The share of its usual traffic that each edge gets; 1 unless set.

    `version` grows with every change: a player that sees a new one asks for its edge again.
    """

    def __init__(self) -> None:
        self.version = 0
        self._weights: dict[str, float] = {}

    @property
    def weights(self) -> Mapping[str, float]:
        """The weights that were set, by edge."""
        return self._weights

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Replace all weights.

        Raises:
            WeightsError: a weight below zero, or an edge that does not exist.
        """
        for edge, weight in weights.items():
            if edge not in world.ALL_EDGES:
                raise WeightsError(f"no edge {edge!r}; there are {', '.join(world.ALL_EDGES)}")
            if not weight >= 0:
                raise WeightsError(f"weight of {edge} is {weight}; it cannot be below 0")
        if dict(weights) != self._weights:
            self._weights = dict(weights)
            self.version += 1

    def shift_away(self, edge: str, weight: float = 0.0) -> None:
        """Send only `weight` of its usual traffic to an edge; the other edges get the rest."""
        self.set_weights({**self._weights, edge: weight})

    def restore(self, edge: str) -> None:
        """Take a shift back."""
        self.set_weights({name: w for name, w in self._weights.items() if name != edge})

    def choose(self, country: str, rng: Random) -> str:
        """An edge for a viewer of a country; as usual where all of its edges have weight 0."""
        usual = world.EDGES[country]
        steered = [(edge, share * self._weights.get(edge, 1.0)) for edge, share in usual]
        total = sum(share for _, share in steered)
        if not total:
            steered, total = list(usual), sum(share for _, share in usual)
        left = rng.random() * total
        for edge, share in steered:
            left -= share
            if left < 0:
                return edge
        return next(edge for edge, share in reversed(steered) if share)


def read_weights(s3: Any, bucket: str) -> dict[str, float]:
    """The weights that remediation or a person wrote last; none when nobody did.

    Raises:
        loaders.alerts.weights.WeightsError: the object holds something else.
    """
    weights = WeightsObject(s3, bucket, WEIGHTS_KEY).read()
    return {edge: entry.weight for edge, entry in weights.items()}
