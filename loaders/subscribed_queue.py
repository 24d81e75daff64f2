"""A queue that takes what a topic publishes, with a dead-letter queue behind it.

Pure functions say what there should be: policies and attributes. `QueueAccount` looks at what there
is and says, as steps, what differs. Both queues are encrypted (SQS's own keys).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loaders.session import ConfigurationError
from loaders.sources.clients import client, client_settings
from loaders.sources.discovery import VISIBILITY_SECONDS

# A reader that is restarted while it holds a message receives it once more, at most every
# VISIBILITY_SECONDS. So a good message outlives an hour and a half of restarts.
MAX_RECEIVE_COUNT = 20
# Age counts from the first sending, in the dead-letter queue too: it must keep messages longer.
RETENTION_SECONDS = 10 * 86400
DEAD_LETTER_RETENTION_SECONDS = 14 * 86400  # what SQS allows
MAX_QUEUE_NAME = 80


@dataclass(frozen=True, slots=True)
class SubscribedQueue:
    """Which topic goes to which queue, and how.

    account, region, partition: of the queue. tags: by which it is known as made here, and for what.
    raw: messages come as published, without SNS's envelope. filter_policy: on their attributes;
    empty: all come.
    """

    name: str
    topic_arn: str
    account: str
    region: str
    partition: str = "aws"
    tags: Mapping[str, str] = field(default_factory=dict)
    raw: bool = True
    filter_policy: Mapping[str, list[str]] = field(default_factory=dict)
    visibility_seconds: int = VISIBILITY_SECONDS

    @property
    def dead_letter_name(self) -> str:
        return f"{self.name}-dead"

    @property
    def queue_arn(self) -> str:
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{self.name}"

    @property
    def dead_letter_arn(self) -> str:
        return f"{self.queue_arn}-dead"


# ---- what there should be


def queue_policy(queue: SubscribedQueue) -> dict[str, Any]:
    """SNS may send, for this topic, and nobody else."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TopicSends",
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue.queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": queue.topic_arn}},
            }
        ],
    }


def queue_attributes(queue: SubscribedQueue) -> dict[str, str]:
    """Attributes of the queue, as SQS takes them."""
    redrive = {
        "deadLetterTargetArn": queue.dead_letter_arn,
        "maxReceiveCount": MAX_RECEIVE_COUNT,
    }
    return {
        "MessageRetentionPeriod": str(RETENTION_SECONDS),
        "Policy": json.dumps(queue_policy(queue)),
        "RedrivePolicy": json.dumps(redrive),
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": str(queue.visibility_seconds),
    }


def dead_letter_attributes(queue: SubscribedQueue) -> dict[str, str]:
    """Attributes of the dead-letter queue: it takes from the queue alone."""
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [queue.queue_arn]}
    return {
        "MessageRetentionPeriod": str(DEAD_LETTER_RETENTION_SECONDS),
        "RedriveAllowPolicy": json.dumps(allow),
        "SqsManagedSseEnabled": "true",
    }


def subscription_attributes(queue: SubscribedQueue) -> dict[str, str]:
    """Attributes of the subscription, as SNS takes them."""
    return {
        "FilterPolicy": json.dumps(dict(queue.filter_policy)),
        "RawMessageDelivery": json.dumps(queue.raw),
    }


# ---- what there is, and the way from here to there


@dataclass(frozen=True, slots=True)
class Step:
    """One resource: `create`, `change` (with what differs) or `keep`; `apply` does it."""

    resource: str
    action: str
    differs: tuple[str, ...]
    apply: Callable[[], Any]


def step_lines(
    steps: Sequence[Step], documents: Mapping[str, Any], *, dry_run: bool
) -> Iterator[str]:
    """What was done, for people; of a dry run what would be, and the documents by title."""
    would = "would be " if dry_run else ""
    for step in steps:
        differs = f": {', '.join(step.differs)}" if step.differs else ""
        state = "unchanged" if step.action == "keep" else f"{would}{step.action}d{differs}"
        yield f"{step.resource}  {state}"
    if all(step.action == "keep" for step in steps):
        yield "nothing to change"
    if dry_run:
        for title, document in documents.items():
            yield f"\n{title}:\n{json.dumps(document, indent=2)}"


class QueueAccount:
    """The account's topic and queues, as they are."""

    def __init__(self, queue: SubscribedQueue) -> None:
        self._queue = queue
        settings = client_settings({"region": queue.region})
        self._sns, self._sqs = client("sns", settings), client("sqs", settings)

    def queue_steps(self) -> list[Step]:
        """The dead-letter queue's and the queue's, in the order in which they must be done."""
        queue = self._queue
        return [
            self._queue_step(queue.dead_letter_name, dead_letter_attributes(queue)),
            self._queue_step(queue.name, queue_attributes(queue)),
        ]

    def subscription_step(self) -> Step:
        """To be done after the queues', and the topic's."""
        wanted = subscription_attributes(self._queue)
        what = f"subscription of {self._queue.name}"
        subscription = self._subscription_arn()
        if subscription is None:
            return Step(
                what,
                "create",
                (),
                lambda: self._sns.subscribe(
                    TopicArn=self._queue.topic_arn,
                    Protocol="sqs",
                    Endpoint=self._queue.queue_arn,
                    Attributes={name: text for name, text in wanted.items() if text != "{}"},
                ),
            )
        found = self._sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
        # SNS names no filter where there is none.
        differs = differing({"FilterPolicy": "{}"} | found, wanted)

        def change() -> None:
            for attribute in differs:
                self._sns.set_subscription_attributes(
                    SubscriptionArn=subscription,
                    AttributeName=attribute,
                    AttributeValue=wanted[attribute],
                )

        return Step(what, "change" if differs else "keep", differs, change)

    def queue_url(self, name: str | None = None) -> str | None:
        """Of a queue, by default the subscribed one; None: there is none."""
        try:
            return self._sqs.get_queue_url(QueueName=name or self._queue.name)["QueueUrl"]
        except self._sqs.exceptions.QueueDoesNotExist:
            return None

    def _queue_step(self, name: str, wanted: dict[str, str]) -> Step:
        url = self.queue_url(name)
        if url is None:
            return Step(
                f"queue {name}",
                "create",
                (),
                lambda: self._sqs.create_queue(
                    QueueName=name, Attributes=wanted, tags=dict(self._queue.tags)
                ),
            )
        labels = self._sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
        require_ours(f"queue {name}", labels, self._queue.tags)
        found = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=sorted(wanted))
        differs = differing(found.get("Attributes", {}), wanted)
        return Step(
            f"queue {name}",
            "change" if differs else "keep",
            differs,
            lambda: self._sqs.set_queue_attributes(
                QueueUrl=url, Attributes={attribute: wanted[attribute] for attribute in differs}
            ),
        )

    def _subscription_arn(self) -> str | None:
        pages = self._sns.get_paginator("list_subscriptions_by_topic")
        try:
            for page in pages.paginate(TopicArn=self._queue.topic_arn):
                for entry in page["Subscriptions"]:
                    if entry["Endpoint"] == self._queue.queue_arn:
                        return entry["SubscriptionArn"]
        except self._sns.exceptions.NotFoundException:
            pass
        return None


def require_ours(what: str, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Leave alone what was not made here, for the same.

    Raises:
        ConfigurationError: its tags are not those that are wanted.
    """
    if {name: found.get(name) for name in wanted} == dict(wanted):
        return
    of_ours = [f"{name} {found[name]}" for name in sorted(found) if name.startswith("multihop:")]
    whose = f"is of {', '.join(of_ours)}" if of_ours else "was not made by this command"
    raise ConfigurationError(
        f"{what} exists and {whose}, not of {', '.join(wanted.values())}: delete it if nothing "
        "needs it, or give another name"
    )


def differing(found: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the attributes that are not as they should be; JSON is compared as JSON."""

    def plain(text: str | None) -> Any:
        try:
            return json.loads(text or "null", parse_int=str)
        except ValueError:
            return text

    return tuple(name for name in wanted if plain(found.get(name)) != plain(wanted[name]))


_HINTS = {
    "404": "there is no such bucket",
    "NoSuchBucket": "there is no such bucket",
    "403": "the bucket is another account's, or these credentials may not see it",
    "NotFound": "there is no such topic",
    "NonExistentQueue": "there is no such queue",
    "QueueDoesNotExist": "there is no such queue",
    "QueueDeletedRecently": "run the command again in a minute",
    "InvalidArgument": "S3 may not see the new topic yet: run the command again",
}


@contextmanager
def one_line_errors() -> Iterator[None]:
    """As aws_errors; also what parse_location says of a place that is none."""
    with aws_errors():
        try:
            yield
        except ValueError as error:
            raise ConfigurationError(str(error)) from error


@contextmanager
def aws_errors() -> Iterator[None]:
    """What AWS, or what looks for it, complains of becomes a ConfigurationError with a hint."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except BotoCoreError as error:
        raise ConfigurationError(
            f"{error} (credentials, region and endpoint are boto3's: AWS_PROFILE, AWS_REGION …)"
        ) from error
    except ClientError as error:
        answer = error.response["Error"]
        hint = _HINTS.get(answer["Code"].rpartition(".")[2], "see docs/iam.md for what is needed")
        raise ConfigurationError(
            f"{error.operation_name}: {answer['Code']}: {answer.get('Message', '')}: {hint}"
        ) from error
