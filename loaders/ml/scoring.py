"""Scoring profiles in Spark, with the version in use: each once, and again when it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from loaders.batch_settings import LARGE_BATCH_BYTES, suited_to_batch
from loaders.ml.function import ensure_function
from loaders.ml.tables import ensure_tables, scores_table, tell_versions
from loaders.ml.training import foretold
from loaders.session import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pyspark.sql import DataFrame, SparkSession
    from sklearn.pipeline import Pipeline

    from loaders.ml.definitions import Definition
    from loaders.ml.registry import Registry, Version

_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class InUse:
    """The version in use of a model, loaded."""

    definition: Definition
    version: Version
    model: Pipeline


def score(spark: SparkSession, definition: Definition, registry: Registry) -> int:
    """Score the profiles that the version in use has not scored as they stand; how many.

    Raises:
        ConfigurationError: no version is in use, or there are no profiles yet.
    """
    return score_new(spark, in_use(spark, definition, registry))


def in_use(spark: SparkSession, definition: Definition, registry: Registry) -> InUse:
    """The version in use; the tables that tell of versions, and the function of SQL, are brought up
    to date with it.

    Raises:
        ConfigurationError: no version is in use.
    """
    champion = registry.champion(definition.name)
    if champion is None:
        raise ConfigurationError(
            f"no version of {definition.name} is in use: python -m loaders ml promote "
            f"{definition.name}"
        )
    ensure_tables(spark, definition)
    tell_versions(spark, definition, registry)
    model = registry.load(champion)
    ensure_function(spark, definition, champion, model)
    return InUse(definition, champion, model)


def score_new(spark: SparkSession, used: InUse) -> int:
    """Score the profiles that a version has not scored as they stand; how many.

    Raises:
        ConfigurationError: there are no profiles yet.
    """
    definition = used.definition
    # of moments there are few, and they are waited for
    size_bytes = 0 if definition.is_of_moments else LARGE_BATCH_BYTES
    with suited_to_batch(spark, size_bytes):
        profiles = profiles_to_score(spark, definition, used.version)
        if not definition.is_of_moments:
            return _merge(spark, used, scores_of(profiles, definition, used.model))
        scored = scored_here(profiles.toArrow(), definition, used.model)
        return _merge(spark, used, spark.createDataFrame(scored)) if len(scored) else 0


def _merge(spark: SparkSession, used: InUse, scored: DataFrame) -> int:
    """Bring scores into their table; how many rows."""
    definition = used.definition
    scored.createOrReplaceTempView("scored")
    last = spark.sql(f"select max(_batch_id) from {scores_table(definition)}").first()[0]
    batch = 0 if last is None else last + 1
    key = (definition.date, *definition.entity)
    merged = spark.sql(f"""
        merge into {scores_table(definition)} as target
        using (
            select
                scored.*,
                {used.version.number} as model_version,
                cast({batch} as bigint) as _batch_id,
                current_timestamp() as scored_at
            from scored
        ) as source
        on {" and ".join(f"target.{name} = source.{name}" for name in key)}
        when matched then update set *
        when not matched then insert *
    """).first()
    return int(merged["num_affected_rows"])


def profiles_to_score(spark: SparkSession, definition: Definition, champion: Version) -> DataFrame:
    """The newest profiles of which there is no score of this version, as they stand."""
    date, profile = definition.date, definition.profile
    seconds = round(definition.scored_days * _SECONDS_A_DAY)
    if not spark.catalog.tableExists(profile):
        raise ConfigurationError(f"there is no table {profile} yet: build it with dbt build")
    # as a literal, by which Delta skips files; as text, which knows no time zone but the session's
    first = spark.sql(f"""
        select cast(cast(
            coalesce(max({date}), timestamp'1970-01-01') - interval {seconds} seconds
            as {definition.date_type}
        ) as string)
        from {profile}
    """).first()[0]
    key = (date, *definition.entity)
    columns = ", ".join((*key, *definition.features))
    same = " and ".join(f"profiles.{name} = scores.{name}" for name in key)
    return spark.sql(f"""
        select profiles.*
        from (
            select {columns}, {digest_of(spark.table(profile).columns)} as profile_digest
            from {profile}
            where {date} > '{first}'
        ) as profiles
        left anti join {scores_table(definition)} as scores
            on
                {same}
                and scores.model_version = {champion.number}
                and scores.profile_digest = profiles.profile_digest
    """)


def digest_of(columns: Iterable[str]) -> str:
    """A number of what a profile says, in SQL; columns `_…` say when it was loaded, and count not.

    Spark's hash passes over nulls, so it is told of each value whether it is there.
    """
    said = ", ".join(f"{name}, isnull({name})" for name in columns if not name.startswith("_"))
    return f"xxhash64({said})"


def scored_here(profiles: pa.Table, definition: Definition, model: Pipeline) -> pa.Table:
    """Key, `profile_digest` and score of profiles, in this process: no worker has to begin."""
    kept = (definition.date, *definition.entity, "profile_digest")
    batches = list(scorer(model, definition, kept)(iter(profiles.to_batches())))
    return pa.Table.from_batches(batches) if batches else pa.table({})


def scores_of(profiles: DataFrame, definition: Definition, model: Pipeline) -> DataFrame:
    """Key, `profile_digest` and score of profiles, by Arrow in Spark's Python workers."""
    kept = (definition.date, *definition.entity, "profile_digest")
    types = {field.name: field.dataType.simpleString() for field in profiles.schema}
    return profiles.mapInArrow(
        scorer(model, definition, kept),
        ", ".join(f"{name} {types[name]}" for name in kept) + ", score double",
    )


def scorer(
    model: Pipeline, definition: Definition, kept: tuple[str, ...]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for mapInArrow: batches of profiles to those of their keys and scores."""

    def scored(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = pd.DataFrame(
                {name: batch.column(name).to_pandas() for name in definition.features}
            )
            values = foretold(model, definition, rows) if len(rows) else []
            columns = [batch.column(name) for name in kept]
            yield pa.RecordBatch.from_arrays(
                [*columns, pa.array(values, pa.float64())], [*kept, "score"]
            )

    return scored
