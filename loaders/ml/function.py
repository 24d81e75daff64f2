"""The version in use as a function of SQL: gold.NAME_score(feature, …), without any Python.

It stands in the metastore, so that every session has it: dbt's, those of HiveServer2, streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loaders.ml.expression import sql_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from sklearn.pipeline import Pipeline

    from loaders.ml.definitions import Definition
    from loaders.ml.registry import Version


def function_name(definition: Definition) -> str:
    """The function that scores by the version in use."""
    return f"gold.{definition.name}_score"


def call_of(definition: Definition) -> str:
    """The function applied to columns of the profile."""
    return f"{function_name(definition)}({', '.join(definition.features)})"


def ensure_function(
    spark: SparkSession, definition: Definition, version: Version, model: Pipeline
) -> None:
    """Have the function be that of a version; it says of itself which one it is."""
    name, said = function_name(definition), f"{definition.name} version {version.number}, 0 to 1"
    if spark.catalog.functionExists(name) and spark.catalog.getFunction(name).description == said:
        return
    spark.sql(definition_of_function(definition, model, said))


def definition_of_function(definition: Definition, model: Pipeline, said: str) -> str:
    """The statement that creates the function; features that the model does not know count not."""
    parameters = [f"{name} double" for name in definition.numbers]
    parameters += [f"{name} string" for name in definition.categories]
    return (
        f"create or replace function {function_name(definition)} ({', '.join(parameters)}) "
        f"returns double comment '{said}' return {sql_of(model)}"
    )
