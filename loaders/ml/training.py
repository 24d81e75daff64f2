"""Training a model, and judging it: gradient boosting, a search for its parameters, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from loaders.ml.dataset import matrix

if TYPE_CHECKING:
    import pandas as pd

    from loaders.ml.dataset import Split
    from loaders.ml.definitions import Definition

Parameters = Mapping[str, Any]
PLAIN: Parameters = {
    "learning_rate": 0.06,
    "max_leaf_nodes": 15,
    "min_samples_leaf": 40,
    "l2_regularization": 1.0,
    "max_iter": 120,
}
# A model is an expression of SQL too: of ten times as many nodes Spark takes minutes to compile it.
MOST_LEAVES, MOST_TREES = 16, 150
_RESAMPLES = 200
_BINS = 10
# scikit-learn bins into 255 at most.
_MOST_CATEGORIES = 250


@dataclass(frozen=True, slots=True)
class Judgement:
    """How well outcomes were foretold, on rows that nothing was learned from.

    roc_auc, pr_auc, log_loss, brier: of the model. calibration_error: mean distance, in ten bins
    of equal size, of what was foretold from what came. top_decile_lift: how much more often the
    outcome came to the tenth with the highest scores. gain, gain_low, gain_high: roc_auc less that
    of the baseline, and its 95 % interval by resampling entities.
    """

    rows: int
    base_rate: float
    roc_auc: float
    pr_auc: float
    log_loss: float
    brier: float
    calibration_error: float
    top_decile_lift: float
    baseline_roc_auc: float
    baseline_pr_auc: float
    gain: float
    gain_low: float
    gain_high: float

    def figures(self) -> dict[str, float]:
        return asdict(self)


def fit(definition: Definition, rows: pd.DataFrame, parameters: Parameters, seed: int) -> Pipeline:
    """A model trained on rows; the same rows, parameters and seed give the same model."""
    features, outcome = matrix(rows, definition)
    # one without any value tells nothing, and scikit-learn 1.9 stumbles over it
    numbers = [name for name in definition.numbers if features[name].notna().any()]
    categories = [name for name in definition.categories if features[name].notna().any()]
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=_MOST_CATEGORIES,
    )
    columns = ColumnTransformer(
        [("numbers", "passthrough", numbers), ("categories", encoder, categories)]
    )
    places = list(range(len(numbers), len(numbers) + len(categories)))
    boosting = HistGradientBoostingClassifier(
        categorical_features=places or None,
        early_stopping=False,
        random_state=seed,
        **parameters,
    )
    return Pipeline([("columns", columns), ("boosting", boosting)]).fit(features, outcome)


def foretold(model: Pipeline, definition: Definition, rows: pd.DataFrame) -> np.ndarray:
    """The probability of the outcome for each row, 0 to 1."""
    features, _ = matrix(rows, definition)
    return model.predict_proba(features)[:, 1]


def search(
    definition: Definition,
    parts: Split,
    trials: int,
    seed: int,
    report: Callable[[int, float], None] = lambda *_: None,
) -> Parameters:
    """The parameters with the least log loss on the validation rows.

    Args:
        trials: how many are tried, the first of them PLAIN.
        report: is told the number of each trial and its log loss.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _, outcome = matrix(parts.validation, definition)

    def loss(trial: optuna.Trial) -> float:
        parameters = {
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 4, MOST_LEAVES, log=True),
            "min_samples_leaf": trial.suggest_int("min_samples_leaf", 10, 200, log=True),
            "l2_regularization": trial.suggest_float("l2_regularization", 0.01, 30, log=True),
            "max_iter": trial.suggest_int("max_iter", 40, MOST_TREES, log=True),
        }
        model = fit(definition, parts.train, parameters, seed)
        found = log_loss(outcome, foretold(model, definition, parts.validation), labels=[0, 1])
        report(trial.number, found)
        return found

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(dict(PLAIN))
    study.optimize(loss, n_trials=trials)
    return study.best_params


def judge(
    model: Pipeline, definition: Definition, baseline: Pipeline, test: pd.DataFrame, seed: int
) -> Judgement:
    """A model beside one of its definition's baseline alone, on rows it has not seen."""
    _, outcome = matrix(test, definition)
    scores = foretold(model, definition, test)
    plain = foretold(baseline, definition.alone(definition.baseline), test)
    entities = test[list(definition.entity)].astype(str).agg("/".join, axis=1).to_numpy()
    low, high = gain_interval(outcome, scores, plain, entities, seed)
    roc_auc, baseline_roc_auc = roc_auc_score(outcome, scores), roc_auc_score(outcome, plain)
    bins = reliability(outcome, scores)
    top = np.argsort(-scores, kind="stable")[: max(1, len(scores) // 10)]
    return Judgement(
        rows=len(test),
        base_rate=float(outcome.mean()),
        roc_auc=float(roc_auc),
        pr_auc=float(average_precision_score(outcome, scores)),
        log_loss=float(log_loss(outcome, scores, labels=[0, 1])),
        brier=float(brier_score_loss(outcome, scores)),
        calibration_error=sum(abs(said - came) * count for said, came, count in bins) / len(test),
        top_decile_lift=float(outcome[top].mean() / outcome.mean()),
        baseline_roc_auc=float(baseline_roc_auc),
        baseline_pr_auc=float(average_precision_score(outcome, plain)),
        gain=float(roc_auc - baseline_roc_auc),
        gain_low=low,
        gain_high=high,
    )


def gain_interval(
    outcome: np.ndarray, scores: np.ndarray, plain: np.ndarray, entities: np.ndarray, seed: int
) -> tuple[float, float]:
    """95 % interval of the gain in ROC AUC: a bootstrap of entities, whose rows hang together."""
    chance = np.random.default_rng(seed)
    names, places = np.unique(entities, return_inverse=True)
    of_model, of_baseline = weighted_roc_auc(outcome, scores), weighted_roc_auc(outcome, plain)
    gains = []
    for _ in range(_RESAMPLES):
        drawn = np.bincount(chance.integers(0, len(names), len(names)), minlength=len(names))
        weights = drawn[places]
        if 0 < (weights * outcome).sum() < weights.sum():
            gains.append(of_model(weights) - of_baseline(weights))
    low, high = np.quantile(gains, (0.025, 0.975))
    return float(low), float(high)


def weighted_roc_auc(outcome: np.ndarray, scores: np.ndarray) -> Callable[[np.ndarray], float]:
    """ROC AUC as a function of the rows' weights; sorts once, where a bootstrap asks often."""
    order = np.argsort(scores, kind="stable")
    came = outcome[order]
    ties = np.cumsum(np.diff(scores[order], prepend=scores[order[0]]) > 0)

    def of(weights: np.ndarray) -> float:
        weights = weights[order]
        ones = np.bincount(ties, weights * came)
        zeros = np.bincount(ties, weights * (1 - came))
        below = np.cumsum(zeros) - zeros / 2
        return float((ones * below).sum() / (ones.sum() * zeros.sum()))

    return of


def reliability(outcome: np.ndarray, scores: np.ndarray) -> list[tuple[float, float, int]]:
    """(mean foretold, share that came, rows) of ten bins of equal size, from the lowest score."""
    order = np.argsort(scores, kind="stable")
    return [
        (float(scores[part].mean()), float(outcome[part].mean()), len(part))
        for part in np.array_split(order, _BINS)
        if len(part)
    ]


def importances(
    model: Pipeline, definition: Definition, test: pd.DataFrame, seed: int
) -> dict[str, float]:
    """How much ROC AUC is lost where a feature's values are shuffled, the most first."""
    chance = np.random.default_rng(seed)
    features, outcome = matrix(test, definition)
    whole = roc_auc_score(outcome, model.predict_proba(features)[:, 1])
    found = {}
    for name in definition.features:
        shuffled = features.copy()
        shuffled[name] = shuffled[name].to_numpy()[chance.permutation(len(shuffled))]
        found[name] = float(whole - roc_auc_score(outcome, model.predict_proba(shuffled)[:, 1]))
    return dict(sorted(found.items(), key=lambda item: -item[1]))
