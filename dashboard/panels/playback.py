"""What viewers experience: now, over time, and what was told of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dashboard import charts
from dashboard.choice import FILTERS
from dashboard.content import Content, Table
from dashboard.lakehouse import MissingTable
from dashboard.metrics import PLAYBACK, label_of, show, show_age, show_time, unit_of
from dashboard.panels.tiles import tiles_of
from dashboard.question import Question, cohort_link, nothing_of

STALE_AFTER = timedelta(minutes=10)
STATES = ("firing", "pending", "resolved")
TABLE_TIMES = 48  # windows that the table beside a chart has


def status(question: Question) -> Content:
    """All metrics of the last five minutes."""
    newest = question.newest()
    rows = question.of_interval("playback")
    if not rows:
        return nothing_of(question)
    end = question.variables()["to_minute"]
    content = Content(tiles=tiles_of(question, PLAYBACK, rows, end))
    content.notes = [f"Five minutes up to {show_time(end)} UTC, beside what is usual in this hour."]
    if question.choice.cohort(*FILTERS) == (None, None):
        content.notes.append("What is usual is not known of these filters together.")
    age = datetime.now(UTC) - newest if newest else None
    if question.choice.end is None and age and age > STALE_AFTER:
        content.state = "stale"
        content.message = (
            f"No new player event for {show_age(age.total_seconds())}: "
            f"the newest arrived at {show_time(newest)} UTC."
        )
    return content


def time_series(question: Question) -> Content:
    """The chosen metric over the interval."""
    metric = question.choice.metric
    all_rows = question.of_interval("playback")
    rows = [row for row in all_rows if row["metric"] == metric]
    if not rows:
        return nothing_of(question)
    notes = []
    try:
        alerts = [each for each in question.of_interval("alerts") if each["metric"] == metric]
    except MissingTable as missing:
        alerts = []
        notes.append(f"No alerts are marked: {missing} is not there yet.")
    label, unit = label_of(metric), unit_of(metric)
    beside = PLAYBACK[metric].beside
    values = {(row["metric"], row["window_start"]): row["value"] for row in all_rows}
    return Content(
        chart=charts.time_series(rows, metric, alerts, question.scheme),
        chart_label=f"{label} over time, with what is usual, and the alerts that fired",
        table=Table(
            f"{label} by five minutes, newest first",
            ("from, UTC", label, "usual", "deviation", *beside),
            [
                (
                    show_time(row["window_start"]),
                    show(row["value"], unit),
                    show(row["baseline"], unit),
                    show(row["deviation"], unit),
                    *(
                        show(values.get((name, row["window_start"])), unit)
                        for name in beside.values()
                    ),
                )
                for row in rows[: -TABLE_TIMES - 1 : -1]
            ],
            range(1, 4 + len(beside)),
        ),
        notes=notes,
    )


def alerts(question: Question) -> Content:
    """Alerts of the interval, those that fire first."""
    rows = question.of_interval("alerts")
    if not rows:
        return Content(message="No alert in this interval.")
    return Content(
        table=Table(
            "Alerts: those that fire first",
            (
                "state",
                "severity",
                "what",
                "cohort",
                "likely layer",
                "since, UTC",
                "value",
                "usual",
                "impacted",
            ),
            [
                (
                    row["state"],
                    row["severity"],
                    row["meaning"],
                    cohort_link(question, row["cohort_kind"], row["cohort"], row["metric"]),
                    row["layer"],
                    show_time(row["started_at"]),
                    show(row["last_value"], unit_of(row["metric"])),
                    show(row["last_usual"], unit_of(row["metric"])),
                    show(row["impacted"], "number"),
                )
                for row in sorted(rows, key=lambda row: STATES.index(row["state"]))
            ],
            (6, 7, 8),
        )
    )
