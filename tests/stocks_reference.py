"""What the stocks models must say, worked out slowly: one session at a time, from all records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

from stocks_lakehouse import LandedObject

STALE_AFTER = timedelta(days=200)

Split = tuple[str, date, Fraction]


@dataclass(frozen=True)
class Filing:
    """The last delivery of one filing of one fiscal period."""

    period: str
    start: date
    end: date
    filed: date
    form: str
    basic: Decimal | None
    diluted: Decimal | None
    currency: str | None
    verified: bool


def last_deliveries(
    objects: Iterable[LandedObject], key: tuple[str, ...]
) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The fit record of each key that stands last by revision time, object time and place."""
    found: dict[tuple[Any, ...], tuple[Any, dict[str, Any]]] = {}
    for item in objects:
        for ordinal, record in enumerate(item.records):
            if isinstance(record, str) or record.get("unfit"):
                continue
            order = (record["updated"], item.modified_at, item.key, ordinal)
            name = tuple(record[column] for column in key)
            if name not in found or order > found[name][0]:
                found[name] = (order, record)
    return {name: record for name, (_, record) in found.items()}


def filings_of(objects: Iterable[LandedObject]) -> dict[str, list[Filing]]:
    """The last deliveries of all filings, by ticker."""
    key = ("ticker", "fiscal_period", "filed_date", "filing_type")
    filings: dict[str, list[Filing]] = {}
    for record in last_deliveries(objects, key).values():
        basic, diluted = record["eps_basic_net"], record["eps_diluted_net"]
        filings.setdefault(record["ticker"], []).append(
            Filing(
                period=record["fiscal_period"],
                start=date.fromisoformat(record["period_start"]),
                end=date.fromisoformat(record["period_end"]),
                filed=date.fromisoformat(record["filed_date"]),
                form=record["filing_type"],
                basic=None if basic is None else Decimal(str(basic)),
                diluted=None if diluted is None else Decimal(str(diluted)),
                currency=record["currency"],
                verified=record["verified"],
            )
        )
    return filings


def quarters_known(filings: Iterable[Filing], day: date) -> list[Filing]:
    """Each quarter as known on a day, newest first: filed earlier, the last filing counts."""

    def strength(filing: Filing) -> tuple[date, int, str]:
        form = filing.form
        return filing.filed, 3 if form.endswith("/A") else 1 if form == "8-K" else 2, form

    known: dict[str, Filing] = {}
    for filing in filings:
        if filing.filed < day and not filing.period.endswith("FY"):
            rival = known.get(filing.period)
            if rival is None or strength(filing) > strength(rival):
                known[filing.period] = filing
    return sorted(known.values(), key=lambda q: (q.end, q.filed, q.period), reverse=True)


def with_fundamentals(
    prices: Iterable[LandedObject], fundamentals: Iterable[LandedObject]
) -> dict[tuple[str, date], tuple[Any, ...]]:
    """close, fiscal_period, period_end, basic, diluted, form, filing date, verified."""
    filings = filings_of(fundamentals)
    rows = {}
    for (ticker, text), bar in last_deliveries(prices, ("ticker", "price_date")).items():
        day = date.fromisoformat(text)
        known = quarters_known(filings.get(ticker, []), day)
        quarter: tuple[Any, ...] = (None,) * 7
        if known:
            newest = known[0]
            quarter = (
                newest.period,
                newest.end,
                None if newest.basic is None else float(newest.basic),
                None if newest.diluted is None else float(newest.diluted),
                newest.form,
                newest.filed,
                newest.verified,
            )
        rows[ticker, day] = (float(bar["close"]), *quarter)
    return rows


def trailing(
    prices: Iterable[LandedObject],
    fundamentals: Iterable[LandedObject],
    splits: Iterable[Split],
) -> dict[tuple[str, date], tuple[str | None, date | None, float | None, float | None]]:
    """null_reason, period_end, eps_ttm and pe_ttm."""
    filings = filings_of(fundamentals)
    splits = list(splits)
    rows = {}
    for (ticker, text), bar in last_deliveries(prices, ("ticker", "price_date")).items():
        day = date.fromisoformat(text)
        four = quarters_known(filings.get(ticker, []), day)[:4]
        reason, eps = _earnings(ticker, day, bar["currency"], four, splits)
        close = Fraction(str(bar["close"]))
        rows[ticker, day] = (
            reason,
            four[0].end if four else None,
            None if eps is None else float(eps),
            None if eps is None or reason else float(close / eps),
        )
    return rows


def _earnings(
    ticker: str, day: date, currency: str, four: list[Filing], splits: list[Split]
) -> tuple[str | None, Fraction | None]:
    if not four:
        return "no_data", None
    if day - four[0].end > STALE_AFTER:
        return "stale", None
    consecutive = all(
        abs(newer.start - older.end) <= timedelta(days=7) for newer, older in pairwise(four)
    )
    if len(four) < 4 or not consecutive or any(quarter.diluted is None for quarter in four):
        return "missing_quarter", None
    if any(quarter.currency and currency and quarter.currency != currency for quarter in four):
        return "currency_mismatch", None
    total = Fraction(0)
    for quarter in four:
        eps = Fraction(quarter.diluted)  # type: ignore[arg-type]
        for split_ticker, split_day, ratio in splits:
            if split_ticker == ticker and quarter.filed < split_day <= day:
                eps /= ratio
        total += eps
    return ("non_positive" if total <= 0 else None), total
