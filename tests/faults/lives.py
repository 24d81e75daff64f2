"""What is sent to a loader that is killed again and again, and its processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import yaml
from deltalake import DeltaTable

FOLDER = Path(__file__).parent
PROJECT_ROOT = FOLDER.parent.parent
START_TIMEOUT_S = 180
LOAD_TIMEOUT_S = 300

# Where a record is and what it holds: (feed, object or empty for a stream, ordinal, bytes).
Place = tuple[str, str, int, bytes]


LISTED, ANNOUNCED, EVENTS = FEEDS = ("listed", "announced", "events")
# Of the announced feed: two types of event that loader_process.py knows, and one unknown to it.
GAME_TABLES = ("game_app_install", "game_player_registered", "game_unknown")


class Kill(NamedTuple):
    """The n-th time that a loader of some feed comes to a step."""

    feed: str
    step: str
    number: int


class Sender:
    """A bucket of which one prefix is listed and one announced to a queue, and a stream.

    Remembers what must stand in bronze and in quarantine in the end.
    """

    def __init__(self, root: Path, kinesis_url: str) -> None:
        self.root = root
        self.kinesis_url = kinesis_url
        self.name = f"faults-{uuid.uuid4().hex[:8]}"
        self.kept: Counter[Place] = Counter()
        self.quarantined: Counter[Place] = Counter()
        self.listed: dict[str, bytes] = {}
        self._awaited: dict[str, bytes] = {}  # announced, and not there yet
        self._sent = 0
        self._types = cycle(table.removeprefix("game_") for table in GAME_TABLES)
        self._s3, self._sqs = boto3.client("s3"), boto3.client("sqs")
        self._kinesis = boto3.client("kinesis", endpoint_url=kinesis_url)
        self._create()

    def _create(self) -> None:
        self._s3.create_bucket(Bucket=self.name)
        self.queue_url = self._sqs.create_queue(QueueName=self.name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["QueueArn"])
        prefix = {"Name": "prefix", "Value": "announced/"}
        self._s3.put_bucket_notification_configuration(
            Bucket=self.name,
            NotificationConfiguration={
                "QueueConfigurations": [
                    {
                        "QueueArn": arn["Attributes"]["QueueArn"],
                        "Events": ["s3:ObjectCreated:*"],
                        "Filter": {"Key": {"FilterRules": [prefix]}},
                    }
                ]
            },
        )
        self._kinesis.create_stream(StreamName=self.name, ShardCount=2)
        self._kinesis.get_waiter("stream_exists").wait(
            StreamName=self.name, WaiterConfig={"Delay": 1}
        )

    def write_feeds(self, *, in_small_batches: bool) -> Path:
        """The feeds file of the loaders; in small batches most steps come more than once."""
        described = {"description": "what the test sends"}
        feeds = {
            "listed": {"source": "cloudFiles", "location": f"s3://{self.name}/listed/"},
            "announced": {"source": "s3-sqs", "queue_url": self.queue_url},
            "events": {"source": "kinesis", "stream": self.name},
        }
        feeds["listed"] |= {
            "clean_source": "MOVE",
            "clean_source_retention": "0 seconds",
            "clean_source_destination": f"s3://{self.name}/archive/",
        }
        if in_small_batches:
            feeds["listed"]["max_files_per_trigger"] = 2
            feeds["announced"]["max_files_per_trigger"] = 2
            feeds["events"]["max_records_per_trigger"] = 3
        tables = {name: {"table": name} for name in feeds}
        tables["announced"] = {"table": "game_unknown", "table_per": "game_event"}
        entries = {name: {**feed, **described, **tables[name]} for name, feed in feeds.items()}
        path = self.root / "feeds.yml"
        path.write_text(yaml.safe_dump({"feeds": entries}))
        return path

    def send(self) -> None:
        """Something for every feed, with broken records, a repeated and an unreadable message."""
        self._put("listed", [self._record(), b'{"broken":', self._record()])
        self._put("listed", [self._record()])
        key = self._put("announced", [self._event(), self._event(), b"\xff\xfe"])
        self._put("announced", [self._event()])
        self._announce_again(key)
        self._announce_ahead([self._event(), b'{"broken":', self._event()])
        unreadable = f"no notification, {self._number()}"
        message = self._sqs.send_message(QueueUrl=self.queue_url, MessageBody=unreadable)
        self.quarantined["announced", message["MessageId"], 0, unreadable.encode()] += 1
        self._put_records([self._record() for _ in range(6)], [f"no JSON {self._number()}"])

    def _number(self) -> int:
        self._sent += 1
        return self._sent

    def _record(self) -> bytes:
        number = self._number()
        # Spaces and digits that a parser would not give back.
        return f'{{"n":  {number}, "x": 1.{number % 10}0}}'.encode()

    def _event(self) -> bytes:
        """Of another type than the one before."""
        event = f', "event_type": "{next(self._types)}", "event_version": 1}}'
        return self._record().removesuffix(b"}") + event.encode()

    def _put(self, feed: str, records: list[bytes]) -> str:
        key, body = self._expect(feed, records)
        self._s3.put_object(Bucket=self.name, Key=key, Body=body)
        if feed == "listed":
            self.listed[key.removeprefix("listed/")] = body
        return key

    def _expect(self, feed: str, records: list[bytes]) -> tuple[str, bytes]:
        """A key for an object of these records, and its bytes."""
        key = f"{feed}/{self._number()}.json"
        for ordinal, record in enumerate(records):
            is_good = record.startswith(b'{"n"')
            (self.kept if is_good else self.quarantined)[feed, key, ordinal, record] += 1
        return key, b"\n".join(records)

    def _announce_ahead(self, records: list[bytes]) -> None:
        """An object that is not there until it is brought back: quarantine, and then a replay."""
        key, body = self._expect("announced", records)
        self._awaited[key] = body
        self._announce(key, hashlib.md5(body, usedforsecurity=False).hexdigest())

    def bring_back(self) -> None:
        """Put the objects that were announced and are not there."""
        while self._awaited:
            key, body = self._awaited.popitem()
            self._s3.put_object(Bucket=self.name, Key=key, Body=body)

    def _announce_again(self, key: str) -> None:
        found = self._s3.head_object(Bucket=self.name, Key=key)
        self._announce(key, found["ETag"].strip('"'))

    def _announce(self, key: str, etag: str) -> None:
        record = {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-01-01T00:00:00.000Z",
            "s3": {"bucket": {"name": self.name}, "object": {"key": key, "eTag": etag}},
        }
        body = json.dumps({"Records": [record]})
        self._sqs.send_message(QueueUrl=self.queue_url, MessageBody=body)

    def _put_records(self, good: list[bytes], bad: list[str]) -> None:
        payloads = [*good, *(text.encode() for text in bad)]
        answer = self._kinesis.put_records(
            StreamName=self.name,
            Records=[
                {"PartitionKey": str(number), "Data": data} for number, data in enumerate(payloads)
            ],
        )
        assert answer["FailedRecordCount"] == 0
        self.kept.update(("events", "", 0, data) for data in good)
        self.quarantined.update(("events", "", 0, text.encode()) for text in bad)

    def messages_left(self) -> int:
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self.queue_url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return sum(map(int, attributes.values()))

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Bytes of what lies under a prefix, by what follows that."""
        pages = self._s3.get_paginator("list_objects_v2")
        keys = [
            item["Key"]
            for page in pages.paginate(Bucket=self.name, Prefix=prefix)
            for item in page.get("Contents", ())
        ]
        return {
            key.removeprefix(prefix): self._s3.get_object(Bucket=self.name, Key=key)["Body"].read()
            for key in keys
        }

    # What the tables have of it.

    def in_bronze(self) -> Counter[Place]:
        found: Counter[Place] = Counter()
        of_objects = [("listed", "listed"), *(("announced", table) for table in GAME_TABLES)]
        for feed, table in of_objects:
            for row in self._rows(table):
                found[feed, row["_key"], row["_ordinal"], row["data"].encode()] += 1
        for row in self._rows("events"):
            found["events", "", 0, row["data"].encode()] += 1
        return found

    def in_quarantine(self) -> Counter[Place]:
        found: Counter[Place] = Counter()
        for row in self._rows("quarantine"):
            is_object = row["feed"] != "events"
            place = (row["item"], row["ordinal"]) if is_object else ("", 0)
            found[row["feed"], *place, row["raw"]] += 1
        return found

    def ledger(self) -> list[dict[str, Any]]:
        return self._rows("ledger")

    def _rows(self, table: str) -> list[dict[str, Any]]:
        return (
            DeltaTable(self.root / "warehouse" / "bronze.db" / table).to_pyarrow_table().to_pylist()
        )


class Life:
    """One process of the loader; Spark starts at once, loading when told.

    One that is to be killed loads the one feed, others load all. Those that are to be killed in a
    replay, and others, replay the quarantine of the announced feed too.
    """

    def __init__(self, sender: Sender, feeds: Path, kill: Kill | None) -> None:
        self.kill = kill
        self._log = sender.root / f"life-{uuid.uuid4().hex[:8]}.log"
        python_path = f"{FOLDER / 'inject'}{os.pathsep}{PROJECT_ROOT}"
        environment = {
            **os.environ,
            "LAKEHOUSE_ROOT": str(sender.root),
            "PYSPARK_PYTHON": sys.executable,
            "PYTHONPATH": python_path,
            "AWS_ENDPOINT_URL_KINESIS": sender.kinesis_url,
            "KILL_AT": f"{kill.step} {kill.number}" if kill else "never 1",
        }
        names = [kill.feed] if kill else FEEDS
        self._replays = kill is None or kill.step.startswith("replay")
        if self._replays:
            environment["REPLAY"] = ANNOUNCED
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, FOLDER / "loader_process.py", feeds, *names],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def load(self, before_replay: Callable[[], None]) -> bool:
        """Load until killed or done; returns whether it was killed.

        Args:
            before_replay: what is to be done between loading and a replay.

        Raises:
            AssertionError: it ended by something else; with the end of its log.
        """
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", self._last_words()
        if self._replays:
            self._tell("go")
            if self._process.stdout.readline() == b"loaded\n":
                before_replay()
        self._process.communicate(b"go\n", timeout=LOAD_TIMEOUT_S)
        code = self._process.returncode
        assert code in (0, -signal.SIGKILL), f"{self.kill}: exit {code}: {self._last_words()}"
        return code != 0

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()

    def end(self) -> None:
        """Kill it if it still is there, its JVM too."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self._process.wait(timeout=START_TIMEOUT_S)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


@contextmanager
def lives(sender: Sender, plan: list[Kill | None]) -> Iterator[Iterator[Life]]:
    """A process for each entry of the plan; the next one starts while one loads."""
    feeds = sender.write_feeds(in_small_batches=any(kill and kill.number > 1 for kill in plan))
    started: list[Life] = []

    def one_ahead() -> Iterator[Life]:
        for kill in plan:
            started.append(Life(sender, feeds, kill))
            if len(started) > 1:
                yield started[-2]
        yield started[-1]

    try:
        yield one_ahead()
    finally:
        for life in started:
            life.end()
