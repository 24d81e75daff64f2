"""`on_schema_change: sync_all_columns` cannot drop a column from a Delta table: it raises.

Our models append new columns; dropping one is a change of contract with a full refresh.
"""

from __future__ import annotations


def test_sync_all_columns_cannot_drop(upstream):
    assert upstream.first.status["shrinking"] == "success"
    assert upstream.second.status["shrinking"] == "error", (
        "dbt-spark drops columns now: on_schema_change may be sync_all_columns"
    )
    assert "does not support dropping columns" in upstream.second.message["shrinking"]
