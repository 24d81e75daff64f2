"""How the objects of a stream become known: by listing, by notifications, or by both."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

from loaders.sources.clients import ClientSettings, client
from loaders.sources.object_state import Message, ObjectState
from loaders.sources.objects import BY_ID, MESSAGE, Location, ObjectVersion, is_data, list_objects
from loaders.sources.s3_events import ObjectRef, parse_notification, sequencer_key

_RECEIVERS = 4
_BATCH = 10  # SQS hands over and deletes at most ten messages a call
_DELETE_ATTEMPTS = 3
VISIBILITY_SECONDS = 300

log = logging.getLogger(__name__)


class Discovery(ABC):
    """Tells the state of a stream which objects there are."""

    @abstractmethod
    def discover(self, state: ObjectState, *, run_once: bool) -> None:
        """Note what is there now.

        Args:
            run_once: the query ends when everything that was there at its first look is read: look
                to the end of that, and for more of it each time what was found is in the sink.
                Else look at most for a few seconds.
        """

    @abstractmethod
    def skip_existing(self, state: ObjectState) -> int:
        """Note what is there now as never to be read; returns how many objects."""

    @abstractmethod
    def acknowledge(self, state: ObjectState) -> None:
        """Everything planned is in the sink: what announced it may be forgotten."""

    @abstractmethod
    def backlog(self, state: ObjectState) -> Mapping[str, Any]:
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
        self._has_looked = False

    def discover(self, state: ObjectState, *, run_once: bool) -> None:
        if run_once and self._has_looked:
            return
        self._has_looked = True
        found = 0
        for page in list_objects(self.location, self.settings):
            found += state.discover(page, allow_overwrites=self.allow_overwrites)
        state.note("found_by_listing", found)
        state.note("listed_ms", _now_ms())
        state.note("by_queue", False)

    def skip_existing(self, state: ObjectState) -> int:
        self._has_looked = True
        skipped = 0
        for page in list_objects(self.location, self.settings):
            state.mark_planned(page)
            skipped += len(page)
        state.note("listed_ms", _now_ms())
        return skipped

    def acknowledge(self, state: ObjectState) -> None:
        """Nothing announced the objects."""

    def backlog(self, state: ObjectState) -> Mapping[str, Any]:
        return {}

    def stop(self) -> None:
        """Nothing runs."""


class Notifications(Discovery):
    """Receives S3 notifications from an SQS queue, in every shape that S3 and SNS send.

    A message is deleted once every object it names is in the sink. Until then its visibility is
    extended, so that no other consumer gets it; if this process dies, SQS hands it out again and
    its objects are known as read. A message that cannot be read becomes an object of its own, so
    that it ends in quarantine with its body, and is deleted after that. So none is received over
    and over, unless the loader dies over and over while it holds it: then the queue's redrive
    policy takes it away, and the backlog shows it as a dead letter. The same becomes of one that
    cannot be read where the rows have no place for its body.

    Args:
        listing: how to list the location. That is done once, for what was there before the queue,
            and once more after every time that the query did without the queue; and again whenever
            the backfill interval has passed, for what no message told of. None: whatever the
            messages name is read, and nothing is listed.
        backfill_seconds: the interval, or None: never again.
        keeps_unreadable: whether the rows have a place for a message that cannot be read.
    """

    def __init__(
        self,
        queue_url: str,
        settings: ClientSettings,
        allow_overwrites: bool,
        *,
        listing: Listing | None = None,
        backfill_seconds: int | None = None,
        keeps_unreadable: bool = True,
        wait_seconds: int = 1,
    ) -> None:
        self.queue_url = queue_url
        self.settings = settings
        self.allow_overwrites = allow_overwrites
        self.listing = listing
        self.backfill_seconds = backfill_seconds
        self.keeps_unreadable = keeps_unreadable
        self.wait_seconds = wait_seconds
        self._heartbeat: threading.Thread | None = None
        self._stopped = threading.Event()
        self._receipts: dict[str, tuple[str, int]] = {}  # and when the message was sent, ms
        # Since the start of the query.
        self._counts = {"redeliveredMessages": 0, "mostReceives": 0}
        self._unreadable: set[str] = set()
        self._dead_letter_url: str | None = None
        self._first_look_ms: int | None = None  # by SQS's clock, as are the times of sending
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Readers on the executors carry the settings only."""
        return {**self.__dict__, "_heartbeat": None, "_stopped": None, "_lock": None}

    def discover(self, state: ObjectState, *, run_once: bool) -> None:
        self._start_heartbeat()
        if self.listing is not None and self._listing_is_due(state, _now_ms()):
            self.listing.discover(state, run_once=run_once)
            state.note("by_queue", True)
        # SQS keeps no order: behind a message that came since there may be some from before.
        late: dict[str, dict[str, Any]] = {}
        while True:
            messages = self._receive()
            timely = [message for message in messages if not (run_once and self._is_late(message))]
            late |= {message["MessageId"]: message for message in messages if message not in timely}
            self._note(state, timely)
            if not timely or not run_once:
                break
        self._return(list(late.values()))

    def _is_late(self, message: dict[str, Any]) -> bool:
        return self._first_look_ms is not None and _sent_ms(message) > self._first_look_ms

    def _listing_is_due(self, state: ObjectState, now_ms: int) -> bool:
        listed_ms = state.fact("listed_ms")
        # Nobody announced what came between the last listing without the queue and now.
        if listed_ms is None or not state.fact("by_queue"):
            return True
        return (
            self.backfill_seconds is not None and now_ms >= listed_ms + self.backfill_seconds * 1000
        )

    def skip_existing(self, state: ObjectState) -> int:
        if self.listing is None:
            return 0
        skipped = self.listing.skip_existing(state)
        state.note("by_queue", True)
        return skipped

    def _receive(self) -> list[dict[str, Any]]:
        def receive(_: int) -> list[dict[str, Any]]:
            answer = self._sqs.receive_message(
                QueueUrl=self.queue_url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=self.wait_seconds,
                VisibilityTimeout=VISIBILITY_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
            )
            if self._first_look_ms is None:
                self._first_look_ms = _answered_ms(answer)
            return answer.get("Messages", [])

        first = receive(0)
        if len(first) < _BATCH:
            return first
        with ThreadPoolExecutor(_RECEIVERS) as pool:
            batches = [first, *pool.map(receive, range(_RECEIVERS))]
        return [message for batch in batches for message in batch]

    def _note(self, state: ObjectState, messages: list[dict[str, Any]]) -> None:
        noted = []
        found: list[tuple[str, ObjectVersion]] = []
        for message in messages:
            body = message["Body"]
            notification = parse_notification(body)
            self._count(message)
            named = [
                (sequencer_key(ref.sequencer), object_version(ref))
                for ref in notification.created
                if self._is_wanted(ref.bucket, ref.key)
            ]
            found += named
            objects = [item for _, item in named]
            if notification.error is not None:
                self._unreadable.add(message["MessageId"])
                if not self.keeps_unreadable:
                    log.warning(
                        "message %s cannot be read and stays in the queue, as the schema has no "
                        "column for rescued data: %s",
                        message["MessageId"],
                        notification.error,
                    )
                    continue
                objects.append(unreadable_message(self.queue_url, message))
            with self._lock:
                self._receipts[message["MessageId"]] = (
                    message["ReceiptHandle"],
                    _sent_ms(message),
                )
            kept_body = body if notification.error is not None else None
            noted.append(Message(message["MessageId"], objects, kept_body))
        # Messages come in any order; the versions of a key are noted in that of their writing. (A
        # crash in between forgets messages, which come again.)
        found.sort(key=lambda each: (each[1].bucket, each[1].key, each[0]))
        state.discover((item for _, item in found), allow_overwrites=self.allow_overwrites)
        state.note_messages(noted, allow_overwrites=self.allow_overwrites)

    def _count(self, message: Mapping[str, Any]) -> None:
        receives = int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1))
        self._counts["redeliveredMessages"] += receives > 1
        self._counts["mostReceives"] = max(self._counts["mostReceives"], receives)

    def _is_wanted(self, bucket: str, key: str) -> bool:
        if self.listing is None:
            return is_data(key)
        return self.listing.location.holds(bucket, key)

    def acknowledge(self, state: ObjectState) -> None:
        done = state.finished_messages()
        with self._lock:
            held = [(name, self._receipts[name][0]) for name in done if name in self._receipts]
        batches = (held[at : at + _BATCH] for at in range(0, len(held), _BATCH))
        left = {name for batch in batches for name in self._delete(batch)}
        if left:
            log.warning("%d messages could not be deleted, tried again later", len(left))
        gone = [name for name in done if name not in left]
        state.forget_messages(gone)
        with self._lock:
            for name in gone:
                self._receipts.pop(name, None)

    def _delete(self, held: list[tuple[str, str]]) -> list[str]:
        """Delete a batch of messages; returns the names of those that SQS failed to."""
        for _ in range(_DELETE_ATTEMPTS):
            answer = self._sqs.delete_message_batch(
                QueueUrl=self.queue_url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": receipt}
                    for number, (_, receipt) in enumerate(held)
                ],
            )
            # A receipt that has gone stale deletes nothing: the message comes again, its objects
            # are known, and it is deleted then.
            failed = [entry for entry in answer.get("Failed", ()) if not entry["SenderFault"]]
            held = [held[int(entry["Id"])] for entry in failed]
            if not held:
                break
        return [name for name, _ in held]

    def _return(self, messages: list[dict[str, Any]]) -> None:
        # One that is held no longer has returned by itself, and stands among the failed.
        for at in range(0, len(messages), _BATCH):
            self._sqs.change_message_visibility_batch(
                QueueUrl=self.queue_url,
                Entries=[
                    {
                        "Id": str(number),
                        "ReceiptHandle": message["ReceiptHandle"],
                        "VisibilityTimeout": 0,
                    }
                    for number, message in enumerate(messages[at : at + _BATCH])
                ],
            )

    def _start_heartbeat(self) -> None:
        if self._heartbeat is None:
            self._heartbeat = threading.Thread(target=self._extend_visibility, daemon=True)
            self._heartbeat.start()

    def _extend_visibility(self) -> None:
        while not self._stopped.wait(VISIBILITY_SECONDS / 3):
            with self._lock:
                held = [(name, receipt) for name, (receipt, _) in self._receipts.items()]
            batches = [held[at : at + _BATCH] for at in range(0, len(held), _BATCH)]
            with ThreadPoolExecutor(_RECEIVERS) as pool:  # a hundred thousand take a minute
                list(pool.map(self._extend, batches))

    def _extend(self, held: list[tuple[str, str]]) -> None:
        """Extend the visibility of a batch; a failure must not end the heartbeat."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._sqs.change_message_visibility_batch(
                QueueUrl=self.queue_url,
                Entries=[
                    {
                        "Id": str(number),
                        "ReceiptHandle": receipt,
                        "VisibilityTimeout": VISIBILITY_SECONDS,
                    }
                    for number, (_, receipt) in enumerate(held)
                ],
            )
        except (BotoCoreError, ClientError) as error:
            log.warning("%d messages are not held any longer: %s", len(held), error)
            return
        # Held for 12 hours, which is as long as SQS allows, or deleted: nothing is left to extend.
        failed = [entry for entry in answer.get("Failed", ()) if entry["SenderFault"]]
        stale = [held[int(entry["Id"])] for entry in failed]
        with self._lock:
            for name, receipt in stale:
                if self._receipts.get(name, (None,))[0] == receipt:
                    del self._receipts[name]

    def backlog(self, state: ObjectState) -> Mapping[str, Any]:
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self.queue_url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "RedrivePolicy",
            ],
        )["Attributes"]
        with self._lock:
            sent_ms = [sent for _, sent in self._receipts.values()]
        waiting = {
            "queueMessages": int(attributes["ApproximateNumberOfMessages"]),
            "queueMessagesInFlight": int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            "deadLetterMessages": self._dead_letters(attributes.get("RedrivePolicy")),
            **self._counts,
            "unreadableMessages": len(self._unreadable),
            # Of those received here: SQS tells the age of what waits to CloudWatch only.
            "oldestMessageSentMs": min(sent_ms, default=None),
        }
        if self.listing is None:
            return waiting
        return waiting | {
            "listedMs": state.fact("listed_ms"),
            "foundByListing": state.fact("found_by_listing") or 0,
        }

    def _dead_letters(self, redrive_policy: str | None) -> int | None:
        """Messages in the dead-letter queue; None: there is none, or it may not be seen."""
        from botocore.exceptions import ClientError

        if not redrive_policy:
            return None
        *_, account, name = json.loads(redrive_policy)["deadLetterTargetArn"].split(":")
        try:
            self._dead_letter_url = (
                self._dead_letter_url
                or self._sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)[
                    "QueueUrl"
                ]
            )
            found = self._sqs.get_queue_attributes(
                QueueUrl=self._dead_letter_url, AttributeNames=["ApproximateNumberOfMessages"]
            )
        except ClientError as error:
            log.warning("the dead-letter queue %s cannot be seen: %s", name, error)
            return None
        return int(found["Attributes"]["ApproximateNumberOfMessages"])

    def stop(self) -> None:
        self._stopped.set()

    @property
    def _sqs(self) -> Any:
        return client("sqs", self.settings)


def _now_ms() -> int:
    return time.time_ns() // 10**6


def object_version(ref: ObjectRef) -> ObjectVersion:
    """The object that an event speaks of."""
    return ObjectVersion(
        ref.bucket,
        ref.key,
        ref.etag or (f"{BY_ID}{ref.version}" if ref.version else ""),
        ref.size or 0,
        round(ref.event_time.timestamp() * 1000) if ref.event_time else 0,
        ref.version,
    )


def _sent_ms(message: dict[str, Any]) -> int:
    return int(message.get("Attributes", {}).get("SentTimestamp", 0))


def _answered_ms(answer: Mapping[str, Any]) -> int:
    """The end of the second in which SQS answered by its own clock; ours where it tells none."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if date is None:
        return _now_ms()
    return round(parsedate_to_datetime(date).timestamp() * 1000) + 999


def unreadable_message(queue_url: str, message: dict[str, Any]) -> ObjectVersion:
    """A message as an object: its queue, its id, its digest."""
    body = message["Body"].encode()
    digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
    queue = f"sqs:{queue_url.rsplit('/', 1)[-1]}"
    return ObjectVersion(
        queue, message["MessageId"], digest, len(body), _sent_ms(message), None, MESSAGE
    )
