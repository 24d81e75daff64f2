"""How fresh gold is: from a bar's event to its row, with everything running beside it.

An engine process loads what a producer puts into a landing folder, one object after the other, at
BENCH_RATE records a second for BENCH_MINUTES. An object's records are of a day of their own: by it
a reader sees by SQL which have come to gold. Their age counts from the object's landing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from pyhive import hive
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from loaders.session import PROJECT_ROOT

RATE = float(os.environ.get("BENCH_RATE") or 100)
MINUTES = float(os.environ.get("BENCH_MINUTES") or 5)
WARM_UP_S = 90
OBJECTS_PER_SECOND = 1
FEED = "stocks_daily_prices"
GOLD = "gold.priceWithFundamentals"
THRIFT_PORT, HTTP_PORT = 10917, 10918
START_TIMEOUT_S, DRAIN_TIMEOUT_S = 300, 300


def main() -> None:
    """Print the ages at which rows were seen in gold, and the rate that was held."""
    with tempfile.TemporaryDirectory(prefix="bench-freshness-") as folder:
        landing = Path(folder) / "landing"
        (landing / "stocks" / "prices").mkdir(parents=True)
        (landing / "stocks" / "fundamentals").mkdir(parents=True)
        with engine_of(FEED, Path(folder), {"LANDING": str(landing)}):
            sent, seen, seconds = _send_and_look(landing)
    lost = len(sent) - len(seen)
    ages = sorted(
        seen[number] - at for number, at in sent.items() if number in seen and at >= WARM_UP_S
    )
    if ages:
        table = Table("bar's event → row in gold", "seconds", box=SIMPLE)
        for title, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            table.add_row(title, f"{ages[round(share * (len(ages) - 1))]:.1f}")
        Console().print(table)
    else:
        Console().print(f"no object sent after the first {WARM_UP_S} s was seen in gold")
    per_object = max(round(RATE / OBJECTS_PER_SECOND), 1)
    Console().print(
        f"held: {len(seen) * per_object / seconds:,.0f} records/s of {RATE:,.0f} sent, "
        f"{len(sent):,} objects in {MINUTES:g} min, {lost} not seen; "
        f"the first {WARM_UP_S} s are left out"
    )


def _send_and_look(landing: Path) -> tuple[dict[int, float], dict[int, float], float]:
    """Seconds at which each object was sent, and seen in gold; and how long both took."""
    began = time.monotonic()
    sent: dict[int, float] = {}
    seen: dict[int, float] = {}
    done = threading.Event()

    def send() -> None:
        number = 0
        pause = threading.Event()
        while time.monotonic() - began < 60 * MINUTES + WARM_UP_S:
            _put(landing, number)
            sent[number] = time.monotonic() - began
            number += 1
            pause.wait(max(began + number / OBJECTS_PER_SECOND - time.monotonic(), 0))
        done.set()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    deadline = 60 * MINUTES + WARM_UP_S + DRAIN_TIMEOUT_S
    pause = threading.Event()
    cursor = hive.connect("127.0.0.1", THRIFT_PORT, username="bench").cursor()
    while time.monotonic() - began < deadline and not (done.is_set() and len(seen) == len(sent)):
        pause.wait(0.5)
        try:
            cursor.execute(f"select max(price_date) from {GOLD}")
            newest = cursor.fetchone()[0]
        except hive.OperationalError:  # there is no table yet
            continue
        now = time.monotonic() - began
        if newest is not None:
            last = (date.fromisoformat(str(newest)) - _day(0)).days
            for number in range(len(seen), last + 1):
                seen[number] = now
    return sent, seen, time.monotonic() - began


def _day(number: int) -> date:
    return date(1990, 1, 1) + timedelta(days=number)


def _put(landing: Path, number: int) -> None:
    """One object: a bar of each share, of a day of its own; its time is now."""
    day = _day(number)
    bars = [
        {
            "ticker": f"T{share:04}",
            "price_date": str(day),
            **dict.fromkeys(("open", "high", "low", "close", "adj_close"), 100.0),
            "volume": 1000,
            "currency": "USD",
            "updated": f"{day}T21:30:00Z",
        }
        for share in range(max(round(RATE / OBJECTS_PER_SECOND), 1))
    ]
    unfinished = landing / ".unfinished"
    unfinished.write_text("".join(f"{json.dumps(bar)}\n" for bar in bars))
    unfinished.replace(landing / "stocks" / "prices" / f"{day}.json")


@contextmanager
def engine_of(feed: str, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """An engine of one feed, from its first cycle on; its lakehouse and its log are in the folder.

    Args:
        environment: variables besides those of this process.
    """
    given = {
        "LAKEHOUSE_ROOT": str(folder / "lakehouse"),
        "THRIFT_PORT": str(THRIFT_PORT),
        "HTTP_PORT": str(HTTP_PORT),
    }
    with (folder / "engine.log").open("wb") as log:
        engine = subprocess.Popen(
            [sys.executable, "-m", "loaders", "up", feed, "--json"],
            cwd=PROJECT_ROOT,
            env=os.environ | given | environment,
            stdout=log,
            stderr=log,
        )
    try:
        _await_first_cycle(engine)
        yield
    finally:
        engine.terminate()
        engine.wait()


def _await_first_cycle(engine: subprocess.Popen[bytes]) -> None:
    pause = threading.Event()
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if engine.poll() is not None:
            raise SystemExit(f"bench: the engine ended with {engine.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{HTTP_PORT}/status.json") as answer:
                status = json.load(answer)
            if any(task["name"] == "cycle" and task["runs"] for task in status["tasks"]):
                return
        except OSError:
            pass
        pause.wait(1)
    raise SystemExit(f"bench: no cycle within {START_TIMEOUT_S} s")
