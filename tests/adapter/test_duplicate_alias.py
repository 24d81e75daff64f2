"""dbt-spark's temporary view of a batch is named by the alias alone.

All threads of a session share one Spark session: two models with one alias in different
schemas, built at a time, can merge each other's rows.
"""

from __future__ import annotations

import re


def batch_views(outcome):
    """Model → names of the temporary views it created."""
    created = re.compile(r"create or replace temporary view (\S+)")
    return {
        model: [name for text in texts for name in created.findall(text)]
        for model, texts in outcome.statements.items()
        if model in {"twin_left", "twin_right"}
    }


def test_dbt_spark_gives_two_models_with_one_alias_the_same_view(upstream):
    assert batch_views(upstream.second) == {
        "twin_left": ["twin__dbt_tmp"],
        "twin_right": ["twin__dbt_tmp"],
    }, "dbt-spark's batch views are apart now: models may run in several threads"


def test_our_views_carry_the_schema(ours, spark):
    assert batch_views(ours.second) == {
        "twin_left": ["twin_left__twin__batch"],
        "twin_right": ["twin_right__twin__batch"],
    }
    assert [row.side for row in spark.table("twin_left.twin").collect()] == ["left"]
    assert [row.side for row in spark.table("twin_right.twin").collect()] == ["right"]
