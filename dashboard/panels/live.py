"""What the streaming models say, seconds old."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dashboard.choice import Choice
from dashboard.content import Content, Link, Table, Tile, spark_points
from dashboard.metrics import show, show_age, show_time
from dashboard.question import Question

LIVE_STALE_AFTER = timedelta(minutes=5)


def tile(
    query: str,
    value: str,
    label: str,
    about: str,
    unit: str = "number",
    of_sample: str | None = None,
) -> Callable[[Question], Content]:
    """A tile with the newest window's value, and those before as a sparkline."""

    def build_live(question: Question) -> Content:
        rows = question.of_choice(query)
        if not rows:
            return Content("empty", "No window yet.")
        newest = rows[0]
        sample = f" of {newest[of_sample]:,}" if of_sample else ""
        tile = Tile(
            label=label,
            value=show(newest[value], unit),
            about=about + sample,
            spark=spark_points([row[value] for row in reversed(rows)]),
        )
        return _judged_live(Content(tiles=[tile]), newest["window_start"])

    return build_live


def videos(query: str, value: str, heading: str) -> Callable[[Question], Content]:
    """A list of the newest window, most first; `value` is the column that it shows."""

    def build_list(question: Question) -> Content:
        rows = question.of_choice(query)
        if not rows:
            return Content("empty", "No window yet.")
        content = Content(
            table=Table(
                heading,
                ("video", heading),
                [
                    (
                        Link(row["video_id"], Choice(video=row["video_id"]).query(), "/player"),
                        show(row[value], "number"),
                    )
                    for row in rows
                ],
                (1,),
            )
        )
        return _judged_live(content, rows[0]["window_start"])

    return build_list


def _judged_live(content: Content, window_start: datetime) -> Content:
    age = datetime.now(UTC) - window_start
    content.notes = [f"Window from {show_time(window_start)} UTC."]
    if age > LIVE_STALE_AFTER:
        content.state = "stale"
        content.message = f"Not live: the newest window is {show_age(age.total_seconds())} old."
    return content


def video_viewers(question: Question) -> Content:
    """How many watch the chosen video."""
    if question.choice.video is None:
        return Content("empty", "Choose a video.")
    return tile(
        "live_video_viewers",
        "concurrent_viewers",
        "watching this video",
        "viewers of the newest minute",
    )(question)
