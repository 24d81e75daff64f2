"""The chart: what it shows, and that it needs no network."""

from __future__ import annotations

import json
import re
from datetime import date
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from dashboard import stock_chart as chart

DAYS = [date(2010, 1, 22), date(2010, 1, 25), date(2010, 1, 26)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A gold layer of two tickers and three sessions; the filing is used from the third on."""
    path = tmp_path_factory.mktemp("lakehouse")
    filed = [None, None, date(2010, 1, 25)]
    with_fundamentals = pa.table(
        {
            "ticker": ["AAPL"] * 3 + ["IBM"] * 3,
            "price_date": pa.array(DAYS * 2, pa.date32()),
            "close": [197.75, 203.075, 205.94, 125.5, 126.12, 125.75],
            "fiscal_period": [None, None, "2010Q1"] * 2,
            "filing_type": [None, None, "10-Q"] * 2,
            "filed_date": pa.array(filed * 2, pa.date32()),
            "eps_basic_net": [None, None, 3.74, None, None, 2.0],
            "verified": [None, None, False, None, None, True],
        }
    )
    ratios = pa.table(
        {
            "ticker": ["AAPL"] * 3,
            "price_date": pa.array(DAYS[::-1], pa.date32()),
            "close": [205.94, 203.075, 197.75],
            "eps_ttm": [10.0, None, None],
            "pe_ttm": [20.594, None, None],
            "null_reason": [None, "no_data", "no_data"],
            "all_verified": [False, None, None],
        }
    )
    gold = path / "warehouse" / "gold.db"
    write_deltalake(str(gold / "stocksdailypriceswfund"), with_fundamentals)
    write_deltalake(str(gold / "price_earnings_ttm"), ratios)
    return path


@pytest.fixture(scope="module")
def page(root):
    blueprint = pa.table({"price_date": pa.array(DAYS[2:], pa.date32()), "pe": [55.06]})
    return chart.draw(
        "AAPL",
        chart.read_valuation(root, "AAPL"),
        blueprint,
        chart.read_filings(root, "AAPL"),
    )


class Elements(HTMLParser):
    """Attributes that make a browser fetch something, and the JSON of the figure."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.figure = ""
        self._in_figure = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.fetched += [value for name, value in attrs if name in ("src", "href", "data")]
        self._in_figure = tag == "script" and ("type", "application/json") in attrs

    def handle_data(self, data):
        if self._in_figure:
            self.figure += data


def models(page, name):
    """The attributes of every model of a kind in the figure's JSON."""

    def walk(value):
        if isinstance(value, dict):
            if value.get("name") == name and "attributes" in value:
                yield value["attributes"]
            for item in value.values():
                yield from walk(item)
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)

    return list(walk(json.loads(Elements(page).figure)))


def test_valuation_is_one_tickers_in_the_order_of_its_sessions(root):
    table = chart.read_valuation(root, "AAPL")
    assert table["price_date"].to_pylist() == DAYS
    assert table["pe_ttm"].to_pylist() == [None, None, 20.594]


def test_a_filing_stands_at_the_close_of_the_session_that_first_used_it(root):
    assert chart.read_filings(root, "AAPL").to_pylist() == [
        {
            "fiscal_period": "2010Q1",
            "filing_type": "10-Q",
            "filed_date": date(2010, 1, 25),
            "eps_basic_net": 3.74,
            "verified": False,
            "close_first": 205.94,
        }
    ]


def test_the_page_fetches_nothing(page):
    assert Elements(page).fetched == []
    assert not re.search(r"@import|url\(\s*['\"]?https?:", page)


def test_axes_name_what_they_measure_and_in_which_unit(page):
    labels = {
        axis["axis_label"] for kind in ("DatetimeAxis", "LinearAxis") for axis in models(page, kind)
    }
    assert labels == {"session (date)", "US dollars a share", "price / earnings (ratio)"}


def test_the_legend_tells_the_four_series_apart(page):
    labels = {item["label"]["value"] for item in models(page, "LegendItem")}
    assert {label.split(":")[0] for label in labels} == {
        "close (raw, not adjusted)",
        "a filing",
        "price_earnings_ttm",
        "viewPE",
    }


def test_every_series_says_its_values_under_the_pointer(page):
    shown = json.dumps([tool["tooltips"] for tool in models(page, "HoverTool")])
    for column in ("@close", "@filed_date", "@eps_basic_net", "@pe_ttm", "@eps_ttm", "@pe{"):
        assert column in shown


def test_unverified_filings_are_counted_in_the_note(page):
    assert "1 of 1 filings are unverified" in models(page, "Div")[0]["text"]


def test_a_ratio_that_is_missing_is_a_gap_and_not_zero():
    values = chart._column(pa.chunked_array([[None, 20.594]]))
    assert values[0] != values[0]
    assert values[1] == 20.594
