"""The `s3-sqs` source: objects that S3 announces to a queue, directly or through SNS."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from pyspark.sql.datasource import DataSource
from pyspark.sql.types import StructType

from loaders.sources.clients import client_settings
from loaders.sources.discovery import Notifications
from loaders.sources.object_stream import (
    ObjectStreamReader,
    StreamSettings,
    default_state_folder,
)
from loaders.sources.options import byte_option, flag_option, positive_option, spelled
from loaders.sources.row_formats import JsonRows, RecordRows

FORMATS = ("json", "records")
_OPTIONS = (
    "path",  # Spark hands an empty one over
    "fileFormat",
    "queueUrl",
    "region",
    "endpointUrl",
    "awsAccessKey",
    "awsSecretKey",
    "awsSessionToken",
    "maxFilesPerTrigger",
    "maxBytesPerTrigger",
    "allowOverwrites",
    "stateLocation",
)


class S3Sqs(DataSource):
    """spark.readStream.format("s3-sqs").option("fileFormat", "json").option("queueUrl", …)

    With `fileFormat` json a schema is needed: .schema("id bigint, …"); a column `_rescued_data`
    in it takes what does not fit. With `records` each record comes as received.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.options = spelled("s3-sqs", options, _OPTIONS)
        if self.options.get("fileFormat") not in FORMATS:
            raise ValueError(
                f"fileFormat is {self.options.get('fileFormat')!r}: use one of {', '.join(FORMATS)}"
            )
        if not self.options.get("queueUrl"):
            raise ValueError("s3-sqs needs the option queueUrl")

    @classmethod
    def name(cls) -> str:
        return "s3-sqs"

    def schema(self) -> str:
        if self.options["fileFormat"] == "records":
            return RecordRows.DDL
        raise ValueError("s3-sqs reads json into a schema that is given: add .schema(…)")

    def streamReader(self, schema: StructType) -> ObjectStreamReader:
        state = self.options.get("stateLocation")
        client = client_settings(self.options)
        settings = StreamSettings(
            client=client,
            state_folder=Path(state) if state else default_state_folder(),
            max_files=positive_option(self.options, "maxFilesPerTrigger"),
            max_bytes=byte_option(self.options, "maxBytesPerTrigger"),
        )
        rows = JsonRows(schema) if self.options["fileFormat"] == "json" else RecordRows()
        discovery = partial(
            Notifications,
            self.options["queueUrl"],
            client,
            flag_option(self.options, "allowOverwrites", default=False),
            keeps_unreadable=rows.keeps_errors,
        )
        return ObjectStreamReader(settings, discovery, rows)
