"""Viewers who leave: what is learned of them are the causes that they were simulated with."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from judging import judged, parts_of, shuffled
from viewers import VIEWER_CHURN, profiles, viewing, write_viewers

from loaders.ml.dataset import Split, read_dataset
from loaders.ml.training import PLAIN, fit, foretold

LOST = 0.6
"""Far more than the 0.0232 that was found of real viewers, to be seen in a world so small."""
MEAN_RETURN = 0.78
"""Of those who have come some times: who returns less often has left."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Split:
    root = tmp_path_factory.mktemp("viewers")
    write_viewers(root, viewing(seed=1, viewers=2500, days=75, lost=LOST))
    return parts_of(root, VIEWER_CHURN)


def test_quality_of_experience_tells_more_than_behaviour_where_failures_drive_away(
    parts: Split,
) -> None:
    assert judged(parts, VIEWER_CHURN).gain_low > 0


def test_where_failures_drive_nobody_away_no_gain_is_claimed(tmp_path: Path) -> None:
    write_viewers(tmp_path, viewing(seed=2, viewers=1200, days=75, lost=0))
    assert judged(parts_of(tmp_path, VIEWER_CHURN), VIEWER_CHURN).gain_low < 0.01


def test_a_failure_makes_a_viewer_leave_about_as_often_as_the_simulation_has_it(
    parts: Split,
) -> None:
    """Partial dependence on the last attempt, of those who were there the day before."""
    model = fit(VIEWER_CHURN, parts.train, PLAIN, seed=1)
    fresh = parts.test[parts.test["days_since_seen"] == 1]
    left = [
        foretold(model, VIEWER_CHURN, fresh.assign(last_attempt_failed=failed)).mean()
        for failed in (0, 1)
    ]
    expected = LOST * MEAN_RETURN
    assert expected / 2 < left[1] - left[0] < expected * 1.3


def test_what_is_foretold_of_viewers_comes_about_as_often(parts: Split) -> None:
    assert judged(parts, VIEWER_CHURN).calibration_error < 0.05


def test_stalls_and_slow_starts_that_drive_nobody_away_are_not_blamed(parts: Split) -> None:
    """They cost minutes of the session itself: demo.video.audience."""
    model = fit(VIEWER_CHURN, parts.train, PLAIN, seed=1)
    fresh = parts.test[parts.test["days_since_seen"] == 1]
    for name, values in (("last_attempt_stalls", (0, 3)), ("last_attempt_startup_ms", (500, 9000))):
        left = [
            foretold(model, VIEWER_CHURN, fresh.assign(**{name: value})).mean() for value in values
        ]
        assert abs(left[1] - left[0]) < 0.1, name


def test_with_shuffled_outcomes_nothing_is_learned(parts: Split) -> None:
    judgement = judged(shuffled(parts), VIEWER_CHURN)
    assert abs(judgement.roc_auc - 0.5) < 0.08


def test_an_outcome_is_whether_the_viewer_plays_nothing_in_the_two_weeks_after_the_next_day(
    tmp_path: Path,
) -> None:
    sessions = viewing(seed=3, viewers=60, days=50, lost=LOST)
    write_viewers(tmp_path, sessions)
    played = {
        (each.viewer.user_id, each.days[0]) for each in sessions if each.startup_ms is not None
    }
    newest = max(each.days[-1] for each in sessions)
    expected = {}
    for row in profiles(sessions):
        after = [row["profile_date"] + timedelta(days=n) for n in range(1, 15)]
        if after[-1] < newest and not row["is_bot"]:
            came = any((row["user_id"], day) in played for day in after)
            expected[row["profile_date"], row["user_id"]] = not came
    found = read_dataset(tmp_path, VIEWER_CHURN).rows
    dates = pd.to_datetime(found["profile_date"]).dt.date
    assert dict(zip(zip(dates, found["user_id"], strict=True), found["outcome"], strict=True)) == (
        expected
    )
    assert set(expected.values()) == {True, False}
