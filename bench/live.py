"""live: from a commit to bronze until its rows stand in the tables of three streaming models.

Two feeds load files of a folder, 250 events a second each, into bronze; live_ingestion,
live_quarantine and live_prices follow. LIVE_MINUTES (default 10) says for how long.
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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import resident_mb

FEEDS = {"stocks_daily_prices": "prices", "stocks_fundamentals": "fundamentals"}
EVENTS_PER_SECOND = 500
WARM_UP_S = 45
GOALS_S = {"p50": 2.0, "p99": 5.0}


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
    models = _models()
    feeds = [read_feeds()[name].model_copy(update={"trigger_seconds": 1}) for name in FEEDS]
    watch = Watch()
    with _producing(landing) as producer:
        loading = [start(spark, feed, lambda _: None, once=False) for feed in feeds]
        following = {model: start_live(spark, model, watch.note) for model in models}
        began = time.time()
        ends = began + WARM_UP_S + minutes * 60
        while time.time() < ends:
            threading.Event().wait(2)
            watch.look(following)
        for model, query in following.items():
            stop_live(spark, model, query)
            watch.look({model: query})
        for query in loading:
            query.stop()
    commits = {
        table: {
            row["version"]: row["timestamp"].timestamp()
            for row in spark.sql(f"describe history {table}").collect()
            if row["operation"] == "WRITE"
        }
        for model in models
        for table in (each.table for each in model.inputs)
    }
    _print(minutes, began + WARM_UP_S, models, commits, watch, producer)
    spark.stop()


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

    def latencies(self, model: str, commits: dict[int, float], since: float) -> list[float]:
        """Seconds from each commit to the end of the first batch that had read it."""
        batches = sorted(
            (number, self.read[key], done)
            for key, done in self.done.items()
            if (number := key[1]) >= 0 and key[0] == model and key in self.read
        )
        found = []
        for version, at in sorted(commits.items()):
            done = next((done for _, last, done in batches if last >= version), None)
            if at >= since and done is not None:
                found.append(done - at)
        return found


class Producer(threading.Thread):
    """Writes a file a second to each feed's folder, by the clock."""

    def __init__(self, landing: Path) -> None:
        super().__init__(daemon=True)
        self.events = 0
        self.began = time.time()
        self._landing = landing
        self._ended = threading.Event()
        self._draw = random.Random(0)  # noqa: S311 - not for secrets

    def run(self) -> None:
        for folder in FEEDS.values():
            (self._landing / folder).mkdir(parents=True, exist_ok=True)
        number = 0
        while not self._ended.wait(max(0.0, self.began + number - time.time())):
            for folder in FEEDS.values():
                records = [self._bar() for _ in range(EVENTS_PER_SECOND // len(FEEDS))]
                unfinished = self._landing / f".{folder}"
                unfinished.write_text("\n".join(records))
                unfinished.rename(self._landing / folder / f"{number:08}.json")
                self.events += len(records)
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
def _producing(landing: Path) -> Iterator[Producer]:
    producer = Producer(landing)
    producer.start()
    try:
        yield producer
    finally:
        producer.end()


def percentile(values: list[float], share: float) -> float:
    """The smallest value that so large a share of the values does not exceed."""
    return sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]


def _print(
    minutes: float,
    since: float,
    models: list[Any],
    commits: dict[str, dict[int, float]],
    watch: Watch,
    producer: Producer,
) -> None:
    rate = producer.events / (time.time() - producer.began)
    title = f"live: commit to bronze → row in the table, {minutes:g} min, {rate:,.0f} events/s"
    table = Table("model", title=title, box=SIMPLE)
    for heading in ("commits", "batches", "p50 s", "p99 s", "max s"):
        table.add_column(heading, justify="right")
    everything: list[float] = []
    for model in models:
        found = watch.latencies(model.name, commits[model.inputs[0].table], since)
        everything += found
        batches = sum(1 for name, _ in watch.done if name == model.name)
        _row(table, model.name, len(found), batches, found)
    _row(table, "all", len(everything), len(watch.done), everything)
    console = Console(highlight=False)
    console.print(table)
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        value = percentile(everything, share)
        verdict = "met" if value <= GOALS_S[name] else f"missed by {value - GOALS_S[name]:.1f} s"
        console.print(f"goal {name} ≤ {GOALS_S[name]:g} s: {verdict}")
    settled = [mb for at, mb in watch.memory if at >= since]
    quarter = max(1, len(settled) // 4)
    early, late = (sum(part) / quarter for part in (settled[:quarter], settled[-quarter:]))
    console.print(
        f"memory: {early:,.0f} MiB in the first quarter, {late:,.0f} MiB in the last "
        f"({late / early - 1:+.1%}); a batch took {percentile(watch.seconds, 0.5):.2f} s (median)"
    )


def _row(table: Table, name: str, commits: int, batches: int, found: list[float]) -> None:
    cells = [f"{percentile(found, share):.2f}" if found else "-" for share in (0.5, 0.99, 1)]
    table.add_row(name, f"{commits:,}", f"{batches:,}", *cells)


if __name__ == "__main__":
    main()
