"""Alerts as they come to a queue: an example of a consumer that loses none.

A message is deleted when it has been dealt with, and not before: what fails, or is cut off by a
kill, comes again when its time of invisibility is over, and after twenty times goes to the
dead-letter queue. So whatever is done with an alert must bear being done twice.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from loaders.alerts.message import Alert, UnreadableMessage, alert_of_message

POLL_SECONDS = 20  # what SQS allows


class _Ended(BaseException):
    """Breaks off a poll."""


class Stop:
    """Told to end by SIGTERM or SIGINT: at once while it waits, else after the message in hand."""

    def __init__(self) -> None:
        self._is_set = threading.Event()
        self._is_waiting = False

    def is_set(self) -> bool:
        return self._is_set.is_set()

    def set(self) -> None:
        """End; called by a signal."""
        self._is_set.set()
        if self._is_waiting:
            self._is_waiting = False
            raise _Ended

    def wait_for(self, poll: Callable[[], Any]) -> Any:
        """What a call returns that only waits; None when it was broken off."""
        try:
            try:
                self._is_waiting = True
                # A signal may have come between the caller's look and the line above.
                return None if self.is_set() else poll()
            finally:
                self._is_waiting = False
        except _Ended:
            return None


@contextmanager
def ending_on_signals() -> Iterator[Stop]:
    """A Stop that SIGTERM and SIGINT set, while the context lasts; for the main thread."""
    stop = Stop()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def event_of_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as Lambda hands it to a function that a queue starts."""
    attributes = {
        name: {"stringValue": value.get("StringValue"), "dataType": value["DataType"]}
        for name, value in message.get("MessageAttributes", {}).items()
    }
    record = {
        "eventSource": "aws:sqs",
        "messageId": message["MessageId"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": attributes,
    }
    return {"Records": [record]}


def follow(
    sqs: Any,
    queue_url: str,
    handle: Callable[[Alert, Mapping[str, Any]], None],
    complain: Callable[[str], None],
    stop: Stop,
    *,
    once: bool = False,
) -> int:
    """Deal with every message that comes, until `stop` is set.

    Args:
        sqs: a client.
        handle: gets the alert and the message as SQS gave it. What it raises leaves the message
            in the queue.
        complain: gets one line about a message that is left.
        once: end when the queue has nothing more to give.

    Returns: the number of messages that were dealt with.
    """
    handled = 0
    while not stop.is_set():
        answer = stop.wait_for(
            lambda: sqs.receive_message(
                QueueUrl=queue_url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1 if once else POLL_SECONDS,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["SentTimestamp"],
            )
        )
        messages = (answer or {}).get("Messages", [])
        if once and not messages:
            break
        for message in messages:
            if stop.is_set():
                break  # they come again
            handled += _deal(sqs, queue_url, message, handle, complain)
    return handled


def _deal(
    sqs: Any,
    queue_url: str,
    message: Mapping[str, Any],
    handle: Callable[[Alert, Mapping[str, Any]], None],
    complain: Callable[[str], None],
) -> bool:
    try:
        handle(alert_of_message(message), message)
    except UnreadableMessage as error:
        complain(f"message {message['MessageId']}: {error}; it is left for the dead-letter queue")
        return False
    except Exception as error:  # noqa: BLE001 - one bad message must not stop the others
        complain(f"message {message['MessageId']}: {type(error).__name__}: {error}; it comes again")
        return False
    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return True
