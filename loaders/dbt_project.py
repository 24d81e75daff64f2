"""The dbt project, run in this process: dbt's own entry point, with the manifest kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loaders.session import PROJECT_ROOT

if TYPE_CHECKING:
    from pathlib import Path

PROJECT_PARTS = ("dbt_project.yml", "profiles", "models", "macros", "seeds", "tests/data")
# The events with which dbt says that a node has ended.
_NODE_ENDED = ("LogModelResult", "LogSeedResult", "LogTestResult")
_BAD = ("error", "fail", "runtime error")
SKIPPED = "skipped"

Manifest = dict[str, Any]


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


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a node; `error` is one line, None where it ended well or was skipped."""

    unique_id: str
    name: str
    kind: str
    status: str
    message: str
    seconds: float

    @property
    def is_bad(self) -> bool:
        return self.status in _BAD

    @property
    def is_skipped(self) -> bool:
        return self.status == SKIPPED

    @property
    def problem(self) -> str:
        return f"{self.name}: {self.message}"


class DbtProject:
    """dbt over this project, in this process's Spark session; artifacts and logs go to the root.

    Its manifest is read once, and again when a file of the project has changed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._parsed: Any = None
        self._stamp: tuple | None = None
        self.readings = 0  # how often the project was read

    def import_dbt(self) -> Any:
        """dbt's entry point; its import takes seconds."""
        from dbt.cli.main import dbtRunner

        return dbtRunner

    def has_changed(self) -> bool:
        """Whether a file of the project was written since the manifest was read."""
        return self._stamp != _stamp()

    def parse(self) -> Manifest:
        """Read the project; returns the manifest as a dictionary, as manifest.json has it.

        Raises:
            BuildError: the project cannot be read.
        """
        stamp = _stamp()
        outcome = self._runner(None, []).invoke(["parse", *self._flags()])
        if not outcome.success:
            raise BuildError(_one_line(outcome.exception))
        self._parsed, self._stamp = outcome.result, stamp
        self.readings += 1
        return self.manifest()

    def manifest(self) -> Manifest:
        """The manifest as it stands: with the text of what was compiled since it was read."""
        return self._parsed.writable_manifest().to_dict(omit_none=False)

    def run(
        self, *arguments: str, report: Callable[[Node], None] = lambda node: None
    ) -> list[Result]:
        """One dbt command; the results of its nodes, bad ones among them.

        Args:
            arguments: such as "build", "--select", "gold".
            report: told of each node that has ended.

        Raises:
            BuildError: dbt ended before it ran a node.
        """
        ended = 0

        def on_event(event: Any) -> None:
            nonlocal ended
            if event.info.name not in _NODE_ENDED:
                return
            ended += 1
            data, info = event.data, event.data.node_info
            total = data.num_models if event.info.name == "LogTestResult" else data.total
            report(
                Node(
                    info.node_name,
                    info.resource_type,
                    data.status,
                    data.execution_time,
                    ended,
                    total,
                )
            )

        outcome = self._runner(self._parsed, [on_event]).invoke([*arguments, *self._flags()])
        if isinstance(outcome.exception, KeyboardInterrupt):
            raise outcome.exception
        results = getattr(outcome.result, "results", None)
        if results is None:
            raise BuildError(_one_line(outcome.exception))
        return [_result(each) for each in results]

    def invoke(self, arguments: Sequence[str]) -> Any:
        """A command as dbt's own entry point runs it; returns dbt's result."""
        return self._runner(self._parsed, []).invoke([*arguments, *self._flags()])

    def _runner(self, manifest: Any, callbacks: list) -> Any:
        return self.import_dbt()(manifest=manifest, callbacks=callbacks)

    def _flags(self) -> list[str]:
        return [
            *("--quiet", "--no-write-json" if self._parsed else "--write-json"),
            *("--project-dir", str(PROJECT_ROOT)),
            *("--profiles-dir", str(PROJECT_ROOT / "profiles")),
            *("--target", "session"),
            "--cache-selected-only",  # not every schema's tables before every command
            *("--target-path", str(self._root / "target")),
            *("--log-path", str(self._root / "logs")),
        ]


def _result(each: Any) -> Result:
    return Result(
        each.node.unique_id,
        each.node.name,
        each.node.resource_type,
        str(each.status),
        _one_line(each.message),
        each.execution_time,
    )


def _one_line(said: Any) -> str:
    return " ".join(str(said or "no message").split())


def _stamp() -> tuple:
    """Changes with every file of the project that is written, added or removed."""
    files = []
    for part in PROJECT_PARTS:
        path = PROJECT_ROOT / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                stat = file.stat()
                files.append((str(file), stat.st_mtime_ns, stat.st_size))
    return tuple(files)
