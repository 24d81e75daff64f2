"""One event of a game server → what may go on, and what belongs in the vault. Pure.

An event is checked by its contract; identities become pseudonyms, personal fields are taken out,
and what is left must not look like personal data.
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


class Refused(NamedTuple):
    """Why an event is not taken; `field` is its path where there is one. No value is told."""

    event_id: str | None
    reason: str
    field: str | None = None


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

    def problem(self, values: Mapping[str, Any], version: int) -> tuple[str, str] | None:
        """The first thing wrong, as reason and path."""
        for name, since in self._required:
            if since <= version and values.get(name) is None:
                return "missing", self._path + name
        for name, value in values.items():
            known = self._checks.get(name)
            if known is not None and value is not None and not known[0](value):
                return f"not_{known[1].type}", self._path + name
        if forged := self._pseudonyms & values.keys():
            return "not_for_senders", self._path + min(forged)
        return None

    def take_personal(
        self, values: dict[str, Any], pseudonym: Callable[[str], str]
    ) -> dict[str, str] | None:
        """Take personal fields out of `values`, and put pseudonyms in.

        Returns: what was taken out, without identities; None when one is no text.
        """
        taken = {}
        for field in self._personal:
            value = values.pop(field.name, None)
            if value is None or value == "":
                continue
            if not isinstance(value, str):
                return None
            if field.becomes:
                values[field.becomes] = pseudonym(value)
            else:
                taken[field.name] = value
        return taken


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

    def separate(self, event: Any, studio: str, ingest_ts: float) -> Separated | Refused:
        """Check an event and take it apart; `event` is changed.

        An unknown type, or a newer version than is known, is no reason to refuse: such an event
        needs its envelope only.
        """
        if type(event) is not dict:
            return Refused(None, "not_an_object")
        event_id = event.get("event_id")
        if not _is_uuid(event_id):
            return Refused(None, "missing" if event_id is None else "not_uuid", "event_id")
        event["event_id"] = event_id = event_id.lower()

        event_type = event.get("event_type")
        known = self._events.get(event_type) if type(event_type) is str else None
        fields = known[1] if known else self._no_fields
        # An unknown event may be about no player.
        has_player = known[0].player if known else event.get("user_id") is not None
        envelope = self._envelope if has_player else self._serverside
        if problem := envelope.problem(event, 1):
            return Refused(event_id, *problem)
        if forged := self._stamped & event.keys():
            return Refused(event_id, "not_for_senders", min(forged))
        data = event.get("event_data")
        if data is None:
            event["event_data"] = data = {}
        elif type(data) is not dict:
            return Refused(event_id, "not_an_object", "event_data")
        version = event["event_version"]
        if version < 1:
            return Refused(event_id, "not_a_version", "event_version")
        if known and version <= known[0].version and (problem := fields.problem(data, version)):
            return Refused(event_id, *problem)

        user_id = event.pop("user_id", None)
        if user_id == "":
            return Refused(event_id, "missing", "user_id")
        personal = fields.take_personal(data, lambda identity: self._pseudonym(studio, identity))
        if personal is None:
            return Refused(event_id, "not_string", "event_data, a personal field")
        player_id = None
        if user_id is not None:
            personal["user_id"] = user_id
            event["player_id"] = player_id = self._pseudonym(studio, user_id)
        elif personal:
            return Refused(event_id, "missing", "user_id")
        event["studio_id"] = studio
        event["ingest_ts"] = ingest_ts
        try:
            body = orjson.dumps(event)
        except (orjson.JSONEncodeError, RecursionError):
            return Refused(event_id, "nested_too_deeply")
        if len(body) > MAX_EVENT_BYTES:
            return Refused(event_id, "too_large")
        if self._is_suspect(event, data, body, fields):
            declared = envelope.names | fields.names
            try:
                found = next((f for f in findings(event, declared=declared) if f != _A_VERSION), None)
            except RecursionError:
                return Refused(event_id, "nested_too_deeply")
            if found:
                return Refused(event_id, f"personal_data:{found.kind}", found.path)
        return Separated(event_id, player_id, event["event_timestamp"], body, personal)

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
