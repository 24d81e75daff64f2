"""Messages that come again, that nobody can finish, and objects that nobody may read."""

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from pyspark.sql.streaming.datasource import ReadAllAvailable
from pyspark.sql.types import StringType, StructField, StructType

from loaders.sources import discovery
from loaders.sources.cloud_files import CloudFiles
from loaders.sources.discovery import Notifications
from loaders.sources.object_state import ObjectState
from loaders.sources.object_stream import ObjectStreamReader, StreamSettings
from loaders.sources.objects import (
    MESSAGE,
    OBJECT,
    OVERWRITE,
    ObjectGone,
    ObjectVersion,
    read_object,
)
from loaders.sources.row_formats import RecordRows
from loaders.sources.s3_sqs import S3Sqs

MAX_RECEIVES = 3


class Queue:
    """A queue that hands a message out three times, and what a loader does with it."""

    def __init__(self, folder: Path) -> None:
        name = f"q{uuid.uuid4().hex[:8]}"
        self.sqs = boto3.client("sqs")
        self.dead = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])
        redrive = {
            "deadLetterTargetArn": arn["Attributes"]["QueueArn"],
            "maxReceiveCount": MAX_RECEIVES,
        }
        self.url = self.sqs.create_queue(
            QueueName=name, Attributes={"RedrivePolicy": json.dumps(redrive)}
        )["QueueUrl"]
        self.path = folder / "state.sqlite"

    def announce(self, key: str, bucket: str = "b", **changes: str) -> None:
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": bucket},
                "object": {"key": key, "eTag": "e", "size": 1, **changes},
            },
        }
        self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps({"Records": [record]}))

    def a_loader(self) -> tuple[Notifications, ObjectState]:
        """A loader that has just been started."""
        return Notifications(self.url, (), False, wait_seconds=0), ObjectState(self.path)

    def receive(self) -> tuple[Notifications, ObjectState]:
        loader, state = self.a_loader()
        loader.discover(state, run_once=False)
        loader.stop()
        return loader, state


@pytest.fixture
def queue(aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    return Queue(tmp_path)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is received can be received again at once, as after a crash and five minutes."""
    monkeypatch.setattr(discovery, "VISIBILITY_SECONDS", 0)
    monkeypatch.setattr(Notifications, "_start_heartbeat", lambda self: None)


def test_the_first_batch_replayed_by_a_new_process_has_the_bodies_of_its_messages(
    queue: Queue, soon: None, tmp_path: Path
) -> None:
    def reader() -> ObjectStreamReader:
        settings = StreamSettings((), tmp_path / "objects", None, None)
        return ObjectStreamReader(
            settings, lambda: Notifications(queue.url, (), False, wait_seconds=0), RecordRows()
        )

    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="no notification")
    first = reader()
    end = first.latestOffset(first.initialOffset(), ReadAllAvailable())
    first.stop()

    second = reader()
    # Spark has logged where the batch ends, and asks anew where it begins.
    (partition,) = second.partitions(second.initialOffset(), end)
    assert list(partition.bodies.values()) == [b"no notification"]
    assert second.latestOffset(end, ReadAllAvailable()) == end
    second.stop()
    assert [path.stem for path in (tmp_path / "objects").glob("*.sqlite")] == [end["id"]]


def test_a_good_message_outlives_restarts_and_is_deleted_in_the_end(
    queue: Queue, soon: None
) -> None:
    queue.announce("a.json")
    for _ in range(MAX_RECEIVES - 1):  # dies each time before its batch is in the sink
        queue.receive()
    loader, state = queue.receive()
    assert loader.backlog(state)["mostReceives"] == MAX_RECEIVES
    assert loader.backlog(state)["redeliveredMessages"] == 1
    state.mark_planned(state.waiting(10, None))
    loader.acknowledge(state)
    assert loader.backlog(state) == {
        "queueMessages": 0,
        "queueMessagesInFlight": 0,
        "oldestMessageSentMs": None,
        "deadLetterMessages": 0,
        "redeliveredMessages": 1,
        "mostReceives": MAX_RECEIVES,
        "unreadableMessages": 0,
    }


def test_of_versions_announced_out_of_order_the_one_written_first_is_read(queue: Queue) -> None:
    queue.announce("k", eTag="e2", versionId="2", sequencer="00A1")
    queue.announce("k", eTag="e1", versionId="1", sequencer="009FF")
    _, state = queue.receive()
    found = {(item.version, item.kind) for item in state.waiting(10, None)}
    assert found == {("e1", OBJECT), ("e2", OVERWRITE)}


def test_a_message_that_no_loader_survives_goes_to_the_dead_letters_and_its_object_is_known(
    queue: Queue, soon: None
) -> None:
    queue.announce("a.json")
    for _ in range(MAX_RECEIVES + 1):
        loader, state = queue.receive()
    shown = loader.backlog(state)
    assert (shown["queueMessages"], shown["deadLetterMessages"]) == (0, 1)
    assert [item.key for item in state.waiting(10, None)] == ["a.json"]


def test_a_message_that_cannot_be_read_is_counted_and_received_once(queue: Queue) -> None:
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="not json")
    loader, state = queue.receive()
    state.mark_planned(state.waiting(10, None))
    loader.acknowledge(state)
    shown = loader.backlog(state)
    assert (shown["unreadableMessages"], shown["redeliveredMessages"]) == (1, 0)
    assert (shown["queueMessages"], shown["queueMessagesInFlight"]) == (0, 0)


@pytest.mark.parametrize("source", ["s3-sqs", "cloudFiles"])
def test_a_message_that_the_schema_has_no_place_for_goes_to_the_dead_letters(
    queue: Queue, bucket: str, soon: None, tmp_path: Path, source: str
) -> None:
    queue.announce("a.json", bucket=bucket)
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="not json")

    def reader(columns: list[str]) -> ObjectStreamReader:
        state = str(tmp_path / "-".join(columns))
        if source == "s3-sqs":
            made = S3Sqs({"fileFormat": "json", "queueUrl": queue.url, "stateLocation": state})
        else:
            options = {"useNotifications": "true", "queueUrl": queue.url, "schemaLocation": state}
            named = {f"cloudFiles.{name}": value for name, value in options.items()}
            made = CloudFiles({"path": f"s3://{bucket}/", "cloudFiles.format": "json", **named})
        return made.streamReader(StructType([StructField(name, StringType()) for name in columns]))

    run = reader(["n"])
    start = run.initialOffset()
    end = run.latestOffset(start, ReadAllAvailable())
    assert [item[1] for item in end["files"]] == ["a.json"]
    for _ in range(MAX_RECEIVES):
        assert run.latestOffset(end, ReadAllAvailable()) == end
    shown = run.reportLatestOffset()
    names = ("queueMessages", "queueMessagesInFlight", "deadLetterMessages", "unreadableMessages")
    assert [shown[name] for name in names] == [0, 0, 1, 1]
    run.stop()

    (dead,) = queue.sqs.receive_message(QueueUrl=queue.dead, MaxNumberOfMessages=10)["Messages"]
    assert dead["Body"] == "not json"
    queue.sqs.send_message(QueueUrl=queue.url, MessageBody="not json")
    keeping = reader(["n", "_rescued_data"])
    end = keeping.latestOffset(keeping.initialOffset(), ReadAllAvailable())
    assert [ObjectVersion(*item).kind for item in end["files"]] == [MESSAGE]
    keeping.stop()


def test_a_queue_without_a_dead_letter_queue_shows_none(queue: Queue) -> None:
    _, state = queue.a_loader()
    plain = queue.sqs.create_queue(QueueName=f"p{uuid.uuid4().hex[:8]}")["QueueUrl"]
    assert Notifications(plain, (), False).backlog(state)["deadLetterMessages"] is None


# ---- run-once queries: all that was there at the first look, and an end


class Wrapped:
    """The queue's server, but for what a test changes of its answers."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sqs, name)


class Busy(Wrapped):
    """Whenever somebody receives, another message is there, sent an hour after that."""

    def __init__(self, queue: Queue) -> None:
        super().__init__(queue.sqs)
        self._queue = queue
        self.sent = 0

    def receive_message(self, **request: Any) -> dict[str, Any]:
        self._queue.announce(f"later-{self.sent}")
        self.sent += 1
        answer = self._sqs.receive_message(**request)
        for message in answer.get("Messages", ()):
            if "later-" in message["Body"]:
                sent_ms = int(message["Attributes"]["SentTimestamp"]) + 3_600_000
                message["Attributes"]["SentTimestamp"] = str(sent_ms)
        return answer


def test_a_run_once_query_reads_what_stands_behind_later_messages_and_leaves_those(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {f"before-{number}" for number in range(60)}  # more than one look takes
    for number, key in enumerate(sorted(before)):
        queue.announce(key)
        queue.announce(f"later-too-{number}")
    busy = Busy(queue)
    monkeypatch.setattr(discovery, "client", lambda *_: busy)
    loader, state = queue.a_loader()
    loader.discover(state, run_once=True)
    assert {item.key for item in state.waiting(100, None)} == before
    assert loader.backlog(state)["queueMessages"] == len(before) + busy.sent  # visible again
    loader.stop()


def test_no_message_is_too_late_for_a_clock_that_is_slow(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.announce("a.json")
    monkeypatch.setattr(discovery, "_now_ms", lambda: 0)
    loader, state = queue.a_loader()
    loader.discover(state, run_once=True)
    assert [item.key for item in state.waiting(10, None)] == ["a.json"]
    loader.stop()


class Limited(Wrapped):
    """A server that hands out no more than three messages, as SQS no more than 120,000."""

    def receive_message(self, **request: Any) -> dict[str, Any]:
        name = "ApproximateNumberOfMessagesNotVisible"
        shown = self._sqs.get_queue_attributes(QueueUrl=request["QueueUrl"], AttributeNames=[name])
        left = 3 - int(shown["Attributes"][name])
        if left == 0:
            return {"ResponseMetadata": shown["ResponseMetadata"]}
        return self._sqs.receive_message(**request | {"MaxNumberOfMessages": left})


def test_a_run_once_query_goes_on_with_what_sqs_kept_back_while_too_many_were_in_flight(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {f"{number}.json" for number in range(10)}
    for name in names:
        queue.announce(name)
    limited = Limited(queue.sqs)
    monkeypatch.setattr(discovery, "client", lambda *_: limited)
    settings = StreamSettings((), tmp_path / "objects", None, None)
    run = ObjectStreamReader(
        settings, lambda: Notifications(queue.url, (), False, wait_seconds=0), RecordRows()
    )
    run.prepareForTriggerAvailableNow()
    found: list[str] = []
    start = run.initialOffset()
    while (end := run.latestOffset(start, ReadAllAvailable())) != start:
        found += [item[1] for item in end["files"]]
        start = end
    run.stop()
    assert sorted(found) == sorted(names)


# ---- receiving


class Watched(Wrapped):
    """Notes what each call asks for, and how many of them are waited for at once."""

    def __init__(self, sqs: Any) -> None:
        super().__init__(sqs)
        self.asked: list[dict[str, Any]] = []
        self.deleted: list[int] = []
        self._waiting = threading.Barrier(discovery._RECEIVERS)

    def receive_message(self, **request: Any) -> dict[str, Any]:
        self.asked.append(request)
        if len(self.asked) > 1:  # the first one alone shows that there are many
            self._waiting.wait(30)
        return self._sqs.receive_message(**request)

    def delete_message_batch(self, **request: Any) -> dict[str, Any]:
        self.deleted.append(len(request["Entries"]))
        return self._sqs.delete_message_batch(**request)


def test_a_full_queue_is_received_by_tens_and_by_several_at_once_that_wait_for_messages(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        queue.announce(f"{number}.json")
    watched = Watched(queue.sqs)
    monkeypatch.setattr(discovery, "client", lambda *_: watched)
    loader = Notifications(queue.url, (), False)
    state = ObjectState(queue.path)
    loader.discover(state, run_once=False)
    loader.stop()
    assert {each["MaxNumberOfMessages"] for each in watched.asked} == {10}
    assert {each["WaitTimeSeconds"] for each in watched.asked} == {loader.wait_seconds}
    assert loader.wait_seconds > 0
    planned = state.waiting(100, None)
    assert {item.key for item in planned} == {f"{number}.json" for number in range(50)}
    state.mark_planned(planned)
    loader.acknowledge(state)
    assert watched.deleted == [10] * 5


# ---- deleting


class Undeleting(Wrapped):
    """A server that fails to delete the second message of a call, so many times."""

    def __init__(self, sqs: Any, failures: int) -> None:
        super().__init__(sqs)
        self.failures = failures

    def delete_message_batch(self, **request: Any) -> dict[str, Any]:
        entries = request["Entries"]
        if self.failures == 0:
            return self._sqs.delete_message_batch(**request)
        self.failures -= 1
        failing = entries.pop(1 % len(entries))
        answer = self._sqs.delete_message_batch(**request) if entries else {}
        error = {"Id": failing["Id"], "SenderFault": False, "Code": "InternalError"}
        return answer | {"Failed": [error]}


@pytest.mark.parametrize(("failures", "left"), [(1, 0), (3, 1)])
def test_a_message_that_sqs_fails_to_delete_is_deleted_later(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, failures: int, left: int
) -> None:
    for number in range(3):
        queue.announce(f"{number}.json")
    undeleting = Undeleting(queue.sqs, failures)
    monkeypatch.setattr(discovery, "client", lambda *_: undeleting)
    loader, state = queue.receive()
    state.mark_planned(state.waiting(10, None))
    loader.acknowledge(state)
    shown = loader.backlog(state)["queueMessagesInFlight"], len(state.finished_messages())
    assert shown == (left, left)
    loader.acknowledge(state)
    assert loader.backlog(state)["queueMessagesInFlight"] == 0
    assert state.finished_messages() == []


def test_a_message_whose_receipt_has_gone_stale_comes_again_and_is_deleted_then(
    queue: Queue, soon: None
) -> None:
    queue.announce("a.json")
    loader, state = queue.receive()
    queue.receive()  # another one has it now
    state.mark_planned(state.waiting(10, None))
    loader.acknowledge(state)
    assert state.finished_messages() == []
    assert loader.backlog(state)["queueMessages"] == 1
    loader.discover(state, run_once=False)
    assert state.waiting(10, None) == []
    loader.acknowledge(state)
    assert loader.backlog(state)["queueMessages"] == 0


class Beats(threading.Event):
    """A heartbeat's pauses without their time; after so many it is told to stop."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count

    def wait(self, timeout: float | None = None) -> bool:
        self._left -= 1
        return self._left < 0


class Faulty(Wrapped):
    """Of the visibility calls the first fails, then some receipts."""

    def __init__(self, sqs: Any) -> None:
        super().__init__(sqs)
        self.extended: list[int] = []

    def change_message_visibility_batch(self, **request: Any) -> dict[str, Any]:
        self.extended.append(len(request["Entries"]))
        if len(self.extended) == 1:
            error = {"Error": {"Code": "ServiceUnavailable", "Message": "later"}}
            raise ClientError(error, "ChangeMessageVisibilityBatch")
        answer = self._sqs.change_message_visibility_batch(**request)
        if len(self.extended) == 2:
            stale = {"Id": "0", "SenderFault": True, "Code": "ReceiptHandleIsInvalid"}
            later = {"Id": "1", "SenderFault": False, "Code": "InternalError"}
            return answer | {"Failed": [stale, later]}
        return answer


def test_the_heartbeat_outlives_errors_and_lets_go_of_stale_receipts(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        queue.announce(f"{number}.json")
    faulty = Faulty(queue.sqs)
    monkeypatch.setattr(discovery, "client", lambda *_: faulty)
    monkeypatch.setattr(Notifications, "_start_heartbeat", lambda self: None)
    loader, _ = queue.receive()
    loader._stopped = Beats(4)
    loader._extend_visibility()
    assert faulty.extended == [3, 3, 2, 2]


def test_nobody_else_gets_a_message_while_its_batch_runs(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half as long again as it was hidden at first; then its loader goes, and it comes."""
    monkeypatch.setattr(discovery, "VISIBILITY_SECONDS", 6)
    queue.announce("a.json")
    loader, state = queue.a_loader()
    loader.discover(state, run_once=False)

    def received_by_another(within_s: int) -> int:
        answer = queue.sqs.receive_message(QueueUrl=queue.url, WaitTimeSeconds=within_s)
        return len(answer.get("Messages", ()))

    assert received_by_another(within_s=9) == 0
    loader.stop()
    assert received_by_another(within_s=20) == 1


# ---- objects that are announced and cannot be read


@pytest.fixture
def bucket(aws: Any) -> str:
    name = f"b{uuid.uuid4().hex[:10]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name


@pytest.mark.parametrize("which", [0, 1])
def test_an_object_announced_by_its_version_id_alone_is_read_in_that_version(
    queue: Queue, bucket: str, which: int
) -> None:
    s3 = boto3.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    bodies = [b'{"n":1}', b'{"n":2}']
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=body)["VersionId"] for body in bodies]
    queue.announce("k", eTag="", versionId=ids[which], bucket=bucket)
    _, state = queue.receive()
    (item,) = state.waiting(10, None)
    assert b"".join(read_object(item, ())) == bodies[which]
    # By what bronze and quarantine know of it, a replay reads the same.
    assert b"".join(read_object(ObjectVersion(*item[:3], 0, 0), ())) == bodies[which]


def refused(item: ObjectVersion) -> str:
    with pytest.raises(ObjectGone) as gone:
        next(read_object(item, ()))
    return str(gone.value)


def test_an_object_that_is_refused_is_a_reason_and_not_the_end_of_the_feed(bucket: str) -> None:
    s3 = boto3.client("s3")
    etag = s3.put_object(Bucket=bucket, Key="old", Body=b"{}", StorageClass="GLACIER")["ETag"]
    archived = ObjectVersion(bucket, "old", etag.strip('"'), 2, 0)
    assert refused(archived) == "refused:InvalidObjectState"
    assert refused(archived._replace(bucket="no-such-bucket-here")) == "refused:NoSuchBucket"
    assert refused(archived._replace(bucket="no bucket!")) == "refused:InvalidName"


@pytest.mark.parametrize(
    ("status", "code", "ends_the_batch"),
    [
        (403, "AccessDenied", False),
        (400, "KMS.DisabledException", False),
        (403, "ExpiredToken", True),
        (403, "SignatureDoesNotMatch", True),
        (503, "SlowDown", True),
        (500, "InternalError", True),
    ],
)
def test_what_s3_says_of_the_caller_or_of_itself_fails_the_batch(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, ends_the_batch: bool
) -> None:
    class Refusing:
        def get_object(self, **_: Any) -> None:
            answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
            raise ClientError(answer, "GetObject")

    monkeypatch.setattr("loaders.sources.objects.client", lambda *_: Refusing())
    with pytest.raises(ClientError if ends_the_batch else ObjectGone):
        next(read_object(ObjectVersion("b", "k", "e", 1, 0), ()))
