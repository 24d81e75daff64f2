"""The life of a model: trained, judged, promoted."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import pandas as pd

from loaders.ml.dataset import matrix, read_dataset, split
from loaders.ml.gate import objections
from loaders.ml.monitoring import curves, spreads
from loaders.ml.registry import Registry, Trained, Version
from loaders.ml.reports import card, gains_plot, reliability_plot
from loaders.ml.training import PLAIN, fit, foretold, importances, judge, search

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from loaders.ml.definitions import Definition
    from loaders.ml.training import Judgement


def train(
    root: Path,
    definition: Definition,
    *,
    trials: int,
    seed: int,
    tables: Mapping[str, int] | None = None,
    parameters: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train and judge a model; nothing is kept.

    Args:
        trials: how many parameters are tried, where none are given.
        tables: versions of the tables to train on; None: as they stand.

    Raises:
        ConfigurationError: the tables are missing, or have too little history.
    """
    dataset = read_dataset(root, definition, tables)
    parts = split(dataset.rows, definition)
    say(
        f"{len(dataset.rows):,} profiles: {len(parts.train):,} to learn from, "
        f"{len(parts.validation):,} for the search, {len(parts.test):,} to be judged on"
    )
    if parameters is None:
        parameters = search(
            definition,
            parts,
            trials,
            seed,
            lambda number, loss: say(f"trial {number + 1} of {trials}: log loss {loss:.4f}"),
        )
    model = fit(definition, parts.train, parameters, seed)
    plain_definition = definition.alone(definition.baseline)
    baseline = fit(plain_definition, parts.train, PLAIN, seed)
    say("judging")
    judgement = judge(model, definition, baseline, parts.test, seed)
    told = importances(model, definition, parts.test, seed)
    _, outcome = matrix(parts.test, definition)
    scores = foretold(model, definition, parts.test)
    plain = foretold(baseline, plain_definition, parts.test)
    return Trained(
        definition=definition,
        model=model,
        baseline=baseline,
        parameters=parameters,
        seed=seed,
        tables=dataset.versions,
        learned_until=pd.to_datetime(parts.train[definition.date].max())
        .to_pydatetime()
        .replace(tzinfo=UTC),
        judgement=judgement,
        importances=told,
        plots={
            "reliability": reliability_plot(outcome, scores),
            "gains": gains_plot(outcome, scores, plain),
        },
        card=card(definition, judgement, parameters, dataset.versions, told),
        spreads=spreads(definition, parts.test, scores, told),
        curves=curves(outcome, scores, plain),
    )


def evaluate(root: Path, definition: Definition, registry: Registry, version: Version) -> Judgement:
    """A version judged on the tables as they stand now.

    Its own training never saw these entities: they are held out by their names.
    """
    parts = split(read_dataset(root, definition).rows, definition)
    model, baseline = registry.load(version), registry.load(version, "baseline")
    return judge(model, definition, baseline, parts.test, version.seed)


def promote(
    root: Path, definition: Definition, registry: Registry, version: Version
) -> tuple[Judgement, list[str]]:
    """Have a version be used, unless something speaks against it; both judged as of now."""
    challenger = evaluate(root, definition, registry, version)
    champion = registry.champion(definition.name)
    if champion and champion.number != version.number:
        against = objections(challenger, evaluate(root, definition, registry, champion))
    else:
        against = objections(challenger, None)
    if not against:
        registry.promote(version)
    return challenger, against
