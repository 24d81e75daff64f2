"""Versions are kept with all they were made of, and only what is good comes to be used."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from judging import parts_of

from demo.churn import CHURN, player_days, write_world
from loaders.cli import cli
from loaders.ml import lifecycle
from loaders.ml.dataset import read_dataset
from loaders.ml.definitions import definitions
from loaders.ml.gate import objections
from loaders.ml.registry import Registry, Trained, code_version
from loaders.ml.training import Judgement, fit, foretold

GOOD = Judgement(
    rows=1000,
    base_rate=0.2,
    roc_auc=0.8,
    pr_auc=0.5,
    log_loss=0.4,
    brier=0.1,
    calibration_error=0.01,
    top_decile_lift=3,
    baseline_roc_auc=0.7,
    baseline_pr_auc=0.4,
    gain=0.1,
    gain_low=0.05,
    gain_high=0.15,
)


@pytest.mark.parametrize(
    ("challenger", "champion", "objection"),
    [
        (GOOD, None, None),
        (GOOD, GOOD, None),
        (replace(GOOD, log_loss=0.403), GOOD, None),
        (replace(GOOD, log_loss=0.41), GOOD, "worse than the one in use"),
        (replace(GOOD, gain_low=-0.001), None, "not surely better than its baseline"),
        (replace(GOOD, calibration_error=0.06), None, "off by 0.060 on average"),
        (replace(GOOD, log_loss=0.51), None, "tells less than who foretells the same of everybody"),
    ],
)
def test_the_gate_lets_pass_what_is_good(
    challenger: Judgement, champion: Judgement | None, objection: str | None
) -> None:
    found = objections(challenger, champion)
    assert len(found) == (objection is not None)
    assert objection is None or objection in found[0]


def test_a_version_is_kept_with_what_it_was_made_of(
    world: Path, registry: Registry, trained: Trained
) -> None:
    version = registry.record(trained)
    assert version == registry.version("player_churn")
    assert version.parameters == trained.parameters
    assert version.tables == trained.tables
    assert version.code == code_version()
    assert version.figures["roc_auc"] == trained.judgement.roc_auc
    test = parts_of(world, CHURN).test
    kept = foretold(registry.load(version), CHURN, test)
    assert np.array_equal(kept, foretold(trained.model, CHURN, test))
    artifacts = world / "ml" / "artifacts" / "player_churn" / version.run_id / "artifacts"
    assert {path.name for path in artifacts.iterdir()} == {
        "card.md",
        "gains.png",
        "importances.json",
        "monitoring.json",
        "reliability.png",
    }
    assert registry.monitoring(version) == (list(trained.spreads), list(trained.curves))
    assert (artifacts / "gains.png").read_bytes().startswith(b"\x89PNG")
    assert "level_failure_share_7" in (artifacts / "card.md").read_text()


def test_a_worse_challenger_is_not_promoted(
    world: Path, registry: Registry, trained: Trained
) -> None:
    good = registry.record(trained)
    _, against = lifecycle.promote(world, CHURN, registry, good)
    assert against == []
    parts = parts_of(world, CHURN)
    weak = fit(CHURN, parts.train, {"max_iter": 2, "learning_rate": 0.02}, seed=1)
    worse = registry.record(replace(trained, model=weak))
    _, against = lifecycle.promote(world, CHURN, registry, worse)
    assert any("worse than the one in use" in objection for objection in against)
    assert registry.champion("player_churn") == replace(good, is_champion=True)


def test_the_command_line_says_in_a_line_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
    listed = CliRunner().invoke(cli, ["ml", "list", "--json"])
    assert json.loads(listed.stdout) == {name: [] for name in definitions()}
    refused = CliRunner().invoke(cli, ["ml", "promote", "player_churn"])
    assert "has no version: python -m loaders ml train player_churn" in str(refused.exception)


def test_a_version_is_trained_again_from_what_was_recorded_though_its_tables_have_gone_on(
    world: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world / "warehouse", tmp_path / "warehouse")
    registry = Registry(tmp_path)
    first = registry.record(trained)
    before = read_dataset(tmp_path, CHURN)
    write_world(tmp_path, player_days(seed=7, players=40, days=40))
    assert not read_dataset(tmp_path, CHURN).rows.equals(before.rows)

    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
    CliRunner().invoke(cli, ["ml", "train", "player_churn", "--like", "1"], catch_exceptions=False)
    again = registry.version("player_churn")
    assert again.number == 2
    assert again.tables == first.tables == before.versions
    assert (again.parameters, again.figures) == (first.parameters, first.figures)
    scores = [foretold(registry.load(each), CHURN, before.rows) for each in (first, again)]
    np.testing.assert_array_equal(*scores)
