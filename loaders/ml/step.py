"""Scoring as a step of the engine: what is new in the profiles of models that are in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loaders.commits import NO_VERSION, news, standing
from loaders.ml.definitions import database_of, definitions

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from loaders.ml.definitions import Definition
    from loaders.ml.registry import Registry
    from loaders.ml.scoring import InUse


class Scoring:
    """What has been scored since the start of the engine.

    A look that finds nothing is a `stat` a model: no query, and no import of what models need.
    """

    def __init__(self, spark: SparkSession, root: Path) -> None:
        self._spark = spark
        self._root = root
        self._versions: dict[str, int] = {}  # of the profiles' tables
        self._owed: set[str] = set()
        self._registered_ns = 0
        self._registry: Registry | None = None
        self._used: dict[str, InUse] = {}

    def step(self) -> str | None:
        """Score what is new, by the versions in use; None where there is nothing."""
        database = database_of(self._root)
        if not database.exists():
            return None
        registered_ns = database.stat().st_mtime_ns
        if registered_ns != self._registered_ns:
            self._owed |= definitions().keys()
            self._used = {}
        for definition in definitions().values():
            if self._has_news(definition):
                self._owed.add(definition.name)
        self._registered_ns = registered_ns
        done, problems = [], []
        for name in sorted(self._owed):
            try:
                scored = self._score(definitions()[name])
            except Exception as problem:  # noqa: BLE001 - it is owed still, and the others go on
                problems.append(problem)
            else:
                self._owed.discard(name)
                if scored:
                    done.append(f"{scored:,} profiles of {name}")
        if problems:
            raise problems[0]
        return ", ".join(done) or None

    def _has_news(self, definition: Definition) -> bool:
        schema, _, table = definition.profile.partition(".")
        folder = self._root / "warehouse" / f"{schema}.db" / table
        if self._versions.get(definition.name, NO_VERSION) == NO_VERSION:
            found = standing(folder)
        else:
            found = news(folder, self._versions[definition.name])
        self._versions[definition.name] = found.version
        return bool(found.size_bytes)

    def _score(self, definition: Definition) -> int:
        """How many profiles were scored; none where no version is in use, or no profile there."""
        if self._versions[definition.name] == NO_VERSION:
            return 0
        # seconds, and memory, that an engine without models does without
        from loaders.ml.registry import Registry
        from loaders.ml.scoring import in_use, score_new

        if self._registry is None:
            self._registry = Registry(self._root)
        name = definition.name
        if name not in self._used:
            if self._registry.champion(name) is None:
                return 0
            # what it takes a second to read stays, so that a score is not later by it
            self._used[name] = in_use(self._spark, definition, self._registry)
        return score_new(self._spark, self._used[name])
