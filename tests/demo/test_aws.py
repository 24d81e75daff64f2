"""The embedded AWS: reached as AWS is, loopback only, gone when done, with its state kept."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from demo import aws

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _no_port_from_outside(monkeypatch):
    monkeypatch.delenv("AWS_PORT", raising=False)


@pytest.fixture
def client(monkeypatch):
    """Makes boto3 clients from nothing but environment()'s variables."""

    def make(service: str, running: aws.EmbeddedAws):
        for name, value in aws.environment(running).items():
            monkeypatch.setenv(name, value)
        return boto3.session.Session().client(service)

    return make


def answers(endpoint_url: str) -> bool:
    host, port = endpoint_url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_objects_go_in_and_out_through_boto3(tmp_path, client):
    with aws.embedded_aws(tmp_path) as running:
        s3 = client("s3", running)
        s3.create_bucket(Bucket="landing")
        s3.put_object(Bucket="landing", Key="in/a b+ü.json", Body=b"{}\n")
        assert s3.get_object(Bucket="landing", Key="in/a b+ü.json")["Body"].read() == b"{}\n"


def test_it_listens_on_loopback_only(tmp_path):
    with aws.embedded_aws(tmp_path) as running:
        port = int(running.endpoint_url.rsplit(":", 1)[1])
        assert running.endpoint_url == f"http://127.0.0.1:{port}"
        # another loopback address would answer if it listened on all of them
        assert not answers(f"http://127.0.0.2:{port}")


def test_it_is_gone_afterwards_and_after_an_error(tmp_path):
    def work() -> None:
        assert answers(running.endpoint_url)
        raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"), aws.embedded_aws(tmp_path) as running:
        work()
    assert not answers(running.endpoint_url)
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_objects_queues_and_their_wiring_survive_a_restart(tmp_path, client):
    with aws.embedded_aws(tmp_path) as running:
        s3, sqs, sns = (client(service, running) for service in ("s3", "sqs", "sns"))
        s3.create_bucket(Bucket="landing")
        before = s3.put_object(Bucket="landing", Key="a", Body=b"1")["ETag"]
        queue = sqs.create_queue(QueueName="arrivals")["QueueUrl"]
        names = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
        topic = sns.create_topic(Name="arrivals")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=names["QueueArn"])
        arrivals = {"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket="landing", NotificationConfiguration={"TopicConfigurations": [arrivals]}
        )
        sqs.send_message(QueueUrl=queue, MessageBody="kept")

    with aws.embedded_aws(tmp_path) as running:
        s3, sqs = client("s3", running), client("sqs", running)
        assert s3.head_object(Bucket="landing", Key="a")["ETag"] == before
        s3.put_object(Bucket="landing", Key="b", Body=b"2")
        queue = sqs.get_queue_url(QueueName="arrivals")["QueueUrl"]
        received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
        bodies = [message["Body"] for message in received]
        assert "kept" in bodies
        assert len([body for body in bodies if "ObjectCreated:Put" in body]) == 1


def test_objects_survive_a_kill(tmp_path, client):
    with aws.embedded_aws(tmp_path) as running:
        s3 = client("s3", running)
        s3.create_bucket(Bucket="landing")
        s3.put_object(Bucket="landing", Key="a", Body=b"1")
        os.kill(running.pid, signal.SIGKILL)
    with aws.embedded_aws(tmp_path) as running:
        s3 = client("s3", running)
        assert s3.get_object(Bucket="landing", Key="a")["Body"].read() == b"1"


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        expected = f"port {port} on 127.0.0.1 cannot be used .*in use.*: set AWS_PORT"
        with pytest.raises(aws.SetupError, match=expected), aws.embedded_aws(tmp_path, port):
            pass


def test_aws_port_chooses_the_port(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_PORT", str(port))
    with aws.embedded_aws(tmp_path) as running:
        assert running.endpoint_url == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("port", ["http", "-1", "65536"])
def test_an_aws_port_that_is_none_is_named(tmp_path, monkeypatch, port):
    monkeypatch.setenv("AWS_PORT", port)
    with pytest.raises(aws.SetupError, match=f"AWS_PORT is '{port}'"), aws.embedded_aws(tmp_path):
        pass


def test_a_directory_serves_one_at_a_time(tmp_path):
    with (
        aws.embedded_aws(tmp_path),
        pytest.raises(aws.SetupError, match=f"another embedded AWS is using {tmp_path}"),
        aws.embedded_aws(tmp_path),
    ):
        pass


def test_before_setup_it_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(aws, "PYTHON", tmp_path / "bin" / "python")
    with pytest.raises(aws.SetupError, match="run `make setup`"), aws.embedded_aws(tmp_path):
        pass


def test_death_at_start_is_reported_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(aws, "SERVER", "print('first'); raise SystemExit('no space left')")
    with (
        pytest.raises(aws.SetupError, match="died at start: no space left") as failure,
        aws.embedded_aws(tmp_path),
    ):
        pass
    assert "\n" not in str(failure.value)


def test_it_does_not_outlive_a_killed_parent(tmp_path):
    code = (
        "import sys; from pathlib import Path; from demo.aws import embedded_aws\n"
        "with embedded_aws(Path(sys.argv[1])) as running:\n"
        "    print(running.endpoint_url, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        port = int(parent.stdout.readline().rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            parent.kill()
            assert connection.recv(1) == b""  # the server hung up: it ended
