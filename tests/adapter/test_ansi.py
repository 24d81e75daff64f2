"""dbt-spark forces ANSI mode off, whatever the profile says: bad casts end as NULL."""

from __future__ import annotations

from loaders.session import read_profile


def test_dbt_spark_turns_ansi_mode_off_against_its_profile(upstream, spark):
    fixed = "dbt-spark obeys the profile's ANSI setting now: profiles.yml may turn it on"
    assert upstream.ansi == "false", fixed
    rows = [tuple(row) for row in spark.table("bare.failed_cast").collect()]
    assert rows == [(None, -2147483648)], fixed


def test_our_profile_says_what_holds_so_that_loaders_agree():
    assert read_profile()["server_side_parameters"]["spark.sql.ansi.enabled"] == "false"
