"""What is foretold: versions of models, how good they are, who is at risk, and drift."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from dashboard import charts
from dashboard.content import Content, Table

if TYPE_CHECKING:
    from dashboard.lakehouse import Row
    from dashboard.question import Question

NOTHING = "No version of any model yet. `python -m loaders ml train player_churn` makes one."
NOTHING_SCORED = "Nothing is scored yet. `python -m loaders ml promote player_churn` begins it."
LITTLE, MUCH = 0.1, 0.25


def versions(question: Question) -> Content:
    """The versions of each model, and how good each was on what it had not learned from."""
    rows = question.of_choice("model_versions")
    if not rows:
        return Content("empty", NOTHING)
    return Content(
        table=Table(
            "Versions, the newest first",
            (
                *("model", "version", "in use", "trained, UTC", "learned until", "judged on"),
                *("ROC AUC", "baseline", "gain, 95 %", "calibration error", "lift of a tenth"),
            ),
            [
                (
                    row["model"],
                    str(row["model_version"]),
                    "yes" if row["is_in_use"] else "",
                    f"{row['trained_at']:%Y-%m-%d %H:%M}",
                    f"{row['learned_until']:%Y-%m-%d}",
                    f"{row['rows']:,}",
                    *(f"{row[name]:.3f}" for name in ("roc_auc", "baseline_roc_auc")),
                    f"{row['gain_low']:+.3f} to {row['gain_high']:+.3f}",
                    f"{row['calibration_error']:.3f}",
                    f"{row['top_decile_lift']:.2f}",
                )
                for row in rows
            ],
            (1, *range(5, 11)),
        )
    )


def quality(question: Question) -> Content:
    """Of versions in use: what was foretold beside what came, and what the first tenths find."""
    points = question.of_choice("model_curves")
    if not points:
        return Content("empty", NOTHING_SCORED)
    curves = {
        key: list(rows)
        for key, rows in groupby(points, key=lambda row: (row["model"], row["curve"]))
    }
    models = sorted({model for model, _ in curves})
    return Content(
        chart=charts.quality(curves, models, question.scheme),
        chart_label="What was foretold beside what came; outcomes found by who looks at so many",
        table=Table(
            "By tenths of the scores, the highest first",
            ("model", "tenth", "foretold", "came", "found by looking so far", "by the baseline"),
            [
                (model, str(tenth), *cells)
                for model in models
                for tenth, cells in enumerate(_tenths(curves, model), 1)
            ],
            (1, 2, 3, 4, 5),
        ),
        notes=["On rows that the version had not learned from."],
    )


def at_risk(question: Question) -> Content:
    """Players of the newest day who may leave and may be kept, and what happened to them."""
    rows = question.of_choice("players_at_risk")
    if not rows:
        return Content("empty", NOTHING_SCORED)
    return Content(
        table=Table(
            "Most at risk of those that the game can keep",
            ("game", "day", "player", "leaves", "tenth", "days away", "what happened in a week"),
            [
                (
                    row["game_id"],
                    f"{row['profile_date']:%Y-%m-%d}",
                    row["player_id"],
                    _share(row["score"]),
                    str(row["risk_decile"]),
                    str(row["days_since_played"]),
                    ", ".join(_reason(each) for each in row["reasons"]),
                )
                for row in rows
            ],
            (3, 4, 5),
        ),
        notes=[
            "What happened is read from the profile; whether it is why, only a trial can tell.",
            "Not for decisions about single people, prices or access.",
        ],
    )


def cohorts_at_risk(question: Question) -> Content:
    """Cohorts of the newest minute by how likely it is that errors or stalls come."""
    rows = question.of_choice("cohorts_at_risk")
    if not rows:
        return Content(
            "empty",
            "Nothing is scored yet. `python -m loaders ml promote point_of_failure` begins it.",
        )
    return Content(
        table=Table(
            f"Known at {rows[0]['minute']:%Y-%m-%d %H:%M} UTC, the most at risk first",
            ("edge", "network", "device", "errors or stalls", "layer", "evidence", "viewers"),
            [
                (
                    *(row[name] for name in ("edge", "isp", "device_type")),
                    _share(row["score"]),
                    row["layer"],
                    f"{row['layer_evidence']:.2f}",
                    f"{row['viewers_1']:,}",
                )
                for row in rows
            ],
            (3, 5, 6),
        ),
        notes=[
            "How likely it is that a rule of errors or stalls is broken in 5 to 15 minutes.",
            "Evidence of 1 is what rules call broken.",
        ],
    )


def drift(question: Question) -> Content:
    """How far the players of now are from those that the version was judged on."""
    rows = question.of_choice("model_drift")
    if not rows:
        return Content("empty", NOTHING_SCORED)
    return Content(
        table=Table(
            f"Population stability index on {rows[0]['profile_date']:%Y-%m-%d}",
            ("feature", "index", "most in a week", "", "worth, ROC AUC", "profiles"),
            [
                (
                    row["feature"],
                    f"{row['stability_index']:.3f}",
                    f"{row['most_in_week']:.3f}",
                    verdict_of(row["stability_index"]),
                    "-" if row["importance"] is None else f"{row['importance']:.4f}",
                    f"{row['profiles']:,}",
                )
                for row in rows
            ],
            (1, 2, 4, 5),
        ),
        notes=[f"Below {LITTLE:g} little has changed; above {MUCH:g} much has: train anew."],
    )


def verdict_of(index: float) -> str:
    """What a population stability index means."""
    return "much" if index > MUCH else "some" if index > LITTLE else "little"


def _tenths(curves: dict[tuple[str, str], list[Row]], model: str) -> list[tuple[str, ...]]:
    """Reliability has the lowest scores first, gains the highest."""
    of = (curves.get((model, name), []) for name in ("reliability", "gains", "gains_of_baseline"))
    reliability, gains, plain = of
    return [
        (_share(told["x"]), _share(told["y"]), _share(found["y"]), _share(by_baseline["y"]))
        for told, found, by_baseline in zip(reliability[::-1], gains, plain, strict=True)
    ]


def _reason(reason: Row) -> str:
    return f"{reason['reason'].replace('_', ' ')} ({reason['value']:.3g})"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
