"""Who subscribed to a topic: a queue that takes the messages of one kind from it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import boto3


class Subscriber:
    """A topic and a queue that takes the messages of one `update_type` from it."""

    def __init__(self, update_type: str) -> None:
        self.name = f"alerts-{uuid.uuid4().hex[:8]}"
        sns, self._sqs = boto3.client("sns"), boto3.client("sqs")
        self.topic = sns.create_topic(Name=self.name)["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName=self.name)["QueueUrl"]
        asked = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])
        sns.subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=asked["Attributes"]["QueueArn"],
            Attributes={"FilterPolicy": json.dumps({"update_type": [update_type]})},
        )

    def received(self) -> list[dict[str, Any]]:
        """Everything that came since it was asked last."""
        found = []
        while answer := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in answer:
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(
                    QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"]
                )
        return found
