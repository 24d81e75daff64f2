"""What several files of tests share: the project of streaming models, the built video tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import video_lakehouse
from live_project import LiveProject
from tiny_project import PROJECT_ROOT, TinyProject, project_with_our_macros


@pytest.fixture(scope="session")
def live_folder(tmp_path_factory: pytest.TempPathFactory) -> TinyProject:
    resources = PROJECT_ROOT / "tests" / "pipeline" / "live"
    return project_with_our_macros(tmp_path_factory.mktemp("live") / "project", resources)


@pytest.fixture
def live(spark: Any, lakehouse: Path, live_folder: TinyProject) -> LiveProject:
    """The project on an empty lakehouse, with its source and no other table."""
    project = LiveProject(spark, live_folder)
    project.create_source()
    return project


@pytest.fixture(scope="session")
def video(
    spark: Any, dbt: Callable[..., Any], empty_lakehouse: Callable[[], Path]
) -> video_lakehouse.Lakehouse:
    """The video tables, built once for test_video_gold.py, _live.py and _silver.py.

    No other file may stand between these: a test that asks for an empty lakehouse drops the tables.
    """
    empty_lakehouse()
    return video_lakehouse.Lakehouse(spark, dbt, video_lakehouse.eventful_service())
