"""The engine scores what is new, and asks nothing where there is nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from demo.churn import player_days, write_world
from loaders.ml import scoring
from loaders.ml.definitions import Definition, database_of, definitions
from loaders.ml.registry import Registry, Trained
from loaders.ml.step import Scoring


def test_the_engine_scores_when_profiles_are_new_or_a_version_comes_into_use(
    tmp_path: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int] = []
    scored: list[int] = []
    problems = ["the disk is full"]

    def in_use(_: Any, definition: Definition, registry: Registry) -> int:
        loaded.append(registry.champion(definition.name).number)
        return loaded[-1]

    def score_new(_: Any, version: int) -> int:
        if problems:
            raise OSError(problems.pop())
        scored.append(version)
        return 7

    monkeypatch.setattr(scoring, "in_use", in_use)
    monkeypatch.setattr(scoring, "score_new", score_new)
    engine = Scoring(None, tmp_path)
    assert engine.step() is None  # nothing was trained
    registry = Registry(tmp_path)
    first, second = registry.record(trained), registry.record(trained)
    assert engine.step() is None
    registry.promote(first)
    assert engine.step() is None  # no profile yet
    write_world(tmp_path, player_days(seed=1, players=9, days=20))
    with pytest.raises(OSError, match="full"):
        engine.step()
    assert engine.step() == "7 profiles of player_churn"
    assert engine.step() is None
    write_world(tmp_path, player_days(seed=2, players=9, days=20))
    assert engine.step() == "7 profiles of player_churn"
    registry.promote(second)
    assert engine.step() == "7 profiles of player_churn"
    assert engine.step() is None
    assert scored == [1, 1, 2]
    assert loaded == [1, 2]


def test_a_model_that_cannot_be_scored_holds_up_no_other_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, *others = sorted(definitions())
    tried: list[str] = []

    def score(_: Scoring, definition: Definition) -> int:
        tried.append(definition.name)
        if definition.name == broken:
            raise OSError("the disk is full")
        return 7

    monkeypatch.setattr(Scoring, "_score", score)
    database = database_of(tmp_path)
    database.parent.mkdir()
    database.touch()
    engine = Scoring(None, tmp_path)
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            engine.step()
    assert tried == [broken, *others, broken]
