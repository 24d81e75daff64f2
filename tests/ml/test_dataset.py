"""What models are trained and judged on: known beforehand, as of a version, apart by time."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
from judging import parts_of

from demo.churn import CHURN, player_days, profiles, write_world
from loaders.ml import definitions as declared
from loaders.ml.dataset import read_dataset, split
from loaders.ml.definitions import Definition, definition_of, require_known_before
from loaders.session import ConfigurationError


def with_numbers(*names: str) -> Definition:
    return CHURN.alone(names)


def test_an_outcome_is_whether_the_player_stays_away_for_the_two_weeks_after_the_next_day(
    tmp_path: Path,
) -> None:
    rows = player_days(seed=3, players=60, days=50)
    write_world(tmp_path, rows)
    played = {(row["player_id"], row["activity_date"]) for row in rows}
    newest = max(row["activity_date"] for row in rows)
    expected = {}
    for row in profiles(rows):
        after = [row["profile_date"] + timedelta(days=n) for n in range(1, 15)]
        if after[-1] < newest:
            came = any((row["player_id"], day) in played for day in after)
            expected[row["profile_date"], row["player_id"]] = not came
    found = read_dataset(tmp_path, CHURN).rows
    dates = pd.to_datetime(found["profile_date"]).dt.date
    assert dict(
        zip(zip(dates, found["player_id"], strict=True), found["outcome"], strict=True)
    ) == (expected)
    assert set(expected.values()) == {True, False}


def test_a_dataset_is_read_as_its_tables_stood(tmp_path: Path) -> None:
    first, second = (player_days(seed, players=40, days=40) for seed in (1, 2))
    write_world(tmp_path, first)
    before = read_dataset(tmp_path, CHURN)
    write_world(tmp_path, second)
    now = read_dataset(tmp_path, CHURN)
    assert before.versions == {"gold.player_profile": 0, "silver.game_player_days": 0}
    assert now.versions == {"gold.player_profile": 1, "silver.game_player_days": 1}
    pd.testing.assert_frame_equal(read_dataset(tmp_path, CHURN, before.versions).rows, before.rows)
    assert not now.rows.equals(before.rows)


def test_nobody_is_judged_whom_the_model_has_learned_from_nor_a_day_before_all_it_learned_was_known(
    world: Path,
) -> None:
    parts = parts_of(world, CHURN)
    people = [set(part["player_id"]) for part in (parts.train, parts.validation, parts.test)]
    assert not people[0] & people[1]
    assert not (people[0] | people[1]) & people[2]
    learned = pd.concat([parts.train, parts.validation])["profile_date"].max()
    assert learned + timedelta(days=15) <= parts.test["profile_date"].min()


@pytest.mark.parametrize(
    "name", ["outcome", "profile_date", "player_id", "_batch_id", "days_until_return"]
)
def test_what_is_not_known_beforehand_is_refused(world: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot be foretold by {name}"):
        read_dataset(world, with_numbers("days_since_played", name))


def test_what_says_when_a_profile_was_loaded_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be foretold by _logs_batch_id"):
        require_known_before(with_numbers("_logs_batch_id"), ["profile_date", "_logs_batch_id"])


def test_columns_of_the_profile_are_allowed() -> None:
    require_known_before(with_numbers("sessions_7"), ["profile_date", "sessions_7"])


def test_too_little_history_is_told_with_what_there_is(tmp_path: Path) -> None:
    write_world(tmp_path, player_days(seed=1, players=50, days=30))
    with pytest.raises(ConfigurationError, match=r"needs more history: of .* the least is 200"):
        split(read_dataset(tmp_path, CHURN).rows, CHURN)


def test_a_table_that_is_not_there_is_told_with_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no table gold\.player_profile yet: build it"):
        read_dataset(tmp_path, CHURN)


def test_a_version_that_is_gone_is_told(tmp_path: Path) -> None:
    write_world(tmp_path, player_days(seed=1, players=9, days=20))
    with pytest.raises(ConfigurationError, match="cannot be read at version 7"):
        read_dataset(tmp_path, CHURN, {"gold.player_profile": 7})


def test_a_model_that_is_not_declared_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match="no model weather; there are player_churn"):
        definition_of("weather")


DECLARED = """
weather:
  description: It rains.
  dataset: weather.sql
  profile: gold.days
  date: day
  entity: [town]
  known_after_days: 1
  scored_days: 0.5
  numbers: [clouds, wind]
  categories: []
  baseline: [clouds]
"""


@pytest.mark.parametrize(
    ("there", "instead", "told"),
    [
        ("scored_days: 0.5", "", "weather lacks scored_days"),
        ("baseline", "base: 1\n  baseline", "weather has base"),
        ("scored_days: 0.5", "scored_days: 0", "has 0 as scored_days; write a number above 0"),
        ("scored_days: 0.5", "scored_days: a week", "has 'a week' as scored_days; write a number"),
        (
            "known_after_days: 1",
            "known_after_days: yes",
            "has True as known_after_days; write",
        ),
        ("[town]", "town", "has 'town' as entity; write a list of names"),
        ("[clouds, wind]", "[clouds, 7]", "as numbers; write a list of names"),
        ("gold.days", "", "has None as profile; write a text"),
        ("[clouds]", "[sun]", "has a baseline of sun, which are not among its numbers"),
    ],
)
def test_a_model_that_is_declared_wrongly_is_told_with_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, instead: str, told: str
) -> None:
    monkeypatch.setattr(declared, "DECLARED", tmp_path / "models.yml")
    (tmp_path / "models.yml").write_text(DECLARED)
    assert declared.definitions.__wrapped__()["weather"].scored_days == 0.5
    (tmp_path / "models.yml").write_text(DECLARED.replace(there, instead))
    with pytest.raises(ConfigurationError, match=f"^models.yml: .*{re.escape(told)}"):
        declared.definitions.__wrapped__()
