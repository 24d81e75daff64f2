"""Tables that tell dbt and the dashboard of models: scores, versions, spreads, curves."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from loaders.ml.training import Judgement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

    from loaders.ml.definitions import Definition
    from loaders.ml.registry import Registry

_FIGURES = ", ".join(
    f"{field.name} {'bigint' if field.name == 'rows' else 'double'}" for field in fields(Judgement)
)
VERSIONS, SPREADS, CURVES = "model_versions", "model_spreads", "model_curves"
# One row per model and version, with each feature, and with each point of a curve.
OF_ALL_MODELS: Mapping[str, str] = {
    VERSIONS: (
        "model string, model_version int, is_in_use boolean, trained_at timestamp, "
        f"learned_until timestamp, code string, {_FIGURES}"
    ),
    SPREADS: (
        "model string, model_version int, feature string, importance double, "
        "edges array<double>, categories array<string>, shares array<double>"
    ),
    CURVES: (
        "model string, model_version int, curve string, place int, x double, y double, rows bigint"
    ),
}


def scores_table(definition: Definition) -> str:
    """The table that has the scores of a model."""
    return f"bronze.scores_{definition.name}"


def scores_columns(definition: Definition) -> str:
    """The columns of the table of scores: `_batch_id` numbers the runs, `profile_digest`
    says what the profile was."""
    entity = "".join(f"{name} string, " for name in definition.entity)
    return (
        f"{definition.date} {definition.date_type}, {entity}score double, model_version int, "
        "profile_digest bigint, _batch_id bigint, scored_at timestamp"
    )


def ensure_tables(spark: SparkSession, definition: Definition) -> None:
    """Create what is not there of a model's table of scores, and of those of all models."""
    for table, columns, clustered_by in (
        (scores_table(definition), scores_columns(definition), definition.date),
        *((f"bronze.{table}", columns, "model") for table, columns in OF_ALL_MODELS.items()),
    ):
        spark.sql(
            f"create table if not exists {table} ({columns}) using delta "
            f"cluster by ({clustered_by})"
        )


def tell_versions(spark: SparkSession, definition: Definition, registry: Registry) -> bool:
    """Have the tables say what the registry has of a model; whether there was anything to say."""
    versions = registry.versions(definition.name)
    told = spark.sql(
        f"select model_version, is_in_use from bronze.{VERSIONS} where model = '{definition.name}'"
    ).collect()
    if {tuple(row) for row in told} == {(each.number, each.is_champion) for each in versions}:
        return False
    rows: dict[str, list[dict]] = {table: [] for table in OF_ALL_MODELS}
    for version in versions:
        key = {"model": version.name, "model_version": version.number}
        figures = dict(version.figures) | {"rows": int(version.figures["rows"])}
        rows[VERSIONS].append(
            key
            | {
                "is_in_use": version.is_champion,
                "trained_at": version.trained_at,
                "learned_until": version.learned_until,
                "code": version.code,
            }
            | figures
        )
        spreads, curves = registry.monitoring(version)
        rows[SPREADS] += [key | asdict(each) for each in spreads]
        rows[CURVES] += [key | asdict(each) for each in curves]
    # that of versions last: it says that the others are told
    for table in (SPREADS, CURVES, VERSIONS):
        frame = spark.createDataFrame(rows[table], OF_ALL_MODELS[table])
        frame.write.format("delta").mode("overwrite").option(
            "replaceWhere", f"model = '{definition.name}'"
        ).saveAsTable(f"bronze.{table}")
    return True
