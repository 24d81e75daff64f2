"""dbt build in this process, and whether one is needed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loaders.session import PROJECT_ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROJECT_PARTS = ("dbt_project.yml", "models", "macros", "seeds", "tests/data")
# The events with which dbt says that a node has ended.
NODE_ENDED = ("LogModelResult", "LogSeedResult", "LogTestResult")


class BuildError(Exception):
    """dbt ended red; the message names the first node and the cause."""


@dataclass(frozen=True, slots=True)
class Node:
    """A seed, model or test that has ended, the `number`th of `total`."""

    name: str
    kind: str
    status: str
    seconds: float
    number: int
    total: int


def import_dbt() -> Any:
    """dbt's entry point; its import takes seconds."""
    from dbt.cli.main import dbtRunner

    return dbtRunner


def dbt_build(root: Path, report: Callable[[Node], None]) -> list[Node]:
    """Run every seed, model and data test; unit tests belong to `make test`.

    Args:
        root: where dbt writes its artifacts (target/) and logs.
        report: told of each node that has ended.

    Raises:
        BuildError: a node failed.
    """
    nodes: list[Node] = []

    def on_event(event: Any) -> None:
        if event.info.name not in NODE_ENDED:
            return
        data = event.data
        total = data.num_models if event.info.name == "LogTestResult" else data.total
        info = data.node_info
        nodes.append(
            Node(
                info.node_name,
                info.resource_type,
                data.status,
                data.execution_time,
                len(nodes) + 1,
                total,
            )
        )
        report(nodes[-1])

    outcome = import_dbt()(callbacks=[on_event]).invoke(
        [
            *("build", "--exclude-resource-type", "unit_test", "--quiet"),
            *("--project-dir", str(PROJECT_ROOT), "--profiles-dir", str(PROJECT_ROOT / "profiles")),
            *("--target-path", str(root / "target"), "--log-path", str(root / "logs")),
        ]
    )
    if isinstance(outcome.exception, KeyboardInterrupt):
        raise outcome.exception
    if not outcome.success:
        raise BuildError(_first_failure(outcome))
    return nodes


def _first_failure(outcome: Any) -> str:
    for result in getattr(outcome.result, "results", None) or []:
        if result.status in ("error", "fail", "runtime error"):
            return " ".join(f"{result.node.name}: {result.message or 'no message'}".split())
    return " ".join(str(outcome.exception or "no message").split())


def fingerprint(root: Path) -> str:
    """Changes with every commit to a table of the lakehouse and with the dbt project."""
    newest_commits = {
        str(log.parent.relative_to(root)): max(path.name for path in log.glob("*.json"))
        for log in sorted((root / "warehouse").glob("*.db/*/_delta_log"))
    }
    total = hashlib.sha256(json.dumps(newest_commits).encode())
    for part in PROJECT_PARTS:
        path = PROJECT_ROOT / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(file.read_bytes())
    return total.hexdigest()


def is_current(root: Path) -> bool:
    """Whether nothing has changed since the last green build."""
    stamp = _stamp(root)
    return stamp.exists() and stamp.read_text() == fingerprint(root)


def mark_current(root: Path) -> None:
    """Note that a build of what stands there now was green."""
    _stamp(root).write_text(fingerprint(root))


def _stamp(root: Path) -> Path:
    return root / "target" / "green_build"
