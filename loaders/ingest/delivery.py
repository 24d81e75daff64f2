"""What was accepted, on its way: events to Firehose, personal data and quarantine to the vault.

Both take from the journal's commits in order, retry for ever what fails, and tell the journal
what has arrived. What cannot arrive though its destination takes others' is set aside meanwhile.
Firehose may get an event twice, when the process dies between its answer and the journal's note;
readers know events by event_id.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from loaders.games.separation import Quarantined, Separated
from loaders.ingest.journal import Entry, Segment
from loaders.vault.envelope import Damaged
from loaders.vault.store import Busy, PersonalValues, Vault

# What PutRecordBatch takes: 500 records, 4 MiB, of at most 1,000 KiB each.
MAX_RECORDS = 500
MAX_CALL_BYTES = 4 << 20
# Firehose charges a record as multiples of 5 KiB, and an event is a tenth of that: many share one.
RECORD_BYTES = 100 << 10
LINGER_SECONDS = 0.2
MAX_PAUSE_SECONDS = 10.0
# How soon what was set aside is tried again.
ASIDE_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Part(NamedTuple):
    """Something that has to arrive for a segment to be done with."""

    segment: Segment
    size: int
    what: Any


class Delivery(ABC):
    """A queue of parts and the task that empties it.

    Args:
        delivered: told of the parts that have arrived.
    """

    name: str

    def __init__(self, delivered: Callable[[Segment, int], None]) -> None:
        self._delivered = delivered
        self._parts: deque[Part] = deque()
        self._news = asyncio.Event()
        self._stopping = False
        self._failures = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self.name)
        self.waiting_bytes = 0
        self.retries = 0

    def offer(self, part: Part) -> None:
        """Put a part at the end of the queue."""
        self._parts.append(part)
        self.waiting_bytes += part.size
        self._news.set()

    def stop(self) -> None:
        """Have run() end when the queue is empty."""
        self._stopping = True
        self._news.set()

    def close(self) -> None:
        """Let go of the thread; what is under way there is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self) -> None:
        """Deliver until stopped."""
        while not (self._stopping and not self._parts):
            if not self._parts:
                self._news.clear()
                if not self._stopping:
                    await self._news.wait()
                continue
            is_little = self.waiting_bytes < MAX_CALL_BYTES
            if is_little and not self._stopping and not self._failures:
                await asyncio.sleep(self.linger_seconds)
            parts = self._take()
            try:
                failed = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._try, parts
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing is lost by it
                _log.error("%s got nothing of %d parts: %s", self.name, len(parts), place_of(error))
                failed = parts
            self._settle(parts, failed)
            if failed:
                self._failures += 1
                pause = min(MAX_PAUSE_SECONDS, 0.1 * 2**self._failures)
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
            else:
                self._failures = 0

    linger_seconds = 0.0

    def _settle(self, parts: Sequence[Part], failed: Sequence[Part]) -> None:
        """Put the failed parts back in front, in order, and report the others."""
        unsettled = {id(part) for part in failed}
        self.retries += len(failed)
        self._parts.extendleft(reversed(failed))
        for part in parts:
            if id(part) not in unsettled:
                self.waiting_bytes -= part.size
                self._delivered(part.segment, 1)

    @property
    def aside(self) -> int:
        """How many parts wait because of what is in them, while others arrive."""
        return 0

    @abstractmethod
    def _take(self) -> list[Part]:
        """What goes next, taken off the queue."""

    @abstractmethod
    def _try(self, parts: list[Part]) -> list[Part]:
        """Deliver, in the thread; returns the parts that failed."""


def place_of(error: BaseException) -> str:
    """What kind of error it is, and where it arose; its message might tell what it was about."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


class FirehoseDelivery(Delivery):
    """Events, packed into records without anything between them, as Firehose puts them together.

    Args:
        firehose: a boto3 client.
        stream: name of the delivery stream.
    """

    name = "firehose"
    linger_seconds = LINGER_SECONDS

    def __init__(
        self, firehose: Any, stream: str, delivered: Callable[[Segment, int], None]
    ) -> None:
        super().__init__(delivered)
        self._firehose = firehose
        self._stream = stream

    @staticmethod
    def parts(segment: Segment, entries: Sequence[Entry]) -> list[Part]:
        """The parts of a request's entries, each small enough for one record."""
        parts: list[Part] = []
        held: list[bytes] = []
        size = 0
        for _, event in entries:
            if isinstance(event, Quarantined):
                continue
            if held and size + len(event.body) > RECORD_BYTES:
                parts.append(Part(segment, size, b"".join(held)))
                held, size = [], 0
            held.append(event.body)
            size += len(event.body)
        return [*parts, Part(segment, size, b"".join(held))] if held else []

    def _take(self) -> list[Part]:
        taken: list[Part] = []
        size = 0
        while self._parts and (not taken or size + self._parts[0].size <= MAX_CALL_BYTES):
            size += self._parts[0].size
            taken.append(self._parts.popleft())
        return taken

    def _try(self, parts: list[Part]) -> list[Part]:
        bodies = [part.what for part in parts]
        return [parts[place] for place in put_records(self._firehose, self._stream, bodies)]


def put_records(firehose: Any, stream: str, bodies: Sequence[bytes]) -> list[int]:
    """Send bodies, MAX_CALL_BYTES together at most; returns the places of those that failed."""
    records = _pack(bodies)
    failed: list[int] = []
    for at in range(0, len(records), MAX_RECORDS):
        some = records[at : at + MAX_RECORDS]
        data = [{"Data": b"".join(bodies[place] for place in record)} for record in some]
        failed += [place for at in _put(firehose, stream, data) for place in some[at]]
    return failed


def _put(firehose: Any, stream: str, data: Sequence[dict[str, bytes]]) -> list[int]:
    """The places of the records that failed."""
    try:
        answer = firehose.put_record_batch(DeliveryStreamName=stream, Records=data)
    except (ClientError, BotoCoreError) as error:
        _log.warning("Firehose took nothing of %d records: %s", len(data), error)
        return list(range(len(data)))
    if answer["FailedPutCount"]:
        _log.warning("Firehose refused %d records", answer["FailedPutCount"])
    return [at for at, said in enumerate(answer["RequestResponses"]) if said.get("ErrorCode")]


def _pack(bodies: Sequence[bytes]) -> list[list[int]]:
    """The places of bodies that share a record."""
    records: list[list[int]] = []
    room = 0
    for place, body in enumerate(bodies):
        if len(body) > room:
            records.append([])
            room = RECORD_BYTES
        records[-1].append(place)
        room -= len(body)
    return records


class VaultDelivery(Delivery):
    """Personal data, and events that are quarantined for having some, into the vault."""

    name = "vault"
    linger_seconds = 0.05

    def __init__(self, vault: Vault, delivered: Callable[[Segment, int], None]) -> None:
        super().__init__(delivered)
        self._vault = vault
        self._closed: set[str] = set()  # players whose key did not open just now
        self._aside: list[Part] = []
        self._tried_again: set[int] = set()  # id() of parts in the queue that were set aside
        self._again: asyncio.TimerHandle | None = None

    @property
    def aside(self) -> int:
        """How many parts wait for the key of a player that does not open."""
        return len(self._tried_again) + len(self._aside)

    def close(self) -> None:
        """Let go of the thread, and of what was set aside: it is in the journal."""
        if self._again:
            self._again.cancel()
        super().close()

    @staticmethod
    def parts(segment: Segment, entries: Sequence[Entry]) -> list[Part]:
        """The parts of a request's entries; none where they concern nobody."""
        events = [entry.event for entry in entries]
        said = [
            PersonalValues(event.player_id, event.event_id, event.timestamp, event.personal)
            for event in events
            if isinstance(event, Separated) and event.player_id is not None
        ]
        kept = [event for event in events if isinstance(event, Quarantined)]
        size = sum(len(value) for person in said for value in person.values.values())
        size += sum(len(event.sent) for event in kept)
        return [Part(segment, size, (said, kept))] if said or kept else []

    def _take(self) -> list[Part]:
        return [self._parts.popleft() for _ in range(min(len(self._parts), 100))]

    def _try(self, parts: list[Part]) -> list[Part]:
        self._closed = set()
        try:
            self._closed = self._vault.put(person for part in parts for person in part.what[0])
            self._closed |= self._vault.quarantine(
                event for part in parts for event in part.what[1]
            )
        except (ClientError, BotoCoreError, sqlite3.Error, Busy, Damaged) as error:
            _log.warning("the vault took nothing of %d parts: %s", len(parts), error)
            return parts
        return []

    def _settle(self, parts: Sequence[Part], failed: Sequence[Part]) -> None:
        """As ever; but of players whose key does not open, and of no others, parts stay aside."""
        aside = [part for part in parts if not failed and self._keep_closed(part)]
        kept = {id(part) for part in aside}
        super()._settle([part for part in parts if id(part) not in kept], failed)
        self._aside += aside
        if not failed:
            self._tried_again.difference_update(map(id, parts))
        if aside:
            _log.error("keys of players do not open: %d parts are set aside", len(aside))
            if self._again is None:
                loop = asyncio.get_running_loop()
                self._again = loop.call_later(ASIDE_SECONDS, self._try_again)

    def _keep_closed(self, part: Part) -> bool:
        """Leave in a part what was not put; whether there is any."""
        for held in part.what:
            held[:] = [each for each in held if each.player_id in self._closed]
        return any(part.what)

    def _try_again(self) -> None:
        self._again = None
        self.retries += len(self._aside)
        self._parts.extend(self._aside)
        self._tried_again.update(map(id, self._aside))
        self._aside = []
        self._news.set()
