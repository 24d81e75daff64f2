"""Object notifications to object references: every shape in which S3 events reach a queue.

S3's own record lists, bare (queue, or SNS with raw delivery) or inside an SNS envelope; EventBridge
events, bare or inside SNS; the test event that S3 sends when a notification is set up. Keys in
record lists are form-encoded (``+`` is a blank, ``%2B`` a plus), keys in EventBridge are not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus

import orjson

_RECORD_MAJOR_VERSION = "2"
_DETAIL_VERSION = "0"
_MAX_SIZE = 1 << 50  # bytes; more than S3 stores, and so few that sums of them stay numbers
_CREATED = ("ObjectCreated:", "Object Created")
_REMOVED = ("ObjectRemoved:", "LifecycleExpiration:", "Object Deleted")
# These say nothing of which objects there are.
_OTHERS = (
    "IntelligentTiering",
    "LifecycleTransition",
    "ObjectAcl:",
    "ObjectRestore:",
    "ObjectTagging:",
    "ReducedRedundancyLostObject",
    "Replication:",
    # EventBridge's own.
    "Object ACL Updated",
    "Object Access Tier Changed",
    "Object Restore Completed",
    "Object Restore Expired",
    "Object Restore Initiated",
    "Object Storage Class Changed",
    "Object Tags Added",
    "Object Tags Deleted",
)
_SNS_HANDSHAKES = ("SubscriptionConfirmation", "UnsubscribeConfirmation")


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An object that an event speaks of.

    version: version id, or None in a bucket without versions.
    size: in bytes; None where the event has none, as for removals. etag: likewise, unquoted.
    event_time: UTC.
    sequencer: hexadecimal, comparable among events of one key by `sequencer_key` only.
    event_name: as sent, such as ``ObjectCreated:Put`` or EventBridge's ``Object Created``.
    """

    bucket: str
    key: str
    version: str | None
    etag: str | None
    size: int | None
    event_time: datetime | None
    sequencer: str | None
    event_name: str


@dataclass(frozen=True, slots=True)
class Notification:
    """What one message says.

    created, removed: in the order of the message.
    ignored: why (a part of) the message asks for nothing: ``s3_test_event``, ``no_records``, an
        SNS handshake, or the names of those events known to neither create nor remove.
    error: why (a part of) the message could not be understood, or None. Its readable records are
        in `created` and `removed` all the same; the message must be kept.
    """

    created: list[ObjectRef] = field(default_factory=list)
    removed: list[ObjectRef] = field(default_factory=list)
    ignored: str | None = None
    error: str | None = None


class _UnreadableError(ValueError):
    """What a message says is not understood."""


def parse_notification(body: str | bytes) -> Notification:
    """Read a message's body. Never raises: what is broken or unknown is told by `error`."""
    try:
        return _parse_message(orjson.loads(body))
    except (ValueError, RecursionError) as error:
        return Notification(error=_short(f"{error}"))


def sequencer_key(sequencer: str | None) -> str:
    """Return what orders the events of one key as S3 defines it; unknown comes first.

    S3 says to pad the shorter value with zeros on the right and to compare the texts. Without its
    trailing zeros a value compares the same with values of any length.
    """
    return (sequencer or "").upper().rstrip("0")


def _parse_message(message: Any) -> Notification:
    if not isinstance(message, dict):
        raise _UnreadableError(f"a message must be a JSON object, not {message!r}")
    if "Records" in message:
        return _parse_records(message["Records"])
    if "detail-type" in message:
        return _parse_event(message)
    if message.get("Event") == "s3:TestEvent":
        return Notification(ignored="s3_test_event")
    if message.get("Type") in _SNS_HANDSHAKES:
        return Notification(ignored=f"sns_{message['Type']}")
    if isinstance(message.get("Message"), str):
        return _parse_message(orjson.loads(message["Message"]))
    raise _UnreadableError(f"no known notification, keys {sorted(message)}")


def _parse_records(records: Any) -> Notification:
    if not isinstance(records, list):
        raise _UnreadableError(f"Records must be a list, not {records!r}")
    refs, errors = [], []
    for record in records:
        try:
            refs.append(_parse_record(record))
        except _UnreadableError as error:
            errors.append(_short(f"{error}"))
    return _sort(refs, errors[0] if errors else None)


def _sort(refs: list[ObjectRef], error: str | None) -> Notification:
    others = {
        ref.event_name: None for ref in refs if not ref.event_name.startswith(_CREATED + _REMOVED)
    }
    return Notification(
        created=[ref for ref in refs if ref.event_name.startswith(_CREATED)],
        removed=[ref for ref in refs if ref.event_name.startswith(_REMOVED)],
        ignored=",".join(others) or (None if refs or error else "no_records"),
        error=error,
    )


def _parse_record(record: Any) -> ObjectRef:
    """One entry of S3's ``Records``."""
    source = _get(record, "eventSource", str)
    if not source.endswith(":s3"):  # aws:s3, and what compatible stores put in its place
        raise _UnreadableError(f"eventSource is {source!r}, not 'aws:s3'")
    version = _get(record, "eventVersion", str)
    if version.split(".")[0] != _RECORD_MAJOR_VERSION:
        raise _UnreadableError(
            f"eventVersion is {version!r}, only {_RECORD_MAJOR_VERSION}.x is known"
        )
    s3 = _get(record, "s3", dict)
    item = _get(s3, "object", dict)
    try:
        key = unquote_plus(_get(item, "key", str), errors="strict")
    except UnicodeDecodeError:
        raise _UnreadableError(f"key is not UTF-8 behind its encoding: {item['key']!r}") from None
    return ObjectRef(
        bucket=_get(_get(s3, "bucket", dict), "name", str),
        key=key,
        version=_get(item, "versionId", str, None) or None,
        etag=_get(item, "eTag", str, None) or None,
        size=_size(item),
        event_time=_time(record, "eventTime"),
        sequencer=_get(item, "sequencer", str, None) or None,
        event_name=_event_name(record, "eventName").removeprefix("s3:"),
    )


def _parse_event(event: dict[str, Any]) -> Notification:
    """An EventBridge event."""
    if event.get("source") != "aws.s3":
        raise _UnreadableError(f"source is {event.get('source')!r}, not 'aws.s3'")
    detail = _get(event, "detail", dict)
    version = _get(detail, "version", str)
    if version.split(".")[0] != _DETAIL_VERSION:
        raise _UnreadableError(f"detail.version is {version!r}, only {_DETAIL_VERSION!r} is known")
    item = _get(detail, "object", dict)
    ref = ObjectRef(
        bucket=_get(_get(detail, "bucket", dict), "name", str),
        key=_get(item, "key", str),
        version=_get(item, "version-id", str, None) or None,
        etag=_get(item, "etag", str, None) or None,
        size=_size(item),
        event_time=_time(event, "time"),
        sequencer=_get(item, "sequencer", str, None) or None,
        event_name=_event_name(event, "detail-type"),
    )
    return _sort([ref], None)


def _event_name(mapping: dict[str, Any], name: str) -> str:
    event_name = _get(mapping, name, str)
    if not event_name.removeprefix("s3:").startswith(_CREATED + _REMOVED + _OTHERS):
        raise _UnreadableError(f"{name} is {event_name!r}, which is not known")
    return event_name


_REQUIRED = object()


def _get(mapping: Any, name: str, kind: type, default: Any = _REQUIRED) -> Any:
    """The member of this name and kind; null counts as absent."""
    value = mapping.get(name) if isinstance(mapping, Mapping) else None
    if value is None and default is not _REQUIRED:
        return default
    if not isinstance(value, kind) or (default is _REQUIRED and not value):
        raise _UnreadableError(f"{name} must be a non-empty {kind.__name__}, not {value!r}")
    return value


def _size(item: dict[str, Any]) -> int | None:
    size = _get(item, "size", int, None)
    if size is not None and (not 0 <= size <= _MAX_SIZE or isinstance(size, bool)):
        raise _UnreadableError(f"size must be a number of bytes, not {size!r}")
    return size


def _time(mapping: dict[str, Any], name: str) -> datetime | None:
    text = _get(mapping, name, str, None)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _UnreadableError(f"{name} is no time: {text!r}") from None


def _short(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:199]}…"
