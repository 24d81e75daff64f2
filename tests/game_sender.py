"""A bucket of game events that announces its objects to a queue, and bronze tables of games."""

from __future__ import annotations

import gzip
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from deltalake import DeltaTable

from loaders.feeds import S3SqsFeed
from loaders.games.contract import UNKNOWN_TABLE, game_contract

CONTRACT = game_contract()
TABLES = [*(event.table for event in CONTRACT.events), UNKNOWN_TABLE]


@dataclass
class Sender:
    """A bucket that announces its objects through a topic to a queue, and what was put there.

    sent: table → records, as the specification sorts them, each as often as it was sent.
    """

    bucket: str
    queue_url: str
    s3: Any
    sent: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def feed(self) -> S3SqsFeed:
        return S3SqsFeed(
            name="game_events",
            table=UNKNOWN_TABLE,
            table_per="game_event",
            queue_url=self.queue_url,
            description="events",
        )

    def put(self, events: list[dict[str, Any]], after: bytes = b"") -> None:
        """An object as Firehose writes it; `after` follows the events."""
        records = [json.dumps(event) for event in events]
        key = f"games/2026/03/01/00/{uuid.uuid4()}.gz"
        body = gzip.compress("".join(records).encode() + after)
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        for event, record in zip(events, records, strict=True):
            self.sent.setdefault(table_of(event), Counter())[record] += 1


def table_of(event: dict[str, Any]) -> str:
    """Plainly."""
    for known in CONTRACT.events:
        if event.get("event_type") == known.name:
            version = event.get("event_version")
            if type(version) is int and 1 <= version <= known.version:
                return f"game_{known.name}"
    return UNKNOWN_TABLE


@contextmanager
def game_sender() -> Iterator[Sender]:
    s3, sns, sqs = (boto3.client(name) for name in ("s3", "sns", "sqs"))
    name = f"games-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["Attributes"]["QueueArn"])
    s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={
            "TopicConfigurations": [{"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    yield Sender(name, queue_url, s3)
    sqs.delete_queue(QueueUrl=queue_url)


def in_bronze(root: Path) -> dict[str, Counter[str]]:
    """Records by table that has any. Without Spark, which takes seconds to plan so many tables."""
    found = {}
    for table in TABLES:
        path = root / "warehouse" / "bronze.db" / table
        if path.exists():
            column = DeltaTable(path).to_pyarrow_table(columns=["data"])["data"]
            if len(column):
                found[table] = Counter(column.to_pylist())
    return found
