"""ml: how good churn and points of failure are foretold over seeded worlds, and scoring speed.

Each world is a game of its own (demo/churn.py), whose players leave for reasons that are known. In
each a model is trained with plain parameters and judged on players and days that it has not learned
from; one of shuffled outcomes must not pass the gate. Then profiles are scored in Spark, by Arrow
and by the function of SQL. BENCH_WORLDS=20, BENCH_PLAYERS=2000, BENCH_PROFILES=400000, SEED=1.

bench/point_of_failure.py says what is asked of points of failure: BENCH_FAILURE_WORLDS=6,
BENCH_FAILURE_HOURS=5. BENCH_PARTS='churn failure' names what is run.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench import point_of_failure
from bench.measure import verdict
from demo.churn import CHURN, player_days, write_world
from loaders.ml.dataset import Split, read_dataset, split
from loaders.ml.gate import objections
from loaders.ml.training import PLAIN, Judgement, fit, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from sklearn.pipeline import Pipeline

WORLDS = int(os.environ.get("BENCH_WORLDS") or 20)
PLAYERS = int(os.environ.get("BENCH_PLAYERS") or 2000)
PROFILES = int(os.environ.get("BENCH_PROFILES") or 400_000)
SEED = int(os.environ.get("SEED") or 1)
PARTS = (os.environ.get("BENCH_PARTS") or "churn failure").split()
DAYS = 70
ROWS_A_SECOND = 100_000
SHOWN = (
    *("rows", "base_rate", "roc_auc", "baseline_roc_auc", "gain", "gain_low", "gain_high"),
    *("calibration_error", "top_decile_lift", "pr_auc", "brier"),
)


def main() -> None:
    """Print the figures of the parts that are asked for."""
    if "churn" in PARTS:
        churn()
    if "failure" in PARTS:
        point_of_failure.main()


def churn() -> None:
    """Print the figures over all worlds, what was promoted of them, and rows a second."""
    judged: list[Judgement] = []
    promoted: dict[str, int] = {"true outcomes": 0, "shuffled outcomes": 0}
    with tempfile.TemporaryDirectory(prefix="bench-ml-") as name:
        folder = Path(name)
        for seed in range(SEED, SEED + WORLDS):
            root = folder / str(seed)
            write_world(root, player_days(seed, PLAYERS, DAYS))
            parts = split(read_dataset(root, CHURN).rows, CHURN)
            model, judgement = trained(parts, seed)
            shuffled = parts.train["outcome"].sample(frac=1, random_state=seed).to_numpy()
            _, by_chance = trained(replace(parts, train=parts.train.assign(outcome=shuffled)), seed)
            judged.append(judgement)
            promoted["true outcomes"] += not objections(judgement, None)
            promoted["shuffled outcomes"] += not objections(by_chance, None)
            print(
                f"world {seed}: ROC AUC {judgement.roc_auc:.3f}, gain {judgement.gain_low:+.3f} "
                f"to {judgement.gain_high:+.3f}; shuffled {by_chance.roc_auc:.3f}",
                file=sys.stderr,
                flush=True,
            )
        show(judged, promoted)
        if PROFILES:
            os.environ["LAKEHOUSE_ROOT"] = str(folder / "lakehouse")
            speed(model, root)


def trained(parts: Split, seed: int) -> tuple[Pipeline, Judgement]:
    """A model with plain parameters beside its baseline, judged."""
    model = fit(CHURN, parts.train, PLAIN, seed)
    baseline = fit(CHURN.alone(CHURN.baseline), parts.train, PLAIN, seed)
    return model, judge(model, CHURN, baseline, parts.test, seed)


def show(judged: list[Judgement], promoted: dict[str, int]) -> None:
    """Median, least and most of each figure; how many the gate let pass."""
    table = Table(f"over {len(judged)} worlds of {PLAYERS:,} players", box=SIMPLE)
    for title in ("median", "least", "most"):
        table.add_column(title, justify="right")
    for name in SHOWN:
        values = [judgement.figures()[name] for judgement in judged]
        table.add_row(name, *(f"{of(values):,.4g}" for of in (np.median, np.min, np.max)))
    console = Console()
    console.print(table)
    for of, number in promoted.items():
        console.print(f"promoted of models of {of}: {number} of {len(judged)}")


def speed(model: Pipeline, world: Path) -> None:
    """Rows a second, without writing them: by Arrow in Python workers, by the function of SQL."""
    from loaders.ml.expression import sql_of
    from loaders.ml.scoring import scores_of
    from loaders.session import get_spark

    spark = get_spark(resident=True)
    profiles = spark.read.format("delta").load(str(world / "warehouse/gold.db/player_profile"))
    times = -(-PROFILES // profiles.count())
    many = profiles.crossJoin(spark.range(times)).drop("id").repartition(2)
    many = many.withColumnRenamed("_batch_id", "profile_digest").cache()
    rows = many.count()

    def rate(deed: Callable[[], None]) -> float:
        deed()  # the first compiles
        started = time.perf_counter()
        deed()
        return rows / (time.perf_counter() - started)

    expression = sql_of(model)
    by_arrow = rate(
        lambda: scores_of(many, CHURN, model).write.format("noop").mode("overwrite").save()
    )
    by_sql = rate(lambda: many.selectExpr(expression).write.format("noop").mode("overwrite").save())
    console = Console()
    console.print(f"scored by Arrow: {verdict(by_arrow, ROWS_A_SECOND, ' rows/s', at_least=True)}")
    console.print(f"scored by SQL: {by_sql:,.0f} rows/s")
    spark.stop()


if __name__ == "__main__":
    main()
