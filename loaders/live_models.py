"""Streaming models: what dbt's manifest says of them, and the text that Spark runs as a stream.

A model of materialization `stream` is compiled by dbt to a query over plain tables. The macro
`stream` (macros/live/stream.sql) leaves two comments at each input, from which this module makes
the streaming query. Nothing here needs Spark.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from loaders.incidents import RENOTIFIED, STATED
from loaders.session import ConfigurationError

Made = TypeVar("Made")

# What macros/live/stream.sql renders: (select * from R /* stream */ where …) /* watermark … */
_INPUT = re.compile(
    r"\(select \* from (?P<relation>\S+) /\* stream \*/ where (?P<where>.*?)\)\s*"
    r"/\* watermark (?P<event_time>\w+) delay of interval (?P<delay>\d+ \w+) \*/",
    re.DOTALL,
)
# Parts of a query that may hold what looks like a comment, and comments.
_TEXTS_AND_COMMENTS = re.compile(
    r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`)|--[^\n]*|/\*.*?\*/", re.DOTALL
)


# With `message_id` ten: SNS drops a message with more that a queue is to get raw.
MOST_ATTRIBUTES = 9


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the model's contract has it."""

    name: str
    data_type: str
    description: str


@dataclass(frozen=True, slots=True)
class StreamInput:
    """A `stream(…)` of a model.

    `table` is the bronze table that rows come from, `query` what reads it in a model's text: a
    query in batch form, in which the table is named once.
    """

    table: str
    query: str
    event_time: str


class IncidentSettings(BaseModel):
    """How rows that tell of one thing are told of: not each of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: tuple[str, ...]
    """Attributes that make an incident; none: all messages of the model are of one."""
    cool_down_minutes: int = Field(60, ge=1)
    """After a message that it fires the next such one waits for so long."""
    withdrawn: str = ""
    """Text of the end of what was told and is no row any more; {attribute} for values."""

    @property
    def cool_down(self) -> timedelta:
        """After a message that it fires, until the next one."""
        return timedelta(minutes=self.cool_down_minutes)


class SnsSink(BaseModel):
    """What of a model's rows is published to an SNS topic."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str
    """Name or ARN; empty: nothing is published."""
    when: str = "true"
    """SQL condition on a row of the model."""
    message: str | None = None
    """Text with {column} for values; by default the row as JSON."""
    subject: str | None = None
    attributes: dict[str, str] = Field({}, max_length=MOST_ATTRIBUTES)
    """Message attributes, for filter policies; values are texts as `message`."""
    idempotency_key: tuple[str, ...] = Field(min_length=1)
    """Columns that make a message a new one: rows with equal values are told of once."""
    incident: IncidentSettings | None = None
    """With it a model that dbt builds has the states firing and resolved; a live one only begins.
    `when` says of which rows one may begin."""

    @field_validator("incident")
    @classmethod
    def _check_incident(
        cls, incident: IncidentSettings | None, info: ValidationInfo
    ) -> IncidentSettings | None:
        attributes = info.data.get("attributes", {})
        if incident is None:
            return None
        named = {*incident.by, *columns_of(incident.withdrawn)}
        if unknown := named - set(attributes):
            raise ValueError(f"names {min(unknown)!r}, which is none of the attributes")
        if len(attributes | RENOTIFIED) > MOST_ATTRIBUTES:
            raise ValueError(f"needs one of the {MOST_ATTRIBUTES} attributes, renotified")
        return incident

    def columns(self) -> set[str]:
        """The columns that the texts name."""
        texts = (self.message or "", self.subject or "", *self.attributes.values())
        return columns_of(*texts)


class _Config(BaseModel):
    """The part of a model's config that is the engine's, and what it shares with dbt."""

    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    unique_key: list[str] = Field(min_length=1)
    prune_by: str
    clustered_by: list[str] = []
    start: str = Field("earliest", pattern=r"^(earliest|latest|\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?)$")
    trigger_seconds: float = Field(0.5, ge=0)
    state_partitions: int = Field(1, ge=1)
    output_mode: Literal["update", "append"] = "update"
    full_refresh: bool | None = None


_SINK: TypeAdapter[dict[Literal["sns"], SnsSink]] = TypeAdapter(dict[Literal["sns"], SnsSink])


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A streaming model, as the engine runs it.

    Attributes:
        relation: its table, such as `gold.live_ingestion`.
        sql: the query in streaming form, with `stream(table)` for its inputs.
        prune_by: the column of the key that holds the start of the window.
        start: earliest, latest or a time, UTC: where a new or changed query begins.
        keep_old_rows: a query that begins anew at the earliest merges, and does not replace what
            an earlier one left.
    """

    name: str
    relation: str
    sql: str
    inputs: tuple[StreamInput, ...]
    columns: tuple[Column, ...]
    description: str
    unique_key: tuple[str, ...]
    prune_by: str
    clustered_by: tuple[str, ...]
    start: str
    trigger_seconds: float
    state_partitions: int
    output_mode: str
    keep_old_rows: bool
    sink: SnsSink | None

    @property
    def fingerprint(self) -> str:
        """The same for two texts that differ in comments and white space only."""
        text = _TEXTS_AND_COMMENTS.sub(lambda match: match[1] or " ", self.sql)
        parts = (" ".join(text.split()), *self.unique_key, self.prune_by, self.output_mode)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def streaming_sql(self, options: Mapping[str, Mapping[str, str]]) -> str:
        """The query with the read options of each input's table."""

        def with_options(match: re.Match[str]) -> str:
            of_table = options.get(match[1])
            if not of_table:
                return match[0]
            written = ", ".join(f"{name} = '{value}'" for name, value in of_table.items())
            return f"{match[0]} with ({written})"

        return re.sub(r"\bstream\(([\w.`]+)\)", with_options, self.sql)


@dataclass(frozen=True, slots=True)
class ToldModel:
    """A model that dbt builds, whose rows are told of. prune_by: the column of their time."""

    name: str
    relation: str
    columns: tuple[Column, ...]
    unique_key: tuple[str, ...]
    prune_by: str
    sink: SnsSink


def told_models(
    manifest: Mapping[str, Any], problems: dict[str, str] | None = None
) -> list[ToldModel]:
    """The models that dbt builds and that have a sink with a topic, sorted by name.

    Args:
        problems: gets what is wrong with models, by name, and the others are returned.

    Raises:
        ConfigurationError: without `problems`: a sink cannot be used; the message names the model
            and what is wrong.
    """
    found = _of_each(_models(manifest, streamed=False), _told_model, problems)
    return [model for model in found if model is not None]


def live_models(
    manifest: Mapping[str, Any], problems: dict[str, str] | None = None
) -> list[LiveModel]:
    """The streaming models of a project, sorted by name.

    Args:
        manifest: target/manifest.json of a dbt command that compiles (`compile`, `build`).
        problems: gets what is wrong with models, by name, and the others are returned.

    Raises:
        ConfigurationError: without `problems`: a model's config, or what it reads, cannot be run
            as a stream; the message names the model, what is wrong and what to do.
    """
    nodes = {**manifest["nodes"], **manifest["sources"]}
    return _of_each(
        _models(manifest, streamed=True), lambda node: _live_model(node, nodes), problems
    )


def _models(manifest: Mapping[str, Any], *, streamed: bool) -> list[Mapping[str, Any]]:
    """The nodes of models that are streams, or of those that are none, sorted by name."""
    found = [
        node
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model"
        and (node["config"]["materialized"] == "stream") == streamed
    ]
    return sorted(found, key=lambda node: node["name"])


def _of_each(
    nodes: Iterable[Mapping[str, Any]],
    make: Callable[[Mapping[str, Any]], Made],
    problems: dict[str, str] | None,
) -> list[Made]:
    """What is made of each node, but for those with a problem; None: the first one is raised."""
    made = []
    for node in nodes:
        try:
            made.append(make(node))
        except ConfigurationError as error:
            if problems is None:
                raise
            problems[node["name"]] = str(error)
    return made


def _told_model(node: Mapping[str, Any]) -> ToldModel | None:
    columns = _columns(node)
    names = {column.name for column in columns}
    if (sink := _sink(node, names)) is None:
        return None
    key, prune_by = node["config"]["meta"].get("grain", []), node["config"].get("prune_by")
    if prune_by not in key or not set(key) <= names:
        raise ConfigurationError(
            f"{node['name']}: to be told of it needs meta.grain, columns of its own, and "
            "prune_by, the one of them that holds the time"
        )
    if sink.incident and not set(STATED) <= names & set(sink.attributes):
        raise ConfigurationError(
            f"{node['name']}: sink.sns.incident needs columns and attributes {' and '.join(STATED)}"
        )
    relation = f"{node['schema']}.{node['alias']}"
    return ToldModel(node["name"], relation, columns, tuple(key), prune_by, sink)


def _live_model(node: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]) -> LiveModel:
    name, config = node["name"], _config(node)
    columns = _columns(node)
    names = {column.name for column in columns}
    if not all(column.data_type for column in columns) or not columns:
        raise ConfigurationError(f"{name}: its YAML must list every column with its data_type")
    for setting, given in (
        ("unique_key", config.unique_key),
        ("clustered_by", config.clustered_by),
    ):
        if unknown := set(given) - names:
            raise ConfigurationError(f"{name}: {setting}: no column {min(unknown)}")
    if config.prune_by not in config.unique_key:
        raise ConfigurationError(
            f"{name}: prune_by: {config.prune_by} is not one of unique_key; name the column that "
            "holds the start of the window"
        )
    sql, inputs = _streaming(node, nodes)
    return LiveModel(
        name=name,
        relation=f"{node['schema']}.{node['alias']}",
        sql=sql,
        inputs=inputs,
        columns=columns,
        description=node["description"],
        unique_key=tuple(config.unique_key),
        prune_by=config.prune_by,
        clustered_by=tuple(config.clustered_by),
        start=config.start,
        trigger_seconds=config.trigger_seconds,
        state_partitions=config.state_partitions,
        output_mode=config.output_mode,
        keep_old_rows=config.full_refresh is False,
        sink=_sink(node, names),
    )


def _columns(node: Mapping[str, Any]) -> tuple[Column, ...]:
    return tuple(
        Column(column["name"], column.get("data_type") or "", column.get("description") or "")
        for column in node["columns"].values()
    )


def _config(node: Mapping[str, Any]) -> _Config:
    given = dict(node["config"])
    for key in ("unique_key", "clustered_by"):
        if isinstance(given.get(key), str):
            given[key] = [given[key]]
    if isinstance(given.get("prune_by"), list) and len(given["prune_by"]) == 1:
        given["prune_by"] = given["prune_by"][0]
    given = {key: value for key, value in given.items() if value is not None}
    try:
        return _Config.model_validate(given)
    except ValidationError as error:
        raise ConfigurationError(_explain(node["name"], error)) from error


def _sink(node: Mapping[str, Any], columns: set[str]) -> SnsSink | None:
    declared = node["config"].get("sink")
    if not declared:
        return None
    try:
        sink = _SINK.validate_python(declared).get("sns")
    except ValidationError as error:
        raise ConfigurationError(_explain(f"{node['name']}: sink", error)) from error
    if sink is None or not sink.topic:
        return None
    if unknown := (sink.columns() | set(sink.idempotency_key)) - columns:
        raise ConfigurationError(
            f"{node['name']}: sink.sns names {{{min(unknown)}}}, which is no column of the "
            f"model; there are {', '.join(sorted(columns))}"
        )
    return sink


def columns_of(*texts: str) -> set[str]:
    """What texts name as {…}."""
    return {name for text in texts for name in re.findall(r"\{(\w*)\}", text)}


def _explain(where: str, error: ValidationError) -> str:
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    is_said = problem["type"] in ("missing", "extra_forbidden", "value_error")
    given = "" if is_said else f", not {problem['input']!r}"
    said = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return f"{where}: {place}: {said}{given}"


def _streaming(
    node: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]
) -> tuple[str, tuple[StreamInput, ...]]:
    """A model's streaming text, and its inputs."""
    by_relation = {
        each["relation_name"].lower(): each for each in nodes.values() if each.get("relation_name")
    }
    inputs: list[StreamInput] = []

    def stream(match: re.Match[str]) -> str:
        upstream = by_relation.get(match["relation"].lower())
        if upstream is None:
            raise ConfigurationError(
                f"{node['name']}: stream({match['relation']}) is no source and no model: "
                "give it a source() or ref()"
            )
        table, text = _readable_as_stream(node["name"], upstream, nodes)
        batch = f"(select * from {text.format(table=table)} where {match['where']})"
        inputs.append(StreamInput(table, batch, match["event_time"]))
        return (
            f"(select * from {text.format(table=f'stream({table})')} where {match['where']}) "
            f"watermark {match['event_time']} delay of interval {match['delay']}"
        )

    sql = _INPUT.sub(stream, _compiled(node))
    if not inputs:
        raise ConfigurationError(
            f"{node['name']}: materialized as a stream, and reads none: write "
            "`from {{ stream(source(…), event_time='…', delay='…') }}`"
        )
    return sql, tuple(inputs)


def _readable_as_stream(
    model: str, upstream: Mapping[str, Any], nodes: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str]:
    """The table below an input, and text that reads it, with {table} in the table's place.

    A source is such a table; of a view its query is taken, over a source or another such view.
    """
    if upstream["resource_type"] == "source":
        return upstream["relation_name"], "{table}"
    if upstream["config"]["materialized"] != "view":
        raise ConfigurationError(
            f"{model}: {upstream['name']} cannot be read as a stream, because dbt updates "
            "its rows: a stream reads a source, or a view over one"
        )
    below = [nodes[key] for key in upstream["depends_on"]["nodes"] if key in nodes]
    if len(below) != 1:
        raise ConfigurationError(
            f"{model}: the view {upstream['name']} cannot be read as a stream: it reads "
            f"{len(below)} tables, and may read one"
        )
    table, text = _readable_as_stream(model, below[0], nodes)
    query = _compiled(upstream).strip().replace("{", "{{").replace("}", "}}")
    named = re.compile(re.escape(below[0]["relation_name"]) + r"\b", re.IGNORECASE)
    return table, f"(\n{named.sub(lambda _: text, query)}\n)"


def _compiled(node: Mapping[str, Any]) -> str:
    if not node.get("compiled_code"):
        raise ConfigurationError(
            f"{node['name']} is not compiled in this manifest: run `dbt compile`"
        )
    return node["compiled_code"]
