"""The sessions of one viewer."""

from __future__ import annotations

from dashboard import charts
from dashboard.content import Content, Link, Table
from dashboard.metrics import show, show_time
from dashboard.question import Question


def sessions(question: Question) -> Content:
    """Sessions of the chosen viewer, else of all, with most trouble first."""
    viewer = question.choice.viewer
    rows = question.of_interval("viewer_sessions")
    if not rows:
        return Content(
            "empty",
            f"Viewer {viewer} has no session here." if viewer else "No session in this interval.",
        )
    return Content(
        table=Table(
            f"Sessions of viewer {viewer}" if viewer else "Sessions with most trouble",
            (
                "viewer",
                "video",
                "from, UTC",
                "start-up",
                "played",
                "stalls",
                "stalled",
                "errors",
                "failure",
            ),
            [
                (
                    Link(row["user_id"], question.choice.query(viewer=row["user_id"])),
                    row["video_id"],
                    show_time(row["first_event_at"]),
                    show(row["startup_ms"], "ms"),
                    f"{row['played_s'] or 0:,} s",
                    show(row["stalls"], "number"),
                    show(row["stalled_ms"], "ms"),
                    show(row["errors"], "number"),
                    " ".join(filter(None, (row["failure_class"], row["failure_code"]))) or "-",
                )
                for row in rows
            ],
            (3, 4, 5, 6, 7),
        )
    )


def timeline(question: Question) -> Content:
    """What the chosen viewer saw."""
    viewer = question.choice.viewer
    if viewer is None:
        return Content("empty", "Choose a viewer: by the field above, or of the sessions listed.")
    events = question.of_interval("viewer_events")
    if not events:
        return Content("empty", f"Viewer {viewer} reported nothing in this interval.")
    telling = [event for event in events if event["type"] != "stream"]
    return Content(
        chart=charts.timeline(events, question.scheme),
        chart_label=f"Timeline of viewer {viewer}: start, playing, stalls, seeks, pauses, errors",
        table=Table(
            f"Events of viewer {viewer}, but for the seconds that were shown",
            ("at, UTC", "event", "video", "playhead", "took", "edge", "ISP", "result", "status"),
            [
                (
                    f"{event['event_at']:%d %b %H:%M:%S}",
                    event["type"],
                    event["video_id"],
                    "-" if event["at_s"] is None else f"{event['at_s']:,.0f} s",
                    show(event["time_ms"], "ms"),
                    event["location"] or "-",
                    event["isp"] or "-",
                    event["resulttype"] or "-",
                    "-" if event["status"] is None else str(event["status"]),
                )
                for event in telling[:500]
            ],
            (3, 4, 8),
        ),
        notes=[f"{len(events) - len(telling):,} seconds of playback are drawn and not listed."],
    )
