"""How the objects of a stream become known: by listing, by notifications, or by both."""

from __future__ import annotations

import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from loaders.sources.clients import ClientSettings, client
from loaders.sources.object_state import Message, ObjectState
from loaders.sources.objects import MESSAGE, Location, ObjectVersion, is_data, list_objects
from loaders.sources.s3_events import parse_notification

_RECEIVERS = 4
_BATCH = 10  # SQS hands over and deletes at most ten messages a call
VISIBILITY_SECONDS = 300


class Discovery(ABC):
    """Tells the state of a stream which objects there are."""

    @abstractmethod
    def discover(self, state: ObjectState, *, run_once: bool) -> None:
        """Note what is there now.

        Args:
            run_once: the query ends when everything that is there now is read, so look to the
                end; else look at most for a few seconds.
        """

    @abstractmethod
    def acknowledge(self, state: ObjectState) -> None:
        """Everything planned is in the sink: what announced it may be forgotten."""

    @abstractmethod
    def backlog(self) -> Mapping[str, Any]:
        """What waits outside the state, by the source's own account."""

    @abstractmethod
    def stop(self) -> None:
        """The query has ended."""


class Listing(Discovery):
    """Lists the location at every look."""

    def __init__(
        self, location: Location, settings: ClientSettings, allow_overwrites: bool
    ) -> None:
        self.location = location
        self.settings = settings
        self.allow_overwrites = allow_overwrites

    def discover(self, state: ObjectState, *, run_once: bool) -> None:
        for page in list_objects(self.location, self.settings):
            state.discover(page, allow_overwrites=self.allow_overwrites)

    def acknowledge(self, state: ObjectState) -> None:
        """Nothing announced the objects."""

    def backlog(self) -> Mapping[str, Any]:
        return {}

    def stop(self) -> None:
        """Nothing runs."""


class Notifications(Discovery):
    """Receives S3 notifications from an SQS queue, in every shape that S3 and SNS send.

    A message is deleted once every object it names is in the sink. Until then its visibility is
    extended, so that no other consumer gets it; if this process dies, SQS hands it out again and
    its objects are known as read. A message that cannot be read becomes an object of its own, so
    that it ends in quarantine with its body, and is deleted after that.
    """

    def __init__(
        self,
        queue_url: str,
        settings: ClientSettings,
        allow_overwrites: bool,
        *,
        location: Location | None = None,
        wait_seconds: int = 1,
    ) -> None:
        self.queue_url = queue_url
        self.settings = settings
        self.allow_overwrites = allow_overwrites
        self.location = location
        self.wait_seconds = wait_seconds
        self._heartbeat: threading.Thread | None = None
        self._stopped = threading.Event()
        self._receipts: dict[str, tuple[str, int]] = {}  # and when the message was sent, ms
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Readers on the executors carry the settings only."""
        return {**self.__dict__, "_heartbeat": None, "_stopped": None, "_lock": None}

    def discover(self, state: ObjectState, *, run_once: bool) -> None:
        self._start_heartbeat()
        began_ms = time.time_ns() // 10**6
        while True:
            messages = self._receive()
            late = [message for message in messages if run_once and _sent_ms(message) > began_ms]
            self._note(state, [message for message in messages if message not in late])
            if late:
                self._return(late)
            if not messages or late or not run_once:
                return

    def _receive(self) -> list[dict[str, Any]]:
        def receive(_: int) -> list[dict[str, Any]]:
            return self._sqs.receive_message(
                QueueUrl=self.queue_url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=self.wait_seconds,
                VisibilityTimeout=VISIBILITY_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
            ).get("Messages", [])

        first = receive(0)
        if len(first) < _BATCH:
            return first
        with ThreadPoolExecutor(_RECEIVERS) as pool:
            batches = [first, *pool.map(receive, range(_RECEIVERS))]
        return [message for batch in batches for message in batch]

    def _note(self, state: ObjectState, messages: list[dict[str, Any]]) -> None:
        with self._lock:
            self._receipts |= {m["MessageId"]: (m["ReceiptHandle"], _sent_ms(m)) for m in messages}
        noted = []
        for message in messages:
            body = message["Body"]
            notification = parse_notification(body)
            objects = [
                ObjectVersion(
                    ref.bucket,
                    ref.key,
                    ref.etag or ref.version or "",
                    ref.size or 0,
                    round(ref.event_time.timestamp() * 1000) if ref.event_time else 0,
                    ref.version,
                )
                for ref in notification.created
                if self._is_wanted(ref.bucket, ref.key)
            ]
            if notification.error is not None:
                objects.append(unreadable_message(self.queue_url, message))
            kept_body = body if notification.error is not None else None
            noted.append(Message(message["MessageId"], objects, kept_body))
        state.note_messages(noted, allow_overwrites=self.allow_overwrites)

    def _is_wanted(self, bucket: str, key: str) -> bool:
        if self.location is None:
            return is_data(key)
        if bucket != self.location.bucket or not key.startswith(self.location.prefix):
            return False
        return is_data(key.removeprefix(self.location.prefix))

    def acknowledge(self, state: ObjectState) -> None:
        done = state.finished_messages()
        with self._lock:
            receipts = [self._receipts[name][0] for name in done if name in self._receipts]
        for at in range(0, len(receipts), _BATCH):
            batch = receipts[at : at + _BATCH]
            self._sqs.delete_message_batch(
                QueueUrl=self.queue_url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": receipt}
                    for number, receipt in enumerate(batch)
                ],
            )
        # A receipt that has gone stale deletes nothing: the message comes again, its objects are
        # known, and it is deleted then.
        state.forget_messages(done)
        with self._lock:
            for name in done:
                self._receipts.pop(name, None)

    def _return(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            self._sqs.change_message_visibility(
                QueueUrl=self.queue_url,
                ReceiptHandle=message["ReceiptHandle"],
                VisibilityTimeout=0,
            )

    def _start_heartbeat(self) -> None:
        if self._heartbeat is None:
            self._heartbeat = threading.Thread(target=self._extend_visibility, daemon=True)
            self._heartbeat.start()

    def _extend_visibility(self) -> None:
        while not self._stopped.wait(VISIBILITY_SECONDS / 3):
            with self._lock:
                receipts = [receipt for receipt, _ in self._receipts.values()]
            for at in range(0, len(receipts), _BATCH):
                self._sqs.change_message_visibility_batch(
                    QueueUrl=self.queue_url,
                    Entries=[
                        {
                            "Id": str(number),
                            "ReceiptHandle": receipt,
                            "VisibilityTimeout": VISIBILITY_SECONDS,
                        }
                        for number, receipt in enumerate(receipts[at : at + _BATCH])
                    ],
                )

    def backlog(self) -> Mapping[str, Any]:
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self.queue_url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        with self._lock:
            sent_ms = [sent for _, sent in self._receipts.values()]
        return {
            "queueMessages": int(attributes["ApproximateNumberOfMessages"]),
            "queueMessagesInFlight": int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            # Of those received here: SQS tells the age of what waits to CloudWatch only.
            "oldestMessageSentMs": min(sent_ms, default=None),
        }

    def stop(self) -> None:
        self._stopped.set()

    @property
    def _sqs(self) -> Any:
        return client("sqs", self.settings)


def _sent_ms(message: dict[str, Any]) -> int:
    return int(message.get("Attributes", {}).get("SentTimestamp", 0))


def unreadable_message(queue_url: str, message: dict[str, Any]) -> ObjectVersion:
    """A message as an object: its queue, its id, its digest."""
    body = message["Body"].encode()
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    queue = f"sqs:{queue_url.rsplit('/', 1)[-1]}"
    return ObjectVersion(
        queue, message["MessageId"], digest, len(body), _sent_ms(message), None, MESSAGE
    )
