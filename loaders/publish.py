"""Publishing: what is in the outbox goes to its SNS topics.

Every message is sent at least once, with an id that stays the same (attribute `message_id`, and the
deduplication id of a FIFO topic). It is sent a second time only when the process dies, or SNS's
answer is lost, between sending and noting. Neither log nor report holds a message's text.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from loaders.outbox import (
    DEAD,
    SENT,
    Message,
    compact_outbox,
    ensure_outbox,
    note_deliveries,
    pending_messages,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What one process could not send for so long is given up: an outage of SNS is over by then, and a
# topic that was missing is there. Not counted from when a message was made: an engine that rested
# for a day would give up at the first fault.
GIVE_UP_AFTER = timedelta(days=1)
LONGEST_PAUSE_S = 300
# Sent messages are noted after so many: that many a crash can send again.
NOTE_EVERY = 50
# How long a batch may take to appear in the outbox after its messages got their time.
SETTLING = timedelta(minutes=10)

# What no repetition will mend.
_PERMANENT = (
    "InvalidParameter",
    "InvalidParameterValue",
    "ParameterValueInvalid",
    "ValidationError",
)


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What one pass did, in messages: `waiting` failed for now and will be tried again."""

    sent: int
    dead: int
    waiting: int


@dataclass(slots=True)
class _Attempts:
    since: float
    made: int = 0
    next_at: float = 0.0
    error: str = ""


@dataclass
class Publisher:
    """Sends what is in the outbox, whenever `step` is called."""

    spark: SparkSession
    clock: Callable[[], float] = time.monotonic
    give_up_after: timedelta = GIVE_UP_AFTER
    is_stopping: Callable[[], bool] = lambda: False
    _attempts: dict[str, _Attempts] = field(default_factory=dict, init=False)
    _since: datetime | None = field(default=None, init=False)
    _has_mail: threading.Event = field(default_factory=threading.Event, init=False)
    _noted: int = field(default=0, init=False)
    _topics: dict[str, str] = field(default_factory=dict, init=False)
    _sns: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._has_mail.set()  # what an earlier process left

    def noting(self, report: Callable[[Any], None]) -> Callable[[Any], None]:
        """The report function of a model, preceded by a note for the publisher if there is mail."""

        def note(batch: Any) -> None:
            if getattr(batch, "messages", 0):
                self._has_mail.set()
            report(batch)

        return note

    def note_mail(self) -> None:
        """Have the next step look into the outbox."""
        self._has_mail.set()

    def step(self) -> str | None:
        """Send what is due, and say what was done; None: nothing, at the cost of nothing."""
        if not self._has_mail.is_set() and self.seconds_to_next() != 0:
            return None
        self._has_mail.clear()
        try:
            done = self.deliver()
        except BaseException:
            self._has_mail.set()
            raise
        counted = {"sent": done.sent, "given up": done.dead, "to be tried again": done.waiting}
        return ", ".join(f"{count} {what}" for what, count in counted.items() if count) or None

    def seconds_to_next(self) -> float | None:
        """Until a message that failed is due again; None: none is waiting."""
        if not self._attempts:
            return None
        return max(0.0, min(each.next_at for each in self._attempts.values()) - self.clock())

    def deliver(self) -> PublishReport:
        """Send every message that is due, and note what became of it.

        Ends early when the process is to stop; the rest is due at the next start.
        """
        ensure_outbox(self.spark)
        looked_at = datetime.now(UTC)
        pending = pending_messages(self.spark, self._since)
        sent = dead = 0
        outcomes: list[tuple[Message, dict[str, Any]]] = []
        for message in pending:
            if self.is_stopping():  # before this process is cut short
                self._note(outcomes)
                return PublishReport(sent, dead, len(self._attempts))
            attempts = self._attempts.get(message.message_id, _Attempts(self.clock()))
            if attempts.next_at > self.clock():
                continue
            outcome = self._send(message, attempts)
            if outcome is None:
                continue
            outcomes.append((message, outcome))
            sent += outcome["state"] == SENT
            dead += outcome["state"] == DEAD
            if len(outcomes) == NOTE_EVERY:
                self._note(outcomes)
                outcomes = []
        self._note(outcomes)
        # Older ones are all decided; of newer ones some may not be in the table yet.
        waiting = [each.created_at for each in pending if each.message_id in self._attempts]
        self._since = min([looked_at, *waiting]) - SETTLING
        return PublishReport(sent, dead, len(self._attempts))

    def _note(self, outcomes: list[tuple[Message, dict[str, Any]]]) -> None:
        if not outcomes:
            return
        note_deliveries(self.spark, outcomes)
        for message, _ in outcomes:
            self._attempts.pop(message.message_id, None)
        compact_outbox(self.spark, self._noted)
        self._noted += 1

    def _send(self, message: Message, before: _Attempts) -> dict[str, Any] | None:
        """What became of the message for good; None: it will be tried again."""
        made = before.made + 1
        outcome = {"state": SENT, "attempts": made, "error": None, "sns_message_id": None}
        try:
            outcome["sns_message_id"] = self._publish(message)
        except (BotoCoreError, ClientError) as error:
            code = _code(error)
            tried_for = timedelta(seconds=self.clock() - before.since)
            given_up = code in _PERMANENT or (before.made and tried_for >= self.give_up_after)
            logging.getLogger(__name__).warning(
                "message %s of %s to %s: %s, attempt %d%s",
                *(message.message_id, message.model, message.topic, code, made),
                ": given up" if given_up else "",
            )
            if given_up:
                return outcome | {"state": DEAD, "error": code}
            pause = min(2.0 ** (made - 1), LONGEST_PAUSE_S)
            self._attempts[message.message_id] = _Attempts(
                before.since, made, self.clock() + pause, code
            )
            return None
        return outcome

    def _publish(self, message: Message) -> str:
        if self._sns is None:
            retries = {"mode": "standard", "total_max_attempts": 1}  # the pauses are ours
            self._sns = boto3.client(
                "sns", config=Config(retries=retries, connect_timeout=5, read_timeout=10)
            )
        attributes = message.attributes | {"message_id": message.message_id}
        request = {
            "TopicArn": self._arn(message.topic),
            "Message": message.body,
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
                if value  # SNS refuses an empty one
            },
        }
        if message.subject:
            request["Subject"] = message.subject[:100]
        if message.topic.endswith(".fifo"):
            request["MessageGroupId"] = message.model
            request["MessageDeduplicationId"] = message.message_id
        return self._sns.publish(**request)["MessageId"]

    def _arn(self, topic: str) -> str:
        """The topic's ARN; a bare name is one of the caller's own account and region."""
        if topic.startswith("arn:"):
            return topic
        if topic not in self._topics:
            caller = boto3.client("sts").get_caller_identity()
            partition = caller["Arn"].split(":")[1]
            region = self._sns.meta.region_name
            self._topics[topic] = f"arn:{partition}:sns:{region}:{caller['Account']}:{topic}"
        return self._topics[topic]


def _code(error: BotoCoreError | ClientError) -> str:
    """A word for what went wrong: AWS's, else the exception's name."""
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code") or "Unknown"
    return type(error).__name__
