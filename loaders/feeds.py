"""loaders/feeds.yml: what is loaded, read and checked."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from loaders.session import PROJECT_ROOT, ConfigurationError

FEEDS_FILE = PROJECT_ROOT / "loaders" / "feeds.yml"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
TableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class Feed(BaseModel):
    """One source of JSON records and the bronze table that keeps them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    source: Literal["cloudFiles"]
    location: str
    table: TableName
    description: str
    region: str | None = None
    max_files_per_trigger: int = Field(default=1000, ge=1)
    max_bytes_per_trigger: str | None = None
    trigger_seconds: int = Field(default=10, ge=1)

    def source_options(self) -> dict[str, str]:
        """Options of the feed's Spark source."""
        options = {
            "cloudFiles.format": "records",
            "cloudFiles.maxFilesPerTrigger": str(self.max_files_per_trigger),
            "cloudFiles.maxBytesPerTrigger": self.max_bytes_per_trigger,
            "cloudFiles.region": self.region,
        }
        return {name: value for name, value in options.items() if value is not None}


def read_feeds(path: Path = FEEDS_FILE) -> dict[str, Feed]:
    """The declared feeds by name.

    Raises:
        ConfigurationError: the file names a key that does not exist, lacks one, or holds a value
            that is not allowed; the message names the key and what is allowed.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be read"
        raise ConfigurationError(f"{path.name}{where}: no YAML: {problem}") from error
    declared = (document or {}).get("feeds")
    if not isinstance(declared, dict) or set(document) != {"feeds"}:
        raise ConfigurationError(f"{path.name}: expected one top-level key, `feeds`, with entries")
    feeds = {}
    for name, entry in declared.items():
        try:
            feeds[name] = Feed(name=name, **_expand(entry or {}, path.name, name))
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
    key = ".".join(str(part) for part in problem["loc"])
    where = f"{file}: feeds.{feed}.{key}"
    if problem["type"] == "extra_forbidden":
        allowed = sorted(set(Feed.model_fields) - {"name"})
        return f"{where}: unknown key; allowed are {', '.join(allowed)}"
    if problem["type"] == "missing":
        return f"{where}: missing; {key} is required"
    return f"{where}: {problem['msg'].removeprefix('Input ')}, not {problem['input']!r}"
