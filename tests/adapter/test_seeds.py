"""Seeds in session mode: NULL strings, apostrophes and large integers come out wrong.

Our seeds avoid all three; tests/test_project.py holds them to it.
"""

from __future__ import annotations

CONVENTION = "a rule on seeds in tests/test_project.py can go"


def test_dbt_spark_loads_an_empty_string_as_the_word_none(upstream, spark):
    rows = sorted(tuple(row) for row in spark.table("bare.null_string").collect())
    assert rows == [(1, "None"), (2, "two")], f"NULL strings arrive now: {CONVENTION}"


def test_dbt_spark_breaks_on_an_apostrophe(upstream):
    assert upstream.first.status["apostrophe"] == "error", f"apostrophes pass now: {CONVENTION}"
    assert "PARSE_SYNTAX_ERROR" in upstream.first.message["apostrophe"]


def test_dbt_spark_sends_untyped_integers_through_a_float(upstream, spark):
    assert spark.table("bare.big_integer").first().id == 9007199254740992, (
        f"integers arrive whole now: {CONVENTION}"
    )


def test_typing_the_column_keeps_the_integer_whole(upstream, spark):
    assert spark.table("bare.big_integer_typed").first().id == 9007199254740993
