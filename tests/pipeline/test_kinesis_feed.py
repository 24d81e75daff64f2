"""kinesis → bronze: every record once, in its table or in quarantine, whatever happens."""

from __future__ import annotations

import gzip
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
from pyspark.sql import Row
from tiny_project import PROJECT_ROOT, TinyProject, project_with_our_macros

from loaders import bronze
from loaders.bronze import BatchReport
from loaders.feeds import KinesisFeed
from loaders.kinds import StreamRecords
from loaders.replay import replay
from loaders.run import run_once

Pair = tuple[str, bytes]

SHARDS = ("shardId-000000000000", "shardId-000000000001")
BROKEN = {b'{"n":': "invalid_json", b"\xff\xfe": "invalid_utf8", b"{}{}": "invalid_json"}
# What a subscription of CloudWatch Logs sends: messages, and what probes the destination.
MESSAGES = ["plain text é", '{"a": 1}']
SENT_BY_CLOUDWATCH: list[dict[str, Any]] = [
    {
        "messageType": kind,
        "owner": "111122223333",
        "logGroup": "example",
        "logStream": "example/1",
        "subscriptionFilters": ["all"],
        "logEvents": [
            {"id": str(number), "timestamp": 1_767_225_600_000, "message": message}
            for number, message in enumerate(messages)
        ],
    }
    for kind, messages in (("DATA_MESSAGE", MESSAGES), ("CONTROL_MESSAGE", ["CWL CONTROL"]))
]


class Events:
    """A stream of two shards, the feed that loads it, and what was put."""

    def __init__(self, spark: Any) -> None:
        self.spark = spark
        self.stream = f"events-{uuid.uuid4().hex[:8]}"
        self.feed = KinesisFeed(
            name="events",
            stream=self.stream,
            table="events",
            description="events",
            max_records_per_trigger=90,
        )
        self.kept: list[Pair] = []
        self.boto = boto3.client("kinesis")
        self.boto.create_stream(StreamName=self.stream, ShardCount=2)

    def put(self, number: int) -> None:
        """Good records, each with an end of its own that must be kept."""
        start = len(self.kept)
        pairs = [
            (f"key-{n % 7}", json.dumps({"n": n, "é": "ü"}).encode() + b"\r\n"[: n % 3])
            for n in range(start, start + number)
        ]
        # Some are compressed, as CloudWatch Logs does it.
        packed = [(key, gzip.compress(data)) if "-3" in key else (key, data) for key, data in pairs]
        self._put(packed)
        self.kept += pairs

    def put_logs(self) -> None:
        pairs = [("logs", json.dumps(envelope).encode()) for envelope in SENT_BY_CLOUDWATCH]
        self._put([(key, gzip.compress(data)) for key, data in pairs])
        self.kept += pairs

    def put_broken(self) -> None:
        self._put([(f"key-{n}", payload) for n, payload in enumerate(BROKEN)])

    def _put(self, pairs: list[Pair]) -> None:
        records = [{"PartitionKey": key, "Data": data} for key, data in pairs]
        answer = self.boto.put_records(StreamName=self.stream, Records=records)
        assert answer["FailedRecordCount"] == 0

    def load(self) -> list[BatchReport]:
        reports: list[BatchReport] = []
        assert run_once(self.spark, [self.feed], reports.append) == {}
        return reports

    def in_bronze(self) -> list[Pair]:
        rows = self.spark.sql("select _partition_key, data from bronze.events").collect()
        return sorted((row[0], row[1].encode()) for row in rows)

    def in_quarantine(self) -> dict[bytes, str]:
        rows = self.spark.sql("select raw, reason from bronze.quarantine").collect()
        assert len({bytes(row[0]) for row in rows}) == len(rows)
        return {bytes(row[0]): row[1] for row in rows}

    def rows(self, query: str) -> list[tuple]:
        return [tuple(row) for row in self.spark.sql(query).collect()]


def sql_of_the_page(title: str) -> str:
    """The statement that stands below a title in docs/ingestion.md."""
    page = (PROJECT_ROOT / "docs" / "ingestion.md").read_text()
    return page.partition(f"**{title}.**")[2].partition("```sql")[2].partition("```")[0]


@pytest.fixture
def events(spark: Any, lakehouse: Path) -> Events:
    return Events(spark)


def test_every_record_is_loaded_once_and_a_lost_checkpoint_repeats_nothing(
    events: Events, lakehouse: Path
) -> None:
    events.put(98)
    events.put_logs()
    events.put_broken()
    reports = events.load()
    assert [report.batch_id for report in reports] == list(range(len(reports)))
    assert len(reports) > 1
    assert events.in_bronze() == sorted(events.kept)
    assert events.in_quarantine() == BROKEN
    messages = events.rows(sql_of_the_page("CloudWatch Logs"))
    assert sorted(row[-1] for row in messages) == sorted(MESSAGES)

    shutil.rmtree(lakehouse / "checkpoints")
    events.put(40)
    again = events.load()
    assert again[0].batch_id == len(reports)
    assert sum(report.duplicates for report in again) == 100 + len(BROKEN)
    assert sum(report.kept for report in again) == 40
    assert events.in_bronze() == sorted(events.kept)
    assert events.in_quarantine() == BROKEN

    provenance = "_stream, _shard, _sequence, _subsequence"
    assert events.rows(f"select count(distinct {provenance}) from bronze.events") == [(140,)]
    assert events.rows("select * from bronze.events where _arrived_at is null") == []
    unbalanced = "select * from bronze.ledger where received <> kept + duplicates + quarantined"
    assert events.rows(unbalanced) == []
    in_ledger = events.rows(
        "select batch_id, item, received, first_position, last_position from bronze.ledger"
        " where received > 0 and duplicates = 0"
    )
    in_tables = events.rows(
        "select batch, shard, count(*), min(position), max(position) from ("
        " select _batch_id as batch, _shard as shard, lpad(_sequence, 56, '0') as position"
        " from bronze.events union all"
        " select batch_id, item, lpad(version, 56, '0') from bronze.quarantine"
        ") group by batch, shard"
    )
    assert {row[1] for row in in_ledger} == set(SHARDS)
    assert set(in_ledger) <= set(in_tables)

    # What was in quarantine comes out with all that its record had.
    place = "container, item, version, ordinal, partition_key, modified_at"
    (known,) = events.rows(f"select {place} from bronze.quarantine where raw = '{{\"n\":'")
    mended = '{"n": 0}'
    events.rows(f"update bronze.quarantine set raw = '{mended}' where raw = '{{\"n\":'")
    assert replay(events.spark, events.feed).kept == 1
    named = "_stream, _shard, _sequence, _subsequence, _partition_key, _arrived_at"
    assert events.rows(f"select {named} from bronze.events where data = '{mended}'") == [known]
    assert known[4] == "key-0"
    assert events.in_quarantine() == {raw: why for raw, why in BROKEN.items() if raw != b'{"n":'}


class Crash(Exception):
    """Stands for the end of the process at a named step."""


def test_a_batch_cut_short_is_completed_by_its_replay(
    events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = bronze.append

    def crashing(rows: Any, name: str, **options: Any) -> None:
        if name == bronze.LEDGER:
            raise Crash
        append(rows, name, **options)

    events.put(50)
    events.put_broken()
    monkeypatch.setattr(bronze, "append", crashing)
    assert run_once(events.spark, [events.feed], print) != {}
    assert events.rows("select * from bronze.ledger") == []
    monkeypatch.undo()

    events.put(20)
    events.load()
    assert events.in_bronze() == sorted(events.kept)
    assert events.in_quarantine() == BROKEN
    assert events.rows("select sum(received), sum(duplicates) from bronze.ledger") == [(73, 0)]


# ---- dbt on a stream's bronze table: this project's macros, data tests and models/ops

SOURCE = """
version: 2
sources:
  - name: bronze_events
    schema: bronze
    tables:
      - name: events
        config:
          meta: {grain: [_stream, _shard, _sequence, _subsequence], clustered_by: [_batch_id]}
        columns:
"""


@pytest.fixture
def project(tmp_path: Path) -> TinyProject:
    resources = tmp_path / "resources"
    of_feeds = shutil.ignore_patterns("ml")
    shutil.copytree(PROJECT_ROOT / "models" / "ops", resources / "models" / "ops", ignore=of_feeds)
    shutil.copytree(PROJECT_ROOT / "tests" / "data", resources / "tests" / "data")
    bronze_models = resources / "models" / "bronze"
    bronze_models.mkdir()
    shutil.copy(PROJECT_ROOT / "models" / "bronze" / "_sources_loaders.yml", bronze_models)
    declared = (column.split() for column in StreamRecords().columns.split(","))
    columns = "".join(
        f"          - {{name: {name}, data_type: {kind}}}\n" for name, kind in declared
    )
    (bronze_models / "_sources_events.yml").write_text(SOURCE + columns)
    return project_with_our_macros(tmp_path / "project", resources)


def test_the_books_of_a_stream_are_proved_by_dbt_and_each_violation_is_found(
    events: Events, project: TinyProject
) -> None:
    # makes the tables that are missing, and runs the unit tests
    built = project.dbt("build", "--exclude-resource-type", "test")
    assert built.success, (built.error, built.status, built.message)

    events.put_broken()
    events.put(100)
    batches = len(events.load())
    sound = project.dbt("test", "--exclude-resource-type", "unit_test")
    assert sound.success, (sound.error, sound.status)
    assert events.rows("select * from ops.ingestion_gaps") == [("events", 0, 0, 0, 0)]
    (fresh,) = events.rows(
        "select last_batch_id, day_records, day_max_waited_seconds >= 0 from ops.freshness"
    )
    assert fresh == (batches - 1, 103, True)

    events.spark.sql("delete from bronze.ledger where batch_id = 0")
    events.spark.sql("insert into bronze.events select * from bronze.events limit 1")
    violated = project.dbt("test", "--exclude-resource-type", "unit_test")
    failed = {name for name, status in violated.status.items() if status == "fail"}
    assert failed == {
        "bronze_provenance_is_unique",
        "bronze_rows_equal_ledger",
        "quarantine_rows_equal_ledger",
        "expression_is_true_ingestion_gaps_gaps___0",
    }


def test_only_ranges_that_a_batch_touches_are_looked_up(spark: Any) -> None:
    def row(shard: str, first: int, last: int) -> Row:
        return Row(
            container="events",
            item=shard,
            first_position=f"{first:056}",
            last_position=f"{last:056}",
        )

    ranges = [row("a", n, n + 9) for n in range(0, 100, 10)] + [row("b", 0, 99)]
    ledger = spark.createDataFrame(ranges)
    batch = [row("a", 35, 50), row("c", 0, 99)]
    found = StreamRecords().known(ledger, batch)
    assert sorted(found) == sorted([row("a", 30, 39), row("a", 40, 49), row("a", 50, 59)])
