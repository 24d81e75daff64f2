"""dbt-spark ignores `clustered_by` unless there are buckets, and Delta refuses buckets."""

from __future__ import annotations


def clustering(spark, table):
    return spark.sql(f"describe detail {table}").first()["clusteringColumns"]


def test_dbt_spark_ignores_clustered_by(upstream, spark):
    assert upstream.first.status["clustered"] == "success"
    assert clustering(spark, "bare.clustered") == [], (
        "dbt-spark clusters now: delete macros/incremental/spark__clustered_cols.sql"
    )


def test_our_tables_are_clustered(ours, spark):
    assert clustering(spark, "silver.clustered") == ["day"]
