"""Stocks: where a bad record ends. What JSON cannot carry is refused earlier, by the loaders."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from stocks_lakehouse import FUNDAMENTALS, PRICES, LandedObject, StocksLakehouse

WRITTEN = datetime(2024, 1, 3, 22, tzinfo=UTC)
BAR = {"ticker": "A", "price_date": "2024-01-03", "close": 10.5}
FILING = {
    "ticker": "A",
    "fiscal_period": "2023Q3",
    "period_start": "2023-07-01",
    "period_end": "2023-09-30",
    "fiscal_quarter": "Q3",
    "eps_basic_net": 1.5,
    "filing_type": "10-Q",
    "filed_date": "2023-11-02",
}
# As Python's json writes them, though JSON knows no such words.
NAN, INFINITY = float("nan"), float("inf")

REFUSED_PRICES: dict[str, tuple[Any, str]] = {
    "NaN": ({**BAR, "close": NAN}, "not_finite"),
    "NaN in another price": ({**BAR, "open": NAN}, "not_finite"),
    "Infinity": ({**BAR, "high": INFINITY}, "not_finite"),
    "minus Infinity as text": ({**BAR, "close": "-Infinity"}, "not_finite"),
    "None as text": ({**BAR, "close": "None"}, "missing_close"),
    "null": ({**BAR, "close": None}, "missing_close"),
    "no number": ({**BAR, "close": "ten"}, "not_a_number"),
    "a list for a number": ({**BAR, "low": [1]}, "not_a_number"),
    "a price of zero": ({**BAR, "close": 0}, "non_positive_price"),
    "a negative price": ({**BAR, "low": -0.01}, "non_positive_price"),
    "high below low": ({**BAR, "high": 1, "low": 2}, "high_below_low"),
    "a negative volume": ({**BAR, "volume": -1}, "negative_volume"),
    "no ticker": ({**BAR, "ticker": None}, "missing_ticker"),
    "an empty ticker": ({**BAR, "ticker": " "}, "missing_ticker"),
    "no date": ({"ticker": "A", "close": 1}, "missing_price_date"),
    "half a date": ({**BAR, "price_date": "2024-01"}, "not_a_date"),
    "a day that is none": ({**BAR, "price_date": "2024-02-30"}, "not_a_date"),
    "a future date": ({**BAR, "price_date": "2024-01-05"}, "future_date"),
    "a list": ("[1, 2]", "not_an_object"),
    "a word": ('"A"', "not_an_object"),
}
REFUSED_FILINGS: dict[str, tuple[Any, str]] = {
    "NaN": ({**FILING, "eps_basic_net": NAN}, "not_finite"),
    "Infinity": ({**FILING, "eps_diluted_net": INFINITY}, "not_finite"),
    "no number": ({**FILING, "eps_basic_net": "a lot"}, "not_a_number"),
    "no ticker": ({**FILING, "ticker": "None"}, "missing_ticker"),
    "a future filing": ({**FILING, "filed_date": "2024-01-05"}, "future_date"),
    "filed before its period ended": (
        {**FILING, "filed_date": "2023-09-29"},
        "filed_before_period_end",
    ),
    "a year called a quarter": ({**FILING, "period_start": "2023-01-01"}, "not_a_quarter_long"),
    "a list": ("[]", "not_an_object"),
}
ACCEPTED_PRICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "numbers as text": (
        {"ticker": "TEXT", "price_date": "2024-01-03", "close": "10.50", "volume": "1e3"},
        {"close": Decimal("10.500000"), "volume": 1000},
    ),
    "None beside a close": (
        {"ticker": "BARE", "price_date": "2024-01-03", "close": 1, "open": "None", "volume": "-"},
        {"close": Decimal(1), "open": None, "volume": None},
    ),
    "the day after the object was written": (
        {"ticker": "EAST", "price_date": "2024-01-04", "close": 1},
        {"price_date": date(2024, 1, 4)},
    ),
}
TWO_BARS = (
    {"ticker": "TWICE", "price_date": "2024-01-03", "close": 1},
    {"ticker": "TWICE", "price_date": "2024-01-03", "close": 2},
)
NO_EARNINGS = {**FILING, "ticker": "UNTOLD", "eps_basic_net": "None"}


@pytest.fixture(scope="module")
def stocks(spark: Any, dbt: Callable[..., Any], root: Path) -> StocksLakehouse:
    lakehouse = StocksLakehouse(spark, dbt, root)

    def land(cases: dict[str, tuple[Any, Any]]) -> list[LandedObject]:
        return [LandedObject(name, WRITTEN, (case[0],)) for name, case in cases.items()]

    two = LandedObject("two bars", WRITTEN, TWO_BARS)
    untold = LandedObject("no earnings", WRITTEN, (NO_EARNINGS,))
    lakehouse.deliver(PRICES, 0, [*land(REFUSED_PRICES), *land(ACCEPTED_PRICES), two])
    lakehouse.deliver(FUNDAMENTALS, 0, [*land(REFUSED_FILINGS), untold])
    lakehouse.run(
        select="+stocks_daily_prices +stocks_daily_prices_rejected "
        "+stocks_fundamentals_filed +stocks_fundamentals_rejected"
    )
    return lakehouse


@pytest.fixture(scope="module")
def refusals(stocks: StocksLakehouse) -> dict[str, dict[str, str]]:
    """Reasons by object, of both feeds."""
    return {
        feed: {
            row._key: row.reject_reason
            for row in stocks.spark.table(f"silver.stocks_{feed}_rejected").collect()
        }
        for feed in ("daily_prices", "fundamentals")
    }


@pytest.mark.parametrize("name", REFUSED_PRICES)
def test_a_bad_price_is_refused_with_its_reason(
    refusals: dict[str, dict[str, str]], name: str
) -> None:
    assert refusals["daily_prices"][name] == REFUSED_PRICES[name][1]


@pytest.mark.parametrize("name", REFUSED_FILINGS)
def test_a_bad_filing_is_refused_with_its_reason(
    refusals: dict[str, dict[str, str]], name: str
) -> None:
    assert refusals["fundamentals"][name] == REFUSED_FILINGS[name][1]


def test_nothing_else_is_refused(refusals: dict[str, dict[str, str]]) -> None:
    assert refusals["daily_prices"].keys() == REFUSED_PRICES.keys()
    assert refusals["fundamentals"].keys() == REFUSED_FILINGS.keys()


def test_nothing_refused_goes_on(stocks: StocksLakehouse) -> None:
    prices = {row["ticker"] for row in stocks.rows("silver.stocks_daily_prices")}
    assert prices == {"TEXT", "BARE", "EAST", "TWICE"}
    filings = {row["ticker"] for row in stocks.rows("silver.stocks_fundamentals_filed")}
    assert filings == {"UNTOLD"}


@pytest.mark.parametrize("name", ACCEPTED_PRICES)
def test_odd_but_clear_records_are_read(stocks: StocksLakehouse, name: str) -> None:
    record, expected = ACCEPTED_PRICES[name]
    (row,) = [
        row
        for row in stocks.rows("silver.stocks_daily_prices")
        if row["ticker"] == record["ticker"]
    ]
    assert {column: row[column] for column in expected} == expected


def test_of_two_bars_of_a_day_in_one_object_the_later_one_counts(stocks: StocksLakehouse) -> None:
    rows = [
        (row["close"], row["_ordinal"])
        for row in stocks.rows("silver.stocks_daily_prices")
        if row["ticker"] == "TWICE"
    ]
    assert rows == [(Decimal(2), 1)]


def test_earnings_that_were_not_supplied_are_null(stocks: StocksLakehouse) -> None:
    (row,) = stocks.rows("silver.stocks_fundamentals_filed")
    assert (row["eps_basic_net"], row["eps_diluted_net"], row["verified"]) == (None, None, False)
