"""dbt-spark adds constraints after the new table is in place.

So a violation shows when the bad rows can be read already, and `set not null` fails on any
Delta table. Our contracts say names and types only (tests/test_project.py); data tests and the
parsing models upstream guard the rows.
"""

from __future__ import annotations


def test_a_check_constraint_fails_with_the_bad_row_in_the_table(upstream, spark):
    assert upstream.first.status["checked"] == "error"
    assert "DELTA_NEW_CHECK_CONSTRAINT_VIOLATION" in upstream.first.message["checked"]
    assert [row.id for row in spark.table("bare.checked").collect()] == [-1], (
        "constraints hold before the swap now: contracts may declare them"
    )


def test_not_null_in_a_contract_fails_on_delta(upstream):
    assert upstream.first.status["not_null_column"] == "error", (
        "Delta takes `set not null` on a column now: contracts may declare it"
    )
    message = upstream.first.message["not_null_column"]
    assert "Cannot change nullable column to non-nullable" in message
