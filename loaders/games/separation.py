"""One event of a game server → what may go on, and what belongs in the vault. Pure.

An event is checked by its contract; identities become pseudonyms, personal fields are taken out,
and what is left must not look like personal data: else the event goes into quarantine, as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from loaders.games.contract import Contract, EventField
from loaders.games.detection import Finding, findings, is_personal_name, may_hold_personal_data

MAX_EVENT_BYTES = 64 << 10
MAX_STRING = 1024  # characters of a declared text
# A version of four parts looks like an IP address.
_A_VERSION = Finding("app_version", "ip_address")
# Seconds since 1970 of the years 2000 and 2100: beyond are clocks that were never set.
_OLDEST, _YOUNGEST = 946_684_800, 4_102_444_800
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Separated(NamedTuple):
    """A good event.

    body: JSON without personal data, for the lake.
    personal: field → value, for the vault; `user_id` among them. Empty for an event of no player.
    """

    event_id: str
    player_id: str | None
    timestamp: float
    body: bytes
    personal: dict[str, str]


class Quarantined(NamedTuple):
    """An event of a player with personal data where its contract declares none.

    taken_at: seconds since 1970. field: path of what was found, of that `kind`. sent: all of the
    event, as JSON.
    """

    event_id: str
    player_id: str
    studio: str
    taken_at: float
    event_type: str
    event_version: int
    field: str
    kind: str
    sent: str

    @property
    def reason(self) -> str:
        """Why it is here, as a refusal would say."""
        return _suspicion(self.kind)


class Refused(NamedTuple):
    """Why an event is not taken; `field` is its path where there is one. No value is told."""

    event_id: str | None
    reason: str
    field: str | None = None


def _suspicion(kind: str) -> str:
    return f"personal_data:{kind}"


class _Refusal(Exception):
    """Ends the way of an event."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.field = reason, field


def _event_id(event: Any) -> str:
    if type(event) is not dict:
        raise _Refusal("not_an_object")
    event_id = event.get("event_id")
    if not _is_uuid(event_id):
        raise _Refusal("missing" if event_id is None else "not_uuid", "event_id")
    return event_id.lower()


def _is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_STRING


def _is_integer(value: Any) -> bool:
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_boolean(value: Any) -> bool:
    return type(value) is bool


def _is_timestamp(value: Any) -> bool:
    return type(value) in (int, float) and _OLDEST <= value < _YOUNGEST


def _is_uuid(value: Any) -> bool:
    return type(value) is str and _UUID.fullmatch(value) is not None


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "string": _is_text,
    "integer": _is_integer,
    "number": _is_number,
    "boolean": _is_boolean,
    "timestamp": _is_timestamp,
    "uuid": _is_uuid,
}


class _Fields:
    """The fields of a mapping, ready for checking."""

    def __init__(self, fields: tuple[EventField, ...], path: str = "") -> None:
        self._path = path
        self._checks = {field.name: (_CHECKS[field.type], field) for field in fields}
        self._required = [(field.name, field.since) for field in fields if field.required]
        self._personal = [field for field in fields if field.personal]
        self._pseudonyms = frozenset(field.becomes for field in fields if field.becomes)
        self.names = frozenset(path + field.name for field in fields)

    def check(self, values: Mapping[str, Any], version: int) -> None:
        """Refuse at the first thing that is wrong."""
        for name, since in self._required:
            if since <= version and values.get(name) is None:
                raise _Refusal("missing", self._path + name)
        for name, value in values.items():
            known = self._checks.get(name)
            if known is not None and value is not None and not known[0](value):
                raise _Refusal(f"not_{known[1].type}", self._path + name)
        if forged := self._pseudonyms & values.keys():
            raise _Refusal("not_for_senders", self._path + min(forged))

    def take_personal(
        self, values: dict[str, Any], pseudonym: Callable[[str], str]
    ) -> dict[str, str]:
        """Take personal fields out of `values`, and put pseudonyms in.

        Returns: what was taken out, without identities.
        """
        taken = {}
        for field in self._personal:
            value = values.pop(field.name, None)
            if value is None or value == "":
                continue
            if not isinstance(value, str):  # of a version that could not be checked
                raise _Refusal("not_string", self._path + field.name)
            if field.becomes:
                values[field.becomes] = pseudonym(value)
            else:
                taken[field.name] = value
        return taken


def _as_json(event: dict[str, Any]) -> bytes:
    try:
        body = orjson.dumps(event)
    except orjson.JSONEncodeError:
        raise _Refusal("nested_too_deeply") from None
    if len(body) > MAX_EVENT_BYTES:
        raise _Refusal("too_large")
    return body


class Separator:
    """Applies a contract.

    Args:
        contract: the events.
        pseudonym: (studio, id of a player) → what the lake calls the player.
    """

    def __init__(self, contract: Contract, pseudonym: Callable[[str, str], str]) -> None:
        self._pseudonym = pseudonym
        self._stamped = frozenset(field.name for field in contract.stamped)
        self._envelope = _Fields(contract.envelope)
        self._serverside = _Fields(
            tuple(
                field.model_copy(update={"required": field.required and not field.personal})
                for field in contract.envelope
            )
        )
        self._events = {
            event.name: (event, _Fields(event.fields, "event_data.")) for event in contract.events
        }
        self._no_fields = _Fields((), "event_data.")
        pseudonyms = {field.becomes for field in contract.envelope if field.becomes}
        self._expected = self._envelope.names | self._stamped | pseudonyms | {"event_data"}

    def separate(
        self, sent: Any, studio: str, ingest_ts: float
    ) -> Separated | Quarantined | Refused:
        """Check an event and take it apart.

        An unknown type, or a newer version than is known, is no reason to refuse: such an event
        needs its envelope only.
        """
        event_id = None
        try:
            event_id = _event_id(sent)
            event = dict(sent)  # what is quarantined is kept as it was sent
            envelope, fields = self._check(event)
            player_id, personal = self._take_personal(event, envelope, fields, studio)
            event |= {"event_id": event_id, "studio_id": studio, "ingest_ts": ingest_ts}
            body = _as_json(event)
            finding = self._finding(event, body, envelope, fields)
            if finding is None:
                return Separated(event_id, player_id, event["event_timestamp"], body, personal)
            if player_id is None:  # without a player's key nothing can be kept
                raise _Refusal(_suspicion(finding.kind), finding.path)
            named = event["event_type"], event["event_version"]
            whole = _as_json(sent).decode()
            return Quarantined(event_id, player_id, studio, ingest_ts, *named, *finding, whole)
        except _Refusal as refusal:
            return Refused(event_id, refusal.reason, refusal.field)

    def _check(self, event: dict[str, Any]) -> tuple[_Fields, _Fields]:
        """Check envelope and data; returns which fields they may have."""
        event_type = event.get("event_type")
        known = self._events.get(event_type) if type(event_type) is str else None
        fields = known[1] if known else self._no_fields
        # An unknown event may be about no player.
        has_player = known[0].player if known else event.get("user_id") is not None
        envelope = self._envelope if has_player else self._serverside
        envelope.check(event, 1)
        if forged := self._stamped & event.keys():
            raise _Refusal("not_for_senders", min(forged))
        version = event["event_version"]
        if version < 1:
            raise _Refusal("not_a_version", "event_version")
        data = event.get("event_data")
        if data is not None and type(data) is not dict:
            raise _Refusal("not_an_object", "event_data")
        event["event_data"] = data = dict(data or {})
        if known and version <= known[0].version:
            fields.check(data, version)
        return envelope, fields

    def _take_personal(
        self, event: dict[str, Any], envelope: _Fields, fields: _Fields, studio: str
    ) -> tuple[str | None, dict[str, str]]:
        """Take personal data out of a checked event; returns whose they are, and what."""

        def pseudonym(identity: str) -> str:
            return self._pseudonym(studio, identity)

        user_id = event.get("user_id")
        personal = envelope.take_personal(event, pseudonym)
        personal |= fields.take_personal(event["event_data"], pseudonym)
        if user_id == "" or (user_id is None and personal):
            raise _Refusal("missing", "user_id")
        if user_id is None:
            return None, personal
        return event["player_id"], personal | {"user_id": user_id}

    def _finding(
        self, event: dict[str, Any], body: bytes, envelope: _Fields, fields: _Fields
    ) -> Finding | None:
        """What looks like personal data in what is left of an event; None: nothing does."""
        if not self._is_suspect(event, event["event_data"], body, fields):
            return None
        declared = envelope.names | fields.names
        try:
            found = (each for each in findings(event, declared=declared) if each != _A_VERSION)
            return next(found, None)
        except RecursionError:
            raise _Refusal("nested_too_deeply") from None

    def _is_suspect(
        self,
        event: dict[str, Any],
        data: dict[str, Any],
        body: bytes,
        fields: _Fields,
    ) -> bool:
        """A quick look; whether a thorough one is due."""
        return (
            may_hold_personal_data(body)
            or any(
                type(value) in (dict, list)
                or (f"event_data.{name}" not in fields.names and is_personal_name(name))
                for name, value in data.items()
            )
            or not event.keys() <= self._expected
        )
