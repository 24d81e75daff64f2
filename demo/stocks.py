"""The stock feeds: real daily bars and earnings per share as filed, as a vendor delivers them.

Prices are the daily bars of the package bokeh_sampledata, 2000-03-01 to 2013-03-01, one object
a session; fundamentals are demo/reference/eps_as_filed.csv, one object a filing date. The bytes
of an object never change, so neither does its eTag.
"""

from __future__ import annotations

import csv
import hashlib
import json
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bokeh_sampledata import stocks as daily_bars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

BUCKET = "multihop-landing"
PREFIX = "stocks/"
PRICES = PREFIX + "prices/"
FUNDAMENTALS = PREFIX + "fundamentals/"
FEEDS = ("stocks_daily_prices", "stocks_fundamentals")  # of loaders/feeds.yml
TICKERS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
EPS_AS_FILED = Path(__file__).parent / "reference" / "eps_as_filed.csv"
# So many sessions at the end of the data are kept for later runs, one a run.
HELD_BACK = 10
THREADS = 16
# Of a producer that keeps sending: a session a second.
SEND_PAUSE_S = 1.0

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LandingObject:
    """One object of the landing bucket: NDJSON, a record a line."""

    key: str
    body: bytes
    records: int

    @property
    def etag(self) -> str:
        """What S3 answers for a plain put: the MD5 of the bytes, in hexadecimal."""
        return hashlib.md5(self.body, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one call of produce() added to the bucket, up to and with the session `until`."""

    until: date
    sessions: int
    bars: int
    filing_dates: int
    filings: int


@cache
def bars_by_session() -> Mapping[date, list[Record]]:
    """The price records of each session, oldest first, by ticker within a session."""
    bars = defaultdict(list)
    for ticker in TICKERS:
        columns = getattr(daily_bars, ticker)
        for row in zip(*columns.values(), strict=True):
            bar = dict(zip(columns, row, strict=True))
            session = bar["date"]
            bars[date.fromisoformat(session)].append(
                {
                    "ticker": ticker,
                    "price_date": session,
                    **{name: bar[name] for name in ("open", "high", "low", "close", "volume")},
                    "adj_close": bar["adj_close"],
                    "currency": "USD",
                    "updated": f"{session}T21:30:00Z",
                }
            )
    return dict(sorted(bars.items()))


@cache
def filings_by_date() -> Mapping[date, list[Record]]:
    """The fundamentals records of each filing date, oldest first, in the file's order."""
    filings = defaultdict(list)
    with EPS_AS_FILED.open(newline="") as file:
        for row in csv.DictReader(file):
            filings[date.fromisoformat(row["filed_date"])].append(
                {
                    "ticker": row["ticker"],
                    "fiscal_period": row["fiscal_period"],
                    "period_start": row["period_start"],
                    "period_end": row["period_end"],
                    "fiscal_year": int(row["fiscal_year"]),
                    "fiscal_quarter": row["fiscal_quarter"],
                    "eps_basic_net": _number(row["eps_basic_net"]),
                    "eps_diluted_net": _number(row["eps_diluted_net"]),
                    "filing_type": row["filing_type"],
                    "filed_date": row["filed_date"],
                    "currency": row["currency"],
                    "source": row["source"],
                    "verified": row["verified"] == "true",
                    "updated": f"{row['filed_date']}T22:00:00Z",
                }
            )
    return dict(sorted(filings.items()))


def _number(text: str) -> float | None:
    return float(text) if text else None


def landing_objects(until: date) -> Iterator[LandingObject]:
    """Every object of both feeds up to and with a session, oldest first."""
    for session, bars in bars_by_session().items():
        if session <= until:
            yield _ndjson(f"{PRICES}year={session.year}/{session}.json", bars)
    for filed, filings in filings_by_date().items():
        if filed <= until:
            yield _ndjson(f"{FUNDAMENTALS}{filed}.json", filings)


def _ndjson(key: str, records: list[Record]) -> LandingObject:
    lines = (json.dumps(record, separators=(",", ":")) for record in records)
    return LandingObject(key, "".join(f"{line}\n" for line in lines).encode(), len(records))


def next_session(delivered: date | None) -> date:
    """The session up to which the vendor delivers next.

    Args:
        delivered: the last session that was delivered, if any.

    Returns: at first the session HELD_BACK before the last one, then one more each time; the
        last one when there is no more.
    """
    sessions = list(bars_by_session())
    first = sessions[-1 - HELD_BACK]
    if delivered is None or delivered < first:
        return first
    return next((session for session in sessions if session > delivered), sessions[-1])


def last_session(keys: Iterator[str]) -> date | None:
    """The last session among the bucket's keys; what lies there is all that is remembered."""
    sessions = (Path(key).stem for key in keys if key.startswith(PRICES))
    return max(map(date.fromisoformat, sessions), default=None)


def produce(
    s3: Any,
    bucket: str = BUCKET,
    *,
    until: date | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Delivery:
    """Put into the bucket what is not there yet, up to and with a session.

    Args:
        s3: boto3's S3 client.
        until: the session; next_session() of what lies in the bucket when not given.
        progress: told the number of objects put, and of those to be put.
    """
    make_bucket(s3, bucket)
    present = _etags(s3, bucket)
    until = until or next_session(last_session(iter(present)))
    missing = [item for item in landing_objects(until) if present.get(item.key) != item.etag]
    with ThreadPoolExecutor(THREADS) as pool:
        puts = [
            pool.submit(s3.put_object, Bucket=bucket, Key=item.key, Body=item.body)
            for item in missing
        ]
        try:
            for done, put in enumerate(as_completed(puts), 1):
                put.result()
                if progress:
                    progress(done, len(puts))
        finally:
            pool.shutdown(cancel_futures=True)
    prices = [item for item in missing if item.key.startswith(PRICES)]
    filings = [item for item in missing if item.key.startswith(FUNDAMENTALS)]
    return Delivery(
        until,
        sessions=len(prices),
        bars=sum(item.records for item in prices),
        filing_dates=len(filings),
        filings=sum(item.records for item in filings),
    )


def keep_sending(s3: Any, stop: threading.Event, bucket: str = BUCKET) -> None:
    """Put one object after the other, a session every SEND_PAUSE_S, until `stop` is set.

    First what a vendor delivers, in the order of its dates, from where the bucket ends; then, as a
    vendor that restates its history, the same bars again and again under new keys and with a later
    `updated`.
    """
    present = _etags(s3, bucket)
    last = max(bars_by_session())
    objects = sorted(landing_objects(last), key=lambda item: Path(item.key).stem)
    for item in chain(
        (item for item in objects if present.get(item.key) != item.etag), restatements()
    ):
        s3.put_object(Bucket=bucket, Key=item.key, Body=item.body)
        if stop.wait(SEND_PAUSE_S):
            return


def restatements() -> Iterator[LandingObject]:
    """All sessions again, over and over, with the time of sending as `updated`."""
    while True:
        for session, bars in bars_by_session().items():
            now = datetime.now(UTC)
            key = f"{PRICES}restated={now:%Y-%m-%dT%H-%M-%S}/{session}.json"
            updated = f"{now:%Y-%m-%dT%H:%M:%SZ}"
            yield _ndjson(key, [{**bar, "updated": updated} for bar in bars])


def make_bucket(s3: Any, bucket: str = BUCKET) -> None:
    """Create the bucket where it is missing."""
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=bucket)


def _etags(s3: Any, bucket: str) -> dict[str, str]:
    """The eTags of what lies in the bucket by key."""
    return {
        item["Key"]: item["ETag"].strip('"')
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
        for item in page.get("Contents", ())
    }
