"""The `cloudFiles` source: files of a bucket or a folder, found by listing or notifications."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path

from pyspark.sql.datasource import DataSource
from pyspark.sql.types import StringType, StructField, StructType

from loaders.sources.books import books_of
from loaders.sources.cleaning import DELETE, MOVE, OFF, CleanUp
from loaders.sources.clients import client_settings
from loaders.sources.discovery import Discovery, Listing, Notifications
from loaders.sources.json_columns import (
    METADATA,
    METADATA_FIELDS,
    RESCUED,
    is_file_metadata,
    parse_json,
)
from loaders.sources.object_stream import (
    ObjectStreamReader,
    StreamSettings,
    default_state_folder,
    open_ahead,
    pieces_of,
)
from loaders.sources.objects import LOCAL, Location, list_objects, parse_location
from loaders.sources.options import (
    byte_option,
    choice_option,
    flag_option,
    interval_option,
    positive_option,
    spelled,
)
from loaders.sources.records import one_by_one
from loaders.sources.row_formats import JsonRows, RecordRows, RowFormat
from loaders.sources.schemas import (
    BucketSchemas,
    Evolution,
    FolderSchemas,
    SchemaStore,
    apply_hints,
    infer_columns,
)

FORMATS = ("json", "records")
ADD, RESCUE, FAIL, NONE = "addNewColumns", "rescue", "failOnNewColumns", "none"
_SAMPLE_OBJECTS = 50
_SAMPLE_RECORDS = 1000
_DAY = 86400

_SCHEMA_OPTIONS = (
    "cloudFiles.inferColumnTypes",
    "cloudFiles.schemaEvolutionMode",
    "cloudFiles.schemaHints",
    "rescuedDataColumn",
)
OPTIONS = (
    "path",
    "pathGlobFilter",
    "cloudFiles.format",
    "cloudFiles.region",
    "cloudFiles.endpointUrl",
    "cloudFiles.awsAccessKey",
    "cloudFiles.awsSecretKey",
    "cloudFiles.awsSessionToken",
    "cloudFiles.maxFilesPerTrigger",
    "cloudFiles.maxBytesPerTrigger",
    "cloudFiles.allowOverwrites",
    "cloudFiles.includeExistingFiles",
    "cloudFiles.useNotifications",
    "cloudFiles.queueUrl",
    "cloudFiles.backfillInterval",
    "cloudFiles.cleanSource",
    "cloudFiles.cleanSource.retentionDuration",
    "cloudFiles.cleanSource.moveDestination",
    "cloudFiles.cleanSource.ledgerOf",
    "cloudFiles.schemaLocation",
    *_SCHEMA_OPTIONS,
)


class CloudFiles(DataSource):
    """spark.readStream.format("cloudFiles").option("cloudFiles.format", "json").load(path)

    `json` parses records into the schema given, or into the top-level keys of a sample, plus
    `_rescued_data`. `records` hands out each record as received, with its place.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.options = spelled("cloudFiles", options, OPTIONS)
        self.format = choice_option(self.options, "cloudFiles.format", FORMATS, default="")
        if not self.format:
            raise ValueError(f"cloudFiles.format is missing: use one of {', '.join(FORMATS)}")
        if not self.options.get("path"):
            raise ValueError("cloudFiles needs a path: .load('s3://bucket/prefix/')")
        self.location = parse_location(self.options["path"], self.options.get("pathGlobFilter"))
        self.client = client_settings(self.options)
        self._is_inferred = False
        if self.format == "records":
            for name in _SCHEMA_OPTIONS:
                if name in self.options:
                    raise ValueError(f"{name} is for cloudFiles.format json; records has no schema")
        if self._uses_notifications and not self.options.get("cloudFiles.queueUrl"):
            raise ValueError("cloudFiles.useNotifications needs cloudFiles.queueUrl")

    @classmethod
    def name(cls) -> str:
        return "cloudFiles"

    @property
    def _uses_notifications(self) -> bool:
        return flag_option(self.options, "cloudFiles.useNotifications", default=False)

    @property
    def _typed(self) -> bool:
        return flag_option(self.options, "cloudFiles.inferColumnTypes", default=False)

    @property
    def _schema_location(self) -> Location | None:
        text = self.options.get("cloudFiles.schemaLocation")
        if text is None:
            return None
        try:
            location = parse_location(text)
        except ValueError:
            location = None
        if location is None or location.pattern is not None:
            raise ValueError(
                f"cloudFiles.schemaLocation is {text!r}: give a folder or s3://bucket/prefix/"
            )
        return location

    @property
    def _schemas(self) -> SchemaStore | None:
        location = self._schema_location
        if location is None:
            return None
        if location.bucket == LOCAL:
            return FolderSchemas(Path(location.prefix) / "_schemas")
        prefix = f"{location.prefix.rstrip('/')}/_schemas/".lstrip("/")
        return BucketSchemas(location.bucket, prefix, self.client)

    @property
    def _state_folder(self) -> Path:
        """A SQLite file needs a file system: beside schemas in a bucket there is none."""
        location = self._schema_location
        if location is None or location.bucket != LOCAL:
            return default_state_folder()
        return Path(location.prefix) / "objects"

    @property
    def _mode(self) -> str:
        """cloudFiles.schemaEvolutionMode; new columns can be added only where they are kept."""
        default = NONE
        if self._is_inferred:
            default = RESCUE if self._schemas is None else ADD
        name = "cloudFiles.schemaEvolutionMode"
        mode = choice_option(self.options, name, (ADD, RESCUE, FAIL, NONE), default=default)
        if mode == ADD and not self._is_inferred:
            raise ValueError(
                f"{name} is {mode!r}, which a given schema does not allow: leave .schema(…) away, "
                "or give its columns as cloudFiles.schemaHints"
            )
        if mode == ADD and self._schemas is None:
            raise ValueError(f"{name} is {mode!r}: it needs cloudFiles.schemaLocation")
        return mode

    def schema(self) -> StructType | str:
        if self.format == "records":
            return RecordRows.DDL
        self._is_inferred = True
        kept = self._schemas.latest() if self._schemas is not None else None
        version, schema = kept if kept is not None else (-1, self._infer())
        hints = self.options.get("cloudFiles.schemaHints")
        if hints is not None:
            try:
                schema = apply_hints(schema, hints)
            except ValueError as error:
                raise ValueError(f"cloudFiles.schemaHints is {error}") from None
        schema = self._with_rescued(schema)
        if self._schemas is not None and (kept is None or kept[1] != schema):
            self._schemas.add(version + 1, schema)
        return schema

    def _infer(self) -> StructType:
        sample = self._sample()
        if not sample:
            raise ValueError(
                f"cannot infer a schema: no record under {self.options['path']} yet; "
                "give one with .schema(…)"
            )
        return infer_columns(map(parse_json, sample), typed=self._typed)

    def _with_rescued(self, schema: StructType) -> StructType:
        rescued = self.options.get("rescuedDataColumn", RESCUED)
        wanted = self._mode != NONE or "rescuedDataColumn" in self.options
        if not wanted or StructField(rescued, StringType()) in schema.fields:
            return schema
        # A key of that name in the records is rescued like any other that has no column.
        fields = [field for field in schema if field.name != rescued]
        return StructType([*fields, StructField(rescued, StringType())])

    def _sample(self) -> list[bytes]:
        objects = chain.from_iterable(list_objects(self.location, self.client))
        first = list(islice(objects, _SAMPLE_OBJECTS))
        records = (
            record.data
            for _, chunks in open_ahead(first, self.client)
            for record in one_by_one(pieces_of(chunks))
            if record.error is None
        )
        return list(islice(records, _SAMPLE_RECORDS))

    def streamReader(self, schema: StructType) -> ObjectStreamReader:
        settings = StreamSettings(
            client=self.client,
            state_folder=self._state_folder,
            max_files=positive_option(self.options, "cloudFiles.maxFilesPerTrigger"),
            max_bytes=byte_option(self.options, "cloudFiles.maxBytesPerTrigger"),
            include_existing=flag_option(
                self.options, "cloudFiles.includeExistingFiles", default=True
            ),
            clean_up=_clean_up(self.options, self.location),
        )
        rows = self._row_format(schema)
        return ObjectStreamReader(settings, self._discovery(rows), rows)

    def _row_format(self, schema: StructType) -> RowFormat:
        if self.format == "records":
            return RecordRows()
        # A sample may have a key of that name; whoever names the column wants what it stands for.
        names_it = not self._is_inferred or METADATA in self.options.get(
            "cloudFiles.schemaHints", ""
        )
        if METADATA in schema.names and names_it and not is_file_metadata(schema):
            raise ValueError(
                f"the column {METADATA} is {schema[METADATA].dataType.simpleString()}: it holds "
                f"{_struct_text()}, or some of these fields"
            )
        rescued = self.options.get("rescuedDataColumn", RESCUED)
        has_rescued = rescued in schema.names
        if has_rescued and schema[rescued].dataType != StringType():
            kind = schema[rescued].dataType.simpleString()
            raise ValueError(f"the column {rescued} is {kind}: rescued data is a string")
        mode = self._mode
        if not has_rescued and (mode == RESCUE or "rescuedDataColumn" in self.options):
            raise ValueError(
                f"the schema has no column {rescued!r} for rescued data: add `{rescued} string`"
            )
        evolution = None
        if mode in (ADD, FAIL):
            own = {rescued, METADATA} if is_file_metadata(schema) else {rescued}
            store = self._schemas if mode == ADD else None
            evolution = Evolution(self._typed, store, frozenset(own))
        return JsonRows(schema, rescued, evolution)

    def _discovery(self, rows: RowFormat) -> partial[Discovery]:
        allow_overwrites = flag_option(self.options, "cloudFiles.allowOverwrites", default=False)
        interval = interval_option(self.options, "cloudFiles.backfillInterval")
        if self._uses_notifications:
            return partial(
                Notifications,
                self.options["cloudFiles.queueUrl"],
                self.client,
                allow_overwrites,
                listing=Listing(self.location, self.client, allow_overwrites),
                backfill_seconds=interval,
                keeps_unreadable=rows.keeps_errors,
            )
        return partial(Listing, self.location, self.client, allow_overwrites)


def _struct_text() -> str:
    fields = (f"{name}: {kind.simpleString()}" for name, kind in METADATA_FIELDS.items())
    return f"struct<{', '.join(fields)}>"


def _clean_up(options: Mapping[str, str], source: Location) -> CleanUp | None:
    """What cloudFiles.cleanSource and the options under it say.

    Raises:
        ValueError: a value that is not allowed; the message names the option.
    """
    name = "cloudFiles.cleanSource"
    after = interval_option(options, f"{name}.retentionDuration")
    target = options.get(f"{name}.moveDestination")
    mode = choice_option(options, name, (OFF, DELETE, MOVE), default=OFF)
    if mode == OFF:
        return None
    after = 30 * _DAY if after is None else after
    feed = options.get(f"{name}.ledgerOf")
    books = None if feed is None else books_of(feed)
    if mode == DELETE:
        if after <= 7 * _DAY:
            raise ValueError(
                f"{name}.retentionDuration is {options[f'{name}.retentionDuration']!r}: objects "
                f"are deleted after more than 7 days, or use {name} MOVE"
            )
        return CleanUp(source, after, books=books)
    if target is None:
        raise ValueError(f"{name} is {mode!r}: it needs {name}.moveDestination")
    destination = parse_location(target)
    is_other_kind = (source.bucket == LOCAL) != (destination.bucket == LOCAL)
    if destination.pattern is not None or is_other_kind:
        raise ValueError(
            f"{name}.moveDestination is {target!r}: give a {_kind(source)}, as the path is one"
        )
    root = source.folder if source.bucket == LOCAL else source.prefix
    below = f"{destination.prefix.rstrip('/')}/".lstrip("/" if source.bucket != LOCAL else "")
    if destination.bucket == source.bucket and below.startswith(root):
        raise ValueError(
            f"{name}.moveDestination is {target!r}: it must not lie below the path, where the "
            "objects would be found again"
        )
    return CleanUp(source, after, destination, books)


def _kind(location: Location) -> str:
    return "folder" if location.bucket == LOCAL else "location s3://bucket/prefix/"
