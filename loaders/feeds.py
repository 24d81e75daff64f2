"""loaders/feeds.yml: what is loaded, read and checked."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from loaders.kinds import Layout
from loaders.session import PROJECT_ROOT, ConfigurationError
from loaders.sources.options import byte_option
from loaders.sources.shards import parse_initial_position

FEEDS_FILE = PROJECT_ROOT / "loaders" / "feeds.yml"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
TableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Positive = Annotated[int, Field(ge=1)]


class Extracted(BaseModel):
    """A column of a bronze table that Delta computes from the record."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    expression: str


class Feed(BaseModel, ABC):
    """A source of JSON records and the bronze table that keeps them: what all feeds have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # What a batch of the feed is made of, in words.
    items: ClassVar[str] = "objects"

    name: Name
    source: str
    table: TableName
    description: str
    region: str | None = None
    max_bytes_per_trigger: str | None = None
    trigger_seconds: Positive = 10
    silent_after_minutes: Positive | None = None
    silence_topic: str = ""
    table_per: Literal["game_event"] | None = None
    record_column: TableName = "data"
    extracted: dict[TableName, Extracted] = Field(default_factory=dict)
    clustered_by: Annotated[list[str], Field(min_length=1, max_length=4)] = ["_batch_id"]

    @property
    def layout(self) -> Layout:
        """What the bronze table looks like."""
        extracted = {name: (each.type, each.expression) for name, each in self.extracted.items()}
        return Layout(self.record_column, extracted, tuple(self.clustered_by))

    @property
    def is_set_up(self) -> bool:
        """Whether it is known where the records come from."""
        return True

    @property
    @abstractmethod
    def origin(self) -> str:
        """Where the records come from, in words."""

    @property
    def load_path(self) -> str | None:
        """What the Spark source is to load(), where it takes a path."""
        return None

    def source_options(self) -> dict[str, str]:
        """Options of the feed's Spark source."""
        return {
            name: json.dumps(value) if isinstance(value, bool) else str(value)
            for name, value in self._options().items()
            if value is not None
        }

    @abstractmethod
    def _options(self) -> dict[str, Any]: ...

    @field_validator("max_bytes_per_trigger", mode="before")
    @classmethod
    def _check_bytes(cls, value: Any) -> Any:
        if value is not None:
            byte_option({"max_bytes_per_trigger": str(value)}, "max_bytes_per_trigger")
            return str(value)
        return value


class CloudFilesFeed(Feed):
    """Objects of a bucket or folder, found by listing or through a queue."""

    source: Literal["cloudFiles"] = "cloudFiles"
    location: str
    use_notifications: bool | None = None
    queue_url: str | None = None
    backfill_interval: str | None = None
    include_existing_files: bool = True
    path_glob_filter: str | None = None
    clean_source: Literal["OFF", "DELETE", "MOVE"] = "OFF"
    clean_source_retention: str | None = None
    clean_source_destination: str | None = None
    allow_overwrites: bool = False
    max_files_per_trigger: Positive = 1000

    @property
    def origin(self) -> str:
        return self.location

    @property
    def load_path(self) -> str:
        return self.location

    @property
    def is_notified(self) -> bool:
        """Whether new objects come from the queue: where one is named, unless told otherwise."""
        return bool(self.queue_url) if self.use_notifications is None else self.use_notifications

    @model_validator(mode="after")
    def _check_queue(self) -> CloudFilesFeed:
        if self.use_notifications and not self.queue_url:
            raise ValueError("use_notifications needs queue_url, the URL of the queue")
        return self

    def _options(self) -> dict[str, Any]:
        return {
            "cloudFiles.format": "records",
            "cloudFiles.region": self.region,
            "cloudFiles.useNotifications": self.is_notified,
            "cloudFiles.queueUrl": self.queue_url or None,
            "cloudFiles.backfillInterval": self.backfill_interval,
            "cloudFiles.includeExistingFiles": self.include_existing_files,
            "pathGlobFilter": self.path_glob_filter,
            "cloudFiles.cleanSource": self.clean_source,
            "cloudFiles.cleanSource.retentionDuration": self.clean_source_retention,
            "cloudFiles.cleanSource.moveDestination": self.clean_source_destination,
            "cloudFiles.cleanSource.ledgerOf": self.name,
            "cloudFiles.allowOverwrites": self.allow_overwrites,
            "cloudFiles.maxFilesPerTrigger": self.max_files_per_trigger,
            "cloudFiles.maxBytesPerTrigger": self.max_bytes_per_trigger,
        }


class S3SqsFeed(Feed):
    """Objects that S3 announces to a queue, wherever they lie."""

    source: Literal["s3-sqs"] = "s3-sqs"
    queue_url: str
    allow_overwrites: bool = False
    max_files_per_trigger: Positive = 1000

    @property
    def is_set_up(self) -> bool:
        return bool(self.queue_url)

    @property
    def origin(self) -> str:
        return self.queue_url or "no queue yet"

    def _options(self) -> dict[str, Any]:
        return {
            "fileFormat": "records",
            "queueUrl": self.queue_url,
            "region": self.region,
            "allowOverwrites": self.allow_overwrites,
            "maxFilesPerTrigger": self.max_files_per_trigger,
            "maxBytesPerTrigger": self.max_bytes_per_trigger,
        }


class KinesisFeed(Feed):
    """The records of a Kinesis stream."""

    items: ClassVar[str] = "shards"

    source: Literal["kinesis"] = "kinesis"
    stream: Annotated[str, StringConstraints(min_length=1)]
    initial_position: str = "TRIM_HORIZON"
    max_records_per_trigger: Positive | None = None
    fail_on_data_loss: bool = True

    @property
    def origin(self) -> str:
        return f"kinesis:{self.stream}"

    @field_validator("initial_position", mode="before")
    @classmethod
    def _check_position(cls, value: Any) -> Any:
        # YAML reads an unquoted time as such.
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        parse_initial_position(text)
        return text

    def _options(self) -> dict[str, Any]:
        return {
            "streamName": self.stream,
            "region": self.region,
            "initialPosition": self.initial_position,
            "maxRecordsPerTrigger": self.max_records_per_trigger,
            "maxBytesPerTrigger": self.max_bytes_per_trigger,
            "failOnDataLoss": self.fail_on_data_loss,
        }


_FEED: TypeAdapter[Feed] = TypeAdapter(
    Annotated[CloudFilesFeed | S3SqsFeed | KinesisFeed, Field(discriminator="source")]
)
_KEYS = {
    kind.model_fields["source"].default: sorted(set(kind.model_fields) - {"name"})
    for kind in (CloudFilesFeed, S3SqsFeed, KinesisFeed)
}


def read_feeds(path: Path = FEEDS_FILE) -> dict[str, Feed]:
    """The declared feeds by name.

    Raises:
        ConfigurationError: the file names a key that does not exist, lacks one, or holds a value
            that is not allowed; the message names the key and what is allowed.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{path.name}: byte {error.start} is not UTF-8: save the file as UTF-8"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise ConfigurationError(f"{path.name}{where}: no YAML: {problem}") from error
    declared = document.get("feeds") if isinstance(document, dict) else None
    if not isinstance(declared, dict) or set(document) != {"feeds"}:
        raise ConfigurationError(f"{path.name}: expected one top-level key, `feeds`, with entries")
    feeds = {}
    for name, entry in declared.items():
        if entry is not None and not isinstance(entry, dict):
            raise ConfigurationError(
                f"{path.name}: feeds.{name}: should be keys with values (source, table, …), "
                f"not {entry!r}"
            )
        try:
            feeds[name] = _FEED.validate_python(
                {**_expand(entry or {}, path.name, name), "name": name}
            )
        except ValidationError as error:
            raise ConfigurationError(_explain(path.name, name, error)) from error
    tables = [feed.table.lower() for feed in feeds.values()]
    for feed in feeds.values():
        if tables.count(feed.table.lower()) > 1:
            raise ConfigurationError(
                f"{path.name}: feeds.{feed.name}.table: {feed.table} is written by two feeds; "
                "each needs a table of its own"
            )
    return feeds


_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def _expand(entry: dict, file: str, feed: str) -> dict:
    """${NAME} and ${NAME:-default} in values, from the environment."""

    def value_of(match: re.Match[str]) -> str:
        value = os.environ.get(match[1]) or match[2]
        if value is None:
            raise ConfigurationError(
                f"{file}: feeds.{feed}: ${{{match[1]}}} is not set: set the environment variable "
                f"{match[1]} or write ${{{match[1]}:-default}}"
            )
        return value

    return {
        key: _VARIABLE.sub(value_of, value) if isinstance(value, str) else value
        for key, value in entry.items()
    }


def _explain(file: str, feed: str, error: ValidationError) -> str:
    problem = error.errors()[0]
    source, *place = problem["loc"] or ("",)
    where = ".".join(str(part) for part in (f"{file}: feeds.{feed}", *place))
    message = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
    match problem["type"]:
        case "union_tag_not_found":
            return f"{where}.source: missing; it is one of {', '.join(_KEYS)}"
        case "union_tag_invalid":
            return (
                f"{where}.source: should be one of {', '.join(_KEYS)}, "
                f"not {problem['input']['source']!r}"
            )
        case "extra_forbidden":
            return f"{where}: unknown key; allowed for {source} are {', '.join(_KEYS[source])}"
        case "missing":
            return f"{where}: missing; {place[-1]} is required"
        case "value_error":
            return f"{where}: {message}"
    return f"{where}: {message}, not {problem['input']!r}"
