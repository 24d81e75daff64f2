"""The vault: personal data of players, each player's under a data key of their own.

One SQLite file, vault.db, under VAULT_ROOT:

player_pii    one row per player and field: the newest value, sealed
player_keys   one row per player: the data key, wrapped by KMS. Without it player_pii is noise,
              and so is quarantined.
quarantined   one row per event that had personal data where its contract declares none: all of it,
              sealed, and what of it may be counted
secrets       keys of the deployment, wrapped: the pseudonym key, and what studios sign with
audit         one row per access by a person, and per erasure
unlinkings    one row per player whose erasure in the lake is under way: what the lake shall call
              them. It is deleted when that is complete, and then known nowhere.

The process that takes events in writes while others read; SQLite arbitrates between them.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from botocore.exceptions import ClientError

from loaders.games.detection import in_words
from loaders.games.separation import Quarantined
from loaders.session import PROJECT_ROOT, ConfigurationError, lakehouse_root
from loaders.vault.envelope import Damaged, Sealer, pseudonym_of
from loaders.vault.master_key import MasterKey

_SCHEMA = """
create table if not exists player_keys (
    player_id text primary key,
    key_id text not null,
    wrapped_key blob not null,
    created_at text not null
) without rowid;
create table if not exists player_pii (
    player_id text not null,
    field text not null,
    key_id text not null,
    sealed blob not null,
    event_timestamp real not null,
    event_id text not null,
    primary key (player_id, field)
) without rowid;
create table if not exists quarantined (
    player_id text not null,
    event_id text not null,
    key_id text not null,
    sealed blob not null,
    studio_id text not null,
    event_type text not null,
    event_version integer not null,
    field text not null,
    kind text not null,
    taken_at real not null,
    primary key (player_id, event_id)
) without rowid;
create index if not exists quarantined_for_counting on quarantined
(event_type, studio_id, event_version, field, kind, taken_at);
create table if not exists secrets (
    name text primary key,
    kind text not null,
    owner text,
    wrapped blob not null,
    created_at text not null
) without rowid;
create table if not exists audit (
    number integer primary key autoincrement,
    at text not null,
    actor text not null,
    action text not null,
    player_id text,
    reason text not null,
    outcome text not null
);
create table if not exists unlinkings (
    player_id text primary key,
    becomes text not null
) without rowid;
create trigger if not exists audit_is_not_changed before update on audit
begin select raise(abort, 'the audit is not changed'); end;
create trigger if not exists audit_is_not_deleted before delete on audit
begin select raise(abort, 'the audit is not deleted'); end;
"""
# How long another process's writing is waited for.
LOCK_SECONDS = 30
# Plain data keys that are held in memory, so that KMS need not be asked for each event.
MAX_KEYS_IN_MEMORY = 50_000
KEY_SECONDS_IN_MEMORY = 900
# What KMS says where it is not away, and this one wrapped key is of no use, or of none for now.
_KEY_DOES_NOT_OPEN = {
    "DisabledException",
    "IncorrectKeyException",
    "InvalidCiphertextException",
    "KMSInvalidStateException",
    "NotFoundException",
}
_PSEUDONYM_KEY = "pseudonym"
_STUDIO_KEY = "studio"


class PersonalValues(NamedTuple):
    """What one event says of a player."""

    player_id: str
    event_id: str
    event_timestamp: float
    values: dict[str, str]


class StudioKey(NamedTuple):
    """What a studio signs its requests with."""

    key_id: str
    studio: str
    secret: bytes


@dataclass(frozen=True, slots=True)
class Access:
    """Who does what to a player's data, and why: what the audit keeps."""

    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """What erase() destroyed; the certificate of the vault's part."""

    player_id: str
    erased_at: str
    had_key: bool
    fields: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class QuarantineGroup:
    """Quarantined events that were found alike; names that are none stand as *. Times UTC."""

    studio: str
    event_type: str
    event_version: int
    field: str
    kind: str
    events: int
    first_taken: datetime
    last_taken: datetime


class Busy(Exception):
    """Another process is in the way; the message says of what."""


class NoSuchPlayer(Exception):
    """The vault has nothing of a player."""


def vault_root() -> Path:
    """Where the vault lies: VAULT_ROOT, default ./vault. Never inside the lakehouse.

    Raises:
        ConfigurationError: it is inside LAKEHOUSE_ROOT, or around it.
    """
    root = Path(os.environ.get("VAULT_ROOT") or PROJECT_ROOT / "vault").absolute()
    lake = lakehouse_root()
    if root.is_relative_to(lake) or lake.is_relative_to(root):
        raise ConfigurationError(
            f"VAULT_ROOT {root} and LAKEHOUSE_ROOT {lake} lie within one another: whoever may "
            "read the lake could read the vault; set VAULT_ROOT elsewhere"
        )
    return root


def prepare_vault_root() -> Path:
    """Create the vault's folder for its owner alone.

    Raises:
        ConfigurationError: it cannot be created, or others may enter it.
    """
    root = vault_root()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(root.stat().st_mode)
    except OSError as error:
        raise ConfigurationError(f"cannot use VAULT_ROOT {root}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigurationError(
            f"VAULT_ROOT {root} is open to others (mode {mode:o}): run chmod 700 {root}"
        )
    return root


class Vault:
    """The vault in a folder; one object a thread.

    Args:
        root: as prepare_vault_root() returns it.
        master: wraps the keys.
    """

    def __init__(self, root: Path, master: MasterKey) -> None:
        self._master = master
        path = root / "vault.db"
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise ConfigurationError(f"cannot use {path}: {error.strerror}") from error
        self._db = sqlite3.connect(
            path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        for pragma in (
            "journal_mode = wal",
            "synchronous = full",  # what is in the vault may go from the journal
            "secure_delete = on",  # what is deleted is overwritten
        ):
            self._db.execute(f"pragma {pragma}")
        self._db.executescript(_SCHEMA)
        self._keys = _KeysInMemory()
        self._studio_keys: dict[str, StudioKey] = {}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # ---- keys of the deployment

    def pseudonym_key(self) -> bytes:
        """The key of all pseudonyms; made on first use, and never changed."""
        purpose = {"purpose": _PSEUDONYM_KEY}
        row = self._one("select wrapped from secrets where name = ?", _PSEUDONYM_KEY)
        if row is None:
            self._db.execute(
                "insert or ignore into secrets values (?, ?, null, ?, ?)",
                (_PSEUDONYM_KEY, _PSEUDONYM_KEY, self._master.new_data_key(**purpose)[1], _now()),
            )
            row = self._one("select wrapped from secrets where name = ?", _PSEUDONYM_KEY)
        return self._master.unwrap(row[0], **purpose)

    def new_studio_key(self, studio: str) -> StudioKey:
        """Make a key for a studio; its secret is told now and never again."""
        key = StudioKey(f"{studio}-{secrets.token_hex(6)}", studio, secrets.token_bytes(32))
        wrapped = self._master.wrap(key.secret, **_studio_purpose(key.key_id, studio))
        self._db.execute(
            "insert into secrets values (?, ?, ?, ?, ?)",
            (key.key_id, _STUDIO_KEY, studio, wrapped, _now()),
        )
        return key

    def studio_keys(self) -> list[tuple[str, str, str]]:
        """Key id, studio and time of making of each key that is valid."""
        return self._db.execute(
            "select name, owner, created_at from secrets where kind = ? order by 2, 3",
            (_STUDIO_KEY,),
        ).fetchall()

    def studio_key(self, key_id: str) -> StudioKey | None:
        """A key with its secret; None when there is none of that id (any more).

        A secret never changes: KMS is asked for it once, whether it is valid every time.
        """
        row = self._one(
            "select owner, wrapped from secrets where name = ? and kind = ?", key_id, _STUDIO_KEY
        )
        if row is None:
            self._studio_keys.pop(key_id, None)
            return None
        studio, wrapped = row
        if key_id not in self._studio_keys:
            secret = self._master.unwrap(wrapped, **_studio_purpose(key_id, studio))
            self._studio_keys[key_id] = StudioKey(key_id, studio, secret)
        return self._studio_keys[key_id]

    def revoke_studio_key(self, key_id: str) -> bool:
        """Delete a key; whether there was one."""
        return bool(
            self._db.execute(
                "delete from secrets where name = ? and kind = ?", (key_id, _STUDIO_KEY)
            ).rowcount
        )

    def version(self) -> int:
        """A number that changes when another process has written."""
        return self._db.execute("pragma data_version").fetchone()[0]

    # ---- personal data

    def put(self, said: Iterable[PersonalValues]) -> set[str]:
        """Keep the newest value of each field; what is older than that is dropped.

        Idempotent, and independent of the order of arrival.

        Returns: the players whose key does not open, of whom nothing was kept.
        """
        newest: dict[tuple[str, str], tuple[float, str, str]] = {}
        for player_id, event_id, event_timestamp, values in said:
            for field, value in values.items():
                candidate = (event_timestamp, event_id, value)
                place = (player_id, field)
                if place not in newest or candidate[:2] > newest[place][:2]:
                    newest[place] = candidate
        wanted = {
            place: said
            for place, said in newest.items()
            # A player's own id never changes, and comes with every event.
            if place[1] != "user_id" or not self._has(*place)
        }
        # KMS is asked before the transaction, so that nobody waits for both.
        sealers, closed = self._sealers({player_id for player_id, _ in wanted})
        with self._transaction():
            for (player_id, field), (timestamp, event_id, value) in wanted.items():
                if player_id in closed:
                    continue
                key_id, sealer = self._living(player_id, *sealers[player_id])
                sealed = sealer.seal(value.encode(), _place(player_id, field))
                self._db.execute(
                    "insert into player_pii values (?, ?, ?, ?, ?, ?) "
                    "on conflict (player_id, field) do update set key_id = excluded.key_id, "
                    "sealed = excluded.sealed, event_timestamp = excluded.event_timestamp, "
                    "event_id = excluded.event_id where (excluded.event_timestamp, "
                    "excluded.event_id) > (event_timestamp, event_id)",
                    (player_id, field, key_id, sealed, timestamp, event_id),
                )
        return closed

    def quarantine(self, events: Iterable[Quarantined]) -> set[str]:
        """Keep events that had personal data where there should be none.

        Idempotent: an event that is here stays as it is.

        Returns: the players whose key does not open, of whom nothing was kept.
        """
        coming = list(events)
        sealers, closed = self._sealers({event.player_id for event in coming})
        with self._transaction():
            for event in coming:
                if event.player_id in closed:
                    continue
                key_id, sealer = self._living(event.player_id, *sealers[event.player_id])
                sealed = sealer.seal(
                    event.sent.encode(),
                    _quarantine_place(event.player_id, event.studio, event.event_id),
                )
                self._db.execute(
                    "insert or ignore into quarantined values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        event.player_id,
                        event.event_id,
                        key_id,
                        sealed,
                        event.studio,
                        in_words(event.event_type),
                        event.event_version,
                        in_words(event.field),
                        event.kind,
                        event.taken_at,
                    ),
                )
        return closed

    def quarantined_by_studio(self) -> Counter[str]:
        """How many events of each studio are quarantined."""
        return Counter(
            dict(self._db.execute("select studio_id, count(*) from quarantined group by 1"))
        )

    def quarantine_groups(self) -> list[QuarantineGroup]:
        """What is quarantined, by what may be told of it; nothing is opened."""
        rows = self._db.execute(
            "select studio_id, event_type, event_version, field, kind, count(*), min(taken_at), "
            "max(taken_at) from quarantined group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5"
        )
        return [
            QuarantineGroup(*names, *(datetime.fromtimestamp(at, UTC) for at in (first, last)))
            for *names, first, last in rows
        ]

    def open_quarantined(self, event_types: Iterable[str], access: Access) -> Iterator[Quarantined]:
        """The quarantined events of some types, player by player; audited, each player.

        Raises:
            Damaged: an event does not open.
        """
        types = list(event_types)
        of_them = f"event_type in ({', '.join('?' * len(types))})"
        players = self._db.execute(
            f"select player_id, count(*) from quarantined where {of_them} group by player_id",
            types,
        ).fetchall()
        for player_id, count in players:
            self._note("release", player_id, access, f"quarantined events: {count}")
            yield from self._quarantined(player_id, of_them, types)

    def settle_quarantined(
        self, released: Iterable[Quarantined], staying: Iterable[Quarantined]
    ) -> None:
        """Delete quarantined events that went on, and note what is found in others by now."""
        with self._transaction():
            self._db.executemany(
                "delete from quarantined where player_id = ? and event_id = ?",
                [(event.player_id, event.event_id) for event in released],
            )
            self._db.executemany(
                "update quarantined set field = ?, kind = ? where player_id = ? and event_id = ?",
                [
                    (in_words(event.field), event.kind, event.player_id, event.event_id)
                    for event in staying
                ],
            )

    def show(self, player_id: str, access: Access) -> dict[str, str]:
        """Field → value of all that is held of a player; audited, whatever comes of it.

        A quarantined event is a field of its own.

        Raises:
            NoSuchPlayer: nothing is held.
            Damaged: a value does not open.
        """
        fields, events = self._read(player_id, access, "show")
        values = {field: item["value"] for field, item in fields.items()}
        return values | {f"quarantined {event.event_id}": event.sent for event in events}

    def export(
        self, player_id: str, access: Access
    ) -> tuple[dict[str, dict[str, str]], list[Quarantined]]:
        """All that is held of a player, audited: field → value, and the event it came from; events
        in quarantine."""
        return self._read(player_id, access, "export")

    def erase(self, player_id: str, access: Access) -> Erasure:
        """Destroy a player's key and data, for good; audited. A second time finds nothing.

        A backup of the file has key and data still: docs/privacy.md says how long it may live.

        Raises:
            Busy: a reader keeps the old pages of the file from being overwritten.
        """
        with self._transaction():
            had_key = self._db.execute(
                "delete from player_keys where player_id = ?", (player_id,)
            ).rowcount
            fields = self._db.execute(
                "delete from player_pii where player_id = ?", (player_id,)
            ).rowcount
            quarantined = self._db.execute(
                "delete from quarantined where player_id = ?", (player_id,)
            ).rowcount
            erasure = Erasure(player_id, _now(), bool(had_key), fields, quarantined)
            self._note(
                "erase",
                player_id,
                access,
                f"key {had_key}, fields {fields}, quarantined events {quarantined}",
            )
        self._keys.forget(player_id)
        self._overwrite_log()
        return erasure

    def unlinking(self, player_id: str, fresh: str) -> str:
        """What takes a pseudonym's place: `fresh`, or what an unfinished erasure has begun with."""
        self._db.execute("insert or ignore into unlinkings values (?, ?)", (player_id, fresh))
        return self._one("select becomes from unlinkings where player_id = ?", player_id)[0]

    def is_unlinking(self, player_id: str) -> bool:
        """Whether there is an unfinished erasure of a player."""
        return bool(self._one("select 1 from unlinkings where player_id = ?", player_id))

    def forget_unlinking(self, player_id: str) -> None:
        """Destroy what leads from a player to what took their place.

        Raises:
            Busy: a reader keeps the old pages of the file from being overwritten.
        """
        self._db.execute("delete from unlinkings where player_id = ?", (player_id,))
        self._overwrite_log()

    def rotate(self, access: Access) -> int:
        """Wrap every key anew, under the vault's master key; data stay as they are. Audited.

        KMS knows which master key wrapped each; that one may be retired afterwards.

        Returns: the number of keys. After an interruption it is run again.

        Raises:
            Damaged: a player's key does not open.
        """
        players = self._db.execute("select player_id, wrapped_key from player_keys").fetchall()
        for player_id, wrapped in players:
            self._db.execute(
                "update player_keys set wrapped_key = ? where player_id = ? and wrapped_key = ?",
                (
                    self._master.wrap(self._unwrap(player_id, wrapped), player=player_id),
                    player_id,
                    wrapped,
                ),
            )
        kept = self._db.execute("select name, kind, owner, wrapped from secrets").fetchall()
        for name, kind, owner, wrapped in kept:
            is_studios = kind == _STUDIO_KEY
            purpose = _studio_purpose(name, owner) if is_studios else {"purpose": kind}
            plain = self._master.unwrap(wrapped, **purpose)
            self._db.execute(
                "update secrets set wrapped = ? where name = ? and wrapped = ?",
                (self._master.wrap(plain, **purpose), name, wrapped),
            )
        count = len(players) + len(kept)
        self._note("rotate", None, access, f"{count} keys under {self._master.key_id}")
        return count

    def audit(self) -> list[dict[str, str]]:
        """All entries, oldest first."""
        names = ("number", "at", "actor", "action", "player_id", "reason", "outcome")
        rows = self._db.execute(f"select {', '.join(names)} from audit order by number")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def note(self, action: str, access: Access, outcome: str, player_id: str | None = None) -> None:
        """Put an access into the audit that is not the vault's own; of a player, or of none."""
        self._note(action, player_id, access, outcome)

    # ---- inside

    def _overwrite_log(self) -> None:
        """The write-ahead log still has the pages as they were."""
        is_busy = self._db.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if is_busy:
            raise Busy("erased, but another process reads what was there: erase once more")

    def _read(
        self, player_id: str, access: Access, action: str
    ) -> tuple[dict[str, dict[str, str]], list[Quarantined]]:
        rows = self._db.execute(
            "select field, sealed, key_id, event_timestamp, event_id from player_pii "
            "where player_id = ? order by field",
            (player_id,),
        ).fetchall()
        count = self._one("select count(*) from quarantined where player_id = ?", player_id)[0]
        # The entry comes first: nobody reads unnoticed because something failed after it.
        told = f"fields: {', '.join(row[0] for row in rows)}"
        self._note(
            action, player_id, access, f"{told}; quarantined events: {count}" if count else told
        )
        if not rows and not count:
            raise NoSuchPlayer(f"the vault has nothing of player {player_id}")
        sealer = self._existing(player_id)
        held = {}
        for field, sealed, _, timestamp, event_id in rows:
            value = sealer.open(sealed, _place(player_id, field)).decode()
            at = datetime.fromtimestamp(timestamp, UTC).isoformat()
            held[field] = {"value": value, "said_at": at, "event_id": event_id}
        return held, list(self._quarantined(player_id))

    def _quarantined(
        self, player_id: str, condition: str = "true", parameters: Sequence[str] = ()
    ) -> Iterator[Quarantined]:
        """A player's quarantined events, opened; who is given them may delete them."""
        last = ""
        while rows := self._db.execute(
            "select event_id, player_id, studio_id, taken_at, event_type, event_version, field, "
            f"kind, sealed from quarantined where player_id = ? and event_id > ? and {condition} "
            "order by event_id limit 500",
            (player_id, last, *parameters),
        ).fetchall():
            sealer = self._existing(player_id)
            for *told, sealed in rows:
                last = told[0]
                place = _quarantine_place(player_id, told[2], last)
                yield Quarantined(*told, sealer.open(sealed, place).decode())

    def _existing(self, player_id: str) -> Sealer:
        key = self._load_key(player_id)
        if key is None:
            raise Damaged(f"player {player_id} has no key")
        return key[1]

    def _sealers(self, player_ids: Iterable[str]) -> tuple[dict[str, tuple[str, Sealer]], set[str]]:
        """The keys of players, new ones where there is none; and whose key does not open."""
        sealers, closed = {}, set()
        for player_id in player_ids:
            try:
                sealers[player_id] = self._sealer_or_new(player_id)
            except Damaged:
                closed.add(player_id)
        return sealers, closed

    def _sealer_or_new(self, player_id: str) -> tuple[str, Sealer]:
        known = self._keys.get(player_id) or self._load_key(player_id)
        if known is None:
            fresh = self._master.new_data_key(player=player_id)
            self._db.execute(
                "insert or ignore into player_keys values (?, ?, ?, ?)",
                (player_id, secrets.token_hex(8), fresh.wrapped, _now()),
            )
            known = self._load_key(player_id)
            if known is None:
                raise Busy(f"player {player_id} was erased this moment: put it again")
        return known

    def _load_key(self, player_id: str) -> tuple[str, Sealer] | None:
        row = self._one(
            "select key_id, wrapped_key from player_keys where player_id = ?", player_id
        )
        if row is None:
            return None
        try:
            known = (row[0], Sealer(self._unwrap(player_id, row[1])))
        except ValueError as error:
            raise Damaged(f"the key of player {player_id} is no key") from error
        self._keys.put(player_id, known)
        return known

    def _unwrap(self, player_id: str, wrapped: bytes) -> bytes:
        try:
            return self._master.unwrap(wrapped, player=player_id)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code not in _KEY_DOES_NOT_OPEN:
                raise
            raise Damaged(f"the key of player {player_id} does not open: {code}") from error

    def _living(self, player_id: str, key_id: str, sealer: Sealer) -> tuple[str, Sealer]:
        """The key, unless the player was erased since it was read: then a new one.

        What is sealed under a destroyed key would be lost, and would look like data.
        """
        row = self._one("select key_id from player_keys where player_id = ?", player_id)
        if row is not None and row[0] == key_id:
            return key_id, sealer
        self._keys.forget(player_id)
        return self._sealer_or_new(player_id)

    def _has(self, player_id: str, field: str) -> bool:
        return (
            self._one(
                "select 1 from player_pii where player_id = ? and field = ?", player_id, field
            )
            is not None
        )

    def _one(self, query: str, *parameters: str) -> tuple | None:
        return self._db.execute(query, parameters).fetchone()

    def _note(self, action: str, player_id: str | None, access: Access, outcome: str) -> None:
        self._db.execute(
            "insert into audit (at, actor, action, player_id, reason, outcome) "
            "values (?, ?, ?, ?, ?, ?)",
            (_now(), access.actor, action, player_id, access.reason, outcome),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")


class Pseudonyms:
    """(studio, id of a player) → pseudonym."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, studio: str, user_id: str) -> str:
        return pseudonym_of(self._key, studio, user_id)


class _KeysInMemory:
    """The data keys used last, each for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: OrderedDict[str, tuple[float, tuple[str, Sealer]]] = OrderedDict()

    def get(self, player_id: str) -> tuple[str, Sealer] | None:
        found = self._keys.get(player_id)
        if found is None or found[0] < self._clock():
            return None
        return found[1]

    def put(self, player_id: str, key: tuple[str, Sealer]) -> None:
        self._keys[player_id] = (self._clock() + KEY_SECONDS_IN_MEMORY, key)
        self._keys.move_to_end(player_id)
        if len(self._keys) > MAX_KEYS_IN_MEMORY:
            self._keys.popitem(last=False)

    def forget(self, player_id: str) -> None:
        self._keys.pop(player_id, None)


def _place(player_id: str, field: str) -> tuple[str, str, str]:
    return ("player_pii", player_id, field)


def _quarantine_place(player_id: str, studio: str, event_id: str) -> tuple[str, ...]:
    return ("quarantined", player_id, studio, event_id)


def _studio_purpose(key_id: str, studio: str) -> dict[str, str]:
    return {"purpose": _STUDIO_KEY, "key": key_id, "studio": studio}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
