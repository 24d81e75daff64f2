"""The lakehouse's Delta tables as they stand on disk, asked by the files of dashboard/sql.

No JVM: deltalake reads the log and prunes files by their statistics, DuckDB does the rest.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from datasketches import compact_theta_sketch, theta_union
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyarrow.dataset import Dataset

Row = dict[str, Any]
# Number of a table's newest commit, and when its file was written (ns): a table that was dropped
# and made anew begins again at 0.
Version = tuple[int, int]

SQL = Path(__file__).parent / "sql"
LOG = "_delta_log/{:020}.json"
ANSWERS_KEPT = 128
# A query reads nothing but the tables that are registered for it, and nothing from a network.
CONFINED = {
    "threads": 2,
    "memory_limit": "2GB",
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A table at one version. The dataset's files are pruned by what its filters allow."""

    version: Version
    table: DeltaTable
    dataset: Dataset


class MissingTable(Exception):
    """A table that a query reads is not there yet. The argument is its name, as gold.noc_cdn."""


@cache
def text_of(query: str) -> str:
    """The file of a query, without comments."""
    return re.sub(r"--[^\n]*", "", (SQL / f"{query}.sql").read_text())


@cache
def views() -> dict[str, str]:
    """The views that queries may read, by name, each after those that it reads."""
    return {path.stem: text_of(f"views/{path.stem}") for path in sorted(SQL.glob("views/*.sql"))}


@cache
def views_of(query: str) -> tuple[str, ...]:
    """The views that a query reads, and those that they read, in the order of creation."""
    names: set[str] = set()
    texts = [text_of(query)]
    while texts:
        words = set(re.findall(r"\w+", texts.pop()))
        found = (words & views().keys()) - names
        names |= found
        texts += [views()[name] for name in found]
    return tuple(name for name in views() if name in names)


@cache
def tables_of(query: str) -> tuple[str, ...]:
    """The tables that a query reads, itself or by its views, as gold.noc_playback."""
    texts = [text_of(query), *(views()[name] for name in views_of(query))]
    found = {
        f"{schema}.{table}"
        for text in texts
        for schema, table in re.findall(
            r"(?:\b(?:from|join)\s+|')(bronze|silver|gold|ops)\.(\w+)", text
        )
    }
    return tuple(sorted(found))


def viewers_in(sketches: list[bytes]) -> int:
    """About how many viewers the union of theta sketches has; exact up to 4,096."""
    union = theta_union()
    for sketch in sketches:
        union.update(compact_theta_sketch.deserialize(sketch))
    return round(union.get_result().get_estimate())


class Lakehouse:
    """What stands below a LAKEHOUSE_ROOT. Any thread may ask."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tables: dict[str, Snapshot] = {}
        self._answers: OrderedDict[Any, list[Row]] = OrderedDict()
        self._lock = threading.Lock()

    def versions(self, query: str) -> tuple[Version | None, ...]:
        """The versions of the tables that a query reads; None of one that is not there.

        Costs a `stat` or two a table: anybody may ask each second.
        """
        with self._lock:
            found = [self._snapshot(name) for name in tables_of(query)]
            return tuple(snapshot and snapshot.version for snapshot in found)

    def has_tables(self) -> bool:
        """Whether there is any table of gold."""
        return any((self.root / "warehouse" / "gold.db").glob("*/_delta_log"))

    def ask(self, query: str, variables: Mapping[str, Any]) -> list[Row]:
        """The rows of a query; of the same versions it is asked once.

        Args:
            query: the name of a file of dashboard/sql.
            variables: what getvariable() gives there. They never become text of the query.

        Raises:
            MissingTable: a table is not there.
        """
        key = (query, self.versions(query), tuple(sorted(variables.items())))
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key]
        rows = self._run(query, variables)
        with self._lock:
            self._answers[key] = rows
            while len(self._answers) > ANSWERS_KEPT:
                self._answers.popitem(last=False)
        return rows

    def _run(self, query: str, variables: Mapping[str, Any]) -> list[Row]:
        datasets = {name: self._dataset(name) for name in tables_of(query)}
        with duckdb.connect(":memory:", config=CONFINED) as connection:
            connection.create_function("viewers_in", viewers_in, ["BLOB[]"], "BIGINT")
            connection.execute(text_of("macros"))
            for name, value in variables.items():
                connection.execute(f"set variable {name} = $1", [value])
            for name, dataset in datasets.items():
                schema, _, identifier = name.partition(".")
                connection.register(f"{schema}__{identifier}", dataset)
                connection.execute(f"create schema if not exists {schema}")
                connection.execute(f"create view {name} as from {schema}__{identifier}")
            for name in views_of(query):
                connection.execute(f"create view {name} as {views()[name]}")
            connection.execute("set TimeZone = 'UTC'; set lock_configuration = true")
            answer = connection.execute(text_of(query))
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]

    def _dataset(self, name: str) -> Dataset:
        with self._lock:
            snapshot = self._snapshot(name)
        if snapshot is None:
            raise MissingTable(name)
        return snapshot.dataset

    def _snapshot(self, name: str) -> Snapshot | None:
        """The table at its newest version; None where there is none. Under the lock."""
        schema, _, identifier = name.partition(".")
        folder = self.root / "warehouse" / f"{schema}.db" / identifier.lower()
        known = self._tables.get(name)
        try:
            if known is None or _version(folder, known.version[0]) != known.version:
                table = DeltaTable(str(folder))  # the first time, or another table stands there
            elif (folder / LOG.format(known.version[0] + 1)).exists():
                table = known.table
                table.update_incremental()
            else:
                return known
            version = _version(folder, table.version())
            self._tables[name] = Snapshot(version, table, table.to_pyarrow_dataset())
        except (TableNotFoundError, FileNotFoundError):
            self._tables.pop(name, None)
        return self._tables.get(name)


def _version(folder: Path, number: int) -> Version:
    return number, (folder / LOG.format(number)).stat().st_mtime_ns
