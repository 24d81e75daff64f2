"""The `cloudFiles` source: files of a bucket or a folder, found by listing or notifications."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import islice
from pathlib import Path

from pyspark.sql.datasource import DataSource
from pyspark.sql.types import StructType

from loaders.sources.clients import client_settings
from loaders.sources.discovery import Discovery, Listing, Notifications
from loaders.sources.json_columns import infer_schema
from loaders.sources.object_stream import (
    ObjectStreamReader,
    StreamSettings,
    default_state_folder,
    open_ahead,
    records_of,
)
from loaders.sources.objects import list_objects, parse_location
from loaders.sources.options import byte_option, flag_option, positive_option, spelled
from loaders.sources.row_formats import JsonRows, RecordRows

FORMATS = ("json", "records")
_SAMPLE_OBJECTS = 50
_SAMPLE_RECORDS = 1000

_OPTIONS = (
    "path",
    "cloudFiles.format",
    "cloudFiles.region",
    "cloudFiles.endpointUrl",
    "cloudFiles.awsAccessKey",
    "cloudFiles.awsSecretKey",
    "cloudFiles.awsSessionToken",
    "cloudFiles.maxFilesPerTrigger",
    "cloudFiles.maxBytesPerTrigger",
    "cloudFiles.allowOverwrites",
    "cloudFiles.schemaLocation",
    "cloudFiles.useNotifications",
    "cloudFiles.queueUrl",
)


class CloudFiles(DataSource):
    """spark.readStream.format("cloudFiles").option("cloudFiles.format", "json").load(path)

    `json` parses records into the schema given, or into the top-level keys of a sample, all as
    string, plus `_rescued_data`. `records` hands out each record as received, with its place.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.options = spelled("cloudFiles", options, _OPTIONS)
        if self.options.get("cloudFiles.format") not in FORMATS:
            raise ValueError(
                f"cloudFiles.format is {self.options.get('cloudFiles.format')!r}: "
                f"use one of {', '.join(FORMATS)}"
            )
        if not self.options.get("path"):
            raise ValueError("cloudFiles needs a path: .load('s3://bucket/prefix/')")
        self.location = parse_location(self.options["path"])
        self.client = client_settings(self.options)
        if self._uses_notifications and not self.options.get("cloudFiles.queueUrl"):
            raise ValueError("cloudFiles.useNotifications needs cloudFiles.queueUrl")

    @classmethod
    def name(cls) -> str:
        return "cloudFiles"

    @property
    def _uses_notifications(self) -> bool:
        return flag_option(self.options, "cloudFiles.useNotifications", default=False)

    def schema(self) -> StructType | str:
        if self.options["cloudFiles.format"] == "records":
            return RecordRows.DDL
        sample = self._sample()
        if not sample:
            raise ValueError(
                f"cannot infer a schema: no record under {self.options['path']} yet; "
                "give one with .schema(…)"
            )
        return infer_schema(sample)

    def _sample(self) -> list[bytes]:
        first_page = next(iter(list_objects(self.location, self.client)), [])
        records = (
            record.data
            for _, chunks in open_ahead(first_page[:_SAMPLE_OBJECTS], self.client)
            for record in records_of(chunks)
            if record.error is None
        )
        return list(islice(records, _SAMPLE_RECORDS))

    def streamReader(self, schema: StructType) -> ObjectStreamReader:
        state = self.options.get("cloudFiles.schemaLocation")
        settings = StreamSettings(
            client=self.client,
            state_folder=Path(state.removeprefix("file://")) / "objects"
            if state
            else default_state_folder(),
            max_files=positive_option(self.options, "cloudFiles.maxFilesPerTrigger"),
            max_bytes=byte_option(self.options, "cloudFiles.maxBytesPerTrigger"),
        )
        is_json = self.options["cloudFiles.format"] == "json"
        return ObjectStreamReader(
            settings, self._discovery(), JsonRows(schema) if is_json else RecordRows()
        )

    def _discovery(self) -> partial[Discovery]:
        allow_overwrites = flag_option(self.options, "cloudFiles.allowOverwrites", default=False)
        if self._uses_notifications:
            return partial(
                Notifications,
                self.options["cloudFiles.queueUrl"],
                self.client,
                allow_overwrites,
                location=self.location,
            )
        return partial(Listing, self.location, self.client, allow_overwrites)
