"""Credentials given by option reach AWS, and nothing that anybody reads."""

from __future__ import annotations

import json
import logging
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from pyspark.sql.streaming.datasource import ReadAllAvailable
from pyspark.sql.types import StringType, StructField, StructType

from loaders.sources.cloud_files import CloudFiles
from loaders.sources.kinesis import Kinesis
from loaders.sources.kinesis_client import KinesisError
from loaders.sources.s3_sqs import S3Sqs

SECRETS = {"awsSecretKey": "the-secret-key-itself", "awsSessionToken": "the-session-token-itself"}
SCHEMA = StructType([StructField("n", StringType()), StructField("_rescued_data", StringType())])


def credentials(endpoint: str) -> dict[str, str]:
    return {"endpointUrl": endpoint, "region": "us-east-1", "awsAccessKey": "test", **SECRETS}


def every_source(endpoint: str, name: str, queue_url: str, folder: Path) -> list[Any]:
    """Each source with the credentials, and with something that goes wrong."""
    given = credentials(endpoint)
    files = {
        **given,
        "format": "json",
        "schemaLocation": str(folder),
        "cleanSource": "MOVE",
        "cleanSource.moveDestination": "s3://no-such-bucket-here/x/",
        "cleanSource.retentionDuration": "0 seconds",
    }
    path = {"path": f"s3://{name}/in/"}
    return [
        CloudFiles(path | {f"cloudFiles.{option}": value for option, value in files.items()}),
        S3Sqs(given | {"fileFormat": "json", "queueUrl": queue_url, "stateLocation": str(folder)}),
        Kinesis(given | {"streamName": name}),
    ]


def what_is_seen(source: Any) -> list[str]:
    """What a query shows, logs beside: offsets, progress, partitions, errors."""
    seen = [repr(source.__dict__.get("settings"))]
    try:
        run = source.streamReader(SCHEMA)
        seen.append(repr(run.settings))
        start = run.initialOffset()
        for _ in range(2):
            end = run.latestOffset(start, ReadAllAvailable())
            seen.append(json.dumps([start, end, run.reportLatestOffset()]))
            for partition in run.partitions(start, end):
                seen += map(repr, [partition, *run.read(partition)])
            start = end
        run.stop()
    except (KinesisError, ClientError) as error:
        seen += [str(error), repr(error)]
    return seen


@pytest.mark.parametrize("is_there", [True, False])
def test_no_secret_is_seen(
    aws: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, is_there: bool
) -> None:
    name = f"secrets-{uuid.uuid4().hex[:8]}"
    queue_url = f"{aws.endpoint_url}/000000000000/{name}"
    if is_there:
        s3, sqs = boto3.client("s3"), boto3.client("sqs")
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="in/a.json", Body=b'{"n":1}\n{"n":')
        queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
        sqs.send_message(QueueUrl=queue_url, MessageBody="not json")
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="loaders")

    seen = [
        text
        for source in every_source(aws.endpoint_url, name, queue_url, tmp_path)
        for text in what_is_seen(source)
    ]

    text = "\n".join([*seen, caplog.text])
    assert [secret for secret in SECRETS.values() if secret in text] == []
    # Something was to be seen: data and a failing clean-up, or that there is nothing.
    there, failing = "in/a.json", "could not be cleaned up"
    absent = ("NoSuchBucket", "NonExistentQueue", "there is no Kinesis stream")
    expected = (there, failing, absent[-1]) if is_there else absent
    assert [part for part in expected if part not in text] == []


def test_no_secret_is_in_an_error_about_options(tmp_path: Path) -> None:
    given = credentials("http://127.0.0.1:9")
    schemas = {"schemaLocation": "s3://schemas/x", "schemaEvolutionMode": "no such mode"}
    wrong = {"path": "s3://b/", "cloudFiles.format": "json", "noSuchOption": "x"}
    named = {f"cloudFiles.{name}": value for name, value in (given | schemas).items()}
    with pytest.raises(ValueError, match="noSuchOption") as unknown:
        CloudFiles(wrong | named)
    del wrong["noSuchOption"]
    source = CloudFiles(wrong | named)
    with pytest.raises(ValueError, match="no such mode") as refused:
        source.streamReader(SCHEMA)
    text = f"{unknown.value!r} {refused.value!r} {source._schemas!r} {source._schemas}"
    assert [secret for secret in SECRETS.values() if secret in text] == []
