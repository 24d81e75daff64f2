"""qos: what a cycle of the video models costs, at 1, 10 and 50 million events on disk.

A simulated day of a million events and what the CDN logged of it; on each further day other
sessions of the same viewers do the same. Each size is built at once, as a first run does, and then
gets 1,000 new events at a time, which the engine's cycles take through every model.
BENCH_MILLIONS="1 10" measures these sizes only.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench import video
from bench.cycle import only
from bench.measure import cost, verdict
from demo.video.simulator import Settings
from loaders.session import PROJECT_ROOT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from loaders.cycles import Cycles
    from loaders.dbt_project import Node

MILLIONS = tuple(int(text) for text in (os.environ.get("BENCH_MILLIONS") or "1 10 50").split())
START = datetime(2026, 5, 1, tzinfo=UTC)
DAY_EVENTS = 1_000_000
DAY_MINUTES = 24 * 60
# A session has some 600 events.
ATTEMPTS = DAY_EVENTS / DAY_MINUTES / 600
NEW_EVENTS = 1_000
WARM_UP, ROUNDS = 3, 5
MODELS = "path:models/silver/qos+"
SEEDS = ("country_codes", "networks", "alert_rules")
DBT = (
    "build",
    *("--exclude-resource-type", "unit_test", "--exclude-resource-type", "test"),
    *("--select", MODELS, *SEEDS),
)
MEMORY_MB = 4096
CASES = {
    "bronze on disk, MB": "bronze_mb",
    "build of all, s": "build_s",
    "memory of the build, peak, MB": "build_mb",
    "cycle after 1,000 new events, s": "cycle_s",
    "memory of cycles, peak, MB": "cycle_mb",
}


def main() -> None:
    """Print seconds and memory of each size, and the goal of memory met or missed."""
    measured: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-qos-") as name:
        day = Path(name) / "day"
        day.mkdir()
        start_ms = int(START.timestamp() * 1000)
        video.simulate(day, Settings(1, start_ms, ATTEMPTS), DAY_MINUTES)
        for millions in MILLIONS:
            with tempfile.TemporaryDirectory(prefix="bench-qos-") as root:
                os.environ["LAKEHOUSE_ROOT"] = root
                stages = ("fill", "build", "cycle")
                figures = [_stage(stage, day, millions) for stage in stages]
                measured[millions] = {name: n for each in figures for name, n in each.items()}
    console = Console(highlight=False)
    table = Table("video", *(f"{millions} M events" for millions in measured), box=SIMPLE)
    for title, case in CASES.items():
        table.add_row(title, *(f"{each[case]:,.3g}" for each in measured.values()))
    console.print(table)
    worst = max(max(each["build_mb"], each["cycle_mb"]) for each in measured.values())
    console.print(f"memory: {verdict(worst, MEMORY_MB, ' MB')}")
    least, most = min(measured), max(measured)
    if most > least:
        ratio = measured[most]["cycle_s"] / measured[least]["cycle_s"]
        console.print(f"a cycle at {most} M, of that at {least} M: {verdict(ratio, 1.2)}")


def _stage(stage: str, day: Path, millions: int) -> dict[str, float]:
    """A part in a process of its own; what it printed last."""
    print(f"{millions} M: {stage}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "bench.qos", stage, str(day), str(millions)],
        check=True,
        stdout=subprocess.PIPE,
        cwd=PROJECT_ROOT,
    )
    return json.loads(done.stdout.splitlines()[-1])


# ---- in processes of their own


def _run_stage(stage: str, day: Path, millions: int) -> None:
    from loaders.cycles import Cycles
    from loaders.dbt_project import DbtProject
    from loaders.session import get_spark, lakehouse_root

    root = lakehouse_root()
    spark = get_spark(resident=True)
    answer: dict[str, float] = {}
    if stage == "fill":
        video.create_tables(spark)
        for number in range(millions):
            _send(spark, day, number, batch=number)
        files = (root / "warehouse" / "bronze.db").rglob("*.parquet")
        answer["bronze_mb"] = sum(path.stat().st_size for path in files) / 2**20
    elif stage == "build":
        with cost() as spent:
            results = DbtProject(root).run(*DBT, report=_say)
        for result in results:
            if result.is_bad:
                raise SystemExit(f"bench: {result.problem}")
        answer = {"build_s": spent.seconds, "build_mb": spent.peak_mb}
    else:
        cycles = Cycles(spark, root, only(root, "/qos/", SEEDS))
        cycles.step()
        with cost() as spent:
            seconds = [
                _cycle(spark, cycles, day, millions, place) for place in range(WARM_UP + ROUNDS)
            ]
        answer = {"cycle_s": statistics.median(seconds[WARM_UP:]), "cycle_mb": spent.peak_mb}
    spark.stop()
    print(json.dumps(answer))


def _say(node: Node) -> None:
    print(f"  {node.name}: {node.seconds:.1f} s", file=sys.stderr, flush=True)


def _cycle(spark: SparkSession, cycles: Cycles, day: Path, number: int, place: int) -> float:
    """Seconds for the place-th 1,000 events of a day that has not come yet."""
    first, end = place * NEW_EVENTS, (place + 1) * NEW_EVENTS
    events = f"_sequence between '{first:056d}' and '{end - 1:056d}'"
    logs = f"pmod(xxhash64(data), {DAY_EVENTS // NEW_EVENTS}) = {place}"
    _send(spark, day, number, batch=number + place, events=events, logs=logs)
    started = time.perf_counter()
    cycles.step()
    spent = time.perf_counter() - started
    print(f"  cycle {place}: {spent:.2f} s", file=sys.stderr, flush=True)
    return spent


def _send(
    spark: SparkSession,
    day: Path,
    number: int,
    *,
    batch: int,
    events: str = "true",
    logs: str = "true",
) -> None:
    """Append those of the simulated day that meet conditions, `number` days later.

    The same viewers have other sessions: ids of sessions and requests begin with the number.
    """
    begins = f"{number:02d}"

    def moved(text: str) -> str:
        """Another day and other ids, in the JSON of an event or of a row of the log."""
        epoch = rf"""regexp_extract({text}, '"(?i:timestamp)(\\(ms\\))?":"?([0-9]{{13}})', 2)"""
        date = rf"""regexp_extract({text}, '"(log)?date":"([0-9-]{{10}})"', 2)"""
        later = f"cast(cast({epoch} as bigint) + {number * 86_400_000}L as string)"
        later_date = f"cast(date_add(cast({date} as date), {number}) as string)"
        for old, new in ((epoch, later), (date, later_date)):
            text = f"if({old} = '', {text}, replace({text}, {old}, {new}))"
        text = f"""regexp_replace({text}, '"..([A-Za-z0-9_-]{{52}}==)"', '"{begins}$1"')"""
        return f"""regexp_replace({text}, '"session_id":"..', '"session_id":"{begins}')"""

    sent = spark.read.parquet(str(day / "events")).where(events)
    logged = spark.read.parquet(str(day / "logs")).where(logs)
    video.append_events(
        sent.selectExpr(
            f"{moved('jsonData')} as jsonData",
            "_partition_key",
            f"concat('{batch:06d}', substring(_sequence, 7)) as _sequence",
            f"_arrived_at + interval {number} days as _arrived_at",
        ),
        batch,
    )
    video.append_logs(
        logged.selectExpr(
            f"{moved('data')} as data", f"concat(_key, '-{batch}') as _key", "_ordinal"
        ),
        batch,
    )


if __name__ == "__main__":
    _run_stage(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
