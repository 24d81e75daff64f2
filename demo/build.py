"""Whether a dbt build is needed, and doing it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from demo.steps import step
from loaders.dbt_project import PROJECT_PARTS, BuildError, DbtProject, Node, Result
from loaders.session import PROJECT_ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


def dbt_build(
    project: DbtProject,
    report: Callable[[Node], None],
    models: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> list[Result]:
    """Run seeds, models and data tests; unit tests belong to `make test`.

    Args:
        report: told of each node that has ended.
        models: dbt's selection; everything when empty.
        variables: dbt's, in place of those of dbt_project.yml.

    Raises:
        BuildError: a node failed.
    """
    selection = ("--select", *models) if models else ()
    vars_ = ("--vars", json.dumps(variables)) if variables else ()
    return all_green(
        project.run(
            *("build", "--exclude-resource-type", "unit_test", *selection, *vars_), report=report
        )
    )


def build_shown(project: DbtProject, title: str, models: Sequence[str]) -> None:
    """Build models alone, with their tests, as a step; what they are built of stands there.

    Raises:
        BuildError: a node failed.
    """
    with step(title) as current:
        results = dbt_build(project, lambda _: None, models)
        tests = sum(result.kind == "test" for result in results)
        current.outcome = f"{', '.join(models)}; {tests} tests passed"


def all_green(results: list[Result]) -> list[Result]:
    """The results as they are.

    Raises:
        BuildError: one of them is bad.
    """
    for result in results:
        if result.is_bad:
            raise BuildError(result.problem)
    return results


def fingerprint(root: Path) -> str:
    """Changes with every commit to a table of the lakehouse and with the dbt project."""
    newest_commits = {
        # a build that was killed may leave a folder without a commit
        str(log.parent.relative_to(root)): max(
            (path.name for path in log.glob("*.json")), default=""
        )
        for log in sorted((root / "warehouse").glob("*.db/*/_delta_log"))
    }
    total = hashlib.sha256(json.dumps(newest_commits).encode())
    for part in PROJECT_PARTS:
        path = PROJECT_ROOT / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(file.read_bytes())
    return total.hexdigest()


def is_current(root: Path, models: Sequence[str] = ()) -> bool:
    """Whether nothing has changed since the last green build of this selection."""
    stamp = _stamp(root, models)
    return stamp.exists() and stamp.read_text() == fingerprint(root)


def mark_current(root: Path, models: Sequence[str] = ()) -> None:
    """Note that a build of what stands there now was green."""
    _stamp(root, models).write_text(fingerprint(root))


def _stamp(root: Path, models: Sequence[str]) -> Path:
    of_some = f"_{hashlib.sha256(' '.join(models).encode()).hexdigest()[:8]}" if models else ""
    return root / "target" / f"green_build{of_some}"
