from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from demo.churn import CHURN, player_days, write_world
from loaders.ml import lifecycle
from loaders.ml.registry import Registry, Trained


@pytest.fixture(scope="session")
def world_days() -> list[dict[str, Any]]:
    """Ten weeks of a game whose players leave when they fail."""
    return player_days(seed=1, players=1500, days=70)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, world_days: list[dict[str, Any]]) -> Path:
    """A LAKEHOUSE_ROOT with the tables of that game."""
    root = tmp_path_factory.mktemp("world")
    write_world(root, world_days)
    return root


@pytest.fixture(scope="session")
def trained(world: Path) -> Trained:
    return lifecycle.train(world, CHURN, trials=2, seed=1)


@pytest.fixture(scope="session")
def registry(world: Path) -> Registry:
    return Registry(world)
