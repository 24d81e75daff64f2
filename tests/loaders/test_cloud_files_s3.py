"""cloudFiles over S3 and SQS, planned without Spark: listing, backfills, clean-up."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql.streaming.datasource import ReadMaxFiles
from pyspark.sql.types import LongType, StructField, StructType

from loaders.sources.cloud_files import CloudFiles
from loaders.sources.object_state import ObjectState
from loaders.sources.object_stream import ObjectStreamReader
from loaders.sources.objects import ObjectGone, ObjectVersion, delete_object
from loaders.sources.schemas import BucketSchemas

SCHEMA = StructType([StructField("n", LongType())])
DAYS_MS = 86_400_000


@pytest.fixture(scope="module")
def s3(aws: Any) -> Any:
    return boto3.client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"landing-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def queue_url(aws: Any) -> Iterator[str]:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName=uuid.uuid4().hex)["QueueUrl"]
    yield url
    sqs.delete_queue(QueueUrl=url)


def reader(path: str, state: Path, **options: str) -> ObjectStreamReader:
    named = {f"cloudFiles.{name}": value for name, value in options.items()}
    return CloudFiles(
        {
            "path": path,
            "cloudFiles.format": "json",
            "cloudFiles.schemaLocation": str(state),
            **named,
        }
    ).streamReader(SCHEMA)


def plan(run: ObjectStreamReader, offset: dict | None = None) -> dict:
    return run.latestOffset(offset or run.initialOffset(), ReadMaxFiles(100))


def keys(offset: dict) -> list[str]:
    return [item[1] for item in offset["files"]]


def test_the_schema_may_be_kept_in_a_bucket(
    s3: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
    s3.put_object(Bucket=bucket, Key="in/a.json", Body=b'{"n":1}')
    options = {
        "path": f"s3://{bucket}/in/",
        "cloudFiles.format": "json",
        "cloudFiles.schemaLocation": f"s3://{bucket}/schemas/in/",
    }
    first = CloudFiles(options).schema()
    s3.delete_object(Bucket=bucket, Key="in/a.json")  # nothing is left to infer it from
    again = CloudFiles(options)
    assert (again.schema(), first.names) == (first, ["n", "_rescued_data"])
    run = again.streamReader(first)
    plan(run)
    # The state, which is written to in place, is not.
    assert list((tmp_path / "checkpoints" / "objects").glob("*.sqlite"))
    kept = s3.list_objects_v2(Bucket=bucket, Prefix="schemas/")["Contents"]
    assert [item["Key"] for item in kept] == ["schemas/in/_schemas/0"]


def test_of_workers_that_add_the_same_version_in_a_bucket_one_succeeds(bucket: str) -> None:
    store = BucketSchemas(bucket, "x/_schemas/", ())
    names = [f"c{n}" for n in range(8)]
    schemas = [StructType([StructField(name, LongType())]) for name in names]
    with ThreadPoolExecutor(len(schemas)) as pool:
        won = list(pool.map(lambda schema: store.add(0, schema), schemas))
    assert sum(won) == 1
    assert store.latest() == (0, schemas[won.index(True)])
    with ThreadPoolExecutor(len(schemas)) as pool:
        list(pool.map(store.evolve, schemas))
    version, grown = store.latest() or (-1, StructType([]))
    assert (version, sorted(grown.names)) == (7, names)


def test_a_listing_with_wildcards_asks_for_the_fixed_prefix_and_takes_what_fits(
    s3: Any, bucket: str, tmp_path: Path
) -> None:
    for key in ("x/1/y-1.json", "x/1/z.json", "x/processing-failed/y-1.json", "other/1/y-1.json"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    run = reader(f"s3://{bucket}/x/*/y-*.json", tmp_path)
    assert keys(plan(run)) == ["x/1/y-1.json"]


def announce(queue_url: str, bucket: str, s3: Any, *names: str) -> None:
    records = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-01-01T00:00:00.000Z",
            "s3": {
                "bucket": {"name": bucket},
                "object": {
                    "key": name,
                    "size": 2,
                    "eTag": s3.head_object(Bucket=bucket, Key=name)["ETag"].strip('"'),
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        }
        for name in names
    ]
    boto3.client("sqs").send_message(
        QueueUrl=queue_url, MessageBody=json.dumps({"Records": records})
    )


def test_with_notifications_the_bucket_is_listed_at_the_first_start_and_at_the_interval(
    s3: Any, bucket: str, queue_url: str, tmp_path: Path
) -> None:
    options = {
        "useNotifications": "true",
        "queueUrl": queue_url,
        "backfillInterval": "1 day",
    }
    s3.put_object(Bucket=bucket, Key="in/before", Body=b"{}")
    run = reader(f"s3://{bucket}/in/", tmp_path, **options)
    one = plan(run)
    assert keys(one) == ["in/before"]

    for name in ("told", "untold"):
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=b"{}")
    announce(queue_url, bucket, s3, "in/told", "in/before")
    two = plan(run, one)
    assert keys(two) == ["in/told"]
    assert plan(run, two) == two
    run.stop()

    state = ObjectState(tmp_path / "objects" / f"{one['id']}.sqlite")
    state.note("listed_ms", state.fact("listed_ms") - DAYS_MS)  # a day goes by
    state.close()
    again = reader(f"s3://{bucket}/in/", tmp_path, **options)
    three = plan(again, two)
    assert keys(three) == ["in/untold"]
    progress = again.reportLatestOffset()
    assert progress["listedMs"] > 0
    assert (progress["foundByListing"], progress["queueMessages"]) == (1, 0)
    assert plan(again, three) == three


def test_what_came_before_the_queue_is_found_whenever_a_query_turns_from_listing_to_it(
    s3: Any, bucket: str, queue_url: str, tmp_path: Path
) -> None:
    listing: dict[str, str] = {}
    announced = {"useNotifications": "true", "queueUrl": queue_url}
    offset = None
    for number, options in enumerate((listing, announced, listing, announced, announced)):
        s3.put_object(Bucket=bucket, Key=f"in/{number}", Body=b"{}")  # and no message
        run = reader(f"s3://{bucket}/in/", tmp_path, **options)
        before, offset = offset, plan(run, offset)
        run.stop()
        if number < 4:
            assert keys(offset) == [f"in/{number}"]
    assert offset == before  # the queue alone: it was in use already


def test_existing_objects_left_out_stay_out_when_messages_and_backfills_tell_of_them(
    s3: Any, bucket: str, queue_url: str, tmp_path: Path
) -> None:
    options = {
        "useNotifications": "true",
        "queueUrl": queue_url,
        "backfillInterval": "0 seconds",
        "includeExistingFiles": "false",
    }
    s3.put_object(Bucket=bucket, Key="in/old", Body=b"{}")
    announce(queue_url, bucket, s3, "in/old")
    run = reader(f"s3://{bucket}/in/", tmp_path, **options)
    start = plan(run)
    assert (start["skipped"], keys(start)) == (1, [])
    s3.put_object(Bucket=bucket, Key="in/new", Body=b"{}")
    end = plan(run, start)
    assert keys(end) == ["in/new"]
    assert plan(run, end) == end
    assert run.reportLatestOffset()["queueMessages"] == 0


def contents(s3: Any, bucket: str) -> dict[str, bytes]:
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", ())
    return {
        item["Key"]: s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed
    }


def test_loaded_objects_are_moved_within_s3_and_overwritten_ones_stay(
    s3: Any, bucket: str, tmp_path: Path
) -> None:
    for name in ("a", "sub/b", "changed"):
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=b"{}")
    run = reader(
        f"s3://{bucket}/in/",
        tmp_path,
        **{
            "cleanSource": "MOVE",
            "cleanSource.moveDestination": f"s3://{bucket}/archive/",
            "cleanSource.retentionDuration": "0 seconds",
        },
    )
    end = plan(run)
    s3.put_object(Bucket=bucket, Key="in/changed", Body=b'{"n":2}')
    plan(run, end)
    assert contents(s3, bucket) == {
        "archive/a": b"{}",
        "archive/sub/b": b"{}",
        "in/changed": b'{"n":2}',
    }


def test_loaded_objects_are_deleted_after_the_retention(
    s3: Any, bucket: str, tmp_path: Path
) -> None:
    s3.put_object(Bucket=bucket, Key="in/a", Body=b"{}")
    options = {"cleanSource": "DELETE", "cleanSource.retentionDuration": "8 days"}
    run = reader(f"s3://{bucket}/in/", tmp_path, **options)
    end = plan(run)
    plan(run, end)
    assert set(contents(s3, bucket)) == {"in/a"}
    run.stop()

    state = ObjectState(tmp_path / "objects" / f"{end['id']}.sqlite")
    (item,) = state.loaded_before(time.time_ns() // 10**6, 10)
    state.forget_loaded([item])
    state._db.execute(
        "insert into loaded values (?, ?, ?, ?)",
        (*item[:3], time.time_ns() // 10**6 - 9 * DAYS_MS),  # nine days go by
    )
    state.close()
    plan(reader(f"s3://{bucket}/in/", tmp_path, **options), end)
    assert contents(s3, bucket) == {}


def test_a_feeds_object_that_could_not_be_read_is_not_cleaned_up(
    s3: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
    for name in ("loaded", "refused"):
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=b"{}")
    options = {
        "cleanSource": "MOVE",
        "cleanSource.moveDestination": f"s3://{bucket}/archive/",
        "cleanSource.retentionDuration": "0 seconds",
        "cleanSource.ledgerOf": "landing",
    }
    run = reader(f"s3://{bucket}/in/", tmp_path, **options)
    end = plan(run)
    books = tmp_path / "warehouse" / "bronze.db"
    (etag,) = {item[2] for item in end["files"]}
    ledger = [
        {
            "feed": "landing",
            "container": bucket,
            "item": f"in/{name}",
            "version": etag,
            "received": 1,
            "kept": kept,
        }
        for name, kept in (("loaded", 1), ("refused", 0))
    ]
    write_deltalake(str(books / "ledger"), pa.Table.from_pylist(ledger))
    plan(run, end)
    assert set(contents(s3, bucket)) == {"archive/loaded", "in/refused"}
    # Nor is it a failure, after which everything would wait.
    progress = run.reportLatestOffset()
    assert (progress["cleanedObjects"], progress["cleaningFailures"]) == (1, 0)


def test_a_ledger_that_cannot_be_read_proves_nothing_and_stops_nothing(
    s3: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
    s3.put_object(Bucket=bucket, Key="in/a", Body=b"{}")
    log = tmp_path / "warehouse" / "bronze.db" / "ledger" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("no commit")
    options = {
        "cleanSource": "MOVE",
        "cleanSource.moveDestination": f"s3://{bucket}/archive/",
        "cleanSource.retentionDuration": "0 seconds",
        "cleanSource.ledgerOf": "landing",
    }
    run = reader(f"s3://{bucket}/in/", tmp_path, **options)
    end = plan(run)
    assert plan(run, end) == end
    assert set(contents(s3, bucket)) == {"in/a"}
    assert run.reportLatestOffset()["cleaningFailures"] == 1


def test_an_archived_object_which_nobody_could_read_stays(
    s3: Any, bucket: str, tmp_path: Path
) -> None:
    for name, storage_class in (("a", "STANDARD"), ("b", "GLACIER"), ("c", "DEEP_ARCHIVE")):
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=b"{}", StorageClass=storage_class)
    options = {
        "cleanSource": "MOVE",
        "cleanSource.moveDestination": f"s3://{bucket}/archive/",
        "cleanSource.retentionDuration": "0 seconds",
    }
    run = reader(f"s3://{bucket}/in/", tmp_path, **options)
    plan(run, plan(run))
    listed = {item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    assert listed == {"archive/a", "in/b", "in/c"}
    assert run.reportLatestOffset()["cleaningFailures"] == 0


def test_an_object_written_again_with_the_same_bytes_is_not_deleted(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a", Body=b"{}")
    found = s3.head_object(Bucket=bucket, Key="a")
    modified_ms = round(found["LastModified"].timestamp() * 1000)
    item = ObjectVersion(bucket, "a", found["ETag"].strip('"'), 2, modified_ms - 5000)
    with pytest.raises(ObjectGone, match="overwritten"):
        delete_object(item, ())
    delete_object(item._replace(modified_ms=modified_ms), ())
    with pytest.raises(ObjectGone, match="deleted"):
        delete_object(item, ())
