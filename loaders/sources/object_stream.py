"""What cloudFiles and s3-sqs share: the file list in the offset, admission control, reading."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pyspark.sql.datasource import DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxFiles,
    SupportsTriggerAvailableNow,
)

from loaders.sources.cleaning import Cleaner, CleanUp
from loaders.sources.clients import ClientSettings
from loaders.sources.discovery import Discovery
from loaders.sources.object_state import ObjectState
from loaders.sources.objects import MESSAGE, OVERWRITE, ObjectGone, ObjectVersion, read_object
from loaders.sources.records import Record, Run, one_by_one, split_runs
from loaders.sources.row_formats import RowFormat
from loaders.sources.schemas import NewColumns

DEFAULT_MAX_FILES = 1000
# Objects are opened ahead of time, because a small object is all latency.
_READ_AHEAD = 8
_SMALL_OBJECT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a source's options say about planning and reading."""

    client: ClientSettings = field(repr=False)  # may hold secrets
    state_folder: Path
    max_files: int | None
    max_bytes: int | None
    include_existing: bool = True
    clean_up: CleanUp | None = None


class ObjectPartition(InputPartition):
    """The objects that one task reads, in order, and the bodies of those that are messages.

    `batch` holds the objects of all tasks where the schema may grow, so that whoever finds a new
    column can look for all that the batch brings.
    """

    def __init__(
        self,
        objects: list[ObjectVersion],
        bodies: Mapping[str, bytes],
        batch: list[ObjectVersion],
    ) -> None:
        super().__init__(None)
        self.objects = objects
        self.bodies = bodies
        self.batch = batch


class ObjectStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Streams the records of objects, exactly once per (bucket, key, version) and checkpoint.

    The offset is a JSON object: `id` names the query's state file, `planned` counts the objects
    planned so far, `files` lists the objects of the batch that ends there. `skipped` counts the
    objects that were there at the first start of a query that does not want those; they are
    among the planned ones.
    """

    def __init__(
        self,
        settings: StreamSettings,
        discovery: Callable[[], Discovery],
        row_format: RowFormat,
    ) -> None:
        self.settings = settings
        self.row_format = row_format
        self._make_discovery = discovery
        self._discovery: Discovery | None = None
        self._state: ObjectState | None = None
        self._cleaner = settings.clean_up and Cleaner(settings.clean_up, settings.client)
        self._run_once = False
        self._chosen: list[ObjectVersion] = []  # for the batch planned last

    def __getstate__(self) -> dict[str, Any]:
        """Readers on the executors know how to read, not what there is."""
        planning = ("_make_discovery", "_discovery", "_state", "_cleaner")
        return {**self.__dict__, **dict.fromkeys(planning)}

    # Planning: one long-lived process on the driver.

    def initialOffset(self) -> dict:
        return {"id": uuid.uuid4().hex, "planned": 0, "files": []}

    def getDefaultReadLimit(self) -> ReadLimit:
        if self.settings.max_bytes is not None and self.settings.max_files is None:
            return ReadMaxBytes(self.settings.max_bytes)
        return ReadMaxFiles(self.settings.max_files or DEFAULT_MAX_FILES)

    def prepareForTriggerAvailableNow(self) -> None:
        self._run_once = True

    def latestOffset(self, start: dict, limit: ReadLimit) -> dict:
        is_first_plan = self._discovery is None
        state = self._open_state(start)
        if self._discovery is None:
            self._discovery = self._make_discovery()
        # Spark asks for more only when everything up to `start` is in the sink.
        self._mark_planned(state, start)
        self._discovery.acknowledge(state)
        if self._cleaner is not None:
            self._cleaner.turn(state, _now_ms())
        if not self.settings.include_existing and start["planned"] == 0 and "skipped" not in start:
            # A batch without files: once Spark has logged it, this was the first start.
            skipped = self._discovery.skip_existing(state)
            return {"id": start["id"], "planned": skipped, "files": [], "skipped": skipped}
        chosen = self._choose(state, limit)
        if is_first_plan or not chosen:
            self._discovery.discover(state, run_once=self._run_once)
            chosen = self._choose(state, limit)
            if not chosen:
                self._discovery.acknowledge(state)
        self._chosen = chosen
        if not chosen:
            return start
        return {
            **start,
            "planned": start["planned"] + len(chosen),
            "files": [list(item) for item in chosen],
        }

    def _choose(self, state: ObjectState, limit: ReadLimit) -> list[ObjectVersion]:
        if isinstance(limit, ReadAllAvailable):
            return state.waiting(-1, None)
        max_files = limit.max_files if isinstance(limit, ReadMaxFiles) else self.settings.max_files
        max_bytes = limit.max_bytes if isinstance(limit, ReadMaxBytes) else self.settings.max_bytes
        return state.waiting(max_files or DEFAULT_MAX_FILES, max_bytes)

    def _open_state(self, offset: dict) -> ObjectState:
        if self._state is None:
            self._state = ObjectState(self.settings.state_folder / f"{offset['id']}.sqlite")
            self._mark_planned(self._state, offset)
            self._state.require_planned(offset["planned"])
        return self._state

    def _mark_planned(self, state: ObjectState, offset: dict) -> None:
        loaded_ms = None if self._cleaner is None else _now_ms()
        state.mark_planned(_files(offset), loaded_ms=loaded_ms)

    def partitions(self, start: dict, end: dict) -> list[ObjectPartition]:
        files = _files(end)
        bodies = {}
        if any(item.kind == MESSAGE for item in files):
            # A batch that is replayed comes here first, and is planned already. Before the first
            # one, Spark has no offset logged, and asks for a new one: its id is not the state's.
            state = self._state or self._open_state({**start, "id": end["id"]})
            bodies = {
                item.key: (state.message_body(item.key) or "").encode()
                for item in files
                if item.kind == MESSAGE
            }
        batch = files if self.row_format.evolution is not None else []
        groups = balance(files, os.cpu_count() or 1)
        return [ObjectPartition(group, bodies, batch) for group in groups]

    def reportLatestOffset(self) -> dict | None:
        """What waits beyond the batch; Spark shows it as `latestOffset` in the query's progress."""
        if self._state is None or self._discovery is None:
            return None
        count, size = self._state.backlog()
        chosen = set(self._chosen)
        first = self._state.waiting(len(chosen) + 1, None)
        oldest = next((item for item in first if item not in chosen), None)
        return {
            "waitingObjects": count - len(self._chosen),
            "waitingBytes": size - sum(item.size_bytes for item in self._chosen),
            "oldestWaiting": oldest and {"key": oldest.key, "modifiedMs": oldest.modified_ms},
            **self._discovery.backlog(self._state),
            **(self._cleaner.report() if self._cleaner is not None else {}),
        }

    def commit(self, end: dict) -> None:
        """Nothing to do: the state follows the offsets that Spark logs."""

    def stop(self) -> None:
        if self._discovery is not None:
            self._discovery.stop()
        if self._state is not None:
            self._state.close()
        self._state = self._discovery = None

    # Reading: any number of processes on the executors.

    def read(self, partition: ObjectPartition) -> Iterator[Any]:
        try:
            yield from self.row_format.batches(self._records(partition.objects))
            yield from self.row_format.batches(
                (item, [Record(0, partition.bodies.get(item.key, b""), 0, _UNREAD[item.kind])])
                for item in partition.objects
                if item.kind in _UNREAD
            )
        except NewColumns as found:
            batch = (
                record for _, of in self._records(partition.batch) for record in one_by_one(of)
            )
            raise self.row_format.end(found, batch) from None

    def _records(
        self, objects: list[ObjectVersion]
    ) -> Iterator[tuple[ObjectVersion, Iterator[Record | Run]]]:
        readable = [item for item in objects if item.kind not in _UNREAD]
        for item, chunks in open_ahead(readable, self.settings.client):
            yield item, pieces_of(chunks)


# What is reported and not read, with the reason that stands in quarantine.
_UNREAD = {OVERWRITE: "overwrite_ignored", MESSAGE: "unreadable_message"}


def _now_ms() -> int:
    return time.time_ns() // 10**6


def _files(offset: dict) -> list[ObjectVersion]:
    return [ObjectVersion(*item) for item in offset["files"]]


def default_state_folder() -> Path:
    """checkpoints/objects under LAKEHOUSE_ROOT."""
    return Path(os.environ.get("LAKEHOUSE_ROOT") or "lakehouse") / "checkpoints" / "objects"


def balance(objects: list[ObjectVersion], groups: int) -> list[list[ObjectVersion]]:
    """The objects in at most `groups` parts of about equal bytes; order kept within a part."""
    parts: list[tuple[int, list[int]]] = [(0, []) for _ in range(min(groups, len(objects)))]
    by_size = sorted(range(len(objects)), key=lambda at: -objects[at].size_bytes)
    for at in by_size:
        smallest = min(range(len(parts)), key=lambda part: (parts[part][0], len(parts[part][1])))
        size, members = parts[smallest]
        members.append(at)
        # An empty object costs a request too.
        parts[smallest] = (size + objects[at].size_bytes + 4096, members)
    return [[objects[at] for at in sorted(members)] for _, members in parts]


def open_ahead(
    objects: list[ObjectVersion], settings: ClientSettings
) -> Iterator[tuple[ObjectVersion, Iterator[bytes] | ObjectGone]]:
    """Each object with its chunks; small objects are fetched ahead by a few threads."""

    def fetch(item: ObjectVersion) -> Iterator[bytes] | ObjectGone:
        chunks = read_object(item, settings)
        try:
            if item.size_bytes <= _SMALL_OBJECT_BYTES:
                return iter(list(chunks))
            return chain([next(chunks, b"")], chunks)
        except ObjectGone as gone:
            return gone

    with ThreadPoolExecutor(_READ_AHEAD) as pool:
        waiting = []
        for item in objects:
            waiting.append((item, pool.submit(fetch, item)))
            if len(waiting) >= 2 * _READ_AHEAD:
                first, future = waiting.pop(0)
                yield first, future.result()
        for item, future in waiting:
            yield item, future.result()


def pieces_of(chunks: Iterator[bytes] | ObjectGone) -> Iterator[Record | Run]:
    """An object's records; an object that is gone is one record that says so."""
    if isinstance(chunks, ObjectGone):
        yield Record(0, b"", 0, str(chunks))
        return
    yield from split_runs(chunks)
