"""Where it is bad: networks, edges, countries, cohorts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard import charts
from dashboard.choice import FILTERS
from dashboard.content import Content, Heat, Link, Table
from dashboard.metrics import PLAYBACK, Metric, show
from dashboard.question import Question, cohort_link, nothing_of

LEAST_SAMPLE = 25  # an attempt or play a minute is little (Conviva)
HEAT_ROWS, HEAT_COLUMNS = 14, 16
UNKNOWN = "Unavailable"


def steps_of(values: Mapping[Any, float], worse: str, steps: int) -> dict[Any, int]:
    """Each value's shade: the worse, the darker; of what is neither, the more."""
    if not values:
        return {}
    low, high = min(values.values()), max(values.values())
    span = high - low or 1
    badness = {
        key: (high - value if worse == "down" else value - low) / span
        for key, value in values.items()
    }
    return {key: min(steps - 1, int(steps * share)) for key, share in badness.items()}


def _worse(metric: Metric) -> str:
    return "" if metric.unit == "number" else metric.worse


def isp_edge(question: Question) -> Content:
    """The chosen metric by network and edge, the largest of both."""
    metric = PLAYBACK[question.choice.metric]
    rows = question.of_interval("isp_edge")
    if not rows:
        return nothing_of(question)
    # rows come by size
    isps = list(dict.fromkeys(row["isp"] for row in rows))
    edges = list(dict.fromkeys(row["edge"] for row in rows))
    shown = {(row["isp"], row["edge"]): row for row in rows}
    weighty = {
        place: row["value"]
        for place, row in shown.items()
        if row["value"] is not None and row["sample"] >= LEAST_SAMPLE
    }
    steps = steps_of(weighty, _worse(metric), len(question.scheme.steps))
    heat = Heat(
        f"{metric.label} by network and edge",
        "ISP \\ edge",
        edges[:HEAT_COLUMNS],
        [
            (
                isp,
                [
                    (
                        show(row["value"], metric.unit)
                        if (row := shown.get((isp, edge))) and row["value"] is not None
                        else "",
                        steps.get((isp, edge)),
                        question.choice.query(isp=isp, edge=edge),
                    )
                    for edge in edges[:HEAT_COLUMNS]
                ],
            )
            for isp in isps[:HEAT_ROWS]
        ],
    )
    left_out = max(0, len(isps) - HEAT_ROWS) + max(0, len(edges) - HEAT_COLUMNS)
    order = "worse" if _worse(metric) else "more"
    notes = [f"The {order}, the deeper the shade; cells without one rest on few."]
    if left_out:
        notes.append(f"{left_out} smaller networks and edges are left out.")
    return Content(heat=heat, notes=notes)


def countries(question: Question) -> Content:
    """The chosen metric by country, on a map."""
    metric = PLAYBACK[question.choice.metric]
    rows = [row for row in question.of_interval("countries") if row["value"] is not None]
    if not rows:
        return nothing_of(question)
    values = {row["country"]: show(row["value"], metric.unit) for row in rows}
    weighty = {row["country"]: row["value"] for row in rows if row["sample"] >= LEAST_SAMPLE}
    steps = steps_of(weighty, _worse(metric), len(question.scheme.steps))
    world = charts.world()
    unmapped = [code for code in values if code not in world and code != UNKNOWN]
    notes = [f"Too small for the map: {', '.join(unmapped)}."] if unmapped else []
    if UNKNOWN in values:
        notes.append(f"Of viewers who could not be located: {values[UNKNOWN]}.")
    return Content(
        chart=charts.world_map(values, steps, question.scheme),
        chart_label=f"World map: {metric.label} by country of origin",
        table=Table(
            f"{metric.label} by country of origin",
            ("country", metric.label, "rests on"),
            [
                (
                    Link(
                        world[row["country"]]["name"]
                        if row["country"] in world
                        else row["country"],
                        question.choice.query(country=row["country"]),
                    ),
                    show(row["value"], metric.unit),
                    show(row["sample"], "number"),
                )
                for row in rows
            ],
            (1, 2),
        ),
        notes=notes,
    )


def cohorts(question: Question) -> Content:
    """Cohorts in more trouble than all."""
    rows = question.of_interval("cohorts")
    if not rows:
        return Content(message="No cohort is in more trouble than all viewers together.")
    labels = dict(FILTERS.values())
    return Content(
        table=Table(
            "Cohorts in more trouble than all, by impacted viewers",
            ("of", "cohort", "impacted", "stalled", "failing", "in trouble", "of all"),
            [
                (
                    labels[row["cohort_kind"]],
                    cohort_link(question, row["cohort_kind"], row["cohort"]),
                    show(row["impacted"], "number"),
                    show(row["stalled"], "number"),
                    show(row["failing"], "number"),
                    show(row["trouble_share"], "share"),
                    show(row["trouble_share_of_all"], "share"),
                )
                for row in rows
            ],
            (2, 3, 4, 5, 6),
        ),
        notes=[
            "Impacted are viewers with a stall or an error, each counted once.",
            "In trouble is the share of the sessions' minutes that had either, beside that of all.",
        ],
    )
