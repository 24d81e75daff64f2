"""Taking a batch of events: checked, separated, journaled, answered; then delivered."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from loaders.games.contract import Contract
from loaders.games.separation import Quarantined, Refused, Separator
from loaders.ingest.delivery import FirehoseDelivery, VaultDelivery, place_of
from loaders.ingest.journal import Entry, Journal, JournalFailed, Segment
from loaders.ingest.limits import RecentIds, TokenBucket
from loaders.ingest.metrics import Metrics
from loaders.vault.master_key import MasterKey
from loaders.vault.store import Pseudonyms, StudioKey, Vault

STOP_SECONDS = 20
# How soon a key that was revoked, or made, by another process is seen.
KEYS_SECONDS = 1.0
# How soon it is seen that a full quarantine is not full any more.
QUARANTINE_SECONDS = 60

ACCEPTED, DUPLICATE, QUARANTINED, REFUSED = OUTCOMES = (
    "accepted",
    "duplicate",
    "quarantined",
    "refused",
)


_log = logging.getLogger(__name__)


class Overloaded(Exception):
    """It cannot be taken now; `seconds` says when to come again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class RateLimited(Overloaded):
    """One studio sends more than it may."""


class Answer(NamedTuple):
    """What became of an event. `field` and `reason` say why it was quarantined or refused."""

    event_id: str | None
    status: str
    reason: str | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What the service bears.

    events_per_second: of a studio. backlog_bytes: of events that wait for Firehose and the vault.
    dedupe_window: so many events are remembered at least, at about 100 bytes of memory each.
    quarantined_events: of a studio, about as many may be in the vault; then they are refused.
    """

    body_bytes: int = 1 << 20
    batch_events: int = 500
    events_per_second: float = 5_000
    backlog_bytes: int = 256 << 20
    dedupe_window: int = 500_000
    quarantined_events: int = 500_000


class IngestService:
    """The service in one event loop. To be entered before it takes anything.

    What an earlier process left in the journal is read when it is made, and delivered when it runs.

    Args:
        root: as prepare_vault_root() returns it.
        master: the vault's master key.
        firehose: a boto3 client.
        stream: name of the delivery stream.
        contract: what events there are.

    Raises:
        ConfigurationError: another service has the journal, or a file of it does not open.
        BotoCoreError, ClientError: KMS does not help.
    """

    def __init__(
        self,
        root: Path,
        master: MasterKey,
        firehose: Any,
        stream: str,
        contract: Contract,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._recent = RecentIds(self.limits.dedupe_window)
        self._buckets: dict[str, TokenBucket] = {}
        self._vault = Vault(root, master)  # of the event loop's thread
        self._keys: dict[str, asyncio.Future[StudioKey | None]] = {}
        self._keys_version = self._vault.version()
        self._keys_checked_at = time.monotonic()
        self._quarantined = self._vault.quarantined_by_studio()
        self._separator = Separator(contract, Pseudonyms(self._vault.pseudonym_key()))
        self._journal = Journal(
            root / "journal",
            master.new_data_key(purpose="journal"),
            lambda wrapped: master.unwrap(wrapped, purpose="journal"),
            self._dispatch,
            self.limits.dedupe_window,
        )
        self._to_firehose = FirehoseDelivery(firehose, stream, self._journal.delivered)
        self._to_vault = VaultDelivery(Vault(root, master), self._journal.delivered)
        deliveries = (self._to_firehose, self._to_vault)
        self.metrics = Metrics(
            backlog={to.name: lambda to=to: to.waiting_bytes for to in deliveries},
            retries={to.name: lambda to=to: to.retries for to in deliveries},
            aside={to.name: lambda to=to: to.aside for to in deliveries},
            fsyncs=lambda: self._journal.fsyncs,
        )
        self._tasks: list[asyncio.Task[None]] = []
        for key in self._journal.known_keys():
            self._recent.add(key)
        try:
            recovered = self._journal.recover()
        except BaseException:
            self._journal.close()  # for the next one
            raise
        if recovered:
            _log.info("%d events of an earlier process", recovered)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[IngestService]:
        """Deliver what an earlier process left, and then what comes.

        At the end what is left is delivered for STOP_SECONDS at most; the rest stays in the
        journal.
        """
        deliveries = (self._to_firehose, self._to_vault)
        runs = [self._task(f"delivery to {each.name}", each.run()) for each in deliveries]
        rolling = self._task("rolling of the journal", self._roll())
        self._tasks = [*runs, rolling]
        try:
            yield self
        finally:
            self._tasks = []
            rolling.cancel()
            for delivery in deliveries:
                delivery.stop()
            _, late = await asyncio.wait(runs, timeout=STOP_SECONDS)
            for run in late:
                run.cancel()
            for delivery in deliveries:
                delivery.close()
            self._journal.close()
            self._vault.close()

    @staticmethod
    def _task(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        def told(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()):
                _log.critical("%s has ended: %s", name, place_of(error))

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(told)
        return task

    async def _roll(self) -> None:
        while True:
            for _ in range(QUARANTINE_SECONDS):
                await asyncio.sleep(1)
                self._journal.roll()
            if max(self._quarantined.values(), default=0) >= self.limits.quarantined_events:
                with suppress(sqlite3.Error):  # as it was, then
                    self._quarantined = await asyncio.to_thread(self._vault.quarantined_by_studio)

    @property
    def problem(self) -> str | None:
        """Why nothing can be taken; None when all is well."""
        if self._journal.failure:
            return f"the journal cannot be written: {self._journal.failure}"
        for task in self._tasks:
            if task.done():
                return f"{task.get_name()} has ended: start the service anew"
        return None

    @property
    def complaint(self) -> str | None:
        """What a person should look at though events are taken; None when there is nothing."""
        if aside := self._to_vault.aside:
            return f"{aside} parts wait for keys of players that do not open"
        return None

    async def studio_key(self, key_id: str) -> StudioKey | None:
        """The key of that id, as it is now, or was a second ago.

        Raises:
            Overloaded: nobody can say now; KMS or the vault's file is away.
        """
        try:
            if time.monotonic() - self._keys_checked_at > KEYS_SECONDS:
                self._keys_checked_at = time.monotonic()
                if (version := self._vault.version()) != self._keys_version:
                    self._keys_version = version
                    self._keys.clear()
            if key_id not in self._keys:
                if len(self._keys) > 10_000:  # of ids that somebody tries out
                    self._keys.clear()
                # One asks for all: KMS that is slow would take every thread, the journal's too.
                reading = asyncio.to_thread(self._vault.studio_key, key_id)
                self._keys[key_id] = asyncio.ensure_future(reading)
            return await asyncio.shield(self._keys[key_id])
        except (BotoCoreError, ClientError, sqlite3.Error) as error:
            self._keys.pop(key_id, None)
            _log.warning("a studio's key cannot be read: %s", error)
            raise Overloaded("the studio's key cannot be read now", 5.0) from error

    async def take(self, studio: str, events: Sequence[Any]) -> list[Answer]:
        """Take the events of a studio; what is answered as accepted or quarantined is on disk.

        Raises:
            Overloaded: none of them is taken.
            JournalFailed: nobody knows which of them are.
        """
        self._check_load(studio, len(events))
        now = round(time.time(), 3)
        answers: list[Answer] = []
        entries: list[Entry] = []
        for event in events:
            taken = self._separator.separate(event, studio, now)
            if isinstance(taken, Refused):
                answers.append(Answer(taken.event_id, REFUSED, taken.reason, taken.field))
                continue
            key = RecentIds.key(studio, taken.event_id)
            if not self._recent.add(key):
                answers.append(Answer(taken.event_id, DUPLICATE))
                continue
            if isinstance(taken, Quarantined):
                if self._quarantined[studio] >= self.limits.quarantined_events:
                    self._recent.forget([key])
                    answers.append(Answer(taken.event_id, REFUSED, taken.reason, taken.field))
                    continue
                self._quarantined[studio] += 1
                answers.append(Answer(taken.event_id, QUARANTINED, taken.reason, taken.field))
            else:
                answers.append(Answer(taken.event_id, ACCEPTED))
            entries.append(Entry(key, taken))
        if any(answer.status != REFUSED for answer in answers):
            # With nothing new there still may be what these are duplicates of: to wait for.
            await self._journal.append(entries)
        self.metrics.note_events((answer.status, answer.reason or "") for answer in answers)
        return answers

    def _check_load(self, studio: str, count: int) -> None:
        if self.problem:
            raise JournalFailed(self.problem)
        waiting = self._to_firehose.waiting_bytes + self._to_vault.waiting_bytes
        if waiting > self.limits.backlog_bytes:
            raise Overloaded("too much waits for Firehose or the vault", 5.0)
        bucket = self._buckets.get(studio)
        if bucket is None:
            bucket = self._buckets[studio] = TokenBucket(self.limits.events_per_second)
        if seconds := bucket.take(count):
            raise RateLimited(
                f"more than {self.limits.events_per_second:g} events a second", seconds
            )

    def _dispatch(self, segment: Segment, entries: Sequence[Entry]) -> int:
        """Send committed entries on their ways; returns in how many parts."""
        count = 0
        for delivery in (self._to_firehose, self._to_vault):
            for part in delivery.parts(segment, entries):
                delivery.offer(part)
                count += 1
        return count
