"""Replay: what has become readable is loaded exactly once, however often it is cut short."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loaders import replay
from loaders.bronze import LEDGER, LEDGER_COLUMNS, QUARANTINE, QUARANTINE_COLUMNS, ensure_tables
from loaders.destinations import OneTable
from loaders.feeds import CloudFilesFeed
from loaders.kinds import Objects
from loaders.quarantine import quarantine_groups
from loaders.run import run_once
from loaders.session import ConfigurationError

AT = datetime(2026, 1, 1, tzinfo=UTC)
FEED, TABLE = "stocks_daily_prices", "stocksDailyPrices"


class Crash(Exception):
    """Stands for the end of the process at a named step."""


def a_file(path: Path, text: str) -> tuple[str, str, str]:
    """Write a file; its identity as an object."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    stat = path.stat()
    return ("file", str(path), f"{stat.st_mtime_ns:x}-{stat.st_size:x}")


def a_notification(identity: tuple[str, str, str]) -> bytes:
    bucket, key, etag = identity
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key, "eTag": etag, "size": 9}},
    }
    return json.dumps({"Records": [record, record]}).encode()


class Books:
    """Rows of the three tables, as the loaders would have written them."""

    def __init__(self, spark: Any) -> None:
        self.spark = spark
        self.ledger: list[tuple] = []
        self.quarantine: list[tuple] = []
        self.kept: list[tuple] = []

    def add(self, batch: int, identity: tuple, good: dict[int, str], bad: dict[int, Any]) -> None:
        """An object: its good records by ordinal, and its bad ones, each a reason and bytes."""
        received = len(good) + len(bad)
        last = str(max(good | bad))
        counts = (10, AT, received, len(good), 0, len(bad), "0", last, "query", AT)
        self.ledger.append((FEED, batch, *identity, *counts))
        for ordinal, data in good.items():
            self.kept.append((data, *identity, ordinal, AT, batch, AT))
        for ordinal, (reason, raw) in bad.items():
            self.quarantine.append((FEED, batch, *identity, ordinal, 0, reason, raw, AT, None, AT))

    def write(self) -> None:
        for name, columns, rows in (
            (LEDGER, LEDGER_COLUMNS, self.ledger),
            (QUARANTINE, QUARANTINE_COLUMNS, self.quarantine),
            (f"bronze.{TABLE}", Objects(allow_overwrites=False).columns, self.kept),
        ):
            self.spark.createDataFrame(rows, columns).write.format("delta").mode(
                "append"
            ).saveAsTable(name)


def in_bronze(spark: Any) -> set[tuple]:
    rows = spark.table(f"bronze.{TABLE}").collect()
    found = {(row["_key"], row["_ordinal"], row["data"], row["_batch_id"]) for row in rows}
    assert len(found) == len(rows)
    return found


def in_quarantine(spark: Any) -> set[tuple]:
    rows = spark.table(QUARANTINE).collect()
    found = {(row["item"], row["ordinal"], row["reason"], row["batch_id"]) for row in rows}
    assert len(found) == len(rows)
    return found


def crash_at(patch: pytest.MonkeyPatch, step: str) -> None:
    """Have the replay end right before a step."""
    append = replay.append_idempotently

    def crashing_append(rows: Any, name: str, *identity: Any) -> None:
        if name == step:
            raise Crash(step)
        append(rows, name, *identity)

    def crash(*_: Any, **__: Any) -> None:
        raise Crash(step)

    patch.setattr(replay, "append_idempotently", crashing_append)
    if step == "delete":
        patch.setattr(replay, "_delete", crash)
    if step == "clean up":
        patch.setattr(shutil, "rmtree", crash)


def test_what_became_readable_is_loaded_once_however_often_the_replay_is_cut_short(
    spark: Any,
    lakehouse: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "in"
    feed = CloudFilesFeed(name=FEED, location=str(folder), table=TABLE, description="d")
    ensure_tables(spark, OneTable(TABLE), Objects(allow_overwrites=False))
    back = a_file(folder / "back.json", '{"n":1}\n{"n":\n{"n":3}\n')
    empty = a_file(folder / "empty.json", "")
    named = a_file(folder / "named.json", '{"m":1}')
    ignored = a_file(folder / "ignored.json", '{"i":1}')
    nowhere = ("file", str(folder / "nowhere.json"), "v1")
    gone = {0: ("deleted_before_read", b"")}
    books = Books(spark)
    books.add(
        0,
        ("file", "half", "v1"),
        good={0: "{}", 3: "[]"},
        bad={1: ("invalid_json", b'{"r":1}'), 2: ("invalid_json", b'{"r":')},
    )
    for identity in (back, empty, nowhere):
        books.add(1, identity, good={}, bad=gone)
    books.add(1, ignored, good={}, bad={0: ("overwrite_ignored", b"")})
    for name, body in (("m1", a_notification(named)), ("m2", b"no"), ("m3", a_notification(named))):
        books.add(1, ("sqs:q", name, "md5"), good={}, bad={0: ("unreadable_message", body)})
    books.write()

    steps = [f"bronze.{TABLE}", QUARANTINE, "delete", LEDGER, "clean up"]
    for step in steps:
        with monkeypatch.context() as patch:
            crash_at(patch, step)
            with pytest.raises(Crash):
                replay.replay(spark, feed)

    # The feed's next run finishes it first. What the replay loaded is a duplicate to the run.
    reports: list[Any] = []
    assert run_once(spark, [feed], reports.append) == {}
    assert [(report.batch_id, report.kept) for report in reports] == [(3, 0)]
    loaded = {
        ("half", 0, "{}", 0),
        ("half", 3, "[]", 0),
        ("half", 1, '{"r":1}', 2),
        (back[1], 0, '{"n":1}', 2),
        (back[1], 2, '{"n":3}', 2),
        (named[1], 0, '{"m":1}', 2),
    }
    left = {
        ("half", 2, "invalid_json", 0),
        (back[1], 1, "truncated_json", 2),
        (nowhere[1], 0, "deleted_before_read", 1),
        (ignored[1], 0, "overwrite_ignored", 1),
        ("m2", 0, "unreadable_message", 1),
    }
    assert (in_bronze(spark), in_quarantine(spark)) == (loaded, left)

    again = replay.replay(spark, feed)
    assert (again.looked_at, again.replaced) == (4, 0)
    asked_for = replay.replay(spark, feed, "overwrite_ignored")
    assert (asked_for.looked_at, asked_for.replaced, asked_for.kept) == (1, 1, 1)
    assert in_bronze(spark) == loaded | {(ignored[1], 0, '{"i":1}', 4)}
    assert not any((lakehouse / "checkpoints" / "replays" / FEED).iterdir())

    # delta-rs reads what Spark has deleted from.
    groups = quarantine_groups(lakehouse, FEED)
    assert sum(group.records for group in groups) == len(left) - 1

    # A batch that was cut short behind its first append has its number, and comes first.
    identity = ("file", "later", "v1")
    unfinished = [("{}", *identity, 0, AT, 5, AT)]
    spark.createDataFrame(unfinished, Objects(allow_overwrites=False).columns).write.format(
        "delta"
    ).mode("append").saveAsTable(f"bronze.{TABLE}")
    with pytest.raises(ConfigurationError, match="batch 5 was cut short: finish it first"):
        replay.replay(spark, feed)
