"""What a cycle costs, by what is new and by what is stored: the stocks models, at 1, 10, 50 times.

1 is 12,000 bars of 100 shares and their filings. Each case is measured in one lakehouse a size: a
`dbt build` in a process of its own, then a resident process with the engine's cycles.
BENCH_SCALES="1 10" measures these sizes only.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import verdict
from loaders.kinds import Objects
from loaders.session import PROJECT_ROOT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from loaders.cycles import Cycles

SCALES = tuple(int(text) for text in (os.environ.get("BENCH_SCALES") or "1 10 50").split())
SHARES = 100
DAYS = 120  # of history, times the scale
BATCHES = 20  # in which history arrived
NEW_DAYS = 10  # 1,000 new bars
ROUNDS = 5
LOOKS = 20
FIRST_DAY = date(2000, 1, 3)
QUARTER = 91
MODELS = "path:models/silver/stocks+"
DBT = ("build", "--exclude-resource-type", "unit_test", "--select", MODELS, "stock_splits")


def main() -> None:
    """Print seconds of each case and the goals met or missed."""
    measured = {}
    for scale in SCALES:
        with tempfile.TemporaryDirectory(prefix="bench-cycle-") as root:
            os.environ["LAKEHOUSE_ROOT"] = root
            _stage("fill", scale)
            cold = _cold_build(Path(root))
            measured[scale] = {"cold": cold, **_stage("warm", scale)}
    cases = {
        "cold dbt build, 1,000 new events": "cold",
        "warm full cycle, 1,000 new events": "full",
        "cycle after 1,000 new events": "new",
        "cycle with nothing new": "nothing",
        "jobs of a cycle with nothing new": "jobs",
    }
    table = Table("stocks, seconds", *(f"{scale}x" for scale in measured), box=SIMPLE)
    for title, case in cases.items():
        table.add_row(title, *(f"{each[case]:,.3g}" for each in measured.values()))
    Console().print(table)
    for goal, figure, limit in _goals(measured):
        Console(highlight=False).print(f"{goal}: {verdict(figure, limit)}", soft_wrap=True)


def _goals(measured: dict[int, dict[str, float]]) -> list[tuple[str, float, float]]:
    least, most = min(measured), max(measured)
    worst = {case: max(each[case] for each in measured.values()) for case in measured[least]}
    ratio = measured[most]["new"] / measured[least]["new"]
    warm = max(each["full"] / each["cold"] for each in measured.values())
    goals = [
        ("nothing new, seconds", worst["nothing"], 0.2),
        ("nothing new, jobs", worst["jobs"], 0),
        ("1,000 new events, seconds", measured[least]["new"], 10),
        ("warm full cycle, of a cold dbt build", warm, 0.2),
    ]
    if most > least:
        goals.append((f"1,000 new events, {most}x of {least}x", ratio, 1.2))
    return goals


def _stage(stage: str, scale: int) -> dict[str, float]:
    """A part in a process of its own; what it printed last."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.cycle", stage, str(scale)],
        check=True,
        stdout=subprocess.PIPE,
        cwd=PROJECT_ROOT,
    )
    return json.loads(done.stdout.splitlines()[-1])


def _cold_build(root: Path) -> float:
    """A dbt build as a cron job runs it; seconds."""
    command = [str(Path(sys.executable).with_name("dbt")), *DBT, "--quiet"]
    folders = ["--target-path", str(root / "target"), "--log-path", str(root / "logs")]
    started = time.perf_counter()
    subprocess.run(
        [*command, "--profiles-dir", "profiles", *folders],
        check=True,
        stdout=sys.stderr,
        cwd=PROJECT_ROOT,
    )
    return time.perf_counter() - started


# ---- in processes of their own


def _run_stage(stage: str, scale: int) -> None:
    from loaders.bronze import ensure_tables
    from loaders.cycles import Cycles
    from loaders.dbt_project import DbtProject
    from loaders.destinations import OneTable
    from loaders.session import get_spark, lakehouse_root

    spark = get_spark(resident=True)
    for table in ("stocksDailyPrices", "stocksFundamentals"):
        ensure_tables(spark, OneTable(table), Objects(allow_overwrites=False))
    history = DAYS * scale
    answer: dict[str, float] = {}
    if stage == "fill":
        for batch in range(BATCHES):
            days = (history * batch // BATCHES, history * (batch + 1) // BATCHES)
            _send_prices(spark, batch, *days)
        _send_filings(spark, history + 30 * NEW_DAYS)
        DbtProject(lakehouse_root()).run(*DBT)
        _send_prices(spark, BATCHES, history, history + NEW_DAYS)
    else:
        cycles = Cycles(
            spark, lakehouse_root(), only(lakehouse_root(), "/stocks/", ["stock_splits"])
        )
        cycles.step()
        answer = _measure(spark, cycles, history + NEW_DAYS)
    spark.stop()
    print(json.dumps(answer))


def _measure(spark: SparkSession, cycles: Cycles, day: int) -> dict[str, float]:
    state = {"day": day, "batch": BATCHES + 1}

    def send() -> None:
        _send_prices(spark, state["batch"], state["day"], state["day"] + NEW_DAYS)
        state["batch"] += 1
        state["day"] += NEW_DAYS

    def seconds(rounds: int, prepare: Callable[[], Any]) -> float:
        spent = []
        for _ in range(rounds):
            prepare()
            started = time.perf_counter()
            cycles.step()
            spent.append(time.perf_counter() - started)
            print(f"{spent[-1]:.2f} s", file=sys.stderr, flush=True)
        return statistics.median(spent)

    def send_and_owe_all() -> None:
        send()
        cycles.owe_everything()

    seconds(2, send)  # the compiler has seen the statements
    new = seconds(ROUNDS, send)
    full = seconds(3, send_and_owe_all)
    jobs = _jobs(spark)
    nothing = seconds(LOOKS, lambda: None)
    return {"full": full, "new": new, "nothing": nothing, "jobs": _jobs(spark) - jobs}


def _jobs(spark: SparkSession) -> int:
    """How many jobs Spark has begun so far."""
    return spark._jsc.sc().dagScheduler().numTotalJobs()


def only(root: Path, folder: str, seeds: Iterable[str]) -> Any:
    """The project with one use case, as the cold build has it.

    Args:
        folder: what the paths of its models have in them.
        seeds: those it reads.
    """
    from loaders.dbt_project import DbtProject

    class OneUseCase(DbtProject):
        def manifest(self) -> dict[str, Any]:
            whole = super().manifest()
            nodes = {
                unique_id: node
                for unique_id, node in whole["nodes"].items()
                if folder in node["original_file_path"] or node["name"] in seeds
            }
            return {**whole, "nodes": nodes}

    return OneUseCase(root)


def _send_prices(spark: SparkSession, batch: int, first: int, end: int) -> None:
    """A batch of bars, of all shares on days [first, end), as the loader appends it."""
    spark.sql(f"""
        insert into bronze.stocksDailyPrices
        select
            to_json(named_struct(
                'ticker', concat('T', lpad(share, 3, '0')),
                'price_date', cast(day as string),
                'open', price, 'high', price + 1, 'low', price - 1, 'close', price + 0.25,
                'volume', 1000 + share, 'adj_close', price, 'currency', 'USD',
                'updated', concat(day, 'T21:30:00Z')
            )),
            'landing', concat('stocks/prices/', day, '.json'), 'v1', share,
            current_timestamp(), {batch}, current_timestamp()
        from (
            select
                shares.id as share,
                date_add('{FIRST_DAY}', cast(days.id as int)) as day,
                100 + (shares.id * 7 + days.id * 13) % 100 as price
            from range({SHARES}) as shares
            cross join range({first}, {end}) as days
        )
    """)


def _send_filings(spark: SparkSession, days: int) -> None:
    """A filing a share and quarter, in one batch."""
    rows = []
    for number in range(days // QUARTER + 1):
        start = FIRST_DAY + timedelta(days=QUARTER * number)
        filed = str(start + timedelta(days=QUARTER + 20))
        period = f"{2000 + number // 4}Q{number % 4 + 1}"
        for share in range(SHARES):
            record = {
                "ticker": f"T{share:03}",
                "fiscal_period": period,
                "period_start": str(start),
                "period_end": str(start + timedelta(days=QUARTER - 1)),
                "fiscal_year": 2000 + number // 4,
                "fiscal_quarter": f"Q{number % 4 + 1}",
                "eps_basic_net": 1 + share / 100,
                "eps_diluted_net": 1 + share / 100,
                "filing_type": "10-Q",
                "filed_date": filed,
                "currency": "USD",
                "source": "generated",
                "verified": False,
                "updated": f"{filed}T22:00:00Z",
            }
            rows.append((json.dumps(record), f"stocks/fundamentals/{filed}.json", share))
    spark.createDataFrame(rows, "data string, key string, ordinal bigint").createOrReplaceTempView(
        "filings"
    )
    spark.sql("""
        insert into bronze.stocksFundamentals
        select
            data, 'landing', key, 'v1', ordinal, current_timestamp(), 0, current_timestamp()
        from filings
    """)


if __name__ == "__main__":
    _run_stage(sys.argv[1], int(sys.argv[2]))
