"""The write-ahead journal: what was acknowledged is on disk until it is delivered.

Under VAULT_ROOT/journal lie segments. NUMBER.journal has a line that says under which data key it
is sealed (wrapped by KMS), then one sealed frame a request: no byte of an event is readable there.
When everything in a segment is delivered, NUMBER.ids takes its place: the keys of its events, by
which a later copy of them is known. Segments that a killed process left are delivered by the next.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from loaders.games.separation import Quarantined, Separated
from loaders.session import ConfigurationError
from loaders.vault.envelope import Damaged, DataKey, Sealer

SEGMENT_BYTES = 8 << 20
SEGMENT_SECONDS = 10
KEY_BYTES = 16
_LENGTH_BYTES = 4


class JournalFailed(Exception):
    """The journal cannot be written; nothing may be acknowledged any more."""


class Entry(NamedTuple):
    """An event that was accepted, or is to be quarantined; a copy of it is known by its key."""

    key: bytes
    event: Separated | Quarantined


class Segment:
    """A file of the journal, and how many parts of it are not delivered yet.

    An open one may get more, and is not put away.
    """

    def __init__(self, number: int, path: Path, sealer: Sealer) -> None:
        self.number = number
        self.path = path
        self.keys: list[bytes] = []
        self.undelivered = 0
        self.is_open = True
        self.opened_at = time.monotonic()
        self.size = 0
        self._sealer = sealer
        self._frames = 0

    def frame(self, entries: Sequence[Entry]) -> bytes:
        """The next frame, with its length before it."""
        sealed = self._sealer.seal(_encode(entries), self._place(self._frames))
        self._frames += 1
        return len(sealed).to_bytes(_LENGTH_BYTES) + sealed

    def read(self, file: BinaryIO) -> Iterator[list[Entry]]:
        """The frames of a file that stands after its first line.

        Raises:
            Damaged: there is a frame that does not open. A last one that is cut short was never
                acknowledged, and is left out.
        """
        while len(head := file.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
            length = int.from_bytes(head)
            sealed = file.read(length)
            if len(sealed) < length:
                return
            yield _decode(self._sealer.open(sealed, self._place(self._frames)))
            self._frames += 1

    def _place(self, frame: int) -> tuple[str, str, str]:
        return ("journal", str(self.number), str(frame))


def _encode(entries: Sequence[Entry]) -> bytes:
    return orjson.dumps([(entry.key.hex(), *_written(entry.event)) for entry in entries])


def _written(event: Separated | Quarantined) -> tuple[Any, ...]:
    if isinstance(event, Quarantined):
        return (event._asdict(),)
    *first, body, personal = event
    return (*first, body.decode(), personal)


def _decode(frame: bytes) -> list[Entry]:
    return [Entry(bytes.fromhex(key), _read(event)) for key, *event in orjson.loads(frame)]


def _read(written: list[Any]) -> Separated | Quarantined:
    if len(written) == 1:
        return Quarantined(**written[0])
    *first, body, personal = written
    return Separated(*first, body.encode(), personal)


class Journal:
    """The journal of one process, which holds its folder alone.

    Args:
        folder: created where it is missing.
        key: seals what is written now.
        unwrap: opens the keys of segments of earlier processes.
        on_commit: told, in the event loop, of each request's entries once they are on disk; it
            sees to their delivery, and returns the number of parts in which they will arrive.
        window: so many keys of delivered events are kept at least.
    """

    def __init__(
        self,
        folder: Path,
        key: DataKey,
        unwrap: Callable[[bytes], bytes],
        on_commit: Callable[[Segment, Sequence[Entry]], int],
        window: int,
    ) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._lock = _hold(folder)
        self._key = key
        self._unwrap = unwrap
        self._on_commit = on_commit
        self._window = window
        self._waiting: list[tuple[Sequence[Entry], asyncio.Future[None]]] = []
        self._commits: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._segment: Segment | None = None
        self._file: BinaryIO | None = None
        self._unretired: list[Segment] = []  # what the disk did not let be put away
        numbers = [int(path.stem) for path in self._files("journal", "ids")]
        self._next_number = max(numbers, default=0) + 1
        self.fsyncs = 0

    # ---- what earlier processes left

    def known_keys(self) -> Iterator[bytes]:
        """Keys of delivered events, oldest first."""
        for path in self._files("ids"):
            kept = path.read_bytes()
            for at in range(0, len(kept) - KEY_BYTES + 1, KEY_BYTES):
                yield kept[at : at + KEY_BYTES]

    def recover(self) -> int:
        """Hand everything that was not delivered to on_commit; returns the number of events.

        To be called once, before anything is written. A segment that does not open is set aside
        as NUMBER.damaged; what stands before the damage is delivered.
        """
        return sum(self._recover(path) for path in self._files("journal"))

    def _recover(self, path: Path) -> int:
        number = int(path.stem)
        events = 0
        with path.open("rb") as file:
            first = file.readline()
            if not first.endswith(b"\n"):  # killed while it was made: nothing was acknowledged
                path.unlink()
                return 0
            segment = Segment(number, path, Sealer(self._key_of(path, first)))
            try:
                for entries in segment.read(file):
                    segment.keys += [entry.key for entry in entries]
                    segment.undelivered += self._on_commit(segment, entries)
                    events += len(entries)
            except Damaged:
                damaged = path.with_suffix(".damaged")
                damaged.write_bytes(path.read_bytes())
                logging.getLogger(__name__).exception(
                    "%s has damage, and what follows is lost", damaged
                )
        segment.is_open = False
        self._retire(segment)
        return events

    def _key_of(self, path: Path, first: bytes) -> bytes:
        """The key under which a file is sealed, from its first line."""
        left = f"the events in {path} were acknowledged and are not delivered, and it does not open"
        try:
            wrapped = base64.b64decode(orjson.loads(first)["wrapped_key"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                f"{left}: its first line is damaged: restore the file, or move it away"
            ) from error
        try:
            return self._unwrap(wrapped)
        except (BotoCoreError, ClientError) as error:
            raise ConfigurationError(
                f"{left}: {error}: have KMS open it under the key that sealed it, or move it away"
            ) from error

    # ---- writing

    async def append(self, entries: Sequence[Entry]) -> None:
        """Wait until the entries, and all that were appended before them, are on disk.

        Whatever becomes of the caller meanwhile, they are written and delivered.

        Raises:
            JournalFailed: they may not be, nor may anything that follows.
        """
        if self._failure:
            raise JournalFailed(str(self._failure))
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entries, written))
        if self._commits is None or self._commits.done():
            self._commits = asyncio.create_task(self._commit())
        await asyncio.shield(written)

    async def _commit(self) -> None:
        """Write what waits, all of it with one fsync, until nothing does."""
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            requests = [entries for entries, _ in waiting if entries]
            try:
                segment = await asyncio.to_thread(self._write, requests) if requests else None
            except Exception as error:  # noqa: BLE001 - it ends the journal, whatever it is
                # After a failed fsync nobody knows what the disk has.
                self._failure = error
                for _, written in waiting + self._waiting:
                    written.set_exception(JournalFailed(str(error)))
                    written.exception()  # the caller may be gone
                self._waiting = []
                return
            for entries, written in waiting:
                if segment and entries:
                    segment.undelivered += self._on_commit(segment, entries)
                written.set_result(None)
            if segment and segment.size >= SEGMENT_BYTES:
                self._close()
                self._retire(segment)

    @property
    def failure(self) -> Exception | None:
        """What ended the journal."""
        return self._failure

    def _write(self, requests: Sequence[Sequence[Entry]]) -> Segment:
        if self._segment is None:
            self._open()
        segment, file = self._segment, self._file
        assert segment is not None  # noqa: S101 - opened just now
        assert file is not None  # noqa: S101
        for entries in requests:
            frame = segment.frame(entries)
            file.write(frame)
            segment.size += len(frame)
            segment.keys += [entry.key for entry in entries]
        file.flush()
        os.fsync(file.fileno())
        self.fsyncs += 1
        return segment

    def _open(self) -> None:
        path = self._folder / f"{self._next_number:012}.journal"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        wrapped = base64.b64encode(self._key.wrapped).decode()
        self._file.write(orjson.dumps({"format": 1, "wrapped_key": wrapped}) + b"\n")
        _sync_folder(self._folder)
        self._segment = Segment(self._next_number, path, Sealer(self._key.plain))
        self._next_number += 1

    def _close(self) -> None:
        if self._segment and self._file:
            self._file.close()
            self._segment.is_open = False
        self._segment = self._file = None

    # ---- after delivery

    def delivered(self, segment: Segment, count: int) -> None:
        """Note that `count` parts of a segment have arrived; when all have, it is put away."""
        segment.undelivered -= count
        self._retire(segment)

    def roll(self) -> None:
        """Close a segment that has been open for long, so that its data do not stay on disk.

        And put away what could not be when it was delivered.
        """
        unretired, self._unretired = self._unretired, []
        for late in unretired:
            self._retire(late)
        segment = self._segment
        is_idle = self._commits is None or self._commits.done()
        if segment and is_idle and time.monotonic() - segment.opened_at > SEGMENT_SECONDS:
            self._close()
            self._retire(segment)

    def _retire(self, segment: Segment) -> None:
        if segment.is_open or segment.undelivered or not segment.path.exists():
            return
        try:
            self._put_away(segment)
        except OSError as error:  # it stays, and what comes after it is taken
            log = logging.getLogger(__name__)
            log.warning("%s cannot be put away: %s", segment.path, error)
            self._unretired.append(segment)

    def _put_away(self, segment: Segment) -> None:
        ids = segment.path.with_suffix(".ids")
        unfinished = segment.path.with_suffix(".unfinished")
        unfinished.write_bytes(b"".join(segment.keys))
        unfinished.replace(ids)
        segment.path.unlink()
        kept = 0
        for path in reversed(self._files("ids")):
            if kept >= self._window:
                path.unlink()
            kept += path.stat().st_size // KEY_BYTES if path.exists() else 0

    def close(self) -> None:
        """Close the file, put away what is delivered, and let others have the folder."""
        segment = self._segment
        self._close()
        if segment:
            self._retire(segment)
        self._lock.close()

    def _files(self, *suffixes: str) -> list[Path]:
        return sorted(path for suffix in suffixes for path in self._folder.glob(f"[0-9]*.{suffix}"))


@contextmanager
def at_rest(folder: Path) -> Iterator[None]:
    """Keep services out of a journal's folder, in which nothing is left to deliver.

    Raises:
        ConfigurationError: a service has it, or something is left.
    """
    if not folder.exists():
        yield
        return
    with _hold(folder):
        if left := sorted(folder.glob("[0-9]*.journal")):
            raise ConfigurationError(
                f"{left[0]} holds acknowledged events under a key of before: start the ingest "
                "service until they are delivered, then stop it"
            )
        yield


def _hold(folder: Path) -> BinaryIO:
    lock = (folder / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ConfigurationError(
            f"an ingest service uses {folder}: stop it, or set VAULT_ROOT elsewhere"
        ) from None
    return lock


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
