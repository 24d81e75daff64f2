"""New objects of a prefix announced to a queue: bucket → topic → queue, made as on AWS."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any


def announce(s3: Any, sns: Any, sqs: Any, *, bucket: str, prefix: str, name: str) -> str:
    """Make bucket, topic, queue and what joins them, where they are missing.

    Args:
        s3, sns, sqs: boto3's clients.
        name: of the topic and of the queue.

    Returns: the URL of the queue.
    """
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        s3.create_bucket(Bucket=bucket)
    topic = sns.create_topic(Name=name)["TopicArn"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    queue = attributes["Attributes"]["QueueArn"]
    sqs.set_queue_attributes(
        QueueUrl=url,
        Attributes={"Policy": _policy("sns", "sqs:SendMessage", queue, source=topic)},
    )
    sns.set_topic_attributes(
        TopicArn=topic,
        AttributeName="Policy",
        AttributeValue=_policy("s3", "sns:Publish", topic, source=f"arn:aws:s3:::{bucket}"),
    )
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)  # once, however often it is asked
    wiring = {
        "Id": name,
        "TopicArn": topic,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
    }
    found = s3.get_bucket_notification_configuration(Bucket=bucket)
    if name not in {wired.get("Id") for wired in found.get("TopicConfigurations", ())}:
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [wiring]}
        )
    return url


def _policy(service: str, action: str, resource: str, *, source: str) -> str:
    """The service may do that, on behalf of the source alone."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": action,
        "Resource": resource,
        "Condition": {"ArnEquals": {"aws:SourceArn": source}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
