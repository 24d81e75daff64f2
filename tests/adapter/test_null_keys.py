"""MERGE compares keys with `=`, so that a row with a NULL key is inserted again by every run."""

from __future__ import annotations


def test_dbt_spark_inserts_a_null_key_again_in_every_run(upstream, spark):
    statuses = [upstream.first.status["null_key"], upstream.second.status["null_key"]]
    assert statuses == ["success", "success"]
    assert spark.table("bare.null_key").count() == 2, (
        "dbt-spark matches NULL keys now: see whether merge_sql should, and facts on keys in docs"
    )


def test_our_key_tests_fail_on_a_null_key(ours):
    assert ours.second.status["not_null_null_key_id"] == "fail"
