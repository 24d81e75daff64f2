"""What a version was judged on, kept with it: what comes later is held against that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from loaders.ml.dataset import matrix
from loaders.ml.training import reliability

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from loaders.ml.definitions import Definition

SCORE = "score"
"""What stands for the score among the features."""
_PARTS = 10
_MOST_CATEGORIES = 20


@dataclass(frozen=True, slots=True)
class Spread:
    """How the values of a feature were spread over bins.

    Bin 0 has the nulls. Of a number, bin 1 + n has values above n of the edges, so that one equal
    to an edge is below it; of a text, bin n has the n-th category, and the last bin all others.
    importance: ROC AUC that is lost without the feature; None for the score. shares: of the rows, 0
    to 1, by bin.
    """

    feature: str
    importance: float | None
    edges: Sequence[float] | None
    categories: Sequence[str] | None
    shares: Sequence[float]


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve: of `reliability` x is the mean foretold, y the share that came; of
    `gains` and `gains_of_baseline` y is the share of outcomes among the share x with the highest
    scores. rows: behind the point."""

    curve: str
    place: int
    x: float
    y: float
    rows: int


def spreads(
    definition: Definition,
    rows: pd.DataFrame,
    scores: np.ndarray,
    importances: Mapping[str, float],
) -> list[Spread]:
    """How each feature and the score are spread over rows."""
    features, _ = matrix(rows, definition)
    return [
        *(
            _of_number(name, importances.get(name), features[name].to_numpy())
            for name in definition.numbers
        ),
        *(
            _of_category(name, importances.get(name), features[name])
            for name in definition.categories
        ),
        _of_number(SCORE, None, scores),
    ]


def curves(outcome: np.ndarray, scores: np.ndarray, plain: np.ndarray) -> list[Point]:
    """Reliability in bins of equal size, and gains by tenths beside those of the baseline."""
    points = [
        Point("reliability", place, said, came, rows)
        for place, (said, came, rows) in enumerate(reliability(outcome, scores))
    ]
    for name, values in (("gains", scores), ("gains_of_baseline", plain)):
        found = np.cumsum(outcome[np.argsort(-values, kind="stable")])
        for place in range(1, _PARTS + 1):
            rows = len(outcome) * place // _PARTS
            share = float(found[rows - 1] / found[-1]) if rows else 0.0
            points.append(Point(name, place, place / _PARTS, share, rows))
    return points


def _of_number(name: str, importance: float | None, values: np.ndarray) -> Spread:
    known = values[~np.isnan(values)]
    inner = np.linspace(0, 1, _PARTS + 1)[1:-1]
    edges = np.unique(np.quantile(known, inner)) if len(known) else np.array([])
    counts = np.bincount(np.searchsorted(edges, known), minlength=len(edges) + 1)
    shares = np.concatenate([[len(values) - len(known)], counts]) / len(values)
    return Spread(name, importance, edges.tolist(), None, shares.tolist())


def _of_category(name: str, importance: float | None, values: pd.Series) -> Spread:
    counts = values.value_counts()
    counts = counts.sort_index().sort_values(ascending=False, kind="stable")
    listed = counts.head(_MOST_CATEGORIES)
    others = counts.sum() - listed.sum()
    shares = np.array([values.isna().sum(), *listed, others]) / len(values)
    return Spread(name, importance, None, [str(each) for each in listed.index], shares.tolist())
