"""Planning a Kinesis batch: reading ahead, shard by shard, and knowing exactly what was read."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from loaders.sources import shards as graph
from loaders.sources.kinesis_client import (
    MAX_BACKOFF_S,
    MAX_EMPTY_PAGES,
    MAX_RECORDS,
    READ_SPACING_S,
    DataLoss,
    Description,
    IteratorExpired,
    KinesisClient,
    KinesisError,
    NotFound,
    Page,
    Throttled,
    count_up_to,
    sequence_at,
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
    records: pa.RecordBatch | None  # None: to be read from the stream


@dataclass(slots=True)
class Budget:
    """What a batch may still take; None: as much as there is."""

    records: int | None
    bytes: int | None

    @property
    def is_spent(self) -> bool:
        return any(left is not None and left <= 0 for left in (self.records, self.bytes))

    def take(self, records: pa.RecordBatch) -> None:
        if self.records is not None:
            self.records -= records.num_rows
        if self.bytes is not None:
            self.bytes -= records.nbytes


@dataclass(slots=True)
class Batch:
    """The records planned so far."""

    extents: dict[str, list] = field(default_factory=dict)  # [first, last, count] by shard
    kept: dict[str, list[pa.RecordBatch]] = field(default_factory=lambda: defaultdict(list))
    kept_bytes: int = 0

    def add(self, shard_id: str, records: pa.RecordBatch) -> None:
        """Note the next records of a shard."""
        if shard_id not in self.extents or shard_id in self.kept:
            self.kept[shard_id].append(records)
            self.kept_bytes += records.nbytes
        first, last, count = extent_of(records)
        if shard_id in self.extents:
            first, count = self.extents[shard_id][0], self.extents[shard_id][2] + count
        self.extents[shard_id] = [first, last, count]
        if self.kept_bytes > KEPT_BYTES and shard_id in self.kept:
            self.kept_bytes -= sum(page.nbytes for page in self.kept.pop(shard_id))


def extent_of(records: pa.RecordBatch) -> tuple[str, str, int]:
    """First and last sequence number, and number, of the records."""
    sequences = records.column("sequenceNumber")
    return sequences[0].as_py(), sequences[len(sequences) - 1].as_py(), len(sequences)


def range_of(shard_id: str, hash_keys: tuple[int, int] | None, records: pa.RecordBatch) -> Range:
    """The range of records at hand."""
    return Range(shard_id, hash_keys, *extent_of(records), records)


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
        self._created_ms = self._retention_ms = 0
        self._shards: dict[str, Shard] = {}
        # Iterators, each with the `after` of the position that it continues.
        self._iterators: dict[str, tuple[str | None, str]] = {}
        self._due: dict[str, float] = {}  # when a shard may be asked next
        self._backoff: dict[str, float] = {}
        self._behind_ms: dict[str, int] = {}
        self._empty_pages: dict[str, int] = {}  # in a row, of closed shards
        self._losses = 0
        self._replayed: tuple[dict, int] | None = None  # where such a batch ends, and its losses
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
        if self._replayed is not None and self._replayed[0] == start:
            self._losses += self._replayed[1]
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
        is_kept = end["batch"] == self._batch.extents
        if not is_kept and not self._fail_on_data_loss:
            # The end of a batch that runs again is logged: its losses are counted in the next one.
            self._replayed = (end, self._lost_of(end["batch"]))
        ranges = []
        for shard_id, extent in end["batch"].items():
            shard = self._shards.get(shard_id)
            hash_keys = (shard.first_hash, shard.last_hash) if shard else None
            if is_kept and shard_id in self._batch.kept:
                pages = self._batch.kept[shard_id]
                ranges += [range_of(shard_id, hash_keys, page) for page in pages]
            else:
                ranges.append(Range(shard_id, hash_keys, *extent, records=None))
        return ranges

    def _lost_of(self, extents: dict[str, list]) -> int:
        """Of how many shards records expired that are to be read again: the oldest go first."""

        def is_lost(extent: tuple[str, list]) -> bool:
            shard_id, (first, *_) = extent
            return not self._client.keeps(shard_id, first)

        return sum(self._pool.map(is_lost, extents.items()))

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
        found = self._client.describe()
        self._refuse_another(found.created_ms, self._created_ms or found.created_ms)
        self._created_ms, self._retention_ms = found
        self._shards = {shard.id: shard for shard in self._client.shards()}
        return found

    def _check(self, offset: dict) -> None:
        if offset["stream"] != self._client.stream:
            raise KinesisError(
                f"the checkpoint belongs to stream {offset['stream']!r}, not to "
                f"{self._client.stream!r}: give each stream a checkpoint of its own"
            )
        self._refuse_another(self._created_ms or self._look().created_ms, offset["created"])

    def _refuse_another(self, found_ms: int, known_ms: int) -> None:
        if found_ms != known_ms:
            raise KinesisError(
                f"stream {self._client.stream!r} was created at {_iso(found_ms)}; the checkpoint "
                f"belongs to one of that name created at {_iso(known_ms)}: "
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
            # An AvailableNow run must not end because nothing was found in time.
            must_find = self._tips is not None and not batch.extents
            group = self._next_group(waiting, budget, None if must_find else deadline)
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
            if "after" in position:  # a shard resumed by time overlaps
                read = count_up_to(page.records, int(position["after"]))
                page = page._replace(records=page.records.slice(read))
            is_cut = False
            if self._tips is not None:
                tip = self._first_after_tip(shard_id, self._tips[shard_id])
                if tip is not None:
                    kept = page.records.slice(0, count_up_to(page.records, tip - 1))
                    is_cut = kept.num_rows < page.records.num_rows
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
            if page.records.num_rows:
                tip.iterator, tip.before = None, sequence_at(page.records, 0)
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
        if not graph.may_have_lost(position, now_ms, self._retention_ms):
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
            if not page.records.num_rows:
                return skipped
        return self._take(shard_id, position, outcome, batch)

    def _take(self, shard_id: str, position: Position, outcome: Outcome, batch: Batch) -> Position:
        """The position after a page."""
        page = outcome.page
        if page.records.num_rows:
            batch.add(shard_id, page.records)
            arrived = page.records.column("approximateArrivalTimestamp")
            position = graph.read_to(batch.extents[shard_id][1], arrived[-1].value // 1000)
        elif page.behind_ms == 0 and not outcome.is_cut:
            position = graph.empty_to(position, outcome.asked_ms)

        self._behind_ms[shard_id] = page.behind_ms
        self._count_empty(shard_id, page)
        if outcome.is_cut:
            return position
        if page.next_iterator is None:
            del self._behind_ms[shard_id]
            return graph.drain(position)
        self._iterators[shard_id] = (position.get("after"), page.next_iterator)
        return position

    def _count_empty(self, shard_id: str, page: Page) -> None:
        """Fail rather than wait forever, as would the shard's children."""
        is_over = page.behind_ms == 0 and not page.records.num_rows
        is_endless = is_over and page.next_iterator and self._shards[shard_id].closed
        count = self._empty_pages.get(shard_id, 0) + 1 if is_endless else 0
        self._empty_pages[shard_id] = count
        if count > MAX_EMPTY_PAGES:
            raise KinesisError(
                f"Kinesis stream {self._client.stream}: shard {shard_id} is closed and read to its "
                f"tip, but {count} calls later the service has not said that it ended; "
                "is this Kinesis?"
            )

    def _skip(self, shard_id: str, position: Position, why: str) -> Position:
        """Count a loss, if that is accepted, and go on with the oldest record kept."""
        self._lose(f"shard {shard_id}: {why}")
        return graph.skip_to_horizon(position, self._clock.now_ms(), self._retention_ms)

    def _is_done(self, shard_id: str, outcome: Outcome) -> bool:
        """Whether a shard has nothing more for this batch (or this AvailableNow run)."""
        page = outcome.page
        if page is None:
            return outcome.failure is NotFound
        if outcome.is_cut or page.next_iterator is None:
            return True
        # A closed shard is done when it says so, and for an AvailableNow run an empty page is
        # the last word.
        is_last = self._tips is None or not page.records.num_rows
        return page.behind_ms == 0 and is_last and not self._shards[shard_id].closed


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
