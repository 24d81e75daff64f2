"""The same models and seeds, built by dbt-spark as it comes and by this project's macros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_project import Outcome, TinyProject, bare_project, project_with_our_macros

RESOURCES = Path(__file__).parent / "project"
OVERWRITE_MODE = "spark.sql.sources.partitionOverwriteMode"
SCHEMAS = ("bare", "bare_twin_left", "bare_twin_right", "twin_left", "twin_right")
CURED = ("clustered", "commented", "null_key", "twin_left", "twin_right")


@dataclass(frozen=True)
class Builds:
    """Two runs in a row, and what they left in the session."""

    project: TinyProject
    first: Outcome
    second: Outcome
    overwrite_mode: str
    ansi: str


@pytest.fixture(scope="session")
def clean(spark: Any) -> Iterator[None]:
    def drop() -> None:
        for schema in SCHEMAS:
            spark.sql(f"drop schema if exists {schema} cascade")
        for model in CURED:
            spark.sql(f"drop table if exists silver.{model}")

    drop()
    yield
    drop()


@pytest.fixture(scope="session")
def upstream(spark: Any, clean: None, tmp_path_factory: pytest.TempPathFactory) -> Builds:
    """dbt-spark as it comes, asked for ANSI mode in its profile."""
    project = bare_project(tmp_path_factory.mktemp("upstream") / "project", RESOURCES)
    first = project.dbt("build")
    mode, ansi = spark.conf.get(OVERWRITE_MODE), spark.conf.get("spark.sql.ansi.enabled")
    spark.conf.set(OVERWRITE_MODE, "STATIC")
    second = project.dbt("run", "--select", "shrinking", *CURED)
    return Builds(project, first, second, mode, ansi)


@pytest.fixture(scope="session")
def ours(spark: Any, clean: None, tmp_path_factory: pytest.TempPathFactory) -> Builds:
    """This project's settings and macros."""
    project = project_with_our_macros(tmp_path_factory.mktemp("ours") / "project", RESOURCES)
    spark.conf.set(OVERWRITE_MODE, "DYNAMIC")
    first = project.dbt("run", "--select", *CURED)
    mode, ansi = spark.conf.get(OVERWRITE_MODE), spark.conf.get("spark.sql.ansi.enabled")
    second = project.dbt("build", "--select", *CURED)
    return Builds(project, first, second, mode, ansi)
