"""What one streaming query has discovered and planned: a SQLite file beside its checkpoint.

Protocol (see "The offset carries the work" in docs/decisions.md): a batch's file list stands
in Spark's offset log before the batch runs, and Spark hands the last logged offset back as
`start` when everything up to it is in the sink. So the files of `start`, and no others, are
recorded as planned, before anything new is planned. A crash at any point leaves either the
offset log or this file knowing each object. Discovered objects that are not planned yet may be
forgotten: listing, or the queue, brings them again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from loaders.sources.objects import OBJECT, OVERWRITE, ObjectVersion

_SCHEMA = """
create table if not exists object (
    bucket text not null,
    key text not null,
    version text not null,
    size_bytes integer not null,
    modified_ms integer not null,
    version_id text,
    kind text not null,
    planned integer not null default 0,
    primary key (bucket, key, version)
) without rowid;
create index if not exists waiting on object (modified_ms, key) where planned = 0;
create table if not exists message (
    id text primary key,
    body text
) without rowid;
create table if not exists message_object (
    id text not null,
    bucket text not null,
    key text not null,
    version text not null,
    primary key (id, bucket, key, version)
) without rowid;
create table if not exists fact (
    name text primary key,
    value integer not null
) without rowid;
create table if not exists loaded (
    bucket text not null,
    key text not null,
    version text not null,
    loaded_ms integer not null,
    primary key (bucket, key, version)
) without rowid;
create index if not exists by_time on loaded (loaded_ms);
"""
_FIELDS = "bucket, key, version, size_bytes, modified_ms, version_id, kind"
# The first version of a key that can be read wins; a later one becomes a note of the overwrite.
# One that waits without a version id cannot be read any more once a later one is there.
_DISCOVER_FIRST = f"""
insert or ignore into object ({_FIELDS})
select ?1, ?2, ?3, ?4, ?5, ?6, case
    when ?7 = 'object' and exists (
        select 1 from object
        where bucket = ?1 and key = ?2
        and (planned = 1 or version_id is not null or modified_ms > ?5)
    )
    then '{OVERWRITE}' else ?7 end
"""
_DISCOVER_ALL = f"insert or ignore into object ({_FIELDS}) values (?, ?, ?, ?, ?, ?, ?)"


class StateLost(Exception):
    """The file does not know as many planned objects as the offset says there were."""


class Message(NamedTuple):
    """A notification: its id, the objects it names, and its body where that is needed again."""

    id: str
    objects: list[ObjectVersion]
    body: str | None


class ObjectState:
    """Objects of one query by identity; planned or waiting."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript("pragma journal_mode = wal; pragma synchronous = full;")
        self._db.executescript(_SCHEMA)
        if self.fact("planned") is None:
            # Counting takes time in proportion to all that was ever loaded: once, then kept.
            count = self._db.execute("select count(*) from object where planned = 1").fetchone()[0]
            self.note("planned", count)

    def discover(self, objects: Iterable[ObjectVersion], *, allow_overwrites: bool) -> int:
        """Note objects that were found; known ones stay as they are.

        Returns: how many were not known.
        """
        before = self._db.total_changes
        self._db.execute("begin")
        self._db.executemany(_DISCOVER_ALL if allow_overwrites else _DISCOVER_FIRST, objects)
        self._db.execute("commit")
        return self._db.total_changes - before

    def note_messages(self, messages: Iterable[Message], *, allow_overwrites: bool) -> None:
        """Note messages together with the objects they name."""
        messages = list(messages)
        self._db.execute("begin")
        self._db.executemany(
            _DISCOVER_ALL if allow_overwrites else _DISCOVER_FIRST,
            [item for message in messages for item in message.objects],
        )
        self._db.executemany(
            "insert or ignore into message values (?, ?)",
            [(message.id, message.body) for message in messages],
        )
        self._db.executemany(
            "insert or ignore into message_object values (?, ?, ?, ?)",
            [(message.id, *item[:3]) for message in messages for item in message.objects],
        )
        self._db.execute("commit")

    def finished_messages(self) -> list[str]:
        """Ids of the messages none of whose objects waits."""
        rows = self._db.execute(
            "select id from message where not exists ("
            "select 1 from message_object join object using (bucket, key, version) "
            "where message_object.id = message.id and planned = 0)"
        )
        return [row[0] for row in rows]

    def forget_messages(self, ids: Iterable[str]) -> None:
        """Drop messages that were acknowledged."""
        keys = [(name,) for name in ids]
        self._db.execute("begin")
        self._db.executemany("delete from message where id = ?", keys)
        self._db.executemany("delete from message_object where id = ?", keys)
        self._db.execute("commit")

    def message_body(self, message_id: str) -> str | None:
        """The body of a message that could not be read."""
        row = self._db.execute("select body from message where id = ?", (message_id,)).fetchone()
        return row[0] if row else None

    def mark_planned(
        self, objects: Iterable[ObjectVersion], *, loaded_ms: int | None = None
    ) -> None:
        """Record the objects of a logged offset, or those that are never to be planned.

        Args:
            loaded_ms: when they were loaded, where they shall be cleaned up after a time.
        """
        objects = list(objects)
        self._db.execute("begin immediate")
        if loaded_ms is not None:
            self._db.executemany(
                "insert or ignore into loaded select ?1, ?2, ?3, ?4 where not exists (select 1 "
                "from object where bucket = ?1 and key = ?2 and version = ?3 and planned = 1)",
                [(*item[:3], loaded_ms) for item in objects if item.kind == OBJECT],
            )
        before = self._db.total_changes
        self._db.executemany(
            f"insert into object ({_FIELDS}, planned) values (?, ?, ?, ?, ?, ?, ?, 1) "
            "on conflict (bucket, key, version) do update set planned = 1 where planned = 0",
            objects,
        )
        self._db.execute(
            "update fact set value = value + ? where name = 'planned'",
            (self._db.total_changes - before,),
        )
        self._db.execute("commit")

    def note_rewritten(self, item: ObjectVersion) -> bool:
        """Take a version that was written in place of a planned one of its key for planned too.

        So its notification, or the next listing, brings nothing, and it is cleaned up when the
        other would have been. Done again, it changes nothing.

        Returns: whether the key is known here.
        """
        self._db.execute("begin immediate")
        is_known = bool(
            self._db.execute(
                "select 1 from object where bucket = ? and key = ? and planned = 1 limit 1",
                item[:2],
            ).fetchone()
        )
        if is_known:
            # Not counted: the offset does not count it either.
            self._db.execute(
                f"insert into object ({_FIELDS}, planned) values (?, ?, ?, ?, ?, ?, ?, 1) "
                "on conflict (bucket, key, version) do update set planned = 1",
                item,
            )
            self._db.execute(
                "update or ignore loaded set version = ?3 where bucket = ?1 and key = ?2", item[:3]
            )
        self._db.execute("commit")
        return is_known

    def require_planned(self, planned_in_all: int) -> None:
        """Check, after a start, that nothing was lost.

        Args:
            planned_in_all: how many objects the query had planned up to its last offset.

        Raises:
            StateLost: fewer are known, so older objects would be planned again.
        """
        known = self.fact("planned") or 0
        if known < planned_in_all:
            raise StateLost(
                f"{self.path} knows {known} of the {planned_in_all} objects that this stream has "
                "planned: restore the file, or start with a new checkpoint "
                "(bronze.ledger keeps loaded objects from being loaded twice)"
            )

    def fact(self, name: str) -> int | None:
        """A number that was noted."""
        row = self._db.execute("select value from fact where name = ?", (name,)).fetchone()
        return row[0] if row else None

    def note(self, name: str, value: int) -> None:
        """Keep a number across restarts."""
        self._db.execute("insert or replace into fact values (?, ?)", (name, value))

    def loaded_before(self, loaded_ms: int, count: int) -> list[ObjectVersion]:
        """The objects loaded longest ago, up to a time, that are not cleaned up yet."""
        rows = self._db.execute(
            f"select {_FIELDS} from loaded join object using (bucket, key, version) "
            "where loaded_ms <= ? order by loaded_ms limit ?",
            (loaded_ms, count),
        )
        return [ObjectVersion(*row) for row in rows]

    def postpone_loaded(self, objects: Iterable[ObjectVersion], loaded_ms: int) -> None:
        """Treat objects as if they had been loaded at another time."""
        self._db.execute("begin")
        self._db.executemany(
            "update loaded set loaded_ms = ? where bucket = ? and key = ? and version = ?",
            [(loaded_ms, *item[:3]) for item in objects],
        )
        self._db.execute("commit")

    def forget_loaded(self, objects: Iterable[ObjectVersion]) -> None:
        """Objects that were cleaned up, or cannot be."""
        self._db.execute("begin")
        self._db.executemany(
            "delete from loaded where bucket = ? and key = ? and version = ?",
            [item[:3] for item in objects],
        )
        self._db.execute("commit")

    def waiting(self, max_files: int, max_bytes: int | None) -> list[ObjectVersion]:
        """The oldest unplanned objects within the limits; one at least, however large."""
        rows = self._db.execute(
            f"select {_FIELDS} from object where planned = 0 order by modified_ms, key limit ?",
            (max_files,),
        )
        chosen: list[ObjectVersion] = []
        total = 0
        for row in rows:
            item = ObjectVersion(*row)
            total += item.size_bytes
            if chosen and max_bytes is not None and total > max_bytes:
                break
            chosen.append(item)
        return chosen

    def backlog(self) -> tuple[int, int]:
        """Number and bytes of the objects that wait."""
        return self._db.execute(
            "select count(*), coalesce(sum(size_bytes), 0) from object where planned = 0"
        ).fetchone()

    def close(self) -> None:
        self._db.close()
