"""live: from a commit to bronze until its rows stand in the tables of three streaming models.

Two feeds load files of a folder, 260 events a second each, into bronze; live_ingestion,
live_quarantine and live_prices follow, with the default pause between batches, which is shorter
than their own. LIVE_MINUTES (default 10) says for how long.
"""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import FLAT, resident_mb, verdict

FEEDS = {"stocks_daily_prices": "prices", "stocks_fundamentals": "fundamentals"}
MODELS = ("live_ingestion", "live_prices", "live_quarantine")
# What is sent, and what of it has to be held: a file too few within a minute is no miss.
EVENTS_PER_SECOND, HELD_PER_SECOND = 520, 500
WARM_UP_S = 45
TRIGGER_S = 0.5
# The feeds' default is 10; what they take from the live models on two cores, they take as often.
FEEDS_TRIGGER_S = 3
# Spark keeps a query's last hundred batches; to read them is work beside what is measured.
LOOK_S = 15
GOALS_S = {"p50": (0.5, 2.0), "p99": (0.99, 5.0)}

# version → (seconds since the epoch, rows)
Commits = dict[int, tuple[float, int]]


def main() -> None:
    """Run for LIVE_MINUTES, and print latencies, rate and memory beside the goals."""
    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # of batches that are cut short at the end
    minutes = float(os.environ.get("LIVE_MINUTES") or 10)
    folder = Path(tempfile.mkdtemp(prefix="bench-live-"))
    os.environ["LAKEHOUSE_ROOT"] = str(folder / "lakehouse")
    os.environ["LANDING"] = str(folder / "landing")
    try:
        _measure(minutes, folder / "landing" / "stocks")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(minutes: float, landing: Path) -> None:
    from loaders.feeds import read_feeds
    from loaders.live import start_live, stop_live
    from loaders.run import start
    from loaders.session import get_spark

    spark = get_spark(resident=True)
    models = [
        replace(model, trigger_seconds=TRIGGER_S) for model in _models() if model.name in MODELS
    ]
    feeds = [
        read_feeds()[name].model_copy(update={"trigger_seconds": FEEDS_TRIGGER_S}) for name in FEEDS
    ]
    watch = Watch()
    with _producing(landing):
        loading = [start(spark, feed, lambda _: None, once=False) for feed in feeds]
        following = {model: start_live(spark, model, watch.note) for model in models}
        began = time.time()
        ends = began + WARM_UP_S + minutes * 60
        while time.time() < ends:
            threading.Event().wait(LOOK_S)
            watch.look(following)
        ended = time.time()
        for model, query in following.items():
            stop_live(spark, model, query)
            watch.look({model: query})
        for query in loading:
            query.stop()
    loaded = [f"bronze.{feed.table}" for feed in feeds]
    commits = {
        table: _commits(spark, table)
        for table in {*loaded, *(each.table for model in models for each in model.inputs)}
    }
    span = (began + WARM_UP_S, ended)
    rate = sum(_rate(commits[table], *span) for table in loaded)
    _print(minutes, span, models, commits, watch, rate)
    spark.stop()


def _commits(spark: Any, table: str) -> Commits:
    """When rows were appended to a table, and how many, by version."""
    history = spark.sql(f"describe history {table}").where("operation = 'WRITE'")
    return {
        row.version: (row.timestamp.timestamp(), int(row.operationMetrics["numOutputRows"]))
        for row in history.collect()
    }


def _rate(commits: Commits, since: float, until: float) -> float:
    """Rows a second that were appended, from one commit to another; 0 where there are no two."""
    within = sorted((at, rows) for at, rows in commits.values() if since <= at <= until)
    if len(within) < 2:
        return 0.0
    return sum(rows for _, rows in within[1:]) / (within[-1][0] - within[0][0])


def _models() -> list[Any]:
    from dbt.cli.main import dbtRunner

    from loaders.live import live_models
    from loaders.session import PROJECT_ROOT, lakehouse_root

    target = lakehouse_root() / "target"
    places = ("--project-dir", str(PROJECT_ROOT), "--profiles-dir", str(PROJECT_ROOT / "profiles"))
    places += ("--target-path", str(target), "--log-path", str(lakehouse_root() / "logs"))
    # The run creates the bronze tables and views that the models read.
    for arguments in (("run", "--select", "stocks_daily_prices_parsed"), ("compile",)):
        outcome = dbtRunner().invoke([*arguments, *places, "--quiet"])
        if not outcome.success:
            raise SystemExit(f"dbt {arguments[0]} failed: {outcome.exception}")
    return live_models(json.loads((target / "manifest.json").read_text()))


class Watch:
    """When which batch was done, what it had read, and how much memory is used."""

    def __init__(self) -> None:
        self.done: dict[tuple[str, int], float] = {}
        self.read: dict[tuple[str, int], int] = {}
        self.seconds: list[float] = []
        self.memory: list[tuple[float, float]] = []

    def note(self, said: Any) -> None:
        """A report of start_live."""
        if hasattr(said, "batch_id"):
            self.done[said.model, said.batch_id] = time.time()
            self.seconds.append(said.seconds)

    def look(self, queries: dict[Any, Any]) -> None:
        """Up to which version of its input each batch has read; and at the memory."""
        self.memory.append((time.time(), resident_mb()))
        for model, query in queries.items():
            if query.exception() is not None:
                raise SystemExit(f"{model.name} failed: {query.exception()}")
            for progress in query.recentProgress:
                offset = progress["sources"][0]["endOffset"]
                offset = json.loads(offset) if isinstance(offset, str) else offset
                # index -1: nothing of that version
                last = offset["reservoirVersion"] - (offset["index"] < 0)
                self.read[model.name, progress["batchId"]] = last

    def latencies(self, model: str, commits: Commits, since: float, until: float) -> list[float]:
        """Seconds from each commit to the end of the first batch that had read it.

        A commit that no batch has read is as old as it is at the end.
        """
        batches = sorted(
            (number, self.read[key], done)
            for key, done in self.done.items()
            if (number := key[1]) >= 0 and key[0] == model and key in self.read
        )
        found = []
        for version, (at, _) in sorted(commits.items()):
            if since <= at <= until:
                done = next((done for _, last, done in batches if last >= version), until)
                found.append(done - at)
        return found


class Producer(threading.Thread):
    """Writes a file a second to each feed's folder, by the clock."""

    def __init__(self, landing: Path) -> None:
        super().__init__(daemon=True)
        self._began = time.time()
        self._landing = landing
        self._ended = threading.Event()
        self._draw = random.Random(0)  # noqa: S311 - not for secrets

    def run(self) -> None:
        for folder in FEEDS.values():
            (self._landing / folder).mkdir(parents=True, exist_ok=True)
        number = 0
        while not self._ended.wait(max(0.0, self._began + number - time.time())):
            for folder in FEEDS.values():
                records = [self._bar() for _ in range(EVENTS_PER_SECOND // len(FEEDS))]
                unfinished = self._landing / f".{folder}"
                unfinished.write_text("\n".join(records))
                unfinished.rename(self._landing / folder / f"{number:08}.json")
            number += 1

    def end(self) -> None:
        """Write no more."""
        self._ended.set()
        self.join()

    def _bar(self) -> str:
        day = datetime(2013, 1, 1, tzinfo=UTC) + timedelta(days=self._draw.randrange(1000))
        close = self._draw.randrange(100, 99_999) / 100
        bar = {"ticker": f"T{self._draw.randrange(50):02}", "price_date": f"{day:%Y-%m-%d}"}
        return json.dumps(bar | {"close": close, "volume": self._draw.randrange(10**6)})


@contextmanager
def _producing(landing: Path) -> Iterator[None]:
    producer = Producer(landing)
    producer.start()
    try:
        yield
    finally:
        producer.end()


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so large a share of the values does not exceed."""
    return sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]


def _print(
    minutes: float,
    span: tuple[float, float],
    models: list[Any],
    commits: dict[str, Commits],
    watch: Watch,
    rate: float,
) -> None:
    title = f"live: commit to bronze → row in the table, {minutes:g} min"
    table = Table("model", title=title, box=SIMPLE)
    for heading in ("commits", "batches", "p50 s", "p99 s", "max s"):
        table.add_column(heading, justify="right")
    everything: list[float] = []
    for model in models:
        found = watch.latencies(model.name, commits[model.inputs[0].table], *span)
        everything += found
        batches = sum(1 for name, _ in watch.done if name == model.name)
        _row(table, model.name, len(found), batches, found)
    _row(table, "all", len(everything), len(watch.done), everything)
    console = Console(highlight=False)
    console.print(table)
    settled = [mb for at, mb in watch.memory if span[0] <= at <= span[1]]
    quarter = max(1, len(settled) // 4)
    early, late = (sum(part) / quarter for part in (settled[:quarter], settled[-quarter:]))
    batch = f"{percentile(watch.seconds, 0.5):.2f} s (median)" if watch.seconds else "-"
    console.print(
        f"memory: {early:,.0f} MiB in the first quarter, {late:,.0f} MiB in the last; "
        f"a batch took {batch}"
    )
    for name, (share, goal) in GOALS_S.items():
        seconds = percentile(everything, share) if everything else float("inf")
        console.print(f"{name}: {verdict(seconds, goal, ' s')}")
    console.print(
        f"held, of {EVENTS_PER_SECOND} sent: "
        + verdict(rate, HELD_PER_SECOND, " events/s", at_least=True)
    )
    console.print(f"memory flat, last quarter of first: {verdict(late / early, FLAT, ' x')}")


def _row(table: Table, name: str, commits: int, batches: int, found: list[float]) -> None:
    cells = [f"{percentile(found, share):.2f}" if found else "-" for share in (0.5, 0.99, 1)]
    table.add_row(name, f"{commits:,}", f"{batches:,}", *cells)


if __name__ == "__main__":
    main()
