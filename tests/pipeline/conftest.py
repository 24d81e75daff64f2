"""The small project of streaming models, parsed once for all tests that use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
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
