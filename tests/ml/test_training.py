"""What is learned, and how it is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from judging import judged, parts_of, shuffled
from sklearn.metrics import roc_auc_score

from demo.churn import CHURN, player_days, write_world
from loaders.ml.gate import objections
from loaders.ml.monitoring import spreads
from loaders.ml.registry import Trained
from loaders.ml.training import (
    PLAIN,
    fit,
    foretold,
    reliability,
    weighted_roc_auc,
)


def test_a_cause_that_the_baseline_does_not_know_is_found(trained: Trained) -> None:
    assert trained.judgement.gain_low > 0
    told = list(trained.importances)[:3]
    assert "level_failure_share_7" in told


def test_where_there_is_no_such_cause_no_gain_is_claimed(tmp_path: Path) -> None:
    write_world(tmp_path, player_days(seed=2, players=1500, days=70, effect=0))
    judgement = judged(parts_of(tmp_path, CHURN), CHURN)
    assert judgement.gain_low < 0.01


def test_with_shuffled_outcomes_nothing_is_learned(world: Path) -> None:
    parts = parts_of(world, CHURN)
    judgement = judged(shuffled(parts), CHURN)
    assert abs(judgement.roc_auc - 0.5) < 0.08
    assert objections(judgement, None)


def test_what_is_foretold_comes_about_as_often(trained: Trained) -> None:
    assert trained.judgement.calibration_error < 0.05


def test_the_same_rows_and_seed_give_the_same_model(world: Path) -> None:
    parts = parts_of(world, CHURN)
    first, second = (
        foretold(fit(CHURN, parts.train, PLAIN, seed=1), CHURN, parts.test) for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_a_category_that_was_never_seen_and_a_value_that_is_missing_are_scored(
    world: Path, trained: Trained
) -> None:
    rows = parts_of(world, CHURN).test.head(3).copy()
    rows["platform"] = ["fridge", None, "ios"]
    rows["level_failure_share_7"] = None
    scores = foretold(trained.model, CHURN, rows)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_bins_of_reliability_are_of_equal_size_and_in_order() -> None:
    scores = np.linspace(0, 1, 100)
    outcome = (scores > 0.5).astype(int)
    bins = reliability(outcome, scores)
    assert [count for *_, count in bins] == [10] * 10
    assert [came for _, came, _ in bins] == [0] * 5 + [1] * 5
    assert [said for said, *_ in bins] == sorted(said for said, *_ in bins)


def test_a_weighted_roc_auc_is_that_of_the_library_with_ties_too() -> None:
    chance = np.random.default_rng(1)
    outcome, scores = chance.integers(0, 2, 300), chance.integers(0, 20, 300) / 20
    of = weighted_roc_auc(outcome, scores)
    for _ in range(5):
        weights = chance.integers(0, 4, 300)
        expected = roc_auc_score(outcome, scores, sample_weight=weights)
        assert of(weights) == pytest.approx(expected)


def test_a_spread_has_bins_for_nulls_for_values_and_for_what_is_rare() -> None:
    numbers = dict.fromkeys(CHURN.numbers)
    countries = [f"c{number}" for number in range(22)]
    rows = pd.DataFrame(
        {
            **{name: [1.0] * 30 for name in numbers},
            "sessions_7": [*range(1, 21), *([None] * 10)],
            "crashes_7": [None] * 30,
            "platform": ["ios"] * 18 + ["web"] * 6 + [None] * 6,
            "country": ["c0"] * 8 + countries,
            "network": [None] * 30,
        }
    )
    found = {each.feature: each for each in spreads(CHURN, rows, np.linspace(0, 1, 30), {})}
    assert found.keys() == {*CHURN.features, "score"}
    assert found["sessions_7"].shares == pytest.approx([1 / 3] + [1 / 15] * 10)
    assert found["ads_7"].edges == [1.0]
    assert found["ads_7"].shares == [0, 1, 0]
    assert (found["crashes_7"].edges, found["crashes_7"].shares) == ([], [1, 0])
    assert found["platform"].categories == ["ios", "web"]
    assert found["platform"].shares == pytest.approx([0.2, 0.6, 0.2, 0])
    assert found["country"].categories == sorted(countries)[:1] + sorted(countries[1:])[:19]
    assert found["country"].shares[-1] == pytest.approx(2 / 30)
    assert found["network"].shares == [1, 0]
