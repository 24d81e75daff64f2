"""What the page draws by Bokeh. Every chart has its figures beside it as a table, too."""

from __future__ import annotations

import json
from calendar import timegm
from datetime import timedelta
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from bokeh.layouts import Column, column
from bokeh.models import (
    ColumnDataSource,
    DatetimeTickFormatter,
    HoverTool,
    Label,
    NumeralTickFormatter,
    Range1d,
    Span,
    Toolbar,
)
from bokeh.plotting import figure

from dashboard.metrics import ALL, show
from dashboard.stock_chart import layout as stock_layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from dashboard.lakehouse import Row
    from dashboard.schemes import Scheme

BAND_DEVIATIONS = 3  # those of seeds/alert_rules.csv
TIME = {"hours": "%H:%M", "hourmin": "%H:%M", "minutes": "%H:%M", "days": "%d %b"}
FORMATS = {"share": "0.[00]%", "ms": "0,0", "bps": "0.[00]", "number": "0,0"}
MEGA = 1_000_000
UNITS = {"share": "", "ms": "ms", "bps": "Mbit/s", "number": ""}
# Of a viewer's timeline, from bottom to top.
LANES = ("error", "pause", "seek", "stall", "start", "playing")


def time_series(
    rows: Sequence[Row], metric: str, alerts: Sequence[Row], scheme: Scheme, height: int = 260
) -> Any:
    """One metric over time, the band of what is usual behind it, a mark where an alert fired.

    Args:
        rows: window_start, value, baseline and deviation of five minutes each.
        metric: a name of metrics.ALL.
        alerts: fired_at, meaning, severity.
        scheme: the colours.
        height: in pixels.
    """
    unit = ALL[metric].unit
    scale = 1 / MEGA if unit == "bps" else 1
    at = [row["window_start"] for row in rows]
    values = [row["value"] * scale for row in rows]
    known = [row for row in rows if row["baseline"] is not None]
    upper = [scale * (row["baseline"] + BAND_DEVIATIONS * row["deviation"]) for row in known]
    top = max([*values, *upper, 0]) * 1.12 or 1
    plot = _figure(height, y_range=Range1d(0, top))
    plot.yaxis.formatter = NumeralTickFormatter(format=FORMATS[unit])
    plot.yaxis.axis_label = UNITS[unit] or None
    if known:
        usual_at = [row["window_start"] for row in known]
        lower = [
            scale * max(0, row["baseline"] - BAND_DEVIATIONS * row["deviation"]) for row in known
        ]
        plot.varea(usual_at, lower, upper, color=scheme.band, legend_label="usual, ± 3 deviations")
        plot.line(
            usual_at,
            [row["baseline"] * scale for row in known],
            color=scheme.usual,
            line_dash="dashed",
            legend_label="usual",
        )
    source = ColumnDataSource(
        {
            "at": at,
            "value": values,
            "shown": [show(row["value"], unit) for row in rows],
            "usual": [show(row["baseline"], unit) for row in rows],
        }
    )
    plot.line("at", "value", source=source, color=scheme.line, line_width=2, legend_label="now")
    dots = plot.scatter("at", "value", source=source, color=scheme.line, size=4)
    plot.add_tools(
        HoverTool(
            renderers=[dots],
            mode="vline",
            tooltips=[("from", "@at{%F %H:%M} UTC"), ("value", "@shown"), ("usual", "@usual")],
            formatters={"@at": "datetime"},
        )
    )
    fired = [row for row in alerts if row["fired_at"] is not None]
    if fired:
        _mark_alerts(plot, fired, top, scheme)
    plot.legend.orientation, plot.legend.location = "horizontal", "top_left"
    plot.legend.spacing, plot.legend.margin, plot.legend.padding = 16, 0, 0
    plot.add_layout(plot.legend[0], "above")
    return plot


def _mark_alerts(plot: Any, fired: Sequence[Row], top: float, scheme: Scheme) -> None:
    marks = ColumnDataSource(
        {
            "at": [row["fired_at"] for row in fired],
            "zero": [0] * len(fired),
            "top": [top * 0.95] * len(fired),
            "meaning": [row["meaning"] for row in fired],
            "cohort": [row["cohort"] for row in fired],
        }
    )
    plot.segment("at", "zero", "at", "top", source=marks, color=scheme.alert, line_dash="dotted")
    heads = plot.scatter(
        "at",
        "top",
        source=marks,
        marker="inverted_triangle",
        size=11,
        color=scheme.alert,
        legend_label="an alert fired",
    )
    plot.add_tools(
        HoverTool(
            renderers=[heads],
            tooltips=[("fired", "@at{%F %H:%M} UTC"), ("", "@meaning"), ("cohort", "@cohort")],
            formatters={"@at": "datetime"},
        )
    )


@cache
def world() -> dict[str, dict[str, Any]]:
    """Countries by ISO 3166-1 alpha-3 code: name, and rings as [longitudes, latitudes]."""
    return json.loads((Path(__file__).parent / "static" / "world.json").read_text())


def world_map(values: dict[str, str], steps: dict[str, int], scheme: Scheme) -> Any:
    """Countries in the shades of a heat map.

    Args:
        values: by code, as people read them.
        steps: by code, the place in scheme.steps.
        scheme: the colours.
    """
    rings = [
        (code, country["name"], ring)
        for code, country in world().items()
        for ring in country["rings"]
    ]
    source = ColumnDataSource(
        {
            "xs": [ring[0] for _, _, ring in rings],
            "ys": [ring[1] for _, _, ring in rings],
            "name": [name for _, name, _ in rings],
            "value": [values.get(code, "no viewers") for code, _, _ in rings],
            "fill": [
                scheme.steps[steps[code]] if code in steps else scheme.paper for code, _, _ in rings
            ],
        }
    )
    plot = _figure(300, x_range=Range1d(-170, 190), y_range=Range1d(-57, 84), x_axis_type="linear")
    plot.grid.visible = plot.axis.visible = False
    patches = plot.patches(
        "xs", "ys", source=source, fill_color="fill", line_color=scheme.muted, line_width=0.5
    )
    plot.add_tools(HoverTool(renderers=[patches], tooltips=[("", "@name: @value")]))
    return plot


def timeline(events: Sequence[Row], scheme: Scheme) -> Any:
    """A viewer's events: what was shown, what was waited for, and the bit rate below.

    Args:
        events: what dashboard/sql/viewer_events.sql returns.
        scheme: the colours.
    """
    colours = {
        "playing": scheme.good,
        "start": scheme.line,
        "stall": scheme.alert,
        "seek": scheme.second,
        "pause": scheme.muted,
        "error": scheme.alert,
    }
    spans = [(lane, start, end, text) for lane, start, end, text in lane_spans(events)]
    source = ColumnDataSource(
        {
            "lane": [span[0] for span in spans],
            "start": [span[1] for span in spans],
            "end": [span[2] for span in spans],
            "text": [span[3] for span in spans],
            "colour": [colours[span[0]] for span in spans],
        }
    )
    plot = _figure(220, y_range=list(LANES))
    bars = plot.hbar(
        y="lane",
        left="start",
        right="end",
        height=0.6,
        source=source,
        color="colour",
        line_color="colour",
    )
    plot.add_tools(
        HoverTool(
            renderers=[bars],
            tooltips=[("at", "@start{%H:%M:%S}"), ("", "@text")],
            formatters={"@start": "datetime"},
        )
    )
    rated = [event for event in events if event["bitrate_bps"]]
    if not rated:
        return plot
    rates = _figure(120, x_range=plot.x_range)
    rates.yaxis.axis_label = "Mbit/s"
    rates.step(
        [event["event_at"] for event in rated],
        [event["bitrate_bps"] / MEGA for event in rated],
        mode="after",
        color=scheme.line,
        line_width=2,
    )
    rates.y_range.start = 0
    return column(plot, rates, sizing_mode="stretch_width")


def lane_spans(events: Sequence[Row]) -> list[tuple[str, datetime, datetime, str]]:
    """Events as spans: lane, start, end and what to say. Seconds in a row are one span.

    A wait is reported when it ends, so its span ends with the event.
    """
    spans: list[tuple[str, datetime, datetime, str]] = []
    second = timedelta(seconds=1)
    playing: tuple[datetime, datetime] | None = None
    for event in events:
        at, kind = event["event_at"], event["type"]
        waited = timedelta(milliseconds=event["time_ms"] or 0)
        if kind == "stream":
            if playing and at - playing[1] <= 2 * second:
                playing = (playing[0], max(playing[1], at + second))
            else:
                spans += _played(playing)
                playing = (at, at + second)
        elif kind == "firstframe":
            text = f"first frame after {show(event['time_ms'], 'ms')}"
            spans.append(("start", at - waited, at, text))
        elif kind == "buffer" and event["buffer_type"] == "screenfreezedbuffer":
            spans.append(("stall", at - waited, at, f"stalled for {show(event['time_ms'], 'ms')}"))
        elif kind == "seek":
            spans.append(("seek", at - waited, max(at, at - waited + second), "seek"))
        elif kind in ("pause", "error"):
            spans.append((kind, at, at + second, kind))
    return spans + _played(playing)


def _played(span: tuple[datetime, datetime] | None) -> list[tuple[str, datetime, datetime, str]]:
    if span is None:
        return []
    return [("playing", *span, f"played for {(span[1] - span[0]).total_seconds():.0f} s")]


VALUATION = pa.schema(
    {
        "price_date": pa.date32(),
        "close": pa.float64(),
        "eps_ttm": pa.float64(),
        "pe_ttm": pa.float64(),
    }
)
BLUEPRINT = pa.schema({"price_date": pa.date32(), "pe": pa.float64()})
FILINGS = pa.schema(
    {
        "fiscal_period": pa.string(),
        "filing_type": pa.string(),
        "filed_date": pa.date32(),
        "eps_basic_net": pa.float64(),
        "verified": pa.bool_(),
        "close_first": pa.float64(),
    }
)


def stock(
    ticker: str,
    valuation: Sequence[Row],
    blueprint: Sequence[Row],
    filings: Sequence[Row],
    scheme: Scheme,
) -> Column:
    """The demo's chart of price and ratio, in the colours of the page."""
    drawn = stock_layout(
        ticker,
        pa.Table.from_pylist(list(valuation), VALUATION),
        pa.Table.from_pylist(list(blueprint), BLUEPRINT),
        pa.Table.from_pylist(list(filings), FILINGS),
        {
            "price": scheme.line,
            "blueprint": scheme.second,
            "trailing": scheme.good,
            "paper": scheme.paper,
        },
    )
    *plots, _ = drawn.children  # the page says what the note says, in its own type
    for plot in plots:
        plot.sizing_mode = "stretch_width"
    return column(*plots, sizing_mode="stretch_width")


def game_days(rows: Sequence[Row], scheme: Scheme) -> Column:
    """Players and net revenue by day, one above the other; a mark where a configuration was new.

    Args:
        rows: activity_date, dau, net_usd (or null) and config_versions (or null), oldest first.
        scheme: the colours.
    """
    # Bokeh takes a date of a mark as milliseconds only.
    changes = [
        (1000 * timegm(row["activity_date"].timetuple()), row["config_versions"])
        for row in rows
        if row["config_versions"]
    ]
    plots = []
    for name, label, colour in (
        ("dau", "players", scheme.line),
        ("net_usd", "net revenue, $", scheme.good),
    ):
        source = ColumnDataSource(
            {"day": [row["activity_date"] for row in rows], "value": [row[name] for row in rows]}
        )
        plot = _figure(180)
        lines = plot.line("day", "value", source=source, line_width=2, color=colour)
        plot.scatter("day", "value", source=source, size=5, color=colour)
        plot.y_range.start = min(0, *(row[name] or 0 for row in rows))
        plot.yaxis.axis_label = label
        plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
        plot.add_tools(
            HoverTool(
                renderers=[lines],
                tooltips=[("day", "@day{%F}"), (label, "@value{0,0.[00]}")],
                formatters={"@day": "datetime"},
                mode="vline",
            )
        )
        for at, versions in changes:
            plot.add_layout(
                Span(
                    location=at,
                    dimension="height",
                    line_color=scheme.second,
                    line_dash="dashed",
                )
            )
            plot.add_layout(
                Label(
                    x=at,
                    y=4,
                    y_units="screen",
                    text=versions,
                    text_color=scheme.second,
                    text_font_size="11px",
                )
            )
        plots.append(plot)
    plots[1].x_range = plots[0].x_range
    return column(*plots, sizing_mode="stretch_width")


def quality(
    curves: Mapping[tuple[str, str], Sequence[Row]], models: Sequence[str], scheme: Scheme
) -> Column:
    """Reliability of each model, and below it the gains beside those of its baseline.

    Args:
        curves: points with x and y, 0 to 1, by model and curve, as bronze.model_curves has them.
        models: those that are drawn.
        scheme: the colours.
    """
    colours = (scheme.line, scheme.good, scheme.second)
    plots = []
    for of, x_label, y_label in (
        ("reliability", "foretold", "came"),
        ("gains", "looked at, highest scores first", "found"),
    ):
        plot = _figure(260, x_axis_type="linear", x_range=Range1d(0, 1), y_range=Range1d(0, 1.02))
        plot.xaxis.axis_label, plot.yaxis.axis_label = x_label, y_label
        plot.xaxis.formatter = plot.yaxis.formatter = NumeralTickFormatter(format="0%")
        plot.line((0, 1), (0, 1), color=scheme.usual, line_dash="dotted")
        for model, colour in zip(models, cycle(colours)):
            for curve, dash in ((of, "solid"), (f"{of}_of_baseline", "dashed")):
                points = curves.get((model, curve))
                if not points:
                    continue
                begin = [0.0] if of == "gains" else []
                data = {axis: begin + [point[axis] for point in points] for axis in "xy"}
                source = ColumnDataSource(data)
                is_baseline = curve != of
                plot.line(
                    "x",
                    "y",
                    source=source,
                    color=colour,
                    line_dash=dash,
                    line_width=1 if is_baseline else 2,
                    legend_label=f"{model}, baseline" if is_baseline else model,
                )
                dots = plot.scatter("x", "y", source=source, color=colour, size=4)
                tooltips = [(x_label, "@x{0.0%}"), (y_label, "@y{0.0%}")]
                plot.add_tools(HoverTool(renderers=[dots], tooltips=tooltips))
        plot.legend.orientation = "horizontal"
        plot.add_layout(plot.legend[0], "above")
        plots.append(plot)
    return column(*plots, sizing_mode="stretch_width")


def _figure(height: int, **options: Any) -> Any:
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        tools="",
        toolbar_location=None,
        **{"x_axis_type": "datetime", **options},
    )
    plot.toolbar = Toolbar(logo=None, tools=[])
    plot.min_border_right = 12
    if options.get("x_axis_type", "datetime") == "datetime":
        plot.xaxis.formatter = DatetimeTickFormatter(**TIME)
    return plot
