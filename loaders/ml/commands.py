"""python -m loaders ml: train, judge, promote and use what foretells."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from loaders.ml.definitions import definition_of, definitions
from loaders.session import lakehouse_root

if TYPE_CHECKING:
    from loaders.ml.registry import Version
    from loaders.ml.training import Judgement

EXIT_REFUSED = 1
_console = Console(highlight=False)
_name = click.argument("name")
_version = click.option("--version", "number", type=int, help="Which one; default the newest.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


@click.group()
def ml() -> None:
    """Foretell from gold tables: models of loaders/ml/models.yml.

    \b
    python -m loaders ml list                   what is declared, trained and in use
    python -m loaders ml train    player_churn  search parameters, train, judge, keep
    python -m loaders ml evaluate player_churn  judge a version on the tables as they stand
    python -m loaders ml promote  player_churn  have it score, unless something speaks against it
    python -m loaders ml score    player_churn  score new profiles, into bronze.scores_player_churn

    Runs, models, plots and cards lie in ml/ under LAKEHOUSE_ROOT; `make mlflow` shows them.
    Exit codes: 0 done, 1 not promoted, 2 wrong usage or configuration.
    """


@ml.command("list")
@_as_json
def list_models(as_json: bool) -> None:
    """Show what is declared, its versions and which of them scores."""
    from loaders.ml.registry import Registry

    registry = Registry(lakehouse_root())
    found = {name: registry.versions(name) for name in definitions()}
    if as_json:
        _print_json({name: [asdict(each) for each in versions] for name, versions in found.items()})
        return
    key = Column("model", no_wrap=True)
    table = Table(key, "version", "ROC AUC", "baseline", "in use", "what", box=SIMPLE)
    for name, versions in found.items():
        what, first = definition_of(name).description, True
        if not versions:
            table.add_row(name, "-", "", "", "", what)
        for each in versions:
            figures = each.figures
            table.add_row(
                name if first else "",
                str(each.number),
                f"{figures['roc_auc']:.3f}",
                f"{figures['baseline_roc_auc']:.3f}",
                "yes" if each.is_champion else "",
                what if first else "",
            )
            first = False
    _console.print(table)


@ml.command()
@_name
@click.option("--trials", default=20, show_default=True, help="Parameters that are tried.")
@click.option("--seed", default=1, show_default=True, help="The same one gives the same model.")
@click.option("--like", type=int, help="Train a version again, on the same tables and parameters.")
@_as_json
def train(name: str, trials: int, seed: int, like: int | None, as_json: bool) -> None:
    """Train NAME on the tables as they stand, judge it and keep it as its next version."""
    from loaders.ml import lifecycle
    from loaders.ml.registry import Registry

    definition, registry = definition_of(name), Registry(lakehouse_root())
    again = registry.version(name, like) if like else None
    trained = lifecycle.train(
        lakehouse_root(),
        definition,
        trials=trials,
        seed=again.seed if again else seed,
        tables=again and again.tables,
        parameters=again and again.parameters,
        say=_say,
    )
    version = registry.record(trained)
    _tell(version, trained.judgement, as_json=as_json)


@ml.command()
@_name
@_version
@_as_json
def evaluate(name: str, number: int | None, as_json: bool) -> None:
    """Judge a version of NAME on the tables as they stand."""
    from loaders.ml import lifecycle
    from loaders.ml.registry import Registry

    definition, registry = definition_of(name), Registry(lakehouse_root())
    version = registry.version(name, number)
    judgement = lifecycle.evaluate(lakehouse_root(), definition, registry, version)
    _tell(version, judgement, as_json=as_json)


@ml.command()
@_name
@_version
@_as_json
def promote(name: str, number: int | None, as_json: bool) -> None:
    """Have a version of NAME score from now on, unless something speaks against it."""
    from loaders.ml import lifecycle
    from loaders.ml.registry import Registry

    definition, registry = definition_of(name), Registry(lakehouse_root())
    version = registry.version(name, number)
    judgement, against = lifecycle.promote(lakehouse_root(), definition, registry, version)
    _tell(version, judgement, as_json=as_json, against=against)
    for objection in against:
        click.echo(f"not promoted: {objection}", err=True)
    if against:
        sys.exit(EXIT_REFUSED)
    _say(f"{name} version {version.number} scores from now on")


@ml.command()
@_name
def score(name: str) -> None:
    """Score the profiles of NAME that the version in use has not scored as they stand."""
    from loaders.ml.registry import Registry
    from loaders.ml.scoring import score as score_profiles
    from loaders.ml.scoring import scores_table
    from loaders.session import get_spark

    definition, registry = definition_of(name), Registry(lakehouse_root())
    spark = get_spark()
    try:
        scored = score_profiles(spark, definition, registry)
    finally:
        spark.stop()
    _say(f"{scored:,} profiles scored, into {scores_table(definition)}")


def _tell(
    version: Version, judgement: Judgement, *, as_json: bool, against: list[str] | None = None
) -> None:
    figures = judgement.figures()
    if as_json:
        said = {"name": version.name, "version": version.number, "figures": figures}
        _print_json(said if against is None else said | {"against": against})
        return
    table = Table(f"{version.name} version {version.number}", "", box=SIMPLE)
    for name, value in figures.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else f"{value:.4f}")
    _console.print(table)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, default=str))
