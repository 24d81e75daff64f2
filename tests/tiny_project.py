"""Small dbt projects for tests, run inside the test's own Spark session."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT_ROOT = Path(__file__).resolve().parent.parent

# As dbt-spark comes: no settings of ours, and ANSI asked for.
BARE_PROFILE = """
bare:
  target: bare
  outputs:
    bare:
      type: spark
      method: session
      host: none
      schema: bare
      threads: 1
      server_side_parameters: {spark.sql.ansi.enabled: "true"}
"""
BARE_PROJECT = "{name: bare, profile: bare, version: 0.1.0, config-version: 2}"


@dataclass
class Outcome:
    """What one dbt command did."""

    success: bool
    error: str
    status: dict[str, str]
    message: dict[str, str]
    statements: dict[str, list[str]] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TinyProject:
    """A dbt project in a folder of its own."""

    folder: Path
    profiles: Path

    def dbt(self, *arguments: str) -> Outcome:
        """Run a dbt command; statements are keyed by the name of the node that sent them."""
        from dbt.cli.main import dbtRunner

        statements: dict[str, list[str]] = {}
        printed: list[str] = []
        errors: list[str] = []

        def note(event: Any) -> None:
            if event.info.name == "SQLQuery":
                node = event.data.node_info.node_name
                statements.setdefault(node, []).append(" ".join(event.data.sql.split()))
            elif event.info.name == "JinjaLogInfo":
                printed.append(event.data.msg)
            elif event.info.name == "RunningOperationCaughtError":
                errors.append(event.data.exc)

        places = {
            "--project-dir": self.folder,
            "--profiles-dir": self.profiles,
            "--target-path": self.folder / "target",
            "--log-path": self.folder / "logs",
        }
        outcome = dbtRunner(callbacks=[note]).invoke(
            [*arguments, "--quiet", *(str(part) for place in places.items() for part in place)]
        )
        results = getattr(outcome.result, "results", None) or []
        if arguments[0] == "run-operation":
            results = []  # of another kind, without nodes
        if outcome.exception:
            errors.append(str(outcome.exception))
        return Outcome(
            success=outcome.success,
            error="\n".join(errors),
            status={result.node.name: str(result.status) for result in results},
            message={result.node.name: result.message or "" for result in results},
            statements=statements,
            printed=printed,
        )


def bare_project(folder: Path, resources: Path) -> TinyProject:
    """The resources' models and seeds on dbt-spark as it comes; schemas start with `bare`."""
    shutil.copytree(resources, folder)
    (folder / "dbt_project.yml").write_text(BARE_PROJECT)
    (folder / "profiles.yml").write_text(BARE_PROFILE)
    return TinyProject(folder, folder)


def project_with_our_macros(folder: Path, resources: Path) -> TinyProject:
    """The resources' models and seeds with this project's own settings, macros and profile."""
    shutil.copytree(resources, folder)
    for name in ("dbt_project.yml", "macros"):
        (folder / name).symlink_to(PROJECT_ROOT / name)
    return TinyProject(folder, PROJECT_ROOT / "profiles")


def this_project_with(folder: Path, files: Mapping[str, str]) -> TinyProject:
    """This project and further files, by their path in it."""
    shutil.copytree(PROJECT_ROOT / "models", folder / "models")
    for name in ("dbt_project.yml", "macros", "seeds", "tests"):
        (folder / name).symlink_to(PROJECT_ROOT / name)
    for path, text in files.items():
        (folder / path).write_text(text)
    return TinyProject(folder, PROJECT_ROOT / "profiles")
