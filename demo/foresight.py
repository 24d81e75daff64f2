"""make demo-ml, second section: errors and stalls foretold, before any rule has fired.

The minutes of a generated video service (demo/cohorts.py) are written as if gold had been built of
its events; from there on everything is as in use, the rules among it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.build import build_shown
from demo.churn import write_table
from demo.cohorts import ACTIVITY, CDN, FAILURE, WINDOWS, activity, troubles, windows
from demo.steps import console, step
from loaders.session import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from demo.cohorts import Trouble
    from loaders.dbt_project import DbtProject
    from loaders.ml.registry import Registry

SEED, HOURS, TRIALS = 1, 30, 1
FEATURES = ("alert_rules", "cohort_minutes", "noc_baseline", "noc_compare", "alert_judgements")
RESULTS = ("cohorts_at_risk", "risk_windows", "risk_judgements", "alerts")
FIRED = """
    select
        metric = 'failure_risk' as is_warning,
        rule,
        cohort,
        date_format(fired_at, 'HH:mm') as fired,
        unix_timestamp(fired_at) as fired_s
    from gold.alerts
    where
        fired_at >= '{onset}'
        and cohort in ('{cohort}', 'all')
    order by fired_at, rule
"""


def foresee(spark: SparkSession, project: DbtProject, root: Path, registry: Registry) -> None:
    """Generate, build, train, gate, score; say how much earlier the last trouble was told of."""
    with step("minutes of a video service") as current:
        last = write_service(spark, root)
        current.outcome = f"{HOURS} hours of viewers, some of whom come to stall"
    build_shown(project, "what was known of cohorts, and rules, by dbt", FEATURES)
    learn(root, registry)
    score_minutes(spark, registry)
    build_shown(project, "cohorts at risk, and alerts, by dbt", RESULTS)
    show(spark, last)


def write_service(spark: SparkSession, root: Path) -> Trouble:
    """Write the tables of a service; returns what happens to it last."""
    some = troubles(SEED, HOURS)
    minutes = activity(SEED, HOURS, some)
    for name, rows, schema in (
        ("gold.cohort_activity", minutes, ACTIVITY),
        ("gold.noc_windows", windows(minutes), WINDOWS),
        ("gold.noc_cdn", [], CDN),
    ):
        folder = write_table(root, name, rows, schema)
        spark.sql(f"create table if not exists {name} using delta location '{folder}'")
    return some[-1]


def learn(root: Path, registry: Registry) -> None:
    """Train a version and have the gate judge it.

    Raises:
        ConfigurationError: the gate refused it.
    """
    from loaders.ml import lifecycle

    with step("training for points of failure") as current:
        trained = lifecycle.train(root, FAILURE, trials=TRIALS, seed=SEED, say=current.line)
        version = registry.record(trained)
        _, against = lifecycle.promote(root, FAILURE, registry, version)
        if against:
            raise ConfigurationError(f"version {version.number}: {'; '.join(against)}")
        figures = trained.judgement
        current.outcome = (
            f"average precision {figures.pr_auc:.2f}, {figures.baseline_pr_auc:.2f} by the last "
            f"values alone; {figures.base_rate:.1%} come to it"
        )


def score_minutes(spark: SparkSession, registry: Registry) -> None:
    """Score the last hours."""
    from loaders.ml.scoring import score

    with step("scores, in Spark") as current:
        current.outcome = f"{score(spark, FAILURE, registry):,} minutes of cohorts"


def show(spark: SparkSession, last: Trouble) -> None:
    """Print when the last trouble was foretold, and when rules found it."""
    rows = spark.sql(FIRED.format(onset=f"{last.onset:%Y-%m-%d %H:%M}", cohort=last.name)).collect()
    console.print(f"\nFrom {last.onset:%H:%M} on {last.kind} {last.name} gets slower.")
    for row in rows:
        console.print(f"  {row['fired']}  {row['rule']} ({row['cohort']})")
    warnings, rules = (
        [row["fired_s"] for row in rows if row["is_warning"] is is_warning]
        for is_warning in (True, False)
    )
    if not warnings or (rules and min(rules) <= min(warnings)):
        raise ConfigurationError("the last trouble was not foretold before a rule found it")
    if rules:
        minutes = (min(rules) - min(warnings)) / 60
        console.print(f"It was foretold {minutes:.0f} minutes before any rule fired.\n")
