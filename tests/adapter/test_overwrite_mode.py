"""insert_overwrite leaves partitionOverwriteMode at DYNAMIC for everything after it."""

from __future__ import annotations


def test_dbt_spark_leaves_the_session_in_dynamic_overwrite_mode(upstream):
    assert upstream.first.status["overwritten"] == "success"
    assert upstream.overwrite_mode == "DYNAMIC", (
        "dbt-spark restores the overwrite mode now: drop it from profiles.yml"
    )


def test_our_profile_sets_it_back(ours):
    assert ours.overwrite_mode == "STATIC"
