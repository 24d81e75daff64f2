"""A queue for alerts: subscribed to the topic that they are told, with a filter policy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loaders.alerts.message import ATTRIBUTES
from loaders.session import ConfigurationError
from loaders.sources.clients import client, client_settings
from loaders.subscribed_queue import (
    MAX_QUEUE_NAME,
    QueueAccount,
    Step,
    SubscribedQueue,
    dead_letter_attributes,
    one_line_errors,
    queue_attributes,
    queue_policy,
    subscription_attributes,
)

# What a consumer fails on comes again after so long: an alert cannot wait as an object can.
VISIBILITY_SECONDS = 60
MAX_FILTERED_ATTRIBUTES = 5  # of SNS, in one policy

_TOPIC = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_-]+(\.fifo)?"
)


@dataclass(frozen=True, slots=True)
class AlertQueueReport:
    """What was found and done; queue_url is None where a dry run found no queue yet."""

    queue: SubscribedQueue
    steps: tuple[Step, ...]
    queue_url: str | None

    def documents(self) -> dict[str, Any]:
        """Policies and attributes as they should be, by title."""
        return {
            "policy of the queue": queue_policy(self.queue),
            "attributes of the queue": queue_attributes(self.queue),
            "attributes of the dead-letter queue": dead_letter_attributes(self.queue),
            "attributes of the subscription": subscription_attributes(self.queue),
        }

    def summary(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "topic": self.queue.topic_arn,
            "changed": [step.resource for step in self.steps if step.action != "keep"],
            "queue_url": self.queue_url,
            **self.documents(),
        }


def create_alert_queue(
    topic_arn: str, filters: Sequence[str], *, name: str = "alerts", dry_run: bool = False
) -> AlertQueueReport:
    """Make queues and subscription as they should be; twice changes nothing.

    Args:
        topic_arn: of the topic that alerts are told; it must exist.
        filters: NAME=VALUE, as `filter_policy` takes them.
        name: the queue is called multihop-NAME.
        dry_run: only look.

    Raises:
        ConfigurationError: no such topic, a filter that would let nothing through, a queue that is
            somebody else's, or AWS refuses; the message says what to do.
    """
    policy = filter_policy(filters)
    topic = _TOPIC.fullmatch(topic_arn)
    if topic is None:
        raise ConfigurationError(
            f"{topic_arn!r} is no ARN of a topic: write arn:aws:sns:REGION:ACCOUNT:NAME, as "
            "`aws sns list-topics` shows it"
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or len(f"multihop-{name}-dead") > MAX_QUEUE_NAME:
        raise ConfigurationError(
            f"{name!r} is no name of a queue: use at most {MAX_QUEUE_NAME - 14} letters, digits, "
            "- and _"
        )
    with one_line_errors():
        settings = client_settings({"region": topic["region"]})
        queue = SubscribedQueue(
            name=f"multihop-{name}",
            topic_arn=topic_arn,
            account=client("sts", settings).get_caller_identity()["Account"],
            region=topic["region"],
            partition=topic["partition"],
            tags={"multihop:topic": topic_arn},
            raw=False,  # the envelope says when SNS took the message, and holds any attributes
            filter_policy=policy,
            visibility_seconds=VISIBILITY_SECONDS,
        )
        client("sns", settings).get_topic_attributes(TopicArn=topic_arn)
        account = QueueAccount(queue)
        steps = (*account.queue_steps(), account.subscription_step())
        if not dry_run:
            for step in steps:
                if step.action != "keep":
                    step.apply()
        return AlertQueueReport(queue, steps, account.queue_url())


def filter_policy(filters: Sequence[str]) -> Mapping[str, list[str]]:
    """SNS's policy of NAME=VALUE texts: of one name any value, of several names all of them.

    Raises:
        ConfigurationError: not NAME=VALUE, no attribute of alerts, or more names than SNS takes.
    """
    policy: dict[str, list[str]] = {}
    for text in filters:
        name, equals, value = text.partition("=")
        if not (equals and value):
            raise ConfigurationError(f"--filter {text!r}: write NAME=VALUE, as severity=critical")
        if name not in ATTRIBUTES:
            raise ConfigurationError(
                f"--filter {text}: alerts have no attribute {name!r}, so nothing would come; "
                f"they have {', '.join(ATTRIBUTES)}"
            )
        values = policy.setdefault(name, [])
        if value not in values:
            values.append(value)
    if len(policy) > MAX_FILTERED_ATTRIBUTES:
        raise ConfigurationError(
            f"--filter names {len(policy)} attributes, and SNS takes {MAX_FILTERED_ATTRIBUTES}"
        )
    return policy
