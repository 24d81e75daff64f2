"""Sends real sessions and filings to a landing folder, and remembers what was sent."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from stocks_lakehouse import LandedObject

from demo import stocks

FIRST_SESSION = "2009-10-01"
PAUSE_S = 0.2

# Where a record is and what it holds: (object, ordinal, text).
Place = tuple[str, int, str]


class Sender:
    """A thread that puts one object after the other, each at once, until it is stopped."""

    def __init__(self, landing: Path) -> None:
        self._landing = landing
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.objects: list[stocks.LandingObject] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        for item in _in_order():
            self._put(item)
            self.objects.append(item)
            if self._stop.wait(PAUSE_S):
                return

    def _put(self, item: stocks.LandingObject) -> None:
        path = self._landing / item.key
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self._landing / ".unfinished"
        unfinished.write_bytes(item.body)
        unfinished.replace(path)

    def places(self, prefix: str) -> Counter[Place]:
        """What must stand in bronze of the objects under a prefix."""
        return Counter(
            (item.key, ordinal, line)
            for item in self.objects
            if item.key.startswith(prefix)
            for ordinal, line in enumerate(item.body.decode().splitlines())
        )

    def landed(self, prefix: str) -> list[LandedObject]:
        """The same for the reference."""
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return [
            LandedObject(
                item.key, at, tuple(json.loads(line) for line in item.body.decode().splitlines())
            )
            for item in self.objects
            if item.key.startswith(prefix)
        ]


def _in_order() -> Iterator[stocks.LandingObject]:
    """By date; the filings of before the first session come late, in between."""
    last = max(stocks.bars_by_session())
    items = list(stocks.landing_objects(last))
    prices = [
        item
        for item in items
        if item.key.startswith(stocks.PRICES) and Path(item.key).stem >= FIRST_SESSION
    ]
    filings = [item for item in items if item.key.startswith(stocks.FUNDAMENTALS)]
    for number, price in enumerate(prices):
        yield price
        if number % 3 == 0 and filings:
            yield filings.pop(0)
