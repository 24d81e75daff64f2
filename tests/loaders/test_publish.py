"""Publishing through throttling and errors of SNS: later, not never, and once."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from servers import faults_of, faulty

from loaders import publish
from loaders.outbox import Message
from loaders.publish import Publisher, PublishReport

SECRET = "not to be told"
MESSAGES = 6
RULES = [
    {
        "service": "sns",
        "operation": "Publish",
        "error": {"code": code},
        "sequence": {"fail": fail, "pass": 1},
    }
    for code, fail in (("Throttled", 2),)
]


class Outbox:
    """The two tables, in memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, messages: list[Message]) -> None:
        self.messages = messages
        self.decided: dict[str, dict[str, Any]] = {}
        monkeypatch.setattr(publish, "pending_messages", self._pending)
        monkeypatch.setattr(publish, "note_deliveries", self._note)
        monkeypatch.setattr(publish, "ensure_outbox", lambda _: None)
        self.looked_after: list[int] = []
        monkeypatch.setattr(
            publish, "compact_outbox", lambda _, noted: self.looked_after.append(noted)
        )

    def _pending(self, _: Any, since: datetime | None) -> list[Message]:
        return [
            each
            for each in self.messages
            if each.message_id not in self.decided and (since is None or each.created_at >= since)
        ]

    def _note(self, _: Any, outcomes: list[tuple[Message, dict[str, Any]]]) -> None:
        for message, outcome in outcomes:
            assert message.message_id not in self.decided
            self.decided[message.message_id] = outcome


@pytest.fixture
def queue(aws: Any) -> tuple[str, str]:
    """ARN of a topic and URL of a queue that gets its messages as they are."""
    name = f"alerts-{uuid.uuid4().hex[:8]}"
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )
    return topic, url


def a_message(topic: str, number: int) -> Message:
    body = f"{SECRET} {number}"
    return Message(f"id-{number}", "model", topic, None, body, {}, datetime.now(UTC))


def bodies(url: str) -> Counter[str]:
    sqs = boto3.client("sqs")
    found: Counter[str] = Counter()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            found[message["Body"]] += 1
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def test_throttling_delays_messages_and_neither_loses_nor_repeats_one(
    aws: Any,
    queue: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic, url = queue
    outbox = Outbox(monkeypatch, [a_message(topic, number) for number in range(MESSAGES)])
    now = 0.0
    pauses = []
    with (
        caplog.at_level(logging.DEBUG, "loaders"),
        faulty(aws.endpoint_url, RULES, tmp_path / "proxy.log") as proxy,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", proxy)
        publisher = Publisher(None, clock=lambda: now)
        report = publisher.deliver()
        while report.waiting:
            pauses.append(publisher.seconds_to_next())
            now += pauses[-1]
            report = publisher.deliver()
        assert {name for name, _ in faults_of(proxy)} == {"Publish"}
    assert {each["state"] for each in outbox.decided.values()} == {"sent"}
    assert bodies(url) == Counter(f"{SECRET} {number}" for number in range(MESSAGES))
    assert pauses[0] == 1.0
    assert max(each["attempts"] for each in outbox.decided.values()) > 1
    told = [record.getMessage() for record in caplog.records if record.name == "loaders.publish"]
    assert told
    assert not any(SECRET in line for line in told)


def test_a_message_that_no_repetition_will_mend_is_given_up_at_once(
    aws: Any, queue: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, url = queue
    outbox = Outbox(monkeypatch, [a_message(topic, 1), a_message(topic, 2)])
    refused = RULES[0] | {
        "error": {"code": "InvalidParameter"},
        "sequence": {"fail": 1, "pass": 100},
    }
    with faulty(aws.endpoint_url, [refused], tmp_path / "proxy.log") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", proxy)
        report = Publisher(None).deliver()
    assert report == PublishReport(sent=1, dead=1, waiting=0)
    assert outbox.decided["id-1"]["state"] == "dead"
    assert bodies(url) == Counter([f"{SECRET} 2"])


def test_a_message_is_given_up_when_it_could_not_be_sent_for_a_day(
    queue: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = queue[0] + "-missing"
    week_ago = datetime.now(UTC) - timedelta(days=7)
    old, new = replace(a_message(missing, 1), created_at=week_ago), a_message(missing, 2)
    outbox = Outbox(monkeypatch, [old])
    now = 0.0
    publisher = Publisher(None, clock=lambda: now)
    assert publisher.deliver().waiting == 1, "however old it is: it was not tried before"
    now = 86_399.0
    outbox.messages.append(new)
    assert publisher.deliver() == PublishReport(sent=0, dead=0, waiting=2)
    now = 90_000.0
    assert publisher.deliver() == PublishReport(sent=0, dead=1, waiting=1)
    assert outbox.decided.keys() == {"id-1"}


def test_what_is_sent_is_noted_when_the_process_is_to_stop(
    queue: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, url = queue
    outbox = Outbox(monkeypatch, [a_message(topic, number) for number in range(3)])
    asked = iter([False, False, True])
    publisher = Publisher(None, is_stopping=lambda: next(asked))
    assert publisher.deliver().sent == 2
    assert outbox.decided.keys() == {"id-0", "id-1"}
    assert Publisher(None).deliver().sent == 1
    assert bodies(url) == Counter(f"{SECRET} {number}" for number in range(3))


def test_a_step_sends_what_was_left_and_what_comes_and_else_looks_at_nothing(
    queue: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, url = queue
    outbox = Outbox(monkeypatch, [a_message(topic, 1)])
    publisher = Publisher(None)

    class Batch:
        messages = 1

    assert publisher.step() == "1 sent"
    outbox.messages.append(a_message(topic, 2))
    assert publisher.step() is None  # nobody told it
    publisher.noting(lambda _: None)(Batch())
    assert publisher.step() == "1 sent"
    assert bodies(url) == Counter(f"{SECRET} {number}" for number in (1, 2))
    assert outbox.looked_after == [0, 1]  # with what was sent alone


def test_mail_is_looked_for_again_after_the_tables_could_not_be_read(
    queue: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, url = queue
    Outbox(monkeypatch, [a_message(topic, 1)])
    publisher = Publisher(None)

    def broken(*_: Any) -> None:
        raise OSError("no table")

    with monkeypatch.context() as failing:
        failing.setattr(publish, "pending_messages", broken)
        with pytest.raises(OSError, match="no table"):
            publisher.step()
    assert publisher.step() == "1 sent"
    assert bodies(url) == Counter([f"{SECRET} 1"])
