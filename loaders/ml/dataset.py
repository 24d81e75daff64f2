"""The rows a model is trained and judged on, read from Delta tables at given versions. No JVM."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from loaders.ml.definitions import DATASETS, OUTCOME, Definition, require_known_before
from loaders.session import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_TABLE = re.compile(r"\b(?:from|join)\s+((?:silver|gold|ops)\.\w+)")
# Of the entities, those that are only judged on: one of so many.
_HELD_OUT = 4
_JUDGED_SHARE = 0.25
LEAST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows with features and outcome, and the version of each table that they were read from."""

    rows: pd.DataFrame
    versions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Split:
    """What is trained on, what the search is told by, and what is judged on.

    No entity is in two of them, and all outcomes of the first two were known when the dates of the
    last began.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame


def read_dataset(
    root: Path, definition: Definition, versions: Mapping[str, int] | None = None
) -> Dataset:
    """The dataset of a model as its tables stand, or stood at versions.

    Args:
        root: LAKEHOUSE_ROOT.
        versions: Delta version of each table, as a run recorded them.

    Raises:
        ConfigurationError: a table is missing, a version is gone, or a feature is not known
            beforehand.
    """
    sql = (DATASETS / definition.dataset).read_text()
    tables = {name: _table(root, name, versions) for name in sorted(set(_TABLE.findall(sql)))}
    profile = _table(root, definition.profile, versions)
    require_known_before(definition, (field.name for field in profile.schema().fields))
    rows = _ask(sql, tables)
    order = [definition.date, *definition.entity]
    return Dataset(
        rows.sort_values(order, ignore_index=True),
        {name: table.version() for name, table in tables.items()},
    )


def _table(root: Path, name: str, versions: Mapping[str, int] | None) -> DeltaTable:
    schema, _, table = name.partition(".")
    folder = root / "warehouse" / f"{schema}.db" / table
    version = versions and versions.get(name)
    try:
        return DeltaTable(folder, version=version)
    except TableNotFoundError:
        raise ConfigurationError(
            f"there is no table {name} yet: build it with dbt build --select {table}"
        ) from None
    except DeltaError as error:
        raise ConfigurationError(f"{name} cannot be read at version {version}: {error}") from None


def _ask(sql: str, tables: Mapping[str, DeltaTable]) -> pd.DataFrame:
    with duckdb.connect(config={"threads": 2, "enable_external_access": False}) as connection:
        connection.execute("set timezone = 'UTC'")
        for number, (name, table) in enumerate(tables.items()):
            connection.execute(f"create schema if not exists {name.partition('.')[0]}")
            connection.register(f"table_{number}", table.to_pyarrow_dataset())
            connection.execute(f"create view {name} as select * from table_{number}")
        return connection.execute(sql).df()


def split(rows: pd.DataFrame, definition: Definition) -> Split:
    """Rows by time and entity.

    The last quarter of the dates is judged on, of one entity of four. The other entities are
    learned from, on dates whose outcome was known by then; of one of four of these the search is
    told how good it is.

    Raises:
        ConfigurationError: there are too few rows, or of one outcome only.
    """
    dates = pd.to_datetime(rows[definition.date])
    buckets = _buckets(rows, definition)
    is_judged = buckets % _HELD_OUT == 0
    first = dates.quantile(1 - _JUDGED_SHARE, interpolation="nearest") if len(rows) else None
    is_known = dates + timedelta(days=definition.known_after_days) <= first
    is_told = buckets // _HELD_OUT % _HELD_OUT == 0
    parts = Split(
        train=rows[is_known & ~is_judged & ~is_told],
        validation=rows[is_known & ~is_judged & is_told],
        test=rows[is_judged & (dates >= first)],
    )
    for name in Split.__slots__:
        part = getattr(parts, name)
        if len(part) < LEAST_ROWS or part[OUTCOME].nunique() < 2:
            raise ConfigurationError(
                f"model {definition.name} needs more history: of {len(rows):,} profiles with a "
                f"known outcome {len(part):,} are left as {name} rows, "
                f"{int(part[OUTCOME].sum()):,} of them with that outcome; the least is "
                f"{LEAST_ROWS} with both outcomes"
            )
    return parts


def _buckets(rows: pd.DataFrame, definition: Definition) -> pd.Series:
    """A number of each row's entity, the same in every run."""
    names = rows[list(definition.entity)].astype(str).agg("/".join, axis=1)
    return names.map(lambda name: zlib.crc32(name.encode()))


def matrix(rows: pd.DataFrame, definition: Definition) -> tuple[pd.DataFrame, Any]:
    """Features as numbers and texts, and the outcome as 0 and 1 (None where there is none)."""
    features = rows[list(definition.features)].copy()
    for name in definition.numbers:
        features[name] = pd.to_numeric(features[name]).astype("float64")
    for name in definition.categories:
        # None would be a category of its own to the encoder, and no missing value
        features[name] = features[name].astype("object").where(features[name].notna(), np.nan)
    outcome = rows[OUTCOME].astype(int).to_numpy() if OUTCOME in rows else None
    return features, outcome
