"""Metrics as tiles: now, usual, before, and whether that is unusual."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dashboard.charts import BAND_DEVIATIONS
from dashboard.content import Tile, spark_points
from dashboard.metrics import PLAYBACK, Metric, show, show_change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dashboard.lakehouse import Row
    from dashboard.question import Question


def verdict_of(row: Row, metric: Metric) -> str:
    """bad or good of a value more than three deviations from what is usual; else empty."""
    baseline, deviation = row["baseline"], row["deviation"]
    if baseline is None or not deviation or not metric.worse:
        return ""
    distance = (row["value"] - baseline) / deviation
    if abs(distance) <= BAND_DEVIATIONS:
        return ""
    return "bad" if (distance > 0) == (metric.worse == "up") else "good"


def beside_of(metric: Metric, rows: Sequence[Row], end: datetime) -> list[str]:
    """What stands beside a metric in the five minutes up to `end`, as p50 600 ms."""
    now = {
        row["metric"]: row["value"]
        for row in rows
        if row["window_start"] == end - timedelta(minutes=5)
    }
    return [
        f"{label} {show(now[name], metric.unit)}"
        for label, name in metric.beside.items()
        if name in now
    ]


def tiles_of(
    question: Question, metrics: Mapping[str, Metric], rows: Sequence[Row], end: datetime
) -> list[Tile]:
    """A tile a metric: the five minutes up to `end`, and those of `rows` before as a sparkline."""
    tiles = []
    is_playback = metrics is PLAYBACK
    for name, metric in metrics.items():
        found = {row["window_start"]: row for row in rows if row["metric"] == name}
        now = found.get(end - timedelta(minutes=5))
        before = found.get(end - timedelta(minutes=10))
        value = now["value"] if now else None
        previous = before["value"] if before else None
        baseline = now["baseline"] if now else None
        tiles.append(
            Tile(
                label=metric.label,
                about="; ".join([metric.about, *beside_of(metric, rows, end)]),
                value=show(value, metric.unit),
                usual=(show(baseline, metric.unit), show_change(value, baseline)),
                previous=(show(previous, metric.unit), show_change(value, previous)),
                verdict=verdict_of(now, metric) if now else "",
                side="above" if value and baseline and value > baseline else "below",
                spark=spark_points([row["value"] for row in found.values()]),
                query=question.choice.query(metric=name) if is_playback else None,
                is_current=is_playback and name == question.choice.metric,
            )
        )
    return tiles
