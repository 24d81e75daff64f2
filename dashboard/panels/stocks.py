"""Shares: price and price/earnings ratios."""

from __future__ import annotations

from dashboard import charts
from dashboard.choice import Choice
from dashboard.content import Content, Link, Table
from dashboard.metrics import show_time
from dashboard.question import Question

TABLE_SESSIONS = 48


def tickers(question: Question) -> Content:
    """Each share at its newest session."""
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


def live_prices(question: Question) -> Content:
    """The bar that came last of each share, by the streaming model."""
    rows = question.of_choice("live_prices")
    if not rows:
        return Content("empty", "No window yet.")
    return Content(
        table=Table(
            "Bars that came last",
            ("ticker", "came, UTC", "session", "close", "volume"),
            [
                (
                    Link(row["ticker"], question.choice.query(ticker=row["ticker"])),
                    show_time(row["window_start"]),
                    f"{row['price_date']:%Y-%m-%d}",
                    f"{row['close']:,.2f}",
                    "-" if row["volume"] is None else f"{row['volume']:,}",
                )
                for row in rows
            ],
            (3, 4),
        )
    )


def stock(question: Question) -> Content:
    """The chosen share, else the first, over time."""
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
                for row in valuation[: -TABLE_SESSIONS - 1 : -1]
            ],
            (1, 2, 3),
        ),
        notes=[
            f"{len(valuation):,} sessions up to {valuation[-1]['price_date']:%Y-%m-%d}.",
            "viewPE divides by one quarter's earnings, the other by four quarters'.",
        ],
    )
