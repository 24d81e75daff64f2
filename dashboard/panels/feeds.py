"""How fresh the data are, what came late, and what was not taken."""

from __future__ import annotations

from datetime import UTC, datetime

from dashboard.content import Content, Table
from dashboard.lakehouse import MissingTable
from dashboard.metrics import show, show_age, show_time
from dashboard.question import Question


def feeds(question: Question) -> Content:
    """How new the newest data of each feed are, and how many came late or were not taken."""
    now = datetime.now(UTC)
    rows = question.of_choice("feeds")
    if not rows:
        return Content("empty", "No feed has loaded anything yet.")
    notes = []
    try:
        (cells,) = question.of_interval("late_cells")
        if cells["cells"]:
            notes.append(
                f"gold.noc_playback: newest minute {show_time(cells['newest_minute'])}, newest "
                f"arrival {show_time(cells['newest_arrival_at'])} UTC; {cells['late']:,} of "
                f"{cells['cells']:,} cells of the interval were mended by late events; "
                f"{cells['bot_session_minutes']:,} session minutes of bots are left out."
            )
    except MissingTable as missing:
        notes.append(f"{missing} is not there yet.")
    return Content(
        table=Table(
            "Feeds, over the day up to their last batch",
            (
                "feed",
                "newest data",
                "last batch",
                "received",
                "duplicates",
                "waited, p95",
                "late",
                "quarantined",
                "share",
            ),
            [
                (
                    row["feed"],
                    f"{show_age((now - row['newest_at']).total_seconds())} ago"
                    if row["newest_at"]
                    else "-",
                    f"{show_age((now - row['last_batch_at']).total_seconds())} ago",
                    show(row["received"], "number"),
                    show(row["duplicates"], "number"),
                    show_age(row["waited_p95_s"]),
                    show(row["late"], "number"),
                    show(row["quarantined"], "number"),
                    show(row["quarantined"] / row["received"], "share"),
                )
                for row in rows
            ],
            range(1, 9),
        ),
        notes=["Late are records that had waited for more than 15 minutes.", *notes],
    )


def quarantine(question: Question) -> Content:
    """Records that were not taken, by reason."""
    rows = question.of_choice("quarantine")
    if not rows:
        return Content(message="Quarantine is empty.")
    return Content(
        table=Table(
            "Quarantine, its last day",
            ("feed", "reason", "records", "last, UTC"),
            [
                (
                    row["feed"],
                    row["reason"],
                    show(row["records"], "number"),
                    show_time(row["last_at"]),
                )
                for row in rows
            ],
            (2,),
        )
    )
