"""What people see of a trained model: plots and a card."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from loaders.ml.training import reliability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from loaders.ml.definitions import Definition
    from loaders.ml.training import Judgement, Parameters


def reliability_plot(outcome: np.ndarray, scores: np.ndarray) -> bytes:
    """What was foretold beside what came, in ten bins of equal size; PNG."""
    figure = _figure()
    axes = figure.subplots()
    said, came, _ = zip(*reliability(outcome, scores), strict=True)
    axes.plot((0, 1), (0, 1), color="#888888", linestyle="--", label="as foretold")
    axes.plot(said, came, marker="o", label="model")
    axes.set(xlabel="foretold", ylabel="came", xlim=(0, 1), ylim=(0, 1), title="Reliability")
    axes.legend()
    return _png(figure)


def gains_plot(outcome: np.ndarray, scores: np.ndarray, plain: np.ndarray) -> bytes:
    """The share of outcomes found by who looks at so many, the highest scores first; PNG."""
    figure = _figure()
    axes = figure.subplots()
    looked_at = np.arange(1, len(outcome) + 1) / len(outcome)
    for name, values in (("model", scores), ("baseline", plain)):
        order = np.argsort(-values, kind="stable")
        axes.plot(looked_at, np.cumsum(outcome[order]) / outcome.sum(), label=name)
    axes.plot((0, 1), (0, 1), color="#888888", linestyle="--", label="chance")
    axes.set(xlabel="looked at", ylabel="found", xlim=(0, 1), ylim=(0, 1), title="Gains")
    axes.legend()
    return _png(figure)


def card(
    definition: Definition,
    judgement: Judgement,
    parameters: Parameters,
    tables: Mapping[str, int],
    importances: Mapping[str, float],
) -> str:
    """What the model is, what it was made of, how good it is and what it is not for; Markdown."""
    told = judgement
    lines = [
        f"# {definition.name}",
        "",
        definition.description,
        "",
        "Not for decisions about single people, prices or access; for whom to help first.",
        "",
        "## How good it is",
        "",
        (
            f"On {told.rows:,} profiles of entities and dates that it has not learned from, of "
            f"which {told.base_rate:.1%} came out so."
        ),
        "",
        "| figure | model | baseline |",
        "|---|---|---|",
        f"| ROC AUC | {told.roc_auc:.4f} | {told.baseline_roc_auc:.4f} |",
        f"| PR AUC | {told.pr_auc:.4f} | {told.baseline_pr_auc:.4f} |",
        "",
        (
            f"The gain in ROC AUC lies between {told.gain_low:+.4f} and {told.gain_high:+.4f} "
            f"(95 %). Log loss {told.log_loss:.4f}, Brier score {told.brier:.4f}, calibration "
            f"error {told.calibration_error:.4f}; in the tenth with the highest scores the outcome "
            f"is {told.top_decile_lift:.2f} times as frequent as in all."
        ),
        "",
        f"The baseline: {', '.join(definition.baseline)}.",
        "",
        "## What tells most",
        "",
        "| feature | ROC AUC lost without it |",
        "|---|---|",
        *(f"| {name} | {lost:.4f} |" for name, lost in list(importances.items())[:10]),
        "",
        "## What it was made of",
        "",
        *(f"- `{name}` at version {version}" for name, version in tables.items()),
        *(f"- {name}: {value:.6g}" for name, value in parameters.items()),
        "",
    ]
    return "\n".join(lines)


def _figure() -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(6, 4.5), layout="constrained")


def _png(figure: Figure) -> bytes:
    image = BytesIO()
    figure.savefig(image, format="png", dpi=110)
    return image.getvalue()
