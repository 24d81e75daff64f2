"""An alert out of what SNS delivers: to a function, to a queue, or through a queue to a function.

Part of the functions' zip: nothing but the standard library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

# The attributes of gold.alerts' messages (models/gold/qos/alerts.yml), and the publisher's.
ATTRIBUTES = (
    "update_type",
    "rule",
    "state",
    "severity",
    "layer",
    "cohort_kind",
    "cohort",
    "alert_id",
    "renotified",
    "message_id",
)


class UnreadableMessage(ValueError):
    """What came is no message of an alert; the text says why. It comes no better again."""


@dataclass(frozen=True, slots=True)
class Alert:
    """A message as told. An attribute that it does not have is empty: a live model has few.

    renotified: true where it was told before that it fires.
    told_at: when SNS took it, UTC, the same in every delivery; None where nothing says so.
    """

    text: str
    subject: str = ""
    told_at: datetime | None = None
    update_type: str = ""
    rule: str = ""
    state: str = ""
    severity: str = ""
    layer: str = ""
    cohort_kind: str = ""
    cohort: str = ""
    alert_id: str = ""
    renotified: str = ""
    message_id: str = ""

    def as_json(self) -> dict[str, str | None]:
        """Its fields, ready for JSON."""
        told_at = self.told_at.isoformat() if self.told_at else None
        return asdict(self) | {"told_at": told_at}


def alerts_of_event(event: Any) -> tuple[list[Alert], list[str]]:
    """The alerts of a Lambda event of SNS or SQS, and why other records of it are none.

    Raises:
        UnreadableMessage: it is no such event.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list):
        raise UnreadableMessage("no event of SNS or SQS: it has no list Records")
    alerts, unreadable = [], []
    for record in records:
        try:
            alerts.append(_of_record(record))
        except UnreadableMessage as error:
            unreadable.append(str(error))
    return alerts, unreadable


def alert_of_message(message: Mapping[str, Any]) -> Alert:
    """The alert of a message as ReceiveMessage of SQS gives it, delivered raw or not.

    Raises:
        UnreadableMessage: it is none.
    """
    attributes = _values(message.get("MessageAttributes"), "StringValue")
    return _of_body(message.get("Body"), attributes, message.get("Attributes"))


def _of_record(record: Any) -> Alert:
    if not isinstance(record, Mapping):
        raise UnreadableMessage("a record that is no object")
    if "Sns" in record:
        return _of_notification(record["Sns"])
    attributes = _values(record.get("messageAttributes"), "stringValue")
    return _of_body(record.get("body"), attributes, record.get("attributes"))


def _of_body(body: Any, attributes: Mapping[str, str], of_queue: Any) -> Alert:
    """A queue's message: SNS's envelope around the text, or the text itself (raw delivery)."""
    if not isinstance(body, str):
        raise UnreadableMessage("a record that is neither SNS's nor SQS's: it has no body")
    envelope = _envelope(body)
    if envelope is not None:
        return _of_notification(envelope)
    sent = of_queue.get("SentTimestamp") if isinstance(of_queue, Mapping) else None
    return _alert(body, "", _of_milliseconds(sent), attributes)


def _of_notification(notification: Any) -> Alert:
    if not isinstance(notification, Mapping) or not isinstance(notification.get("Message"), str):
        raise UnreadableMessage("a notification without a text")
    return _alert(
        notification["Message"],
        notification.get("Subject"),
        _of_iso(notification.get("Timestamp")),
        _values(notification.get("MessageAttributes"), "Value"),
    )


def _alert(
    text: str, subject: Any, told_at: datetime | None, attributes: Mapping[str, str]
) -> Alert:
    if not attributes.get("update_type"):
        raise UnreadableMessage("a message without the attribute update_type: not one of ours")
    known = {name: attributes.get(name, "") for name in ATTRIBUTES}
    return Alert(text, subject if isinstance(subject, str) else "", told_at, **known)


def _envelope(body: str) -> Mapping[str, Any] | None:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return None
    is_one = isinstance(read, dict) and read.get("Type") == "Notification" and "TopicArn" in read
    return read if is_one else None


def _values(attributes: Any, of: str) -> dict[str, str]:
    if not isinstance(attributes, Mapping):
        return {}
    return {
        name: value[of]
        for name, value in attributes.items()
        if isinstance(value, Mapping) and isinstance(value.get(of), str)
    }


def _of_iso(text: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(text)
        return read.replace(tzinfo=read.tzinfo or UTC).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _of_milliseconds(text: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(text) / 1000, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
