"""What tests of models do with a world: split it, judge a plain model of it, shuffle outcomes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from loaders.ml.dataset import Split, read_dataset, split
from loaders.ml.training import PLAIN, Judgement, fit, judge

if TYPE_CHECKING:
    from pathlib import Path

    from loaders.ml.definitions import Definition


def parts_of(root: Path, definition: Definition) -> Split:
    """The rows of a model's dataset under a LAKEHOUSE_ROOT, split."""
    return split(read_dataset(root, definition).rows, definition)


def judged(parts: Split, definition: Definition) -> Judgement:
    """A model of plain parameters beside its baseline."""
    model = fit(definition, parts.train, PLAIN, seed=1)
    baseline = fit(definition.alone(definition.baseline), parts.train, PLAIN, seed=1)
    return judge(model, definition, baseline, parts.test, seed=1)


def shuffled(parts: Split) -> Split:
    """The same with what is learned from by chance."""
    outcomes = parts.train["outcome"].sample(frac=1, random_state=1).to_numpy()
    return replace(parts, train=parts.train.assign(outcome=outcomes))
