"""make demo-ml: who will leave a game, and what will fail: features, training, the gate, scores.

The days of generated players (demo/churn.py), who leave for known reasons, are written as if silver
had been built of events; from there on everything is as in use. Nothing of this is in the
lakehouse of `make demo`: it has a root of its own.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE
from rich.table import Table

from demo.build import build_shown
from demo.churn import CHURN, DAYS, MOVES, PLAYERS, player_days, players_of, write_table
from demo.foresight import foresee
from demo.steps import console, step
from loaders.dbt_project import BuildError, DbtProject
from loaders.engine import root_to_itself
from loaders.session import ConfigurationError, get_spark

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from loaders.ml.registry import Registry

SEED, NUMBER, LENGTH = 1, 2000, 77
TRIALS = 6
FEATURES = ("churn_reasons", "players_daily", "player_profile")
RESULTS = ("players_at_risk", "player_churn_drift", "player_churn_calibration")
AT_RISK = """
    with

    newest as (

        select max(profile_date) as profile_date
        from gold.players_at_risk

    )

    select
        players.player_id as player,
        round(players.score, 2) as leaves,
        players.days_since_played as days_away,
        concat_ws(
            ', ',
            transform(players.reasons, each -> concat(each.reason, ' ', round(each.value, 2)))
        ) as reasons
    from gold.players_at_risk as players
    inner join newest
        on players.profile_date = newest.profile_date
    where players.is_savable
    order by players.score desc, players.player_id
    limit 8
"""
CALIBRATION = """
    select
        sum(profiles) as profiles,
        sum(profiles * foretold) / sum(profiles) as foretold,
        sum(profiles * came) / sum(profiles) as came
    from ops.player_churn_calibration
"""
DRIFT = """
    select feature, stability_index
    from ops.player_churn_drift
    where profile_date = (select max(profile_date) from ops.player_churn_drift)
    order by stability_index desc, feature
    limit 3
"""
NEXT_STEPS = """\
Go on with
  make mlflow LAKEHOUSE_ROOT={root}       runs, versions, plots and cards
  make dashboard LAKEHOUSE_ROOT={root}    the page "Models": who is at risk, and how good it is
  LAKEHOUSE_ROOT={root} .venv/bin/python -m loaders ml list
  LAKEHOUSE_ROOT={root} .venv/bin/dbt show --profiles-dir profiles --inline \\
    'select * from gold.players_at_risk where is_savable order by score desc'
docs/ml.md says how to train on your own tables, how to add a model, and what none is for."""


def main() -> None:
    """Run the command; a mistake that can be mended ends in one line."""
    try:
        demo()
    except (ConfigurationError, BuildError) as error:
        click.echo(f"demo-ml: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("demo-ml: stopped; the next run begins anew", err=True)
        sys.exit(130)


def demo() -> None:
    """Generate, build features, train, gate, register, score, show."""
    started = time.monotonic()
    with ExitStack() as stack:
        root = stack.enter_context(root_to_itself()).path
        console.print(f"multihop demo of machine learning, everything under {root}")
        with step("generated players") as current:
            days = player_days(SEED, NUMBER, LENGTH)
            current.outcome = f"{len(days):,} days of {NUMBER:,} players over {LENGTH} days"
        with step("Spark"):
            spark = get_spark()
        stack.callback(spark.stop)
        for name, rows, schema in (
            ("silver.game_player_days", days, DAYS),
            ("silver.game_players", players_of(days), PLAYERS),
            ("silver.game_moves", [], MOVES),
        ):
            folder = write_table(root, name, rows, schema)
            spark.sql(f"create table if not exists {name} using delta location '{folder}'")
        project = DbtProject(root)
        project.parse()  # once, not before each command
        build_shown(project, "features, by dbt", FEATURES)
        registry = learn(root)
        use(spark, registry)
        build_shown(project, "who is at risk, drift and calibration, by dbt", RESULTS)
        show(spark, registry)
        foresee(spark, project, root, registry)
    console.print(
        f"{time.monotonic() - started:.0f} s in all.\n\n{NEXT_STEPS.format(root=root)}",
        markup=False,
    )


def learn(root: Path) -> Registry:
    """Train a version, have the gate judge it, and the registry keep it.

    Raises:
        ConfigurationError: the gate refused it.
    """
    from loaders.ml import lifecycle
    from loaders.ml.registry import Registry

    registry = Registry(root)
    with step("training") as current:
        trained = lifecycle.train(root, CHURN, trials=TRIALS, seed=SEED, say=current.line)
        version = registry.record(trained)
        current.outcome = f"version {version.number}"
    with step("the gate") as current:
        _, against = lifecycle.promote(root, CHURN, registry, version)
        if against:
            raise ConfigurationError(f"version {version.number}: {'; '.join(against)}")
        current.outcome = f"version {version.number} scores from now on"
    return registry


def use(spark: SparkSession, registry: Registry) -> None:
    """Score the profiles of the last weeks."""
    from loaders.ml.scoring import score

    with step("scores, in Spark") as current:
        current.outcome = f"{score(spark, CHURN, registry):,} profiles"


def show(spark: SparkSession, registry: Registry) -> None:
    """Print how good the version is, who is at risk, what came, what has drifted."""
    figures = registry.champion(CHURN.name).figures
    table = Table("on players and days that it has not learned from", "", box=SIMPLE)
    table.add_row("profiles", f"{figures['rows']:,.0f}")
    table.add_row("of these left", f"{figures['base_rate']:.1%}")
    table.add_row("ROC AUC", f"{figures['roc_auc']:.3f}")
    table.add_row("that of recency and frequency", f"{figures['baseline_roc_auc']:.3f}")
    table.add_row("gain, 95 %", f"{figures['gain_low']:+.3f} to {figures['gain_high']:+.3f}")
    table.add_row("calibration error", f"{figures['calibration_error']:.3f}")
    table.add_row("lift of the first tenth", f"{figures['top_decile_lift']:.1f}")
    console.print(table)
    rows = spark.sql(AT_RISK)
    table = Table(*rows.columns, title="Most at risk of those that can be kept", box=SIMPLE)
    for row in rows.collect():
        table.add_row(*map(str, row))
    console.print(table)
    came = spark.sql(CALIBRATION).first()
    if came["profiles"]:
        console.print(
            f"Since it was trained it foretold {came['foretold']:.1%} of {came['profiles']:,} "
            f"profiles to leave, and {came['came']:.1%} did."
        )
    drifts = spark.sql(DRIFT).collect()
    said = ", ".join(f"{row['feature']} {row['stability_index']:.2f}" for row in drifts)
    console.print(f"Most drift on the newest day (0.25 is much): {said}\n")


if __name__ == "__main__":
    main()
