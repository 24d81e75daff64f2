"""dbt-spark sets each column comment in each run, one Delta commit a column, changed or not."""

from __future__ import annotations


def operations(spark, table):
    """The table's commits, oldest first."""
    history = spark.sql(f"describe history {table}").collect()
    return [row["operation"] for row in reversed(history)]


def test_dbt_spark_commits_every_column_comment_in_every_run(upstream, spark):
    create, *later = operations(spark, "bare.commented")
    assert create == "CREATE OR REPLACE TABLE AS SELECT"
    assert later == ["CHANGE COLUMN", "CHANGE COLUMN", "MERGE", "CHANGE COLUMN", "CHANGE COLUMN"], (
        "dbt-spark spares unchanged comments now: delete macros/documentation/"
    )


def test_our_comments_cost_one_commit_when_they_change_and_none_after(ours, spark):
    assert ours.second.status["commented"] == "success"
    create, *later = operations(spark, "silver.commented")
    assert create == "CREATE OR REPLACE TABLE AS SELECT"
    assert [name for name in later if name != "MERGE"] == ["CHANGE COLUMNS"]


def test_our_comments_keep_quotes_and_backslashes(ours, spark):
    described = {
        row[0]: row[1:] for row in spark.sql("describe extended silver.commented").collect()
    }
    assert described["id"][1] == "The key, it's one."
    assert described["label"][1] == r"A pattern: \d+\.\d+"
    assert described["Comment"][0] == r"It's a table with a quote and a \ backslash."
