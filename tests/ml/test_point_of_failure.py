"""Cohorts that come into trouble: what builds up is foretold, what comes at once is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from cohorts import MINUTE_MS, POINT_OF_FAILURE, RULES, at, breaches, viewing, write_cohorts
from cohorts_reference import known_when_minutes_began
from judging import judged, parts_of, shuffled

from loaders.ml.dataset import Split, read_dataset

HOURS = 20


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Split:
    root = tmp_path_factory.mktemp("cohorts")
    write_cohorts(root, viewing(seed=1, hours=HOURS, ramp_minutes=25))
    return parts_of(root, POINT_OF_FAILURE)


def test_what_builds_up_is_foretold_better_than_by_the_last_values(parts: Split) -> None:
    judgement = judged(parts, POINT_OF_FAILURE)
    assert judgement.gain_low > 0
    assert judgement.pr_auc > 2 * judgement.base_rate


def test_what_comes_at_once_is_not_foretold(tmp_path: Path) -> None:
    write_cohorts(tmp_path, viewing(seed=2, hours=HOURS, ramp_minutes=0))
    judgement = judged(parts_of(tmp_path, POINT_OF_FAILURE), POINT_OF_FAILURE)
    assert judgement.pr_auc < 1.5 * judgement.base_rate


def test_with_shuffled_outcomes_nothing_is_learned(parts: Split) -> None:
    judgement = judged(shuffled(parts), POINT_OF_FAILURE)
    assert abs(judgement.roc_auc - 0.5) < 0.1


def test_an_outcome_is_a_rule_that_breaks_in_the_minutes_to_come_and_is_not_broken_now(
    tmp_path: Path,
) -> None:
    done = viewing(seed=3, hours=4, ramp_minutes=20)
    write_cohorts(tmp_path, done)
    broken = {
        (window, RULES[rule], name): RULES[rule]
        for (window, rule), names in breaches(done).items()
        for name in names
    }
    newest = max(window for window, _ in breaches(done))
    expected = {}
    for minute, cohort in known_when_minutes_began(done):
        windows = [
            [
                broken.get((minute + n * MINUTE_MS, kind, cohort[place]))
                for place, kind in enumerate(("edge", "isp"))
            ]
            for n in range(-9, 11)
        ]
        if not any(map(any, windows[:10])) and minute + 10 * MINUTE_MS <= newest:
            layers = next((set(some) - {None} for some in windows[10:] if any(some)), set())
            expected[at(minute), cohort] = layers
    found = {
        (row["minute"].to_pydatetime(), (row["edge"], row["isp"], row["device_type"])): row
        for row in read_dataset(tmp_path, POINT_OF_FAILURE).rows.to_dict("records")
    }
    assert set(found) == set(expected)
    for key, layers in expected.items():
        assert found[key]["outcome"] is bool(layers)
        assert not layers or found[key]["layer"] in layers
    assert {row["outcome"] for row in found.values()} == {True, False}
