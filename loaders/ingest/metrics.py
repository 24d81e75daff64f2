"""What the ingest service counts, for Prometheus. No label has a player or an event in it."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

# Seconds; the goal is 0.05 at the 99th percentile.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """Of one service.

    Args:
        backlog: destination → bytes that wait for it.
        retries: destination → parts that were sent again so far.
        aside: destination → parts that wait because of what is in them.
        fsyncs: how often the journal was brought to disk so far.
    """

    def __init__(
        self,
        backlog: dict[str, Callable[[], float]],
        retries: dict[str, Callable[[], float]],
        aside: dict[str, Callable[[], float]],
        fsyncs: Callable[[], float],
    ) -> None:
        self._registry = registry = CollectorRegistry()
        self._events = Counter(
            "ingest_events", "Events by outcome.", ("outcome", "reason"), registry=registry
        )
        self._requests = Counter(
            "ingest_requests", "Requests with events, by status.", ("status",), registry=registry
        )
        self._seconds = Histogram(
            "ingest_request_seconds",
            "Time from the last byte of a request to its answer.",
            buckets=_BUCKETS,
            registry=registry,
        )
        waiting = Gauge(
            "ingest_backlog_bytes", "Bytes that wait for delivery.", ("to",), registry=registry
        )
        for name, read in backlog.items():
            waiting.labels(name).set_function(read)
        again = Gauge(
            "ingest_retried_parts", "Parts that were sent again.", ("to",), registry=registry
        )
        for name, read in retries.items():
            again.labels(name).set_function(read)
        apart = Gauge(
            "ingest_parts_aside", "Parts that wait, others arrive.", ("to",), registry=registry
        )
        for name, read in aside.items():
            apart.labels(name).set_function(read)
        Gauge("ingest_fsyncs", "Group commits of the journal.", registry=registry).set_function(
            fsyncs
        )

    def note_events(self, outcomes: Iterable[tuple[str, str]]) -> None:
        """Count events by outcome and, of what is refused or quarantined, reason."""
        for (outcome, reason), count in Counts(outcomes).items():
            self._events.labels(outcome, reason).inc(count)

    def note_request(self, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)
