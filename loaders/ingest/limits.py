"""How much a studio may send, and which events were here before. Pure but for the clock."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable


class TokenBucket:
    """So many tokens a second, saved up for `burst_seconds` at most."""

    def __init__(
        self,
        per_second: float,
        burst_seconds: float = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._most = per_second * burst_seconds
        self._clock = clock
        self._tokens = self._most
        self._filled_at = clock()

    def take(self, count: int) -> float:
        """Take tokens. Returns 0, or in how many seconds there will be so many.

        More than are ever saved up are lent where the bucket is full, and waited for by the next.
        """
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        needed = min(count, self._most)
        if needed <= self._tokens:
            self._tokens -= count
            return 0.0
        return (needed - self._tokens) / self._per_second


class RecentIds:
    """The last events, by studio and event_id: at least `window` of them, at most twice as many.

    Keys are digests of 16 bytes. Kept in two generations: when the younger is full, the older one
    is forgotten.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    @staticmethod
    def key(studio: str, event_id: str) -> bytes:
        """The key of an event; no studio can make one of another's."""
        text = f"{len(studio)}/{studio}/{event_id}".encode()
        return hashlib.blake2b(text, digest_size=16).digest()

    def add(self, key: bytes) -> bool:
        """Remember a key; whether it is new."""
        if key in self._young or key in self._old:
            return False
        if len(self._young) >= self._window:
            self._old, self._young = self._young, set()
        self._young.add(key)
        return True

    def forget(self, keys: Iterable[bytes]) -> None:
        """Forget keys whose events were not kept after all."""
        for key in keys:
            self._young.discard(key)
            self._old.discard(key)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
