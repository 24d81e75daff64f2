"""The tables that streaming models write: made by the contract, owned by one writer at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loaders.live_models import LiveModel
from loaders.session import ConfigurationError
from loaders.table_folders import clear_empty_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

# The property by which dbt knows that an engine writes the table (macros/live/engine_of.sql).
OWNER = "multihop.stream_of"


def ensure_table(spark: SparkSession, model: LiveModel) -> None:
    """Create the model's table by its contract, or add the columns that it lacks.

    Raises:
        ConfigurationError: a column of the table has another type than the contract says.
    """
    contract = contract_of(model)
    if not spark.catalog.tableExists(model.relation):
        columns = ", ".join(
            f"`{column.name}` {column.data_type} comment {_literal(column.description)}"
            for column in model.columns
        )
        clustered = f"cluster by ({', '.join(model.clustered_by)})" if model.clustered_by else ""
        schema, name = model.relation.split(".")
        place = spark.sql(f"describe schema {schema}").where("info_name = 'Location'").first()
        clear_empty_folder(spark, f"{place['info_value']}/{name.lower()}")
        spark.sql(
            f"create table if not exists {model.relation} ({columns}) using delta {clustered} "
            f"comment {_literal(model.description)}"
        )
        return
    there = {field.name.lower(): field.dataType for field in spark.table(model.relation).schema}
    for field in contract:
        found = there.get(field.name.lower())
        if found is not None and found != field.dataType:
            raise ConfigurationError(
                f"{model.name}: {model.relation}.{field.name} is {found.simpleString()}, and its "
                f"contract says {field.dataType.simpleString()}: stop the engine, then "
                f"`dbt run --full-refresh --select {model.name}`"
            )
    added = [
        f"`{f.name}` {f.dataType.simpleString()}" for f in contract if f.name.lower() not in there
    ]
    if added:
        spark.sql(f"alter table {model.relation} add columns ({', '.join(added)})")


def contract_of(model: LiveModel) -> StructType:
    """The columns as the model's YAML declares them."""
    from pyspark.sql.types import StructType

    return StructType.fromDDL(", ".join(f"`{c.name}` {c.data_type}" for c in model.columns))


def check_contract(model: LiveModel, schema: StructType) -> None:
    """Hold a query's columns against the contract, as dbt does when it builds the table.

    Raises:
        ConfigurationError: a column is missing, is one too many or has another type.
    """
    declared = {field.name.lower(): field.dataType.simpleString() for field in contract_of(model)}
    queried = {field.name.lower(): field.dataType.simpleString() for field in schema}
    wrong = [
        f"{name} is {queried.get(name, 'missing')}, declared {declared.get(name, 'nowhere')}"
        for name in sorted(declared.keys() | queried.keys())
        if declared.get(name) != queried.get(name)
    ]
    if wrong:
        raise ConfigurationError(
            f"{model.name}: query and contract differ: {'; '.join(wrong)}: correct its YAML"
        )


def take(spark: SparkSession, model: LiveModel) -> None:
    """Make the table this engine's; dbt leaves it alone from now on.

    It is a commit of metadata, at which Delta aborts a MERGE that dbt may have begun before.
    """
    engine = spark.sparkContext.applicationId
    if owner(spark, model.relation) != engine:
        spark.sql(f"alter table {model.relation} set tblproperties ('{OWNER}' = '{engine}')")


def let_go(spark: SparkSession, model: LiveModel) -> None:
    """Give the table back to dbt, once the model's query has ended."""
    if owner(spark, model.relation) == spark.sparkContext.applicationId:
        spark.sql(f"alter table {model.relation} unset tblproperties if exists ('{OWNER}')")


def owner(spark: SparkSession, relation: str) -> str | None:
    """Application id of the engine whose table it is; None: dbt's."""
    for name, value in spark.sql(f"show tblproperties {relation}").collect():
        if name == OWNER:
            return value
    return None


def _literal(text: str) -> str:
    escaped = text.strip().replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
