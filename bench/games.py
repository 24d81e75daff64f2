"""games: batches of game events, from S3 to the table of each event.

What a small batch costs that touches all tables, what a table alone would cost in the same
run, and how many events a second a backlog is loaded at. Everything is real but AWS.
"""

from __future__ import annotations

import copy
import gzip
import os
import statistics
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import boto3
import orjson
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.ingest import announce
from demo.aws import embedded_aws, environment
from demo.games import Plan, Simulation
from loaders.feeds import S3SqsFeed
from loaders.games.contract import UNKNOWN_TABLE, game_contract
from loaders.games.separation import Separated, Separator

BUCKET = "bench"
BATCHES = int(os.environ.get("BENCH_BATCHES", "12"))
BACKLOG = int(os.environ.get("BENCH_EVENTS", "200000"))
# As Firehose buffers them: 5 MiB, or what came in a minute.
OBJECT_EVENTS = 10_000


def main() -> None:
    """Print seconds a batch and events a second."""
    with tempfile.TemporaryDirectory(prefix="bench-games-") as name:
        folder = Path(name)
        os.environ["LAKEHOUSE_ROOT"] = str(folder / "lakehouse")
        with embedded_aws(folder / "aws") as aws:
            os.environ.update(environment(aws))
            Bench(folder).run()


class Bench:
    """Objects of events, and the feed that loads them."""

    def __init__(self, folder: Path) -> None:
        from loaders.session import get_spark

        self.folder = folder
        self.spark = get_spark(resident=True)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        self._number = 0

    def run(self) -> None:
        """Measure everything and print the table."""
        few = one_of_each(played(Plan(days=14, installs=3, refunds=1.0, heartbeat_seconds=3600)))
        single = self.seconds([few] * BATCHES, table_per=None)
        every = self.seconds([few] * BATCHES, table_per="game_event")
        backlog = list(islice(played(Plan(installs=2000)), BACKLOG))
        objects = [backlog[at : at + OBJECT_EVENTS] for at in range(0, BACKLOG, OBJECT_EVENTS)]
        seconds = sum(self.seconds(objects, table_per="game_event"))
        table = Table(title="game events, from S3 to bronze", box=SIMPLE, show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for what, durations in (("one table", single), (f"{len(few)} tables", every)):
            warm = durations[2:]
            table.add_row(f"a batch of {what}: median s", f"{statistics.median(warm):.2f}")
            table.add_row(f"a batch of {what}: longest s", f"{max(warm):.2f}")
        table.add_row(f"{OBJECT_EVENTS:,} events a batch: events/s", f"{BACKLOG / seconds:,.0f}")
        Console().print(table)
        self.spark.stop()

    def seconds(self, objects: list[Any], table_per: str | None) -> list[float]:
        """Seconds of each batch, an object each, from its trigger to its commit."""
        from loaders.run import start

        self._number += 1
        name = f"way_{self._number}"
        queue_url = boto3.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        folder = self.folder / name
        folder.mkdir()
        s3 = boto3.client("s3")
        for number, events in enumerate(objects):
            path = folder / f"{number:06}.gz"
            path.write_bytes(gzip.compress(b"".join(map(orjson.dumps, events)), 1))
            s3.put_object(Bucket=BUCKET, Key=f"{name}/{path.name}", Body=path.read_bytes())
        announce(queue_url, folder)
        feed = S3SqsFeed(
            name=name,
            table=UNKNOWN_TABLE if table_per else name,
            table_per=table_per,
            queue_url=queue_url,
            max_files_per_trigger=1,
            description="",
        )
        query = start(self.spark, feed, lambda _: None, once=True)
        query.awaitTermination()
        durations = [
            progress.durationMs["triggerExecution"] / 1000
            for progress in query.recentProgress
            if progress.numInputRows
        ]
        if len(durations) != len(objects):
            raise SystemExit(f"bench: {len(durations)} batches of {len(objects)} objects")
        return durations


def played(plan: Plan) -> Iterator[dict[str, Any]]:
    """Events of simulated players, as the ingest service passes them on."""
    separator = Separator(game_contract(), lambda studio, user_id: f"p-{studio}-{user_id}")
    for sent in Simulation(plan).events():
        separated = separator.separate(copy.deepcopy(sent.event), "north", sent.at)
        if isinstance(separated, Separated):
            yield orjson.loads(separated.body)


def one_of_each(events: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """An event of each type, and one of an unknown type."""
    found = {"volcano_erupted": {"event_type": "volcano_erupted", "event_version": 1}}
    names = {event.name for event in game_contract().events}
    for event in events:
        found.setdefault(event["event_type"], event)
        if found.keys() >= names:
            break
    return list(found.values())


if __name__ == "__main__":
    main()
