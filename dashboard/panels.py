"""What stands in each panel: of rows, what a person is to see. One function a panel."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dashboard import charts
from dashboard.choice import FILTERS, Choice
from dashboard.lakehouse import Lakehouse, MissingTable, Row, tables_of
from dashboard.metrics import (
    CDN,
    PLAYBACK,
    Metric,
    label_of,
    show,
    show_age,
    show_change,
    show_time,
    unit_of,
)
from dashboard.schemes import SCHEMES, Scheme

if TYPE_CHECKING:
    from collections.abc import Mapping

STALE_AFTER = timedelta(minutes=10)
LIVE_STALE_AFTER = timedelta(minutes=5)
LEAST_SAMPLE = 25  # an attempt or play a minute is little (Conviva)
SPARK = (100, 26)  # width and height, in units of its own
HEAT_ROWS, HEAT_COLUMNS = 14, 16
TABLE_TIMES = 48  # windows that the table beside a chart has
UNKNOWN = "Unavailable"
STATES = ("firing", "pending", "resolved")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Link:
    """A cell that leads to another choice; query: what the URL then says."""

    text: str
    query: str


Cell = str | Link


@dataclass(frozen=True, slots=True)
class Table:
    """caption: what it lists. numbers: the places of columns of numbers."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure. verdict: bad or good where it lies outside of what is usual, else empty.

    side: above or below. spark: points of an SVG polyline. query: the choice that it leads to.
    """

    label: str
    value: str
    about: str = ""
    usual: str = ""
    previous: str = ""
    verdict: str = ""
    side: str = ""
    spark: str = ""
    query: str | None = None
    is_current: bool = False


@dataclass(frozen=True, slots=True)
class Heat:
    """A table with shades: cells are (text, step or None, query)."""

    caption: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, int | None, str]]]]


@dataclass(slots=True)
class Content:
    """What a panel shows. state: ok, empty, stale or error; message: what people are told of it."""

    state: str = "ok"
    message: str = ""
    tiles: Sequence[Tile] = ()
    table: Table | None = None
    heat: Heat | None = None
    chart: Any = None
    chart_label: str = ""
    notes: Sequence[str] = field(default_factory=list)


class Question:
    """What a panel asks with: the lakehouse, the choice, and the scheme to draw in."""

    def __init__(self, lakehouse: Lakehouse, choice: Choice, scheme: str = "light") -> None:
        self.choice = choice
        self.scheme: Scheme = SCHEMES[scheme]
        self._lakehouse = lakehouse
        self._scheme_name = scheme

    def instead(self, choice: Choice) -> Question:
        """The same with another choice."""
        return Question(self._lakehouse, choice, self._scheme_name)

    def newest(self) -> datetime | None:
        """When the newest player event arrived; None where there is none.

        Raises:
            MissingTable: gold.noc_playback is not there.
        """
        return self._lakehouse.ask("newest", {})[0]["newest_arrival_at"]

    def of_interval(self, query: str) -> list[Row]:
        """The rows of a query over the chosen interval."""
        return self._lakehouse.ask(query, self.variables())

    def variables(self) -> dict[str, Any]:
        """What getvariable() gives."""
        return self.choice.variables(self.newest())

    def of_choice(self, query: str) -> list[Row]:
        """The rows of a query that asks for no interval."""
        return self._lakehouse.ask(
            query, {"video_id": self.choice.video, "ticker": self.choice.ticker}
        )


@dataclass(frozen=True, slots=True)
class Panel:
    """queries: files of dashboard/sql. A change of a table that they read is news to the panel."""

    title: str
    about: str
    queries: Sequence[str]
    build: Callable[[Question], Content]

    @property
    def tables(self) -> set[str]:
        """All tables that it reads."""
        return {table for query in self.queries for table in tables_of(query)}


def build(name: str, question: Question) -> Content:
    """The content of a panel, in whichever state it is."""
    try:
        return PANELS[name].build(question)
    except MissingTable as missing:
        return Content(
            "empty", f"{missing} is not there yet. It comes with `make up` or `make demo`."
        )
    except Exception:
        log.exception("panel %s", name)
        return Content("error", "This could not be read. The log of the dashboard says why.")


# ---- playback


def _by_metric(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["metric"], []).append(row)
    return found


def spark_points(values: Sequence[float]) -> str:
    """The points of an SVG polyline; empty of fewer than two values."""
    if len(values) < 2:
        return ""
    width, height = SPARK
    low, high = min(values), max(values)
    span = high - low or 1
    step = width / (len(values) - 1)
    return " ".join(
        f"{place * step:.1f},{height - 2 - (value - low) / span * (height - 4):.1f}"
        for place, value in enumerate(values)
    )


def verdict_of(row: Row, metric: Metric) -> str:
    """bad or good of a value more than three deviations from what is usual; else empty."""
    baseline, deviation = row["baseline"], row["deviation"]
    if baseline is None or not deviation or not metric.worse:
        return ""
    distance = (row["value"] - baseline) / deviation
    if abs(distance) <= charts.BAND_DEVIATIONS:
        return ""
    return "bad" if (distance > 0) == (metric.worse == "up") else "good"


def _tiles(
    question: Question, metrics: Mapping[str, Metric], rows: Sequence[Row], end: datetime
) -> list[Tile]:
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
                about=metric.about,
                value=show(value, metric.unit),
                usual=" ".join([show(baseline, metric.unit), _change(value, baseline)]).strip(),
                previous=" ".join([show(previous, metric.unit), _change(value, previous)]).strip(),
                verdict=verdict_of(now, metric) if now else "",
                side="above" if value and baseline and value > baseline else "below",
                spark=spark_points([row["value"] for row in found.values()]),
                query=question.choice.query(metric=name) if is_playback else None,
                is_current=is_playback and name == question.choice.metric,
            )
        )
    return tiles


def _change(value: float | None, other: float | None) -> str:
    change = show_change(value, other)
    return f"({change})" if change else ""


def _status(question: Question) -> Content:
    newest = question.newest()
    rows = question.of_interval("playback")
    if not rows:
        return _nothing(question)
    end = question.variables()["to_minute"]
    content = Content(tiles=_tiles(question, PLAYBACK, rows, end))
    content.notes = [f"Five minutes up to {show_time(end)} UTC, beside what is usual in this hour."]
    if question.choice.cohort(*FILTERS) == (None, None):
        content.notes.append("Of several filters together it is not known what is usual.")
    age = datetime.now(UTC) - newest if newest else None
    if question.choice.end is None and age and age > STALE_AFTER:
        content.state = "stale"
        content.message = (
            f"No new player event for {show_age(age.total_seconds())}: "
            f"the newest arrived at {show_time(newest)} UTC."
        )
    return content


def _nothing(question: Question) -> Content:
    chosen = question.choice.chosen()
    if chosen:
        what = ", ".join(f"{FILTERS[name][1]} {value}" for name, value in chosen.items())
        return Content("empty", f"Nothing in this interval of {what}.")
    return Content("empty", "Nothing in this interval.")


def _time_series(question: Question) -> Content:
    metric = question.choice.metric
    rows = [row for row in question.of_interval("playback") if row["metric"] == metric]
    if not rows:
        return _nothing(question)
    notes = []
    try:
        alerts = [each for each in question.of_interval("alerts") if each["metric"] == metric]
    except MissingTable as missing:
        alerts = []
        notes.append(f"No alerts are marked: {missing} is not there yet.")
    label, unit = label_of(metric), unit_of(metric)
    return Content(
        chart=charts.time_series(rows, metric, alerts, question.scheme),
        chart_label=f"{label} over time, with what is usual, and the alerts that fired",
        table=Table(
            f"{label} by five minutes, newest first",
            ("from, UTC", label, "usual", "deviation"),
            [
                (
                    show_time(row["window_start"]),
                    show(row["value"], unit),
                    show(row["baseline"], unit),
                    show(row["deviation"], unit),
                )
                for row in rows[: -TABLE_TIMES - 1 : -1]
            ],
            (1, 2, 3),
        ),
        notes=notes,
    )


def _alerts(question: Question) -> Content:
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
                    _cohort_link(question, row["cohort_kind"], row["cohort"], row["metric"]),
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


def _cohort_link(question: Question, kind: str, cohort: str, metric: str | None = None) -> Cell:
    name = next((name for name, (column, _) in FILTERS.items() if column == kind), None)
    changes: dict[str, Any] = {"metric": metric} if metric in PLAYBACK else {}
    if kind == "app_version, device_type":
        version, _, device = cohort.partition(", ")
        return Link(cohort, question.choice.query(version=version, device=device, **changes))
    if name is None:
        return Link("all viewers", question.choice.query(**changes)) if changes else "all viewers"
    return Link(cohort, question.choice.query(**{name: cohort}, **changes))


# ---- where


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


def _isp_edge(question: Question) -> Content:
    metric = PLAYBACK[question.choice.metric]
    rows = question.of_interval("isp_edge")
    if not rows:
        return _nothing(question)
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


def _countries(question: Question) -> Content:
    metric = PLAYBACK[question.choice.metric]
    rows = [row for row in question.of_interval("countries") if row["value"] is not None]
    if not rows:
        return _nothing(question)
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


def _cohorts(question: Question) -> Content:
    rows = question.of_interval("cohorts")
    if not rows:
        return Content(message="No cohort is in more trouble than all viewers together.")
    labels = dict(FILTERS.values())
    return Content(
        table=Table(
            "Cohorts in more trouble than all, by impacted viewers",
            ("of", "cohort", "impacted", "of viewers", "share", "of all", "stalled", "failing"),
            [
                (
                    labels[row["cohort_kind"]],
                    _cohort_link(question, row["cohort_kind"], row["cohort"]),
                    show(row["impacted"], "number"),
                    show(row["viewers"], "number"),
                    show(row["share"], "share"),
                    show(row["share_of_all"], "share"),
                    show(row["stalled"], "number"),
                    show(row["failing"], "number"),
                )
                for row in rows
            ],
            (2, 3, 4, 5, 6, 7),
        ),
        notes=["Impacted are viewers with a stall or an error, each counted once."],
    )


# ---- the CDN


def _cdn(question: Question) -> Content:
    rows = question.of_interval("cdn")
    if not rows:
        return _nothing(question)
    end = question.variables()["to_minute"]
    hits = [row for row in rows if row["metric"] == "hit_share"]
    return Content(
        tiles=_tiles(question, CDN, rows, end),
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


# ---- one viewer


def _sessions(question: Question) -> Content:
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


def _viewer(question: Question) -> Content:
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


# ---- how fresh it is


def _feeds(question: Question) -> Content:
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


def _quarantine(question: Question) -> Content:
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


# ---- live


def _live(
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


def _live_videos(query: str, value: str, heading: str) -> Callable[[Question], Content]:
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
                        Link(row["video_id"], question.choice.query(video=row["video_id"])),
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


def _video_viewers(question: Question) -> Content:
    if question.choice.video is None:
        return Content("empty", "Choose a video.")
    return _live(
        "live_video_viewers",
        "concurrent_viewers",
        "watching this video",
        "viewers of the newest minute",
    )(question)


# ---- stocks


def _tickers(question: Question) -> Content:
    rows = question.of_choice("stock_tickers")
    if not rows:
        return Content("empty", "No session of any share yet.")
    return Content(
        table=Table(
            "Shares, at their newest session",
            ("ticker", "session", "close", "change", "P/E of four quarters"),
            [
                (
                    Link(row["ticker"], question.choice.query(ticker=row["ticker"])),
                    f"{row['price_date']:%Y-%m-%d}",
                    f"{row['close']:,.2f}",
                    f"{100 * row['change']:+.1f} %" if row["change"] is not None else "-",
                    f"{row['pe_ttm']:,.1f}" if row["pe_ttm"] is not None else row["null_reason"],
                )
                for row in rows
            ],
            (2, 3, 4),
        )
    )


def _stock(question: Question) -> Content:
    ticker = question.choice.ticker
    if ticker is None:
        tickers = question.of_choice("stock_tickers")
        if not tickers:
            return Content("empty", "No session of any share yet.")
        ticker = tickers[0]["ticker"]
    of_ticker = question.instead(Choice(ticker=ticker))
    valuation = of_ticker.of_choice("stock_valuation")
    if not valuation:
        return Content("empty", f"No session of {ticker}.")
    blueprint = of_ticker.of_choice("stock_blueprint")
    ratios = {row["price_date"]: row["pe"] for row in blueprint}
    return Content(
        chart=charts.stock(
            ticker, valuation, blueprint, of_ticker.of_choice("stock_filings"), question.scheme
        ),
        chart_label=f"Price and price/earnings ratio of {ticker} over time",
        table=Table(
            f"{ticker}: newest sessions",
            ("session", "close", "P/E of four quarters", "viewPE"),
            [
                (
                    f"{row['price_date']:%Y-%m-%d}",
                    f"{row['close']:,.2f}",
                    "-" if row["pe_ttm"] is None else f"{row['pe_ttm']:,.2f}",
                    f"{ratios[row['price_date']]:,.2f}" if row["price_date"] in ratios else "-",
                )
                for row in valuation[: -TABLE_TIMES - 1 : -1]
            ],
            (1, 2, 3),
        ),
        notes=[
            f"{len(valuation):,} sessions up to {valuation[-1]['price_date']:%Y-%m-%d}.",
            "viewPE divides by one quarter's earnings, the other by four quarters'.",
        ],
    )


PANELS = {
    "status": Panel(
        "Now", "What viewers experience, beside what is usual.", ("newest", "playback"), _status
    ),
    "time_series": Panel(
        "Over time",
        "The chosen metric, the band of what is usual, and the alerts that fired.",
        ("newest", "playback", "alerts"),
        _time_series,
    ),
    "alerts": Panel(
        "Alerts", "What is pending, firing and resolved.", ("newest", "alerts"), _alerts
    ),
    "isp_edge": Panel(
        "Networks and edges",
        "The chosen metric by ISP and edge.",
        ("newest", "isp_edge"),
        _isp_edge,
    ),
    "countries": Panel(
        "Countries",
        "The chosen metric by country of origin.",
        ("newest", "countries"),
        _countries,
    ),
    "cohorts": Panel(
        "Worst cohorts",
        "Where a greater share is in trouble than of all, by impacted viewers.",
        ("newest", "cohorts"),
        _cohorts,
    ),
    "cdn": Panel(
        "CDN",
        "Hits, times to first byte, the origin, errors and bytes.",
        ("newest", "cdn", "cdn_results"),
        _cdn,
    ),
    "sessions": Panel(
        "Sessions",
        "Those with most trouble, or of one viewer.",
        ("newest", "viewer_sessions"),
        _sessions,
    ),
    "viewer": Panel(
        "One viewer", "What one viewer saw, second by second.", ("newest", "viewer_events"), _viewer
    ),
    "feeds": Panel(
        "Freshness",
        "How new each feed's data are, and what came late.",
        ("newest", "feeds", "late_cells"),
        _feeds,
    ),
    "quarantine": Panel(
        "Quarantine", "Records that were not taken, by reason.", ("quarantine",), _quarantine
    ),
    "live_active_users": Panel(
        "Active users",
        "About how many viewers are watching.",
        ("live_active_users",),
        _live("live_active_users", "active_users", "active users", "viewers of the last minutes"),
    ),
    "live_popular_videos": Panel(
        "Most popular",
        "How often each video was begun in the last minutes.",
        ("live_popular_videos",),
        _live_videos("live_popular_videos", "recent_views", "begun"),
    ),
    "live_concurrent_viewers": Panel(
        "Watching",
        "About how many are watching each video.",
        ("live_concurrent_viewers",),
        _live_videos("live_concurrent_viewers", "concurrent_viewers", "viewers"),
    ),
    "live_client_errors": Panel(
        "Clients with errors",
        "The share of the clients that report playback errors.",
        ("live_client_errors",),
        _live(
            "live_client_errors",
            "failing_share",
            "clients with errors",
            "in five minutes,",
            "share",
            "active_clients",
        ),
    ),
    "live_video_viewers": Panel(
        "This video",
        "About how many are watching the chosen video.",
        ("live_video_viewers",),
        _video_viewers,
    ),
    "tickers": Panel("Shares", "Price and ratio of each share.", ("stock_tickers",), _tickers),
    "stock": Panel(
        "Price and P/E",
        "A share's price and price/earnings ratios over time.",
        ("stock_tickers", "stock_valuation", "stock_blueprint", "stock_filings"),
        _stock,
    ),
}
# The pages, and their panels in order.
PAGES = {
    "/": (
        "status",
        "time_series",
        "alerts",
        "isp_edge",
        "countries",
        "cohorts",
        "cdn",
        "sessions",
        "viewer",
        "feeds",
        "quarantine",
    ),
    "/live": (
        "live_active_users",
        "live_client_errors",
        "live_concurrent_viewers",
        "live_popular_videos",
    ),
    "/player": ("live_active_users", "live_video_viewers", "live_popular_videos"),
    "/stocks": ("tickers", "stock"),
}
