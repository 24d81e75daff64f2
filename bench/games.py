"""games: batches of game events, from S3 to the table of each event.

What a small batch costs that touches all tables, what one into one table costs in the same run, and
how many events a second a backlog is loaded at. CPU time is given too: what else runs on the
machine changes the wall, hardly the CPU. Everything is real but AWS.
"""

from __future__ import annotations

import gzip
import os
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
from bench.measure import cost
from demo.aws import embedded_aws, environment
from demo.games import Plan, Simulation
from loaders.feeds import S3SqsFeed
from loaders.games.contract import UNKNOWN_TABLE, game_contract
from loaders.games.separation import Separated, Separator

BUCKET = "bench"
BATCHES = int(os.environ.get("BENCH_BATCHES", "12"))
BACKLOG = int(os.environ.get("BENCH_EVENTS", "200000"))
WARM = 3
# As Firehose buffers them: 5 MiB, or what came in a minute.
OBJECT_EVENTS = 10_000


def main() -> None:
    """Print what batches cost, and events a second."""
    with tempfile.TemporaryDirectory(prefix="bench-games-") as name:
        folder = Path(name)
        os.environ["LAKEHOUSE_ROOT"] = str(folder / "lakehouse")
        with embedded_aws(folder / "aws") as aws:
            os.environ.update(environment(aws))
            Bench().run()


class Bench:
    """Objects of events, and the feed that loads them."""

    def __init__(self) -> None:
        from loaders.session import get_spark

        self.spark = get_spark(resident=True)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        self._number = 0

    def run(self) -> None:
        """Measure everything and print the table."""
        few = one_of_each(played(Plan(days=14, installs=3, refunds=1.0, heartbeat_seconds=3600)))
        backlog = list(islice(played(Plan(installs=2000)), BACKLOG))
        objects = [backlog[at : at + OBJECT_EVENTS] for at in range(0, BACKLOG, OBJECT_EVENTS)]
        table = Table("game events, from S3 to bronze", box=SIMPLE)
        for title in ("batches", "s a batch", "CPU s a batch", "events/s"):
            table.add_column(title, justify="right")
        for what, loaded, options in (
            ("all to one table, first batches", [few] * WARM, {"table_per": None}),
            ("all to one table", [few] * BATCHES, {"table_per": None}),
            (f"each to its own of {len(few)} tables, first", [few] * WARM, {}),
            (f"each to its own of {len(few)} tables", [few] * BATCHES, {}),
            ("a backlog, each to its own table", objects, {"files": len(objects)}),
        ):
            table.add_row(what, *self.load(loaded, **options))
        Console().print(table)
        self.spark.stop()

    def load(
        self, objects: list[Any], table_per: str | None = "game_event", files: int = 1
    ) -> tuple[str, ...]:
        """Load objects, so many a batch: batches, seconds and CPU seconds of each, events/s."""
        from loaders.run import run_once

        self._number += 1
        name = f"way_{self._number}"
        queue_url = boto3.client("sqs").create_queue(QueueName=name)["QueueUrl"]
        s3 = boto3.client("s3")
        for number, events in enumerate(objects):
            body = gzip.compress(b"".join(map(orjson.dumps, events)), 1)
            s3.put_object(Bucket=BUCKET, Key=f"{name}/{number:06}.gz", Body=body)
        announce(queue_url, f"{name}/")
        feed = S3SqsFeed(
            name=name,
            table=UNKNOWN_TABLE if table_per else name,
            table_per=table_per,
            queue_url=queue_url,
            max_files_per_trigger=files,
            description="",
        )
        kept: list[int] = []
        with cost() as spent:
            failed = run_once(self.spark, [feed], lambda batch: kept.append(batch.kept))
        if failed or sum(kept) != sum(map(len, objects)):
            raise SystemExit(f"bench: {sum(kept)} events loaded; {failed}")
        batches = len(kept)
        return (
            str(batches),
            f"{spent.seconds / batches:.2f}",
            f"{spent.cpu_seconds / batches:.2f}",
            f"{sum(kept) / spent.seconds:,.0f}",
        )


def played(plan: Plan) -> Iterator[dict[str, Any]]:
    """Events of simulated players, as the ingest service passes them on."""
    return map(orjson.loads, passed_on(plan))


def passed_on(plan: Plan) -> Iterator[bytes]:
    """The same as they are in Firehose's objects."""
    separator = Separator(game_contract(), lambda studio, user_id: f"p-{studio}-{user_id}")
    for sent in Simulation(plan).events():
        separated = separator.separate(sent.event, "north", sent.at)
        if isinstance(separated, Separated):
            yield separated.body


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
