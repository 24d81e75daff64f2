"""dashboard: first paint and refresh of the NOC page over a million rows of gold.noc_playback.

The gold is generated, a day of a service with DASHBOARD_ROWS cells (default 1,000,000).
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import verdict
from dashboard.choice import Choice
from dashboard.lakehouse import Lakehouse

DAY = datetime(2026, 5, 1, tzinfo=UTC)
MINUTES = 24 * 60
SKETCHES = 20_000
INCIDENT_HOURS = 25 / 60
TIMESTAMP = pa.timestamp("us", "UTC")


GOALS_S = {"first paint": 2.0, "refresh": 1.0}
FLAGS = (  # tests/dashboard/browser.py says why
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PAINTED = "[data-panel][aria-busy=true]"
REFRESHES = 5


def main() -> None:
    """Generate, serve, look with Chromium, and print seconds beside the goals."""
    rows = int(os.environ.get("DASHBOARD_ROWS") or 1_000_000)
    folder = Path(tempfile.mkdtemp(prefix="bench-dashboard-"))
    try:
        write_gold(folder, rows)
        _measure(folder, rows)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(root: Path, rows: int) -> None:
    table = Table(
        "",
        title=f"dashboard: {rows:,} rows of noc_playback, a day; best, median, worst s",
        box=SIMPLE,
    )
    for heading in ("1 hour", "24 hours"):
        table.add_column(heading, justify="right")
    found: dict[str, list[list[float]]] = {}
    with serving(root) as address, looking() as browser:
        for interval in ("1h", "24h"):
            for name, seconds in _look(browser, f"{address}/?interval={interval}", root).items():
                found.setdefault(name, []).append(seconds)
    for name, intervals in found.items():
        table.add_row(name, *(_spread(seconds) for seconds in intervals))
    console = Console(highlight=False)
    console.print(table)
    for name, goal in GOALS_S.items():
        seconds = statistics.median(found[name][0])
        console.print(f"{name}, 1 hour: {verdict(seconds, goal, ' s')}")


def _spread(seconds: list[float]) -> str:
    return " ".join(
        f"{each:.2f}" for each in (min(seconds), statistics.median(seconds), max(seconds))
    )


def _look(browser: Any, address: str, root: Path) -> dict[str, list[float]]:
    """Seconds until something was painted, until the status strip and all panels stood; and from
    a change of a filter, and from a commit to gold, until all stood again."""
    found: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        found.setdefault(name, []).append(seconds)

    for _ in range(REFRESHES):
        _commit(root)  # no answer of before is of use
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        started = time.perf_counter()
        page.goto(address)
        page.wait_for_selector("#status[aria-busy=false]")
        note("status strip", time.perf_counter() - started)
        page.wait_for_selector(PAINTED, state="detached")
        note("all panels", time.perf_counter() - started)
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        note("first paint", paint / 1000)
        started = time.perf_counter()
        page.locator("[name=metric]").select_option("rebuffering_share")
        page.wait_for_selector(PAINTED, state="detached")
        note("another metric", time.perf_counter() - started)
        started = time.perf_counter()
        page.locator("[name=isp]").select_option("Network 1")
        page.wait_for_selector(PAINTED, state="detached")
        note("another filter", time.perf_counter() - started)
        page.evaluate(NOTE_REFRESH)
        _commit(root)
        seconds = page.evaluate("window.refreshed")
        note("refresh", seconds)
        page.close()
    return found


# A promise of the seconds from the news of a commit until the status strip shows it.
NOTE_REFRESH = """() => {
  const panel = document.getElementById("status");
  window.refreshed = new Promise((resolve) => {
    let began = 0;
    new MutationObserver(() => {
      if (panel.getAttribute("aria-busy") === "true") began ||= performance.now();
      else if (began) resolve((performance.now() - began) / 1000);
    }).observe(panel, { attributes: true });
  });
}"""


def _commit(root: Path) -> None:
    """A new version of noc_playback, a late cell of its first hour."""
    folder = str(root / "warehouse" / "gold.db" / "noc_playback")
    table = DeltaTable(folder)
    cell = table.to_pyarrow_dataset().head(1)
    write_deltalake(table, cell, mode="append")


@contextmanager
def looking() -> Iterator[Any]:
    """A headless Chromium, driven by playwright."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The dashboard of a lakehouse in a process of its own; gives its address."""
    port = free_port()
    environment = {**os.environ, "LAKEHOUSE_ROOT": str(root), "DASHBOARD_PORT": str(port)}
    command = [sys.executable, "-m", "dashboard"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None  # noqa: S101 - it is a pipe
        try:
            if f"http://127.0.0.1:{port}" not in served.stdout.readline():
                raise SystemExit("the dashboard does not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            served.terminate()


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_gold(root: Path, rows: int, seed: int = 0) -> None:
    """Write what the page reads below `root`, as dbt would have: a file an hour.

    The service has a quiet night and a busy evening. In the last minutes of the day an edge
    stalls, most of all in one network.

    Args:
        root: a LAKEHOUSE_ROOT.
        rows: of noc_playback, spread evenly over the minutes of a day.
        seed: the same seed, the same rows.
    """
    draw = np.random.default_rng(seed)
    sketches = _sketches(seed)
    gold = root / "warehouse" / "gold.db"
    for hour in range(24):
        minutes = [DAY + timedelta(minutes=60 * hour + minute) for minute in range(60)]
        cells = _playback(draw, sketches, minutes, rows // MINUTES)
        write_deltalake(str(gold / "noc_playback"), cells, mode="append")
        write_deltalake(str(gold / "noc_cdn"), _cdn(draw, minutes), mode="append")
    nothing = pa.schema(
        [
            ("hour", TIMESTAMP),
            *((name, pa.string()) for name in ("cohort_kind", "cohort", "metric")),
            *((name, pa.float64()) for name in ("baseline", "deviation")),
        ]
    ).empty_table()
    write_deltalake(str(gold / "noc_baseline"), nothing)
    write_deltalake(str(gold / "noc_baseline"), _baseline(root), mode="append")


def _sketches(seed: int) -> list[bytes]:
    from datasketches import update_theta_sketch

    draw = random.Random(seed)  # noqa: S311 - not for secrets
    found = []
    for _ in range(SKETCHES):
        sketch = update_theta_sketch(12)
        for _ in range(draw.randrange(1, 6)):
            sketch.update(f"viewer {draw.randrange(50_000)}")
        found.append(sketch.compact().serialize())
    return found


def _playback(
    draw: np.random.Generator, sketches: list[bytes], minutes: list[datetime], cells: int
) -> pa.Table:
    rows = len(minutes) * cells
    names = {
        "country": ["USA", "DEU", "IND", "BRA", "GBR", "FRA", "JPN", "ZAF", "AUS", "Unavailable"],
        "isp": [f"Network {number}" for number in range(12)],
        "edge": [f"E{number:02}-P1" for number in range(16)],
        "device_type": ["tv", "phone", "desktop", "Unavailable"],
        "app_version": ["3.1.0", "3.2.0", "Unavailable"],
        "video_id": [f"video-{number}" for number in range(40)],
    }
    at = [minute for minute in minutes for _ in range(cells)]
    chosen = {name: draw.choice(values, rows) for name, values in names.items()}
    hours = np.array([(each - DAY) / timedelta(hours=1) for each in at])
    sessions = 1 + draw.poisson(2.5 + 2 * np.sin((hours - 14) / 12 * np.pi), rows)
    attempts = draw.poisson(sessions * 0.4)
    slow = (hours >= 24 - INCIDENT_HOURS) & (chosen["edge"] == "E03-P1")
    slow_isp = slow & (chosen["isp"] == "Network 2")
    failures = ((draw.random(rows) < 0.01) & (attempts > 0)).astype(int)
    exits = ((draw.random(rows) < 0.03) & (attempts > 1)).astype(int)
    plays = attempts - failures - exits
    ended = draw.integers(0, 2, rows)
    played = sessions * 55
    stalls = draw.binomial(sessions, np.where(slow_isp, 0.6, np.where(slow, 0.3, 0.02)))
    errors = (draw.random(rows) < 0.01).astype(int)
    empty = sketches_of(draw, sketches, rows)
    columns: dict[str, Any] = {
        "minute": pa.array(at, TIMESTAMP),
        **chosen,
        "sessions": sessions,
        "viewers": pa.array(sketches_of(draw, sketches, rows), pa.binary()),
        "attempts": attempts,
        "plays": plays,
        "exits_before_start": exits,
        "start_failures_technical": failures,
        "start_failures_business": np.zeros(rows, int),
        "startups": plays,
        "startup_ms": plays * 900,
        "startup_histogram": pa.array(
            [
                [{"bucket": int(bucket), "count": int(count)}] if count else []
                for bucket, count in zip(draw.normal(136, 10, rows) + 14 * slow, plays, strict=True)
            ],
            pa.list_(pa.struct([("bucket", pa.int32()), ("count", pa.int64())])),
        ),
        "ended_plays": ended,
        "failed_plays": ((draw.random(rows) < 0.005) & (ended > 0)).astype(int),
        "concurrent_plays": pa.array([[int(n)] * 6 for n in sessions], pa.list_(pa.int64())),
        "played_s": played,
        "played_bits": played * draw.integers(4_000_000, 5_000_000, rows),
        "rated_s": played,
        "stalls": stalls,
        "bot_sessions": np.zeros(rows, int),
        "sessions_with_stall": stalls,
        "sessions_with_error": errors,
        "stalled_ms": stalls * draw.integers(200, 4000, rows) * np.where(slow, 6, 1),
        "seeking_ms": draw.integers(0, 300, rows),
        "stalled_viewers": pa.array(
            [each if stalled else None for each, stalled in zip(empty, stalls, strict=True)],
            pa.binary(),
        ),
        "errors": errors,
        "failing_viewers": pa.array(
            [each if failed else None for each, failed in zip(empty, errors, strict=True)],
            pa.binary(),
        ),
        "newest_arrival_at": pa.array([each + timedelta(seconds=60) for each in at], TIMESTAMP),
    }
    return pa.table(columns)


def sketches_of(draw: np.random.Generator, sketches: list[bytes], rows: int) -> list[bytes]:
    """As many of the sketches, drawn with replacement."""
    return [sketches[place] for place in draw.integers(0, len(sketches), rows)]


def _cdn(draw: np.random.Generator, minutes: list[datetime]) -> pa.Table:
    cells = [
        (minute, f"E{edge:02}-P1", f"Network {isp}", result)
        for minute in minutes
        for edge in range(16)
        for isp in range(0, 12, 3)
        for result in ("HIT", "MISS", "ERROR")
    ]
    rows = len(cells)
    requests = draw.integers(5, 50, rows)
    is_hit = np.array([cell[3] == "HIT" for cell in cells])
    is_error = np.array([cell[3] == "ERROR" for cell in cells])
    histogram = [
        [{"bucket": int(bucket), "count": int(count)}]
        for bucket, count in zip(draw.integers(40, 110, rows), requests, strict=True)
    ]
    entries = pa.list_(pa.struct([("bucket", pa.int32()), ("count", pa.int64())]))
    zeros = np.zeros(rows, int)
    return pa.table(
        {
            "minute": pa.array([cell[0] for cell in cells], pa.timestamp("us", "UTC")),
            "edge": [cell[1] for cell in cells],
            "isp": [cell[2] for cell in cells],
            "resulttype": [cell[3] for cell in cells],
            "requests": requests,
            "bot_requests": zeros,
            "sent_bytes": requests * 1_000_000,
            "cacheable_requests": requests,
            "hits": requests * is_hit,
            "cacheable_bytes": requests * 1_000_000,
            "hit_bytes": requests * is_hit * 1_000_000,
            "first_bytes": requests,
            "first_byte_ms": requests * 20,
            "first_byte_histogram": pa.array(histogram, entries),
            "slow_first_bytes": requests // 10,
            "origin_first_bytes": requests * ~is_hit,
            "origin_first_byte_ms": requests * ~is_hit * 60,
            "origin_first_byte_histogram": pa.array(
                [[] if hit else each for each, hit in zip(histogram, is_hit, strict=True)], entries
            ),
            "client_aborts": requests // 20 * is_error,
            "origin_errors": requests // 30 * is_error,
            "edge_errors": requests // 40 * is_error,
            "other_errors": zeros,
            "responses_4xx": requests // 20 * is_error,
            "responses_5xx": requests // 30 * is_error,
        }
    )


def _baseline(root: Path) -> pa.Table:
    """What the hours themselves were like, as their median and the median distance from it."""
    end = DAY + timedelta(days=1)
    day = Choice(start=DAY, end=end).variables(end)
    lakehouse = Lakehouse(root)
    values: dict[tuple[datetime, str], list[float]] = {}
    for row in lakehouse.ask("playback", day) + lakehouse.ask("cdn", day):
        hour = row["window_start"].replace(minute=0)
        values.setdefault((hour, row["metric"]), []).append(row["value"])
    rows = []
    for (hour, metric), found in values.items():
        median = statistics.median(found)
        distance = statistics.median(abs(value - median) for value in found)
        rows.append((hour, "all", "all", metric, median, 1.4826 * distance))
    columns = list(zip(*rows, strict=True))
    names = ("hour", "cohort_kind", "cohort", "metric", "baseline", "deviation")
    table = pa.table(dict(zip(names, map(list, columns), strict=True)))
    return table.set_column(0, "hour", table["hour"].cast(TIMESTAMP))
