"""The command line: help that teaches, JSON for machines, one line for a mistake."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from loaders.feeds import read_feeds
from loaders.journal import Backlog, Progress, write_progress

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
    in_words = loaders(tmp_path, "list").stdout
    assert "\x1b" not in in_words
    assert set(read_feeds()) <= set(in_words.split()), "a name to type is cut"


def test_a_streaming_model_begins_anew_on_request(tmp_path: Path) -> None:
    query = tmp_path / "checkpoints" / "live" / "live_prices" / "2f" / "query"
    query.mkdir(parents=True)
    refused = loaders(tmp_path, "begin-anew", "live_price")
    assert refused.returncode == 2
    assert "no query of live_price was started; there are: live_prices" in refused.stderr
    assert query.exists()
    done = loaders(tmp_path, "begin-anew", "live_prices")
    assert done.returncode == 0
    assert "live_prices: begins anew" in done.stdout
    assert not query.exists()


def test_settings_for_a_cluster_leave_its_processes_to_it(tmp_path: Path) -> None:
    shown = loaders(tmp_path, "spark-conf")
    settings = dict(line.split(" ", 1) for line in shown.stdout.splitlines())
    assert settings["spark.sql.extensions"] == "io.delta.sql.DeltaSparkSessionExtension"
    assert settings["spark.sql.session.timeZone"] == "UTC"
    assert [name for name in settings if name.startswith(("spark.driver", "spark.master"))] == []


def test_status_of_an_empty_lakehouse_is_zeros(tmp_path: Path) -> None:
    shown = json.loads(loaders(tmp_path, "status", "--json").stdout)
    assert {feed["feed"] for feed in shown} == set(read_feeds())
    assert all(feed["received"] == 0 and feed["last_batch_at"] is None for feed in shown)


def test_status_adds_up_the_ledger_without_spark(tmp_path: Path) -> None:
    ledger = pa.table(
        {
            "feed": ["stocks_daily_prices"] * 2,
            "batch_id": [0, 1],
            "query_id": ["q", "replay-1"],
            "item": ["a", "b"],
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
    assert prices.pop("last_batch_at").startswith("2026-01-02")
    assert prices.pop("last_records_at").startswith("2026-01-01")
    counted = {
        "feed": "stocks_daily_prices",
        "table": "bronze.stocksDailyPrices",
        "source": "cloudFiles",
        "batches": 2,
        "objects": 2,
        "size_bytes": 30,
        "received": 7,
        "kept": 5,
        "duplicates": 1,
        "quarantined": 1,
    }
    assert {name: value for name, value in prices.items() if value is not None} == counted


A_PROGRESS = Progress(
    "stocks_daily_prices",
    "running",
    seen_ms=1_767_225_660_000,
    batch_id=4,
    rows_per_second=1234.5,
    bytes_per_second=98765.0,
    backlog=Backlog(
        objects=1200,
        size_bytes=5000,
        oldest_object="stocks/prices/a.json",
        oldest_object_ms=1_767_225_600_000,
        queue_messages=7,
        queue_messages_in_flight=3,
        dead_letter_messages=2,
        oldest_message_ms=1_767_225_630_000,
        millis_behind={"shardId-000000000000": 90_000},
        losses=1,
    ),
)


def test_status_says_how_far_a_feed_is(tmp_path: Path) -> None:
    write_progress(tmp_path, A_PROGRESS)
    shown = json.loads(loaders(tmp_path, "status", "--json").stdout)
    (prices,) = (feed for feed in shown if feed["feed"] == "stocks_daily_prices")
    assert (
        prices.items()
        >= {
            "state": "running",
            "seen_at": "2026-01-01 00:01:00+00:00",
            "lag_seconds": 90.0,
            "backlog_objects": 1200,
            "backlog_bytes": 5000,
            "oldest_unloaded": "stocks/prices/a.json",
            "oldest_unloaded_at": "2026-01-01 00:00:00+00:00",
            "queue_messages": 7,
            "queue_messages_in_flight": 3,
            "dead_letter_messages": 2,
            "oldest_message_at": "2026-01-01 00:00:30+00:00",
            "millis_behind_latest": {"shardId-000000000000": 90_000},
            "rows_per_second": 1234.5,
            "bytes_per_second": 98765.0,
        }.items()
    )


def test_watch_draws_status_anew_until_ctrl_c(tmp_path: Path) -> None:
    write_progress(tmp_path, A_PROGRESS)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    watching = subprocess.Popen(
        [sys.executable, "-m", "loaders", "status", "--watch"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "LAKEHOUSE_ROOT": str(tmp_path), "TERM": "xterm"},
        stdout=theirs,
        stderr=subprocess.PIPE,
        # Whoever runs the tests in the background has Ctrl-C ignored, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    os.close(theirs)

    def read_until(*words: bytes) -> None:
        seen = b""
        while not all(each in seen for each in words):
            ready, _, _ = select.select([ours], [], [], 60)
            assert ready, seen
            seen += os.read(ours, 10_000)

    def read_all() -> None:
        """What it still draws: unread, it would wait for us to read it."""
        with suppress(OSError):  # the terminal has no other end any more
            while select.select([ours], [], [], 60)[0] and os.read(ours, 10_000):
                pass

    try:
        read_until(
            b"7 + 3",
            b"oldest object waiting: stocks/prices/a.json",
            b"shardId-000000000000: 90 s behind",
            b"dead letters: 2",
            b"expired unread 1 times",
        )
        write_progress(tmp_path, replace(A_PROGRESS, backlog=Backlog(queue_messages=8)))
        read_until(b"8 + 0")
        watching.send_signal(signal.SIGINT)
        read_all()
        _, said = watching.communicate(timeout=60)
    finally:
        watching.kill()
        os.close(ours)
    assert (watching.returncode, said) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no_such_feed", "--once"], "no feed 'no_such_feed'; declared are"),
        (["run"], "--once or --continuous"),
        (["status", "--watch", "--json"], "give one of them"),
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


def test_java_that_is_not_on_the_path_of_cron_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    shown = loaders(tmp_path, "run", "--once")
    assert shown.returncode == 2
    assert shown.stderr.splitlines()[-1].startswith("error: no Java found: ")
    assert "Traceback" not in shown.stderr


def test_a_root_that_cannot_be_written_is_said_before_spark_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shown = loaders(tmp_path / "file" / "root", "run", "--once")
    assert shown.returncode == 2
    assert "cannot write to LAKEHOUSE_ROOT" in shown.stderr
    assert "Traceback" not in shown.stderr
