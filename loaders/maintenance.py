"""Looking after the tables while everything runs: what is due, and doing it.

The deeds are dbt operations (macros/maintenance); here is when.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from loaders.bronze import APPENDS
from loaders.session import PROJECT_ROOT, ConfigurationError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEDULE_FILE = PROJECT_ROOT / "loaders" / "maintenance.yml"

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


# As dbtRunner().invoke of this project: takes arguments, returns dbt's result.
Dbt = Callable[[list[str]], Any]


class MaintenanceError(Exception):
    """An operation failed; the message says which and why, in one line."""


class Operation(BaseModel):
    """A dbt operation and when it runs: daily, or weekly, at a time of day (UTC)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    macro: str
    arguments: dict[str, Any] = {}
    alone: bool = False
    by_table: bool = False
    at: time
    weekday: Literal[WEEKDAYS] | None = None

    @field_validator("at", mode="before")
    @classmethod
    def _check_time(cls, value: Any) -> Any:
        # YAML reads an unquoted 12:10 as the number 730.
        if not isinstance(value, str):
            raise ValueError('write the time in quotes, as "01:10"')  # noqa: TRY004 - pydantic's
        return value

    def latest_moment(self, now: datetime) -> datetime:
        """The newest scheduled moment that is not after `now`."""
        moment = datetime.combine(now.astimezone(UTC), self.at, tzinfo=UTC)
        if self.weekday is not None:
            moment -= timedelta(days=(moment.weekday() - WEEKDAYS.index(self.weekday)) % 7)
        period = timedelta(days=1 if self.weekday is None else 7)
        return moment if moment <= now else moment - period


def read_schedule(path: Path = SCHEDULE_FILE) -> list[Operation]:
    """The operations of loaders/maintenance.yml, in the order in which they are to run.

    Raises:
        ConfigurationError: the file is not as it should be; the message names the place.
    """
    try:
        declared = yaml.safe_load(path.read_text())["operations"]
        return [
            Operation.model_validate({**entry, "name": name}) for name, entry in declared.items()
        ]
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ConfigurationError(
            f"{path.name}: operations: {place}: {problem['msg']}, not {problem['input']!r}"
        ) from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{path.name}: expected one key, `operations`, with an entry an operation, "
            'such as compact: {macro: optimize_tables, at: "01:10"}'
        ) from error


def due(
    now: datetime,
    last_runs: Mapping[str, datetime],
    schedule: list[Operation] | None = None,
) -> list[Operation]:
    """The operations whose newest scheduled moment is later than their last run, in order.

    Args:
        now: with a time zone.
        last_runs: by name of the operation, when it was begun last; without an entry it is due.
        schedule: default: loaders/maintenance.yml
    """
    return [
        operation
        for operation in (read_schedule() if schedule is None else schedule)
        if operation.name not in last_runs
        or last_runs[operation.name] < operation.latest_moment(now)
    ]


def run_due(
    root: Path,
    turn: Callable[[], AbstractContextManager[Dbt]],
    tables: Callable[[], Iterable[str]],
    is_stopping: Callable[[], bool],
) -> str | None:
    """Do what is due, one operation after the other, and note it; one that fails ends no other.

    Args:
        turn: dbt to oneself. It is asked for anew for each table of an operation that is
            `by_table`, so that models are built in between.
        tables: what such an operation is done to.
        is_stopping: when true, nothing more is begun.

    Returns: what was done; None where nothing was due.

    Raises:
        MaintenanceError: operations failed; the others are done, these are due still.
    """
    done, failed = [], []
    for operation in due(datetime.now(UTC), read_last_runs(root, datetime.now(UTC))):
        begun, problems = datetime.now(UTC), []
        try:
            for table in tables() if operation.by_table else (None,):
                if is_stopping():
                    return None
                try:
                    with turn() as dbt:
                        run(operation, dbt, table)
                except MaintenanceError as error:
                    problems.append(str(error))
        except Exception as error:
            logging.getLogger(__name__).debug("%s", operation.name, exc_info=error)
            problems.append(f"{operation.macro}: {error}")
        if problems:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            failed.append(problems[0] + more)
        else:
            note_run(root, operation, begun)
            done.append(operation.name)
    if failed:
        raise MaintenanceError("; ".join(failed))
    return ", ".join(done) or None


def delta_tables(spark: SparkSession, manifest: Mapping[str, Any]) -> list[str]:
    """The Delta tables of the project's schemas that exist, as schema.name."""
    nodes = (*manifest["nodes"].values(), *manifest["sources"].values())
    there = {row[0] for row in spark.sql("show schemas").collect()}
    return [
        f"{schema}.{row['tableName']}"
        for schema in sorted({node["schema"].lower() for node in nodes} & there)
        for row in spark.sql(f"show table extended in {schema} like '*'").collect()
        if "Provider: delta" in row["information"]
    ]


def run(operation: Operation, dbt: Dbt, table: str | None = None) -> None:
    """Run an operation to its end.

    Its macro repeats what was in conflict with another writer. A delete has to see every row, so
    a loader that appends without pause wins every time: an operation that is `alone` is tried once
    more while the loaders of this process wait.

    Args:
        table: the only one that it is done to, as schema.name.

    Raises:
        MaintenanceError: it failed; nothing is half done, and it can be run again.
    """
    given = operation.arguments | ({"table": table} if table else {})
    arguments = ["run-operation", operation.macro, "--args", json.dumps(given)]
    outcome = dbt(arguments)
    if not outcome.success and operation.alone:
        with APPENDS.alone():
            outcome = dbt(arguments)
    if not outcome.success:
        cause = str(outcome.exception or "").strip().partition("\n")[0]
        what = f"{operation.macro} of {table}" if table else operation.macro
        raise MaintenanceError(f"{what}: {cause or 'failed; dbt.log says why'}")


def read_last_runs(root: Path, now: datetime) -> dict[str, datetime]:
    """When each operation was begun last, from LAKEHOUSE_ROOT/progress/maintenance.json.

    A lakehouse that has no such file is new: nothing is due before its first scheduled moment.
    """
    path = _record(root)
    if not path.exists():
        _write(path, {operation.name: now for operation in read_schedule()})
    said = json.loads(path.read_text())
    return {name: datetime.fromisoformat(at) for name, at in said.items()}


def note_run(root: Path, operation: Operation, begun: datetime) -> None:
    """Keep that an operation begun at a time was done."""
    _write(_record(root), read_last_runs(root, begun) | {operation.name: begun})


def _record(root: Path) -> Path:
    return root / "progress" / "maintenance.json"


def _write(path: Path, last_runs: Mapping[str, datetime]) -> None:
    path.parent.mkdir(exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(json.dumps({name: at.isoformat() for name, at in last_runs.items()}))
    unfinished.replace(path)
