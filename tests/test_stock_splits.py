"""The seed of splits, held against the raw prices."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest

from demo.stocks import bars_by_session

SEED = Path(__file__).resolve().parent.parent / "seeds" / "stock_splits.csv"


def splits() -> list[dict[str, str]]:
    with SEED.open(newline="") as file:
        return list(csv.DictReader(file))


def closes(ticker: str) -> dict[date, float]:
    return {
        session: record["close"]
        for session, records in bars_by_session().items()
        for record in records
        if record["ticker"] == ticker
    }


@pytest.mark.parametrize(
    "split",
    [split for split in splits() if split["verified"] == "true"],
    ids=lambda split: f"{split['ticker']} {split['split_date']}",
)
def test_the_raw_close_falls_by_the_ratio_on_the_day_of_a_verified_split(
    split: dict[str, str],
) -> None:
    series = closes(split["ticker"])
    day = date.fromisoformat(split["split_date"])
    before = series[max(session for session in series if session < day)]
    # what is left beside the split is a day's move
    assert series[day] * float(split["ratio"]) / before == pytest.approx(1, abs=0.1)
    assert f"from {before:.2f} to {series[day]:.2f}" in split["source"]


def test_splits_outside_the_prices_are_marked_unverified() -> None:
    for split in splits():
        series = closes(split["ticker"])
        covered = min(series) < date.fromisoformat(split["split_date"]) <= max(series)
        assert (split["verified"] == "true") == covered, split
