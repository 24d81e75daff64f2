"""Planning a Kinesis batch: reading ahead, shard by shard, and knowing exactly what was read."""

from __future__ import annotations

import logging
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from loaders.sources import shards as graph
from loaders.sources.kinesis_client import (
    MAX_BACKOFF_S,
    MAX_RECORDS,
    READ_SPACING_S,
    DataLoss,
    Description,
    IteratorExpired,
    KinesisClient,
    KinesisError,
    NotFound,
    Page,
    RawRecord,
    Throttled,
)
from loaders.sources.shards import InitialPosition, Position, Positions, Shard

# A batch ends after so much reading, so that what was read becomes visible.
PLANNING_S = 10.0

# Shards asked at the same time. A page has up to 10 MB, so this bounds by how much a batch may
# exceed its limit of bytes.
PARALLEL_SHARDS = 8

# Records beyond that are not kept for the tasks, which then read them again.
KEPT_BYTES = 256 << 20

log = logging.getLogger(__name__)


class Range(NamedTuple):
    """Neighbouring records of a shard, and the range of hash keys that the shard holds."""

    shard_id: str
    hash_keys: tuple[int, int] | None  # None: the shard has expired
    first: str
    last: str
    count: int
    records: list[RawRecord] | None  # None: to be read from the stream


@dataclass(slots=True)
class Budget:
    """What a batch may still take; None: as much as there is."""

    records: int | None
    bytes: int | None

    @property
    def is_spent(self) -> bool:
        return any(left is not None and left <= 0 for left in (self.records, self.bytes))

    def take(self, records: list[RawRecord]) -> None:
        if self.records is not None:
            self.records -= len(records)
        if self.bytes is not None:
            self.bytes -= size_bytes(records)


@dataclass(slots=True)
class Batch:
    """The records planned so far."""

    extents: dict[str, list] = field(default_factory=dict)  # [first, last, count] by shard
    kept: dict[str, list[RawRecord]] = field(default_factory=dict)
    kept_bytes: int = 0

    def add(self, shard_id: str, records: list[RawRecord]) -> None:
        first, _, count = self.extents.get(shard_id, (records[0][0], None, 0))
        self.extents[shard_id] = [first, records[-1][0], count + len(records)]
        if count == len(self.kept.get(shard_id, ())):
            self.kept.setdefault(shard_id, []).extend(records)
            self.kept_bytes += size_bytes(records)
            if self.kept_bytes > KEPT_BYTES:
                self.kept_bytes -= size_bytes(self.kept.pop(shard_id))


@dataclass(slots=True)
class Tip:
    """Where a shard ended when an AvailableNow run began.

    Its last sequence number cannot be asked for. But what an iterator hands out that was made
    at LATEST when the run began came later. So whenever records were read, asking that iterator
    tells which of them belong to the next run, by no clock.
    """

    iterator: str | None  # None: settled
    asked_ms: int = 0
    before: int | None = None  # sequence number of the first record that came later


class Outcome(NamedTuple):
    """What became of an attempt to read a shard's next page."""

    page: Page | None = None
    failure: type[Exception] | None = None
    asked_ms: int = 0
    is_cut: bool = False  # records that came after an AvailableNow run began were left away
    may_have_lost: bool = False


class Planner:
    """Lives as long as its query runs, on the driver; not thread-safe, but uses threads."""

    def __init__(
        self,
        client: KinesisClient,
        initial: InitialPosition,
        *,
        fail_on_data_loss: bool = True,
    ) -> None:
        self._client = client
        self._clock = client.clock
        self._initial = initial
        self._fail_on_data_loss = fail_on_data_loss
        self._pool = ThreadPoolExecutor(PARALLEL_SHARDS)
        self._description: Description | None = None
        self._shards: dict[str, Shard] = {}
        # Iterators, each with the `after` of the position that it continues.
        self._iterators: dict[str, tuple[str | None, str]] = {}
        self._due: dict[str, float] = {}  # when a shard may be asked next
        self._backoff: dict[str, float] = {}
        self._behind_ms: dict[str, int] = {}
        self._losses = 0
        self._start: dict | None = None
        self._tips: dict[str, Tip] | None = None  # of an AvailableNow run
        self._ended: set[str] = set()  # shards that such a run has read to their tips
        self._batch = Batch()  # the one planned last

    # What Spark asks.

    def start(self) -> dict:
        """The offset of a new query; Spark asks for it again until the first batch is logged."""
        if self._start is None:
            self._start = self._make_start()
        return self._start

    def _make_start(self) -> dict:
        now = self._clock.now_ms()
        description = self._look()
        positions = graph.initial_positions(list(self._shards.values()), self._initial, now)
        for shard_id, position in positions.items():
            # In the offset LATEST is a time, so that it outlives this process; until then the
            # service's own LATEST holds, whatever the clocks say.
            if position.get("at") == position.get("known") == now:
                self._iterators[shard_id] = (None, self._client.latest(shard_id))
        return {
            "stream": self._client.stream,
            "created": description.created_ms,
            "shards": positions,
            "batch": {},
            "losses": 0,
        }

    def end_at_the_tips(self) -> None:
        """From now on plan only what is in the stream already.

        Shards that come later are left out: they hold what came later.
        """
        self._look()

        def tip(shard: Shard) -> Tip:
            asked = self._clock.now_ms()
            return Tip(None if shard.closed else self._client.latest(shard.id), asked)

        tips = self._pool.map(tip, self._shards.values())
        self._tips = dict(zip(self._shards, tips, strict=True))
        self._ended = set()

    def plan(self, start: dict, budget: Budget) -> dict:
        """The offset of the next batch, or `start` itself when there is nothing to be logged.

        Raises:
            DataLoss: records expired unread, and that is not accepted.
            KinesisError: the offset belongs to another stream.
        """
        self._check(start)
        self._losses = start["losses"]
        positions, batch = self._read(self._follow(start["shards"]), budget)
        if not graph.is_progress(start["shards"], positions) and self._losses == start["losses"]:
            return start
        self._batch = batch
        return {**start, "shards": positions, "batch": batch.extents, "losses": self._losses}

    def ranges(self, end: dict) -> list[Range]:
        """The records of the batch that ends at an offset, with what is still kept of them.

        Raises:
            KinesisError: the offset belongs to another stream.
        """
        self._check(end)
        kept = self._batch.kept if end["batch"] == self._batch.extents else {}

        def one(shard_id: str, first: str, last: str, count: int) -> Range:
            shard = self._shards.get(shard_id)
            hash_keys = (shard.first_hash, shard.last_hash) if shard else None
            return Range(shard_id, hash_keys, first, last, count, kept.get(shard_id))

        return [one(shard_id, *extent) for shard_id, extent in end["batch"].items()]

    def lag(self) -> dict | None:
        """How far the last read of each shard was behind its tip; None before the first."""
        if not self._behind_ms:
            return None
        return {
            "stream": self._client.stream,
            "millisBehindLatest": dict(self._behind_ms),
            "maxMillisBehindLatest": max(self._behind_ms.values()),
            "losses": self._losses,
        }

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # The stream and its shards.

    def _look(self) -> Description:
        self._description = self._client.describe()
        self._shards = {shard.id: shard for shard in self._client.shards()}
        return self._description

    def _check(self, offset: dict) -> None:
        stream, created_ms = offset["stream"], offset["created"]
        if stream != self._client.stream:
            raise KinesisError(
                f"the checkpoint belongs to stream {stream!r}, not to {self._client.stream!r}: "
                "give each stream a checkpoint of its own"
            )
        description = self._description or self._look()
        if description.created_ms != created_ms:
            raise KinesisError(
                f"stream {stream!r} was created at {_iso(description.created_ms)}; the "
                f"checkpoint belongs to one of that name created at {_iso(created_ms)}: "
                "start with a new checkpoint"
            )

    def _follow(self, positions: Positions) -> Positions:
        """The positions of the shards that there are now."""
        shards = self._shards.values()
        if graph.awaits_children(positions, shards):
            self._look()
            shards = self._shards.values()
        for shard_id in graph.missing(positions, shards):
            self._lose(f"shard {shard_id} expired before it was read to its end")
            positions = {name: item for name, item in positions.items() if name != shard_id}
            self._behind_ms.pop(shard_id, None)
        return graph.follow(positions, list(shards))

    def _lose(self, what: str) -> None:
        message = f"Kinesis stream {self._client.stream}: {what}"
        if self._fail_on_data_loss:
            raise DataLoss(
                f"{message}: set failOnDataLoss to false to go on with the oldest records kept, "
                "or start with a new checkpoint"
            )
        self._losses += 1
        log.warning("%s; going on, because failOnDataLoss is false", message)

    # Reading.

    def _read(self, positions: Positions, budget: Budget) -> tuple[Positions, Batch]:
        """The positions after reading what the budget allows, and what was read."""
        batch = Batch()
        done = set(self._ended)
        deadline = self._clock.monotonic() + PLANNING_S
        while not budget.is_spent:
            waiting = [
                shard_id
                for shard_id in graph.readable(positions, self._shards.values(), batch.extents)
                if shard_id not in done and (self._tips is None or shard_id in self._tips)
            ]
            # An AvailableNow run may not end because nothing was found in time.
            is_final = self._tips is not None and not batch.extents
            group = self._next_group(waiting, budget, None if is_final else deadline)
            if not group:
                break
            limit = min(MAX_RECORDS, (budget.records or MAX_RECORDS * len(group)) // len(group))
            attempt = partial(self._attempt, positions=positions, limit=limit)
            outcomes = list(self._pool.map(attempt, group))
            if any(outcome.failure is NotFound for outcome in outcomes):
                self._look()
            for shard_id, outcome in zip(group, outcomes, strict=True):
                positions[shard_id] = self._move(shard_id, positions[shard_id], outcome, batch)
                if outcome.page:
                    budget.take(outcome.page.records)
                if self._is_done(shard_id, outcome):
                    done.add(shard_id)
                    if self._tips is not None and outcome.page:
                        self._ended.add(shard_id)
            positions = self._follow(positions)
        return positions, batch

    def _next_group(
        self, waiting: Collection[str], budget: Budget, deadline: float | None
    ) -> list[str]:
        """The shards to ask next, those first that waited longest; none when time is up."""
        by_due = sorted(waiting, key=lambda shard_id: self._due.get(shard_id, 0.0))
        if not by_due:
            return []
        now = max(self._clock.monotonic(), self._due.get(by_due[0], 0.0))
        if deadline is not None and now > deadline:
            return []
        self._clock.wait(max(0.0, now - self._clock.monotonic()))
        most = PARALLEL_SHARDS if budget.records is None else min(PARALLEL_SHARDS, budget.records)
        return [shard_id for shard_id in by_due if self._due.get(shard_id, 0.0) <= now][:most]

    def _attempt(self, shard_id: str, positions: Positions, limit: int) -> Outcome:
        """Ask for a shard's next page; runs in a thread, and changes nothing but the tip."""
        position = positions[shard_id]
        asked_ms = self._clock.now_ms()
        try:
            after, iterator = self._iterators.get(shard_id, (None, None))
            if iterator is None or after != position.get("after"):
                iterator = self._client.iterator(shard_id, graph.iterator_request(position))
            page = self._get_page(shard_id, iterator, limit)
            if page.records and graph.was_read(position, page.records[0][0]):
                # Resumed by time, with an overlap.
                new = [item for item in page.records if not graph.was_read(position, item[0])]
                page = page._replace(records=new)
            is_cut = False
            if self._tips is not None:
                before = self._first_after_tip(shard_id, self._tips[shard_id])
                kept = [item for item in page.records if before is None or int(item[0]) < before]
                is_cut = len(kept) < len(page.records)
                page = page._replace(records=kept)
            # Asked after the page was read: what is kept now was kept then.
            may_have_lost = self._may_have_lost(shard_id, positions, asked_ms)
        except (IteratorExpired, NotFound, Throttled) as failure:
            return Outcome(failure=type(failure))
        return Outcome(page, None, asked_ms, is_cut, may_have_lost)

    def _first_after_tip(self, shard_id: str, tip: Tip) -> int | None:
        """Sequence number of the first record that came after the run began, if one came yet."""
        while tip.iterator is not None:
            asked_ms = self._clock.now_ms()
            try:
                page = self._get_page(shard_id, tip.iterator, limit=1)
            except IteratorExpired:
                request = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": tip.asked_ms / 1000}
                tip.iterator = self._client.iterator(shard_id, request)
                continue
            tip.iterator, tip.asked_ms = page.next_iterator, asked_ms
            if page.records:
                tip.iterator, tip.before = None, int(page.records[0][0])
            elif page.behind_ms == 0:
                break
        return tip.before

    def _get_page(self, shard_id: str, iterator: str, limit: int) -> Page:
        """The page, when it is the shard's turn."""
        now = self._clock.monotonic()
        due = max(now, self._due.get(shard_id, 0.0))
        self._due[shard_id] = due + READ_SPACING_S
        self._clock.wait(due - now)
        return self._client.records(iterator, limit)

    def _may_have_lost(self, shard_id: str, positions: Positions, now_ms: int) -> bool:
        """Whether records between the shard's position and what is kept may have expired."""
        position = positions[shard_id]
        if not graph.may_have_lost(position, now_ms, self._description.retention_ms):
            return False
        # Old enough; but the retention may be longer by now, and expiry takes its time. While
        # the last record read is kept (for a child without one: a parent's), so is what follows.
        if not graph.may_have_lost(position, now_ms, self._client.describe().retention_ms):
            return False
        witnesses = [shard_id] if "after" in position else self._shards[shard_id].parents
        return not any(
            self._client.has_record(witness, positions[witness]["after"])
            for witness in witnesses
            if "after" in positions.get(witness, {})
        )

    def _move(self, shard_id: str, position: Position, outcome: Outcome, batch: Batch) -> Position:
        """The shard's position after an attempt; the records go into the batch."""
        if outcome.failure is Throttled:
            backoff = min(2 * self._backoff.get(shard_id, READ_SPACING_S), MAX_BACKOFF_S)
            self._backoff[shard_id] = backoff
            self._due[shard_id] = self._clock.monotonic() + backoff
            return position
        self._backoff.pop(shard_id, None)
        self._iterators.pop(shard_id, None)
        if outcome.failure is NotFound and shard_id in self._shards:
            return self._skip(shard_id, {}, f"the record {position.get('after')} is unknown")
        page = outcome.page
        if page is None:
            return position
        if outcome.may_have_lost:
            known = _iso(position["known"])
            skipped = self._skip(shard_id, position, f"records from {known} on may have expired")
            if not page.records:
                return skipped
        return self._take(shard_id, position, outcome, batch)

    def _take(self, shard_id: str, position: Position, outcome: Outcome, batch: Batch) -> Position:
        """The position after a page."""
        page = outcome.page
        if page.records:
            batch.add(shard_id, page.records)
            sequence, _, _, arrived_us = page.records[-1]
            position = graph.read_to(sequence, arrived_us // 1000)
        elif page.behind_ms == 0 and not outcome.is_cut:
            position = graph.empty_to(position, outcome.asked_ms)

        self._behind_ms[shard_id] = page.behind_ms
        if outcome.is_cut:
            return position
        if page.next_iterator is None:
            del self._behind_ms[shard_id]
            return graph.drain(position)
        self._iterators[shard_id] = (position.get("after"), page.next_iterator)
        return position

    def _skip(self, shard_id: str, position: Position, why: str) -> Position:
        """Count a loss, if that is accepted, and go on with the oldest record kept."""
        self._lose(f"shard {shard_id}: {why}")
        retention_ms = self._description.retention_ms
        return graph.skip_to_horizon(position, self._clock.now_ms(), retention_ms)

    def _is_done(self, shard_id: str, outcome: Outcome) -> bool:
        """Whether a shard has nothing more for this batch (or this AvailableNow run)."""
        page = outcome.page
        if page is None:
            return outcome.failure is NotFound
        if outcome.is_cut or page.next_iterator is None:
            return True
        # A closed shard is done when it says so, and for an AvailableNow run an empty page is
        # the last word.
        is_last = self._tips is None or not page.records
        return page.behind_ms == 0 and is_last and not self._shards[shard_id].closed


def size_bytes(records: list[RawRecord]) -> int:
    """How much data records hold."""
    return sum(len(record[2]) for record in records)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
