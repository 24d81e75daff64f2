"""The command line: help that teaches, JSON for machines, one line for a mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from loaders.feeds import read_feeds
from loaders.run import root_cause

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def loaders(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loaders", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, "LAKEHOUSE_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_command_with_an_example(tmp_path: Path) -> None:
    shown = loaders(tmp_path, "--help")
    assert shown.returncode == 0
    for command in ("list", "run --once", "run FEED --continuous", "status", "queue create FEED"):
        assert f"python -m loaders {command}" in shown.stdout


def test_list_shows_what_is_declared(tmp_path: Path) -> None:
    shown = json.loads(loaders(tmp_path, "list", "--json").stdout)
    assert [feed["name"] for feed in shown] == list(read_feeds())
    assert "\x1b" not in loaders(tmp_path, "list").stdout


def test_status_of_an_empty_lakehouse_is_zeros(tmp_path: Path) -> None:
    shown = json.loads(loaders(tmp_path, "status", "--json").stdout)
    assert {feed["feed"] for feed in shown} == set(read_feeds())
    assert all(feed["received"] == 0 and feed["last_batch_at"] is None for feed in shown)


def test_status_adds_up_the_ledger_without_spark(tmp_path: Path) -> None:
    ledger = pa.table(
        {
            "feed": ["stocks_daily_prices"] * 2,
            "batch_id": [0, 1],
            "size_bytes": [10, 20],
            "received": [3, 4],
            "kept": [3, 2],
            "duplicates": [0, 1],
            "quarantined": [0, 1],
            "ingested_at": [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)],
        }
    )
    write_deltalake(str(tmp_path / "warehouse" / "bronze.db" / "ledger"), ledger)
    shown = json.loads(loaders(tmp_path, "status", "--json").stdout)
    (prices,) = (feed for feed in shown if feed["feed"] == "stocks_daily_prices")
    assert prices | {"last_batch_at": None} == {
        "feed": "stocks_daily_prices",
        "table": "bronze.stocksDailyPrices",
        "batches": 2,
        "objects": 2,
        "size_bytes": 30,
        "received": 7,
        "kept": 5,
        "duplicates": 1,
        "quarantined": 1,
        "last_batch_at": None,
    }
    assert prices["last_batch_at"].startswith("2026-01-02")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no_such_feed", "--once"], "no feed 'no_such_feed'; declared are"),
        (["run"], "--once or --continuous"),
        (["lst"], "No such command 'lst'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    shown = loaders(tmp_path, *arguments)
    assert shown.returncode == 2
    assert message in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_root_that_cannot_be_written_is_said_before_spark_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shown = loaders(tmp_path / "file" / "root", "run", "--once")
    assert shown.returncode == 2
    assert "cannot write to LAKEHOUSE_ROOT" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("[STREAM_FAILED] Query [id = 1] terminated", "[STREAM_FAILED] Query [id = 1] terminated"),
        (
            (
                "x\nTraceback:\n  File\npyspark.errors.PythonException: thrown from the worker:\n"
                "loaders.sources.object_state.StateLost: /s knows 1 of 2\n SQLSTATE: 3\n"
                "=== Streaming Query ===\nIdentifier: [id = 1]"
            ),
            "/s knows 1 of 2",
        ),
        ("x\nbotocore.exceptions.NoCredentialsError: none found", "NoCredentialsError: none found"),
    ],
)
def test_the_cause_of_a_failed_query_is_its_innermost_error(message: str, cause: str) -> None:
    assert root_cause(message) == cause
