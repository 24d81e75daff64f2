"""How fresh the games' gold is: from an object's arrival in S3 to a commit of each gold table.

An engine loads what a sender puts into a bucket and announces to a queue, BENCH_RATE events a
second (default 2,000) for BENCH_MINUTES (default 6), an object each five seconds. Events are of
simulated players, and happen now. When a batch came to a table is read from the tables' histories
afterwards. Firehose's own buffering comes before all this.
"""

from __future__ import annotations

import gzip
import os
import random
import tempfile
import threading
import time
import uuid
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import orjson
import pyarrow.compute as pc
from deltalake import DeltaTable
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.freshness import engine_of
from bench.games import BUCKET, played
from bench.ingest import notification
from bench.measure import outcome
from demo.aws import embedded_aws, environment
from demo.games import Plan

RATE = float(os.environ.get("BENCH_RATE") or 2_000)
MINUTES = float(os.environ.get("BENCH_MINUTES") or 6)
# Left out: the engine's code is being compiled, and its queue is what came meanwhile.
WARM_UP_S = 120
OBJECT_S = 5
DRAIN_S = 300
POOL = 100_000
LATE, DUPLICATES = 0.01, 0.01
HOUR = 3600
FEED = "game_events"
# What live operations look at, and what alerts are made of.
TABLES = (
    "game_minutes",
    "game_windows",
    "game_judgements",
    "liveops_now",
    "offer_funnel",
    "level_funnel",
    "economy_balance",
    "revenue_daily",
    "players_daily",
)
GOAL_S, AIM_S = 300, 60


class Batch(NamedTuple):
    """Of bronze. arrived: when its oldest object was in S3, epoch seconds."""

    batch_id: int
    arrived: float
    events: int


def main() -> None:
    """Print for each gold table how old events were when it had them."""
    with tempfile.TemporaryDirectory(prefix="bench-games-freshness-") as name:
        folder = Path(name)
        with embedded_aws(folder / "aws") as aws:
            os.environ.update(environment(aws))
            boto3.client("s3").create_bucket(Bucket=BUCKET)
            queue_url = boto3.client("sqs").create_queue(QueueName=FEED)["QueueUrl"]
            pool = list(islice(played(Plan(installs=2000)), POOL))
            with engine_of(FEED, folder, {"GAMES_QUEUE": queue_url}):
                began = time.time()
                sent = send(pool, queue_url, began)
                warehouse = folder / "lakehouse" / "warehouse"
                drained = await_drained(warehouse, sent)
        batches = loaded(warehouse, began + WARM_UP_S)
        show(warehouse, batches, sent, drained)


def send(pool: list[dict[str, Any]], queue_url: str, began: float) -> int:
    """Put objects until the time is over; returns how many events they had."""
    events = endless(pool)
    per_object = round(RATE * OBJECT_S)
    pause = threading.Event()
    number = 0
    while time.time() - began < 60 * MINUTES + WARM_UP_S:
        put(list(islice(events, per_object)), queue_url, number)
        number += 1
        pause.wait(max(0, began + number * OBJECT_S - time.time()))
    return number * per_object


def endless(pool: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The pool's events again and again, each as one of its own that happened just now.

    Some are told twice, and some come hours late: what they belong to is formed anew.
    """
    chance = random.Random(1)  # noqa: S311 - times of a benchmark
    while True:
        lap = uuid.uuid4().hex[:8]
        for event in pool:
            taken = time.time()
            late = chance.uniform(HOUR, 12 * HOUR) if chance.random() < LATE else 0
            yield (
                told := event
                | {
                    "event_id": lap + event["event_id"][8:],
                    "session_id": f"{event.get('session_id')}-{lap}",
                    "event_timestamp": taken - OBJECT_S * chance.random() - late,
                    "sent_timestamp": taken - late,
                    "ingest_ts": taken,
                    "event_data": of_lap(event["event_data"], lap),
                }
            )
            if chance.random() < DUPLICATES:
                yield told


def of_lap(data: dict[str, Any], lap: str) -> dict[str, Any]:
    """What happens once, with an id of its own in each lap."""
    ids = {name: f"{data[name]}-{lap}" for name in ("offer_id", "transaction_id") if data.get(name)}
    if order := data.get("order_id"):  # the id of an event
        ids["order_id"] = lap + order[8:]
    return data | ids


def put(events: list[dict[str, Any]], queue_url: str, number: int) -> None:
    """An object, as Firehose writes it, and its notification."""
    body = gzip.compress(b"".join(map(orjson.dumps, events)), 1)
    key = f"games/{number:06}.gz"
    answer = boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
    said = {
        "Key": key,
        "Size": len(body),
        "ETag": answer["ETag"],
        "LastModified": datetime.now(UTC),
    }
    boto3.client("sqs").send_message(QueueUrl=queue_url, MessageBody=notification([said]))


def await_drained(warehouse: Path, sent: int) -> bool:
    """Wait until bronze has all events and the tables its newest batch; false: they were late."""
    deadline = time.time() + DRAIN_S
    pause = threading.Event()
    while time.time() < deadline:
        batches = loaded(warehouse, 0)
        if sum(batch.events for batch in batches) == sent:
            newest = batches[-1].batch_id
            if all(commits(warehouse, table)[0][-1] >= newest for table in TABLES):
                return True
        pause.wait(3)
    return False


def loaded(warehouse: Path, since: float) -> list[Batch]:
    """The feed's batches whose oldest object came after a time, by their numbers."""
    ledger = DeltaTable(warehouse / "bronze.db" / "ledger").to_pyarrow_dataset()
    rows = ledger.to_table(
        columns=["batch_id", "modified_at", "kept"],
        filter=(pc.field("feed") == FEED) & (pc.field("received") > 0),
    )
    by_batch = rows.group_by("batch_id").aggregate([("modified_at", "min"), ("kept", "sum")])
    batches = [
        Batch(row["batch_id"], row["modified_at_min"].timestamp(), row["kept_sum"])
        for row in by_batch.sort_by("batch_id").to_pylist()
    ]
    return [batch for batch in batches if batch.arrived >= since]


def commits(warehouse: Path, name: str) -> tuple[list[int], list[float]]:
    """Of each of a gold table's versions the newest batch in it, never falling, and its time."""
    folder = warehouse / "gold.db" / name
    newest, times = [-1], [0.0]
    for commit in sorted(DeltaTable(folder).history(), key=lambda commit: commit["version"]):
        files = DeltaTable(folder, version=commit["version"]).get_add_actions(flatten=True)
        batch_ids = (
            batch_id
            for column in files.column_names
            if column.startswith("max._") and column.endswith("batch_id")
            for batch_id in files[column].to_pylist()
            if batch_id is not None
        )
        newest.append(max(batch_ids, default=newest[-1]))
        newest[-1] = max(newest[-2:])
        times.append(commit["timestamp"] / 1000)
    return newest, times


def show(warehouse: Path, batches: list[Batch], sent: int, drained: bool) -> None:
    """The table of ages, weighted by events."""
    table = Table("gold table", title="object in S3 → commit in gold, seconds", box=SIMPLE)
    for title in ("p50", "p99", "commits"):
        table.add_column(title, justify="right")
    worst = 0.0
    for name in TABLES:
        newest, times = commits(warehouse, name)
        ages = []
        for batch in batches:
            at = bisect_left(newest, batch.batch_id)
            age = times[at] - batch.arrived if at < len(times) else float("inf")
            ages += [age] * batch.events
        ages.sort()
        p50, p99 = (ages[round(share * (len(ages) - 1))] for share in (0.5, 0.99))
        worst = max(worst, p99)
        table.add_row(name, f"{p50:.1f}", f"{p99:.1f}", str(len(times) - 1))
    console = Console()
    console.print(table)
    kept = sum(batch.events for batch in loaded(warehouse, 0))
    console.print(
        f"{RATE:,.0f} events/s for {MINUTES:g} min after {WARM_UP_S} s: {sent:,} sent, {kept:,} in "
        f"bronze, {'all' if drained else 'NOT all'} in gold within {DRAIN_S} s of the last"
    )
    goals = (f"≤ {seconds} s {outcome(worst, seconds)}" for seconds in (GOAL_S, AIM_S))
    console.print(f"p99 of the slowest: {worst:.0f} s; {', '.join(goals)}")


if __name__ == "__main__":
    main()
