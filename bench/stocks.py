"""Full load, one new day, nothing new: loaders and dbt in one process, on the real bars."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import Cost, cost


def main() -> None:
    """Print wall time and peak memory of each case, and its ratio to the full load."""
    with tempfile.TemporaryDirectory(prefix="bench-stocks-") as folder:
        os.environ["LAKEHOUSE_ROOT"] = f"{folder}/lakehouse"
        os.environ["LANDING"] = f"{folder}/landing"
        cases = _run(Path(folder) / "landing")
    table = Table("case", title="stocks: landing folder to gold, tests included", box=SIMPLE)
    for title in ("load s", "dbt build s", "sum s", "of full load", "peak MB"):
        table.add_column(title, justify="right")
    full = sum(spent.seconds for spent in cases["full load"])
    for case, (load, build) in cases.items():
        total = load.seconds + build.seconds
        table.add_row(
            case,
            f"{load.seconds:.1f}",
            f"{build.seconds:.1f}",
            f"{total:.1f}",
            f"{total / full:.2f}",
            f"{max(load.peak_mb, build.peak_mb):,.0f}",
        )
    Console().print(table)


def _run(landing: Path) -> dict[str, tuple[Cost, Cost]]:
    from demo import stocks
    from demo.build import dbt_build
    from loaders.dbt_project import DbtProject
    from loaders.feeds import read_feeds
    from loaders.run import run_once
    from loaders.session import get_spark, lakehouse_root

    spark = get_spark()
    project = DbtProject(lakehouse_root())
    feeds = read_feeds()
    sessions = list(stocks.bars_by_session())

    def deliver(until: int) -> None:
        for item in stocks.landing_objects(sessions[until]):
            path = landing / item.key
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(item.body)

    cases = {}
    for case, until in (("full load", -2), ("one new day", -1), ("nothing new", -1)):
        deliver(until)
        with cost() as load:
            failed = run_once(spark, [feeds[name] for name in stocks.FEEDS], lambda _: None)
        if failed:
            raise SystemExit(f"bench: {failed}")
        with cost() as build:
            dbt_build(project, lambda _: None)
        cases[case] = (load, build)
    spark.stop()
    return cases
