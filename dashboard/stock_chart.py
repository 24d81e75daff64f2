"""A share's price and price/earnings ratios over time, as one page that needs no network."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from bokeh.embed import file_html
from bokeh.layouts import Column, column
from bokeh.models import ColumnDataSource, DatetimeTickFormatter, Div, HoverTool, Range1d
from bokeh.plotting import figure
from bokeh.resources import INLINE
from bokeh.themes import Theme
from deltalake import DeltaTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COLOURS = {"price": "#2b5c8a", "blueprint": "#d08a1d", "trailing": "#2a8a57", "paper": "white"}
THEME = {"attrs": {"Grid": {"grid_line_color": "#e6e6e6"}, "Plot": {"outline_line_color": None}}}
WIDTH_PX = 1080
MARGIN = timedelta(days=20)


def read_valuation(root: Path, ticker: str) -> pa.Table:
    """gold.price_earnings_ttm of one ticker by price_date: close in USD, pe_ttm, eps_ttm in USD."""
    columns = ["price_date", "close", "eps_ttm", "pe_ttm", "null_reason", "all_verified"]
    return _read(root, "price_earnings_ttm", ticker, columns).sort_by("price_date")


def read_filings(root: Path, ticker: str) -> pa.Table:
    """The filings behind gold.stocksDailyPricesWFund of one ticker, with the close of the day
    on which each was first used (USD)."""
    keys = ["fiscal_period", "filing_type", "filed_date", "eps_basic_net", "verified"]
    rows = _read(root, "stocksdailypriceswfund", ticker, [*keys, "price_date", "close"])
    rows = rows.filter(pc.is_valid(rows["filed_date"])).sort_by("price_date")
    return rows.group_by(keys, use_threads=False).aggregate([("close", "first")])


def _read(root: Path, table: str, ticker: str, columns: list[str]) -> pa.Table:
    return DeltaTable(str(root / "warehouse" / "gold.db" / table)).to_pyarrow_table(
        columns=columns, filters=[("ticker", "=", ticker)]
    )


def draw(ticker: str, valuation: pa.Table, blueprint: pa.Table, filings: pa.Table) -> str:
    """The page's HTML, scripts included; takes what layout() takes."""
    drawn = layout(ticker, valuation, blueprint, filings)
    return file_html(drawn, INLINE, f"{ticker}: price and P/E", theme=Theme(json=THEME))


def layout(
    ticker: str,
    valuation: pa.Table,
    blueprint: pa.Table,
    filings: pa.Table,
    colours: Mapping[str, str] = COLOURS,
) -> Column:
    """The two plots and a note below them.

    Args:
        valuation: what read_valuation() returns.
        blueprint: price_date and pe of gold.viewPE.
        filings: what read_filings() returns.
        colours: of price, blueprint, trailing and paper.
    """
    dates = valuation["price_date"].to_pylist()
    start = min(filings["filed_date"].to_pylist(), default=dates[0])
    window = Range1d(_midnight(start - MARGIN), _midnight(dates[-1] + MARGIN))

    def panel(title: str, unit: str, height_px: int, values: pa.ChunkedArray) -> Any:
        top = pc.max(values).as_py() or 1.0
        return figure(
            title=title,
            x_axis_type="datetime",
            x_range=window,
            y_range=Range1d(0, top * 1.08),
            x_axis_label="session (date)",
            y_axis_label=unit,
            width=WIDTH_PX,
            height=height_px,
            tools="xpan,xwheel_zoom,xbox_zoom,reset,save",
            active_drag="xpan",
        )

    visible = pc.greater_equal(valuation["price_date"], pa.scalar(start, pa.date32()))
    shown = valuation.filter(visible)
    ratios = pa.chunked_array([*shown["pe_ttm"].chunks, *blueprint["pe"].chunks], type=pa.float64())
    prices = panel(f"{ticker}: closing price", "US dollars a share", 300, shown["close"])
    line = prices.line(
        "price_date",
        "close",
        source=_source(valuation),
        color=colours["price"],
        line_width=1.6,
        legend_label="close (raw, not adjusted)",
    )
    marks = prices.scatter(
        "filed_date",
        "close_first",
        source=_source(filings),
        marker="triangle",
        size=9,
        color=colours["price"],
        fill_color=colours["paper"],
        legend_label="a filing",
    )
    prices.add_tools(
        _hover([line], [("close", "@close{0.00} USD")]),
        HoverTool(
            renderers=[marks],
            tooltips=[
                ("filed", "@filed_date{%F}"),
                ("report", "@filing_type for @fiscal_period"),
                ("basic EPS", "@eps_basic_net{0.00} USD"),
                ("verified", "@verified"),
            ],
            formatters={"@filed_date": "datetime"},
        ),
    )

    pe = panel(f"{ticker}: price/earnings ratio", "price / earnings (ratio)", 320, ratios)
    trailing = pe.line(
        "price_date",
        "pe_ttm",
        source=_source(valuation),
        color=colours["trailing"],
        line_width=1.8,
        legend_label="price_earnings_ttm: four quarters' diluted earnings",
    )
    view = pe.line(
        "price_date",
        "pe",
        source=_source(blueprint),
        color=colours["blueprint"],
        line_width=1.6,
        legend_label="viewPE: the latest quarter's basic earnings, as the eBook prints it",
    )
    pe.add_tools(
        _hover(
            [trailing],
            [("pe_ttm", "@pe_ttm{0.00}"), ("eps_ttm", "@eps_ttm{0.00} USD")],
        ),
        _hover([view], [("viewPE", "@pe{0.00}")]),
    )
    for plot in (prices, pe):
        plot.add_layout(plot.legend[0], "above")
        plot.legend.orientation, plot.legend.location = "horizontal", "top_left"
        plot.legend.margin = plot.legend.padding = 0
        plot.legend.spacing = 16
        plot.legend.click_policy = "hide"
        plot.legend.border_line_color = None
        plot.toolbar.logo = None
        plot.xaxis.formatter = DatetimeTickFormatter(months="%b %Y", days="%F", years="%Y")

    unverified = pc.sum(pc.invert(filings["verified"])).as_py() or 0
    note = Div(
        width=WIDTH_PX,
        text=(
            f"{len(dates):,} sessions, {dates[0]} to {dates[-1]}; drag to see earlier ones. "
            "A ratio starts on the first session after the filing it rests on. "
            "viewPE divides by one quarter where price_earnings_ttm divides by four, so it reads "
            f"about four times too high. {unverified} of {filings.num_rows} filings are unverified."
        ),
    )
    return column(prices, pe, note)


def _hover(renderers: list, rows: list[tuple[str, str]]) -> HoverTool:
    return HoverTool(
        renderers=renderers,
        tooltips=[("session", "@price_date{%F}"), *rows],
        formatters={"@price_date": "datetime"},
        mode="vline",
    )


def _source(table: pa.Table) -> ColumnDataSource:
    return ColumnDataSource({name: _column(table[name]) for name in table.column_names})


def _column(values: pa.ChunkedArray) -> list:
    """Plain values; a date becomes a time, and a missing number NaN, a gap in the line."""
    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        return [float("nan") if value is None else float(value) for value in values.to_pylist()]
    if pa.types.is_date(values.type):
        return [_midnight(value) for value in values.to_pylist()]
    return values.to_pylist()


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
