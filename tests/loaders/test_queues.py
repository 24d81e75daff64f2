"""queue create: the policies to the letter, other people's notifications, and a real round trip."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any, NamedTuple

import boto3
import pytest

from loaders.cli import cli
from loaders.queues import (
    QueueReport,
    Wiring,
    create_queue,
    feed_lines,
    merged_notifications,
    notification,
    topic_policy,
)
from loaders.session import ConfigurationError
from loaders.subscribed_queue import dead_letter_attributes, queue_attributes, queue_policy

WIRING = Wiring("games", "landing", "games/day=1/", "111122223333", "eu-west-1")
TOPIC = "arn:aws:sns:eu-west-1:111122223333:multihop-games"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:multihop-games"


def test_the_topic_takes_from_this_bucket_of_this_account_alone() -> None:
    assert topic_policy(WIRING) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "BucketAnnouncesObjects",
                "Effect": "Allow",
                "Principal": {"Service": "s3.amazonaws.com"},
                "Action": "sns:Publish",
                "Resource": TOPIC,
                "Condition": {
                    "ArnEquals": {"aws:SourceArn": "arn:aws:s3:::landing"},
                    "StringEquals": {"aws:SourceAccount": "111122223333"},
                },
            }
        ],
    }


def test_the_queue_takes_from_the_topic_alone() -> None:
    assert queue_policy(WIRING.queue) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TopicSends",
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": QUEUE,
                "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
            }
        ],
    }


def test_queues_are_encrypted_and_the_dead_letter_queue_keeps_messages_longer() -> None:
    assert queue_attributes(WIRING.queue) == {
        "MessageRetentionPeriod": "864000",
        "Policy": json.dumps(queue_policy(WIRING.queue)),
        "RedrivePolicy": json.dumps(
            {"deadLetterTargetArn": f"{QUEUE}-dead", "maxReceiveCount": 20}
        ),
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "300",
    }
    allow = {"redrivePermission": "byQueue", "sourceQueueArns": [QUEUE]}
    assert dead_letter_attributes(WIRING.queue) == {
        "MessageRetentionPeriod": "1209600",
        "RedriveAllowPolicy": json.dumps(allow),
        "SqsManagedSseEnabled": "true",
    }


def test_other_partitions_have_their_own_names() -> None:
    china = replace(WIRING, region="cn-north-1", partition="aws-cn")
    assert china.queue.queue_arn == "arn:aws-cn:sqs:cn-north-1:111122223333:multihop-games"
    condition = topic_policy(china)["Statement"][0]["Condition"]
    assert condition["ArnEquals"] == {"aws:SourceArn": "arn:aws-cn:s3:::landing"}


def test_the_prefix_is_encoded_as_s3_wants_it() -> None:
    rules = notification(WIRING)["Filter"]["Key"]["FilterRules"]
    assert rules == [{"Name": "prefix", "Value": "games/day%3D1/"}]
    assert "Filter" not in notification(replace(WIRING, prefix=""))


def an_entry(prefix: str | None, event: str = "s3:ObjectCreated:*", **more: Any) -> dict[str, Any]:
    rules = [] if prefix is None else [{"Name": "Prefix", "Value": prefix}]
    return {"Id": "theirs", "Events": [event], "Filter": {"Key": {"FilterRules": rules}}, **more}


THEIRS = {
    "EventBridgeConfiguration": {},
    "TopicConfigurations": [an_entry("other/", TopicArn="t")],
    "QueueConfigurations": [an_entry("games/", "s3:ObjectRemoved:*", QueueArn="q")],
    "LambdaFunctionConfigurations": [an_entry("games/day%3D2/", LambdaFunctionArn="l")],
}


def test_other_notifications_of_the_bucket_stay_as_they_are() -> None:
    merged = merged_notifications(THEIRS, WIRING)
    topics = [*THEIRS["TopicConfigurations"], notification(WIRING)]
    assert merged == {**THEIRS, "TopicConfigurations": topics}


def test_a_notification_as_s3_hands_it_back_is_known_again() -> None:
    stored = notification(WIRING)
    stored["Filter"] = {"Key": {"FilterRules": [{"Name": "Prefix", "Value": "games/day%3D1/"}]}}
    current = {**THEIRS, "TopicConfigurations": [stored]}
    assert merged_notifications(current, WIRING) == current


def test_our_own_notification_is_replaced_when_the_prefix_changed() -> None:
    before = merged_notifications(THEIRS, WIRING)
    moved = replace(WIRING, prefix="games/day=3/")
    topics = [*THEIRS["TopicConfigurations"], notification(moved)]
    assert merged_notifications(before, moved)["TopicConfigurations"] == topics


@pytest.mark.parametrize(
    ("kind", "entry"),
    [
        ("TopicConfigurations", an_entry("games/", TopicArn="arn:theirs")),
        ("QueueConfigurations", an_entry("games/day%3D1/x", QueueArn="arn:theirs")),
        (
            "LambdaFunctionConfigurations",
            an_entry(None, "s3:ObjectCreated:Put", LambdaFunctionArn="arn:theirs"),
        ),
    ],
)
def test_a_notification_of_the_same_objects_is_an_error_that_names_it(
    kind: str, entry: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=r"arn:theirs already \(notification 'theirs'\)"):
        merged_notifications({kind: [entry]}, WIRING)


# ---- against a server


class Feed(NamedTuple):
    name: str
    location: str


def actions(report: QueueReport) -> list[str]:
    return [step.action for step in report.steps]


@pytest.fixture
def feed(aws: Any) -> Feed:
    """A feed over a new bucket that announces deletions to somebody's topic."""
    name = f"q{uuid.uuid4().hex[:10]}"
    s3, sns = boto3.client("s3"), boto3.client("sns")
    s3.create_bucket(Bucket=name)
    theirs = sns.create_topic(Name=f"{name}-theirs")["TopicArn"]
    entry = {"Id": "theirs", "TopicArn": theirs, "Events": ["s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"TopicConfigurations": [entry]}
    )
    return Feed(name, f"s3://{name}/in/")


def test_new_objects_come_to_the_queue_and_a_second_run_changes_nothing(feed: Feed) -> None:
    s3, sqs = boto3.client("s3"), boto3.client("sqs")

    planned = create_queue(*feed, dry_run=True)
    assert (actions(planned), planned.queue_url) == (["create"] * 5, None)
    before = s3.get_bucket_notification_configuration(Bucket=feed.name)
    assert [entry["Id"] for entry in before["TopicConfigurations"]] == ["theirs"]

    made = create_queue(*feed)
    assert actions(made) == ["create"] * 5
    s3.put_object(Bucket=feed.name, Key="elsewhere/b.json", Body=b"{}")
    s3.put_object(Bucket=feed.name, Key="in/a.json", Body=b"{}")
    bodies = [
        json.loads(message["Body"])
        for _ in range(2)
        for message in sqs.receive_message(
            QueueUrl=made.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1
        ).get("Messages", [])
    ]
    records = [record for body in bodies for record in body.get("Records", [])]
    assert [record["s3"]["object"]["key"] for record in records] == ["in/a.json"]

    again = create_queue(*feed)
    assert (actions(again), again.queue_url) == (["keep"] * 5, made.queue_url)
    after = s3.get_bucket_notification_configuration(Bucket=feed.name)
    assert [entry["Id"] for entry in after["TopicConfigurations"]] == [
        "theirs",
        f"multihop-{feed.name}",
    ]


def test_what_somebody_changed_is_put_right(feed: Feed) -> None:
    made = create_queue(*feed)
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    sqs.set_queue_attributes(QueueUrl=made.queue_url, Attributes={"VisibilityTimeout": "30"})
    sns.set_topic_attributes(
        TopicArn=made.wiring.topic_arn, AttributeName="Policy", AttributeValue='{"Statement": []}'
    )
    mended = create_queue(*feed)
    assert [(step.action, step.differs) for step in mended.steps] == [
        ("keep", ()),
        ("change", ("VisibilityTimeout",)),
        ("change", ("Policy",)),
        ("keep", ()),
        ("keep", ()),
    ]
    assert actions(create_queue(*feed, dry_run=True)) == ["keep"] * 5


def test_a_queue_that_is_not_the_feeds_is_left_alone(feed: Feed) -> None:
    create_queue(*feed)
    with pytest.raises(
        ConfigurationError, match=rf"multihop:location s3://{feed.name}/in/, not of"
    ):
        create_queue(feed.name, f"s3://{feed.name}/elsewhere/")


@pytest.mark.parametrize(
    ("name", "location", "message"),
    [
        ("things", "s3://no-such-bucket-here/in/", "404: Not Found: there is no such bucket"),
        ("things", "/a/folder", "only a bucket announces objects, not the folder /a/folder"),
        ("things", "https://example.com/", "use s3://bucket/prefix/"),
        ("Things!", "s3://bucket/in/", "'Things!' is no name of a feed"),
    ],
)
def test_what_cannot_be_announced_ends_in_one_line(
    aws: Any, name: str, location: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        create_queue(name, location)


def test_a_name_that_sqs_would_refuse_is_said_before_anything_is_made(feed: Feed) -> None:
    with pytest.raises(ConfigurationError, match="give the feed a shorter name"):
        create_queue("x" * 70, feed.location)


def test_the_command_shows_policies_and_what_to_write_into_feeds_yml(
    feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["queue", "create", feed.name, "--location", feed.location]
    cli.main([*command, "--dry-run"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "would be created" in shown
    assert '"aws:SourceArn": "arn:aws:s3:::' in shown
    assert "queue URL" not in shown

    cli.main(command, standalone_mode=False)
    url = boto3.client("sqs").get_queue_url(QueueName=f"multihop-{feed.name}")["QueueUrl"]
    lines = f"  {feed.name}:\n    source: s3-sqs\n    queue_url: {url}\n"
    assert lines in capsys.readouterr().out

    cli.main([*command, "--json"], standalone_mode=False)
    summary = json.loads(capsys.readouterr().out)
    assert (summary["changed"], summary["queue_url"]) == ([], url)


def test_a_feed_that_lists_its_location_is_told_to_stop_listing() -> None:
    assert feed_lines("games", "cloudFiles", "https://queue") == [
        "  games:",
        "    use_notifications: true",
        "    queue_url: https://queue",
    ]


def test_a_feed_without_a_location_needs_one() -> None:
    with pytest.raises(ConfigurationError, match="give --location s3://bucket/prefix/"):
        cli.main(["queue", "create", "no_such_feed"], standalone_mode=False)
