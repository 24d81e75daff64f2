"""planning: what a batch's planning costs when much was loaded before: state file and ledger."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from pyspark.sql.streaming.datasource import ReadMaxFiles
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from loaders.sources import discovery
from loaders.sources.discovery import Listing, Notifications
from loaders.sources.object_state import Message, ObjectState
from loaders.sources.object_stream import ObjectStreamReader, StreamSettings
from loaders.sources.objects import Location, ObjectVersion
from loaders.sources.row_formats import RecordRows

KNOWN = (1_000, 1_000_000)
BATCH = 1_000
ROUNDS = 5
LOCATION = Location("bucket", "in/")


def main() -> None:
    """Print seconds a batch with little and with much loaded before, and their ratio."""
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-planning-") as folder:
        os.environ["LAKEHOUSE_ROOT"] = f"{folder}/lakehouse"
        for known in KNOWN:
            measured = {
                **plan_notified(Path(folder) / f"notified-{known}", known),
                **plan_listed(Path(folder) / f"listed-{known}", known),
            }
            for case, seconds in measured.items():
                figures.setdefault(case, []).append(seconds)
        for case, seconds in look_up_ledger():
            figures.setdefault(case, []).append(seconds)
    table = Table(title=f"planning a batch of {BATCH:,} new objects", box=SIMPLE)
    table.add_column("case", no_wrap=True)
    for known in KNOWN:
        table.add_column(f"{known:,} known, s", justify="right", width=15)
    table.add_column("ratio", justify="right")
    for case, (few, many) in figures.items():
        table.add_row(case, f"{few:.3f}", f"{many:.3f}", f"{many / few:.1f}")
    Console().print(table)


def an_object(number: int) -> ObjectVersion:
    """Keys as Firehose writes them: in the order of time."""
    key = f"in/2026/{number // 100_000:04}/{number:09}.json"
    return ObjectVersion("bucket", key, f"{number:032x}", 10_000, number * 1000)


class Told(Notifications):
    """Notifications whose messages are made here: everything but the queue itself."""

    told = 0

    def discover(self, state: ObjectState, *, run_once: bool) -> None:
        numbers = range(self.told, self.told + BATCH)
        self.told += BATCH
        objects = [an_object(number) for number in numbers]
        messages = [Message(item.key, [item], None) for item in objects]
        state.note_messages(messages, allow_overwrites=False)

    def acknowledge(self, state: ObjectState) -> None:
        state.forget_messages(state.finished_messages())

    def backlog(self, state: ObjectState) -> dict[str, Any]:
        return {}


def plan_notified(folder: Path, known: int) -> dict[str, float]:
    """Seconds of the first planning after a start, and of later ones."""
    queue = Told("https://sqs.example.com/queue", (), allow_overwrites=False)
    queue.told = known
    first, later = plan_batches(folder, known, lambda: queue)
    return {"notifications, after a start": first, "notifications": later}


def plan_listed(folder: Path, known: int) -> dict[str, float]:
    """The same by listing, of pages in memory: S3 takes as long again for each."""
    there = known

    def pages(*_: Any) -> Iterator[list[ObjectVersion]]:
        nonlocal there
        there += BATCH
        for at in range(0, there, 1000):
            yield [an_object(number) for number in range(at, at + 1000)]

    with mock.patch.object(discovery, "list_objects", pages):
        first, later = plan_batches(folder, known, lambda: Listing(LOCATION, (), False), rounds=1)
    return {"listing, after a start": first, "listing": later}


def plan_batches(
    folder: Path, known: int, source: Callable[[], Any], rounds: int = ROUNDS
) -> tuple[float, float]:
    """latestOffset with its discovery, mark as planned, report; median but for the first."""
    settings = StreamSettings((), folder, BATCH, None)
    reader = ObjectStreamReader(settings, source, RecordRows())
    offset = {"id": "bench", "planned": known, "files": []}
    state = ObjectState(folder / "bench.sqlite")
    state.mark_planned(an_object(number) for number in range(known))
    state.close()
    seconds = []
    for _ in range(1 + rounds):
        started = time.perf_counter()
        end = reader.latestOffset(offset, ReadMaxFiles(BATCH))
        reader.reportLatestOffset()
        seconds.append(time.perf_counter() - started)
        if len(end["files"]) != BATCH or end["planned"] != offset["planned"] + BATCH:
            raise SystemExit(f"bench: planned {len(end['files'])} objects, not {BATCH}")
        offset = end
    reader.stop()
    return seconds[0], statistics.median(seconds[1:])


def look_up_ledger() -> Iterator[tuple[str, float]]:
    """Seconds to recognise a batch's objects in the ledger; a ledger file has one batch."""
    from loaders.bronze import LEDGER, ensure_tables
    from loaders.destinations import OneTable
    from loaders.kinds import Objects
    from loaders.session import get_spark

    spark = get_spark(resident=True)
    ensure_tables(spark, OneTable("things"), Objects(allow_overwrites=False))
    for known in KNOWN:
        rows = spark.range(0, known, 1, max(1, known // BATCH)).selectExpr(
            "'things' as feed",
            f"id div {BATCH} as batch_id",
            "'bucket' as container",
            "concat('in/2026/', lpad(id div 100000, 4, '0'), '/', lpad(id, 9, '0'), '.json')"
            " as item",
            "lpad(lower(hex(id)), 32, '0') as version",
            "10000L as size_bytes",
            "timestamp_seconds(id) as modified_at",
            *(f"{n} as {name}" for name, n in (("received", "20L"), ("kept", "20L"))),
            *(f"0L as {name}" for name in ("duplicates", "quarantined")),
            "'0' as first_position",
            "'19' as last_position",
            "'query' as query_id",
            "timestamp_seconds(id) as ingested_at",
        )
        columns = spark.table(LEDGER).columns
        rows.select(*columns).write.format("delta").mode("overwrite").saveAsTable(LEDGER)
        yield from look_ups(spark, known, "")
        spark.sql(f"optimize {LEDGER}")
        yield from look_ups(spark, known, ", after OPTIMIZE")
    spark.stop()


def look_ups(spark: Any, known: int, suffix: str) -> Iterator[tuple[str, float]]:
    """What a batch asks of the ledger, and what a query's start does."""
    from loaders.bronze import LEDGER, next_batch_id
    from loaders.kinds import Objects

    kind = Objects(allow_overwrites=False)
    ledger = spark.table(LEDGER).where("feed = 'things' and batch_id <> -1")
    for case, begin, expected in (
        ("ledger: new objects", known, 0),
        ("ledger: objects loaded before", 0, BATCH),
    ):
        items = [an_object(number)[:3] for number in range(begin, begin + BATCH)]

        def look_up(items: Any = items) -> int:
            return len(kind.known(ledger, items))

        if look_up() != expected:
            raise SystemExit(f"bench: the ledger knows {look_up()} objects, not {expected}")
        yield case + suffix, timed(look_up)
    started = "ledger: next number, at a start" + suffix
    yield started, timed(lambda: next_batch_id(spark, "things", "another"))


def timed(work: Callable[[], object]) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
