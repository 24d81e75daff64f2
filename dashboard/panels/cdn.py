"""What the content delivery network did."""

from __future__ import annotations

from dashboard import charts
from dashboard.choice import FILTERS
from dashboard.content import Content, Table
from dashboard.metrics import CDN, show
from dashboard.panels.tiles import tiles_of
from dashboard.question import Question, nothing_of


def cdn(question: Question) -> Content:
    """Hits, times to first byte, errors and bytes, and the requests by result."""
    rows = question.of_interval("cdn")
    if not rows:
        return nothing_of(question)
    end = question.variables()["to_minute"]
    hits = [row for row in rows if row["metric"] == "hit_share"]
    return Content(
        tiles=tiles_of(question, CDN, rows, end),
        chart=charts.time_series(hits, "hit_share", (), question.scheme, 180) if hits else None,
        chart_label="Share of cache hits over time, with what is usual",
        table=_cdn_results(question),
        notes=_cdn_notes(question),
    )


def _cdn_notes(question: Question) -> list[str]:
    ignored = [FILTERS[name][1] for name in question.choice.chosen() if name not in ("isp", "edge")]
    return [f"A request does not know: {', '.join(ignored)}. Not filtered."] if ignored else []


def _cdn_results(question: Question) -> Table:
    return Table(
        "Requests by result, over the interval",
        (
            "result",
            "requests",
            "sent",
            "first byte, mean",
            "client aborts",
            "origin's errors",
            "edge's errors",
            "other errors",
        ),
        [
            (
                row["resulttype"],
                show(row["requests"], "number"),
                show(row["sent_bytes"], "bytes"),
                show(row["first_byte_ms"], "ms"),
                *(
                    show(row[name], "number")
                    for name in ("client_aborts", "origin_errors", "edge_errors", "other_errors")
                ),
            )
            for row in question.of_interval("cdn_results")
        ],
        range(1, 8),
    )
