"""A queue for alerts and its consumer: filtered, nothing lost, nothing deleted too early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from servers import ENVIRONMENT

from loaders.alerts.commands import alert_line
from loaders.alerts.follow import Stop, follow
from loaders.alerts.message import Alert
from loaders.alerts.queue import AlertQueueReport, create_alert_queue, filter_policy
from loaders.alerts.weights import WeightsObject
from loaders.cli import cli
from loaders.session import ConfigurationError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
EDGE = {"layer": "edge", "cohort_kind": "edge", "cohort": "FRA56-P3", "rule": "edge_errors"}


@pytest.fixture
def topic(aws: Any) -> str:
    """ARN of a new topic; its last part is a name for a queue, too."""
    return boto3.client("sns").create_topic(Name=f"alerts-{uuid.uuid4().hex[:8]}")["TopicArn"]


def made(topic: str, *filters: str, **options: Any) -> AlertQueueReport:
    return create_alert_queue(topic, filters, name=topic.rpartition(":")[2], **options)


def tell(topic: str, text: str, **attributes: str) -> None:
    told = {"update_type": "alert", "state": "firing", "severity": "critical", **attributes}
    boto3.client("sns").publish(
        TopicArn=topic,
        Message=text,
        Subject="critical, firing: a_rule",
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in told.items()
        },
    )


def taken(
    url: str, handle: Callable[[Alert, Any], None] = lambda *_: None
) -> tuple[list[str], list[str]]:
    """Texts of what a consumer took that ends when the queue is empty, and its complaints."""
    texts: list[str] = []
    complaints: list[str] = []

    def noting(alert: Alert, message: Any) -> None:
        handle(alert, message)
        texts.append(alert.text)

    follow(boto3.client("sqs"), url, noting, complaints.append, Stop(), once=True)
    return texts, complaints


def left(url: str) -> int:
    """Messages that the queue has, seen or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = boto3.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return sum(int(counts["Attributes"][name]) for name in names)


# ---- the queue


def test_a_filter_lets_its_alerts_through_and_a_second_run_changes_nothing(topic: str) -> None:
    filters = ("severity=critical", "layer=edge", "layer=isp")
    planned = made(topic, *filters, dry_run=True)
    assert ([step.action for step in planned.steps], planned.queue_url) == (["create"] * 3, None)
    queue = made(topic, *filters)
    tell(topic, "an edge", **EDGE)
    tell(topic, "a network", layer="isp")
    tell(topic, "not critical", **EDGE, severity="warning")
    tell(topic, "elsewhere", layer="origin")
    assert sorted(taken(queue.queue_url)[0]) == ["a network", "an edge"]
    again = made(topic, *filters)
    assert [step.action for step in again.steps] == ["keep"] * 3
    assert again.queue_url == queue.queue_url


def test_without_a_filter_a_standing_one_goes(topic: str) -> None:
    made(topic, "severity=critical")
    changed = made(topic)
    assert [(step.action, step.differs) for step in changed.steps[2:]] == [
        ("change", ("FilterPolicy",))
    ]
    assert [step.action for step in made(topic).steps] == ["keep"] * 3
    tell(topic, "not critical", severity="warning")
    assert taken(changed.queue_url)[0] == ["not critical"]


def test_the_queue_takes_from_the_topic_alone_and_is_soon_visible_again(topic: str) -> None:
    documents = made(topic, "severity=critical", dry_run=True).documents()
    (statement,) = documents["policy of the queue"]["Statement"]
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": topic}}
    assert documents["attributes of the queue"]["VisibilityTimeout"] == "60"
    assert documents["attributes of the subscription"] == {
        "FilterPolicy": '{"severity": ["critical"]}',
        "RawMessageDelivery": "false",
    }


def test_a_queue_of_another_topic_is_left_alone(topic: str) -> None:
    made(topic)
    other = boto3.client("sns").create_topic(Name=f"other-{uuid.uuid4().hex[:8]}")["TopicArn"]
    with pytest.raises(ConfigurationError, match=f"exists and is of multihop:topic {topic}, not"):
        create_alert_queue(other, (), name=topic.rpartition(":")[2])


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (["severity"], "write NAME=VALUE, as severity=critical"),
        (["severity="], "write NAME=VALUE"),
        (["edge=FRA56-P3"], "alerts have no attribute 'edge', so nothing would come; they have up"),
        (
            [f"{name}=x" for name in ("rule", "state", "severity", "layer", "cohort", "alert_id")],
            "names 6 attributes, and SNS takes 5",
        ),
    ],
)
def test_a_filter_that_would_let_nothing_through_is_refused(filters: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        filter_policy(filters)


def test_a_filter_names_values_with_commas_and_equal_signs_as_they_are() -> None:
    given = ["cohort=5.4.0, phone", "cohort=a=b", "cohort=a=b"]
    assert filter_policy(given) == {"cohort": ["5.4.0, phone", "a=b"]}


@pytest.mark.parametrize(
    ("topic_arn", "name", "said"),
    [
        ("alerts", "alerts", "'alerts' is no ARN of a topic"),
        ("arn:aws:sqs:eu-west-1:111122223333:alerts", "alerts", "is no ARN of a topic"),
        ("arn:aws:sns:us-east-1:000000000000:nobody-made-it", "alerts", "there is no such topic"),
        ("arn:aws:sns:us-east-1:000000000000:t", "a queue", "'a queue' is no name of a queue"),
        ("arn:aws:sns:us-east-1:000000000000:t", "x" * 67, "use at most 66 letters"),
    ],
)
def test_what_cannot_be_subscribed_ends_in_one_line(
    aws: Any, topic_arn: str, name: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        create_alert_queue(topic_arn, (), name=name)


def test_the_command_shows_what_it_would_do(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = topic.rpartition(":")[2]
    command = ["alerts", "queue", topic, "--name", name, "--filter", "severity=critical"]
    cli.main([*command, "--dry-run"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert f"queue multihop-{name}  would be created" in shown
    assert '"aws:SourceArn": "arn:aws:sns:' in shown
    cli.main(command, standalone_mode=False)
    url = boto3.client("sqs").get_queue_url(QueueName=f"multihop-{name}")["QueueUrl"]
    assert f"queue URL: {url}" in capsys.readouterr().out
    cli.main([*command, "--json"], standalone_mode=False)
    summary = json.loads(capsys.readouterr().out)
    assert (summary["changed"], summary["queue_url"], summary["topic"]) == ([], url, topic)


# ---- the consumer


def test_a_message_is_deleted_after_it_was_dealt_with_and_not_before(topic: str) -> None:
    url = made(topic).queue_url
    tell(topic, "one")
    standing: list[int] = []
    assert taken(url, lambda *_: standing.append(left(url))) == (["one"], [])
    assert standing == [1]
    assert left(url) == 0


def test_what_fails_is_left_and_keeps_nobody_else(topic: str) -> None:
    url = made(topic).queue_url
    for text in ("one", "two", "three"):
        tell(topic, text)

    def fail_on_two(alert: Alert, message: Any) -> None:
        if alert.text == "two":
            raise RuntimeError("no luck")

    texts, (complaint,) = taken(url, fail_on_two)
    assert sorted(texts) == ["one", "three"]
    assert complaint.endswith("RuntimeError: no luck; it comes again")
    assert left(url) == 1


def test_what_failed_comes_again(topic: str) -> None:
    url = made(topic).queue_url
    boto3.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "0"})
    tell(topic, "one")
    tries: list[str] = []

    def fail_at_first(alert: Alert, message: Any) -> None:
        tries.append(alert.text)
        if len(tries) == 1:
            raise RuntimeError("no luck")

    texts, complaints = taken(url, fail_at_first)
    assert (texts, len(complaints), len(tries), left(url)) == (["one"], 1, 2, 0)


def test_what_is_no_alert_is_left_for_the_dead_letter_queue(topic: str) -> None:
    url = made(topic).queue_url
    boto3.client("sns").publish(TopicArn=topic, Message="by hand")
    tell(topic, "one")
    texts, (complaint,) = taken(url)
    assert texts == ["one"]
    assert "without the attribute update_type" in complaint
    assert left(url) == 1


def test_a_consumer_that_is_told_to_end_leaves_what_it_has_not_dealt_with(topic: str) -> None:
    url = made(topic).queue_url
    for number in range(5):
        tell(topic, str(number))
    stop, texts = Stop(), []

    def handle(alert: Alert, message: Any) -> None:
        texts.append(alert.text)
        stop.set()

    follow(boto3.client("sqs"), url, handle, pytest.fail, stop)
    assert len(texts) == 1
    assert left(url) == 4


def test_a_poll_is_not_begun_after_the_signal() -> None:
    stop = Stop()
    stop.set()
    assert stop.wait_for(lambda: pytest.fail("polled")) is None


def test_a_poll_is_broken_off_by_the_signal() -> None:
    stop = Stop()

    def poll() -> None:
        stop.set()
        pytest.fail("went on")

    assert stop.wait_for(poll) is None
    assert stop.is_set()


def run(aws: Any, *arguments: str, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "loaders", "alerts", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **ENVIRONMENT, "AWS_ENDPOINT_URL": aws.endpoint_url, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_following_prints_a_line_an_alert_and_ends_well_when_told(
    aws: Any, topic: str, number: signal.Signals
) -> None:
    url = made(topic).queue_url
    tell(topic, "one", **EDGE)
    following = run(aws, "follow", url, "--json")
    line = json.loads(following.stdout.readline())  # comes while it follows
    following.send_signal(number)
    rest, errors = following.communicate(timeout=60)
    assert (following.returncode, rest, errors) == (0, "", "")
    alert = line["alert"]
    assert (alert["text"], alert["cohort"], alert["severity"]) == ("one", "FRA56-P3", "critical")
    assert line.keys() == {"alert"}


def test_following_with_remediation_moves_traffic_before_the_message_is_gone(
    aws: Any, topic: str
) -> None:
    bucket = topic.rpartition(":")[2]
    boto3.client("s3").create_bucket(Bucket=bucket)
    url = made(topic).queue_url
    settings = {
        "CDN_WEIGHTS": f"s3://{bucket}/weights.json",
        "CDN_EDGES": "FRA56-P3,TXL52-P1,AMS50-C1,LHR61-C1",
    }
    tell(topic, "slow\x1b[2J", **EDGE, alert_id="a")
    following = run(aws, "follow", url, "--once", "--remediate", **settings)
    shown, errors = following.communicate(timeout=60)
    assert following.returncode == 0, errors
    alert, outcome = shown.splitlines()
    assert alert[21:] == "critical  firing    edge_errors  slow\\x1b[2J"
    assert outcome.startswith("    shifted FRA56-P3 until 2")
    (logged,) = errors.splitlines()
    assert json.loads(logged)["weights"] == {"FRA56-P3": 0.0}
    weights = WeightsObject(boto3.client("s3"), bucket, "weights.json").read()
    assert {edge: (entry.weight, entry.alert_id) for edge, entry in weights.items()} == {
        "FRA56-P3": (0.0, "a")
    }
    assert left(url) == 0


def test_a_remediation_that_fails_leaves_the_alert_in_the_queue(aws: Any, topic: str) -> None:
    url = made(topic).queue_url
    tell(topic, "slow", **EDGE)
    settings = {"CDN_WEIGHTS": "s3://there-is-no-such-bucket/w.json", "CDN_EDGES": "FRA56-P3,B,C,D"}
    following = run(aws, "follow", url, "--once", "--remediate", "--json", **settings)
    shown, errors = following.communicate(timeout=60)
    assert (following.returncode, shown) == (0, "")
    assert "NoSuchBucket" in json.loads(errors)["error"]
    assert left(url) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"CDN_WEIGHTS": "s3://b/k", "CDN_EDGES": ""}, "CDN_EDGES is not set"),
        ({"CDN_WEIGHTS": "b", "CDN_EDGES": "A"}, "CDN_WEIGHTS is b: set it to s3://bucket/key"),
    ],
)
def test_remediation_without_its_settings_is_refused_before_anything_is_taken(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=said):
        cli.main(["alerts", "follow", "https://queue", "--remediate"], standalone_mode=False)


def test_a_queue_that_there_is_not_ends_in_one_line(aws: Any) -> None:
    url = f"{aws.endpoint_url}/000000000000/nobody-made-it"
    with pytest.raises(ConfigurationError, match="there is no such queue"):
        cli.main(["alerts", "follow", url, "--once"], standalone_mode=False)


def test_a_message_of_a_live_model_is_a_line_too() -> None:
    line = alert_line(Alert("7 of 130", update_type="client_errors", severity="critical"))
    assert line.plain == "-------------------  critical  -         client_errors  7 of 130"


def test_the_command_writes_the_zip_or_says_why_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["alerts", "archive", str(tmp_path / "alerts.zip")], standalone_mode=False)
    assert (tmp_path / "alerts.zip").stat().st_size > 1000
    with pytest.raises(ConfigurationError, match=r"cannot write .*: No such file or directory"):
        cli.main(["alerts", "archive", str(tmp_path / "no" / "a.zip")], standalone_mode=False)
