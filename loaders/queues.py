"""A queue for a feed: bucket → topic → queue, with a dead-letter queue behind it.

Pure functions say what there should be: the topic's policy and the bucket's notifications.
`create_queue` looks at what there is and changes what differs.

The topic is not encrypted: S3 cannot publish to one that is encrypted with the key that SNS
manages, and what passes through it are names of objects.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, unquote_plus

from loaders.session import ConfigurationError
from loaders.sources.clients import ClientSettings, client, client_settings
from loaders.sources.objects import LOCAL, parse_location
from loaders.subscribed_queue import (
    MAX_QUEUE_NAME,
    QueueAccount,
    Step,
    SubscribedQueue,
    dead_letter_attributes,
    differing,
    one_line_errors,
    queue_attributes,
    queue_policy,
    require_ours,
)

_CREATED = "s3:ObjectCreated:*"
_DESTINATIONS = {
    "TopicConfigurations": "TopicArn",
    "QueueConfigurations": "QueueArn",
    "LambdaFunctionConfigurations": "LambdaFunctionArn",
}


@dataclass(frozen=True, slots=True)
class Wiring:
    """Which objects are announced, and where; every name follows from it."""

    feed: str
    bucket: str
    prefix: str
    account: str
    region: str
    partition: str = "aws"

    @property
    def name(self) -> str:
        """Of the topic, the queue and the bucket's notification."""
        return f"multihop-{self.feed}"

    @property
    def topic_arn(self) -> str:
        return f"arn:{self.partition}:sns:{self.region}:{self.account}:{self.name}"

    @property
    def queue(self) -> SubscribedQueue:
        return SubscribedQueue(
            self.name, self.topic_arn, self.account, self.region, self.partition, tags(self)
        )

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def location(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


# ---- what there should be


def topic_policy(wiring: Wiring) -> dict[str, Any]:
    """S3 may publish, for this bucket of this account, and nobody else."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "BucketAnnouncesObjects",
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sns:Publish",
                "Resource": wiring.topic_arn,
                "Condition": {
                    "ArnEquals": {"aws:SourceArn": wiring.bucket_arn},
                    "StringEquals": {"aws:SourceAccount": wiring.account},
                },
            }
        ],
    }


def tags(wiring: Wiring) -> dict[str, str]:
    """By which a queue or topic is known as made here, and for what."""
    return {"multihop:feed": wiring.feed, "multihop:location": wiring.location}


def notification(wiring: Wiring) -> dict[str, Any]:
    """The bucket's notification of new objects under the prefix."""
    entry: dict[str, Any] = {"Id": wiring.name, "TopicArn": wiring.topic_arn, "Events": [_CREATED]}
    if wiring.prefix:
        # S3 wants the filter encoded: `day=1/` as written never matches, `day%3D1/` does.
        value = quote_plus(wiring.prefix, safe="/")
        entry["Filter"] = {"Key": {"FilterRules": [{"Name": "prefix", "Value": value}]}}
    return entry


def merged_notifications(current: Mapping[str, Any], wiring: Wiring) -> dict[str, Any]:
    """The bucket's whole configuration with the feed's notification in it.

    Equal to `current` when that has it already. All others stay as they are.

    Raises:
        ConfigurationError: one of the others announces some of the same objects, which S3
            refuses.
    """
    merged = {name: value for name, value in current.items() if name != "ResponseMetadata"}
    ours = notification(wiring)
    entries = merged.get("TopicConfigurations", [])
    if any(entry.get("Id") == wiring.name and _same(entry, ours) for entry in entries):
        return merged
    for kind, destination in _DESTINATIONS.items():
        for entry in merged.get(kind, []):
            if entry.get("Id") != wiring.name and _overlaps(entry, wiring.prefix):
                raise ConfigurationError(
                    f"bucket {wiring.bucket} announces new objects under "
                    f"{_filter_rule(entry, 'prefix') or '/'!r} to {entry[destination]} already "
                    f"(notification {entry.get('Id')!r}), and S3 allows one destination for "
                    f"the same objects: remove that notification, or have its topic feed "
                    f"a queue and name that queue in feeds.yml"
                )
    others = [entry for entry in entries if entry.get("Id") != wiring.name]
    return {**merged, "TopicConfigurations": [*others, ours]}


def _same(entry: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """S3 hands `prefix` back as `Prefix`."""

    def plain(of: Mapping[str, Any]) -> tuple[Any, ...]:
        rules = _filter_rules(of)
        return of["TopicArn"], sorted(of["Events"]), rules

    return plain(entry) == plain(ours)


def _filter_rules(entry: Mapping[str, Any]) -> dict[str, str]:
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    return {rule["Name"].lower(): rule["Value"] for rule in rules}


def _filter_rule(entry: Mapping[str, Any], name: str) -> str:
    return unquote_plus(_filter_rules(entry).get(name, ""))


def _overlaps(entry: Mapping[str, Any], prefix: str) -> bool:
    """Whether it announces created objects under the prefix, whatever their suffix."""
    other = _filter_rule(entry, "prefix")
    announces = any(event.startswith(_CREATED.removesuffix("*")) for event in entry["Events"])
    return announces and (other.startswith(prefix) or prefix.startswith(other))


def feed_lines(feed: str, source: str, queue_url: str) -> list[str]:
    """What feeds.yml has to say for the feed to take its objects from the queue."""
    switch = "use_notifications: true" if source == "cloudFiles" else f"source: {source}"
    return [f"  {feed}:", f"    {switch}", f"    queue_url: {queue_url}"]


# ---- what there is, and the way from here to there


@dataclass(frozen=True, slots=True)
class QueueReport:
    """What was found and done; queue_url is None where a dry run found no queue yet."""

    wiring: Wiring
    steps: tuple[Step, ...]
    notifications: dict[str, Any]
    queue_url: str | None

    def documents(self) -> dict[str, Any]:
        """The policies and the bucket's notifications, as they should be, by title."""
        return {
            "policy of the topic": topic_policy(self.wiring),
            "policy of the queue": queue_policy(self.wiring.queue),
            "attributes of the queue": queue_attributes(self.wiring.queue),
            "attributes of the dead-letter queue": dead_letter_attributes(self.wiring.queue),
            "notifications of the bucket": self.notifications,
        }

    def summary(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "feed": self.wiring.feed,
            "location": self.wiring.location,
            "changed": [step.resource for step in self.steps if step.action != "keep"],
            "queue_url": self.queue_url,
            **self.documents(),
        }


def create_queue(
    feed: str, location: str, *, region: str | None = None, dry_run: bool = False
) -> QueueReport:
    """Make topic, queues, subscription and notification as they should be; twice changes nothing.

    Args:
        feed: its name.
        location: s3://bucket/prefix/.
        region: in which to ask for the bucket; default boto3's.
        dry_run: only look.

    Raises:
        ConfigurationError: the feed is not over a bucket, what is in the way belongs to somebody
            else, or AWS refuses; the message says what to do.
    """
    with one_line_errors():
        wiring = _wiring(feed, location, client_settings({"region": region or ""}))
        account = _Account(wiring)
        steps, notifications = account.steps()
        if not dry_run:
            for step in steps:
                if step.action != "keep":
                    step.apply()
        return QueueReport(wiring, tuple(steps), notifications, account.queue_url())


def _wiring(feed: str, location: str, settings: ClientSettings) -> Wiring:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", feed):
        raise ConfigurationError(f"{feed!r} is no name of a feed: use a-z, 0-9 and _")
    place = parse_location(location)
    if place.bucket == LOCAL:
        raise ConfigurationError(
            f"feed {feed}: only a bucket announces objects, not the folder {place.prefix}: "
            "its location would have to be s3://bucket/prefix/"
        )
    identity = client("sts", settings).get_caller_identity()
    bucket = client("s3", settings).head_bucket(
        Bucket=place.bucket, ExpectedBucketOwner=identity["Account"]
    )
    wiring = Wiring(
        feed=feed,
        bucket=place.bucket,
        prefix=place.prefix,
        account=identity["Account"],
        region=bucket["BucketRegion"],  # S3 announces within a region only
        partition=identity["Arn"].split(":")[1],
    )
    if len(wiring.queue.dead_letter_name) > MAX_QUEUE_NAME:
        raise ConfigurationError(
            f"feed {feed}: its queue would be called {wiring.queue.dead_letter_name}, and SQS "
            f"allows {MAX_QUEUE_NAME} characters: give the feed a shorter name"
        )
    return wiring


class _Account:
    """The account's topic, queues and bucket, as they are."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        settings = client_settings({"region": wiring.region})
        self._s3, self._sns = client("s3", settings), client("sns", settings)
        self._queues = QueueAccount(wiring.queue)

    def steps(self) -> tuple[list[Step], dict[str, Any]]:
        """In the order in which they must be done, and the bucket's notifications after them."""
        bucket, notifications = self._bucket()
        subscription = self._queues.subscription_step()
        steps = [*self._queues.queue_steps(), self._topic(), subscription, bucket]
        return steps, notifications

    def queue_url(self) -> str | None:
        return self._queues.queue_url()

    def _topic(self) -> Step:
        arn, name = self._wiring.topic_arn, self._wiring.name
        wanted = {"Policy": json.dumps(topic_policy(self._wiring))}
        try:
            found = self._sns.get_topic_attributes(TopicArn=arn)["Attributes"]
        except self._sns.exceptions.NotFoundException:
            labels = [{"Key": key, "Value": value} for key, value in tags(self._wiring).items()]
            return Step(
                f"topic {name}",
                "create",
                (),
                lambda: self._sns.create_topic(Name=name, Attributes=wanted, Tags=labels),
            )
        labels = self._sns.list_tags_for_resource(ResourceArn=arn).get("Tags", [])
        found_tags = {label["Key"]: label["Value"] for label in labels}
        require_ours(f"topic {name}", found_tags, tags(self._wiring))
        if found.get("KmsMasterKeyId") == "alias/aws/sns":
            wanted["KmsMasterKeyId"] = ""
        differs = differing(found, wanted)

        def change() -> None:
            for attribute in differs:
                self._sns.set_topic_attributes(
                    TopicArn=arn, AttributeName=attribute, AttributeValue=wanted[attribute]
                )

        return Step(f"topic {name}", "change" if differs else "keep", differs, change)

    def _bucket(self) -> tuple[Step, dict[str, Any]]:
        name, owner = self._wiring.bucket, self._wiring.account
        current = self._s3.get_bucket_notification_configuration(
            Bucket=name, ExpectedBucketOwner=owner
        )
        current.pop("ResponseMetadata", None)
        merged = merged_notifications(current, self._wiring)
        ids = [entry.get("Id") for entry in current.get("TopicConfigurations", [])]
        action = "change" if self._wiring.name in ids else "create"
        step = Step(
            f"notification {self._wiring.name} of bucket {name}",
            "keep" if merged == current else action,
            (),
            lambda: self._s3.put_bucket_notification_configuration(
                Bucket=name, ExpectedBucketOwner=owner, NotificationConfiguration=merged
            ),
        )
        return step, merged
