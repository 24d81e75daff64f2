"""The outbox: what models have to tell is committed to a table before it is sent.

bronze.outbox has a row a message, bronze.deliveries a row for each message that was sent or given
up. Both are only appended to. What is in the first and not in the second is still to be sent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from loaders.bronze import append, append_idempotently
from loaders.compaction import compact_if_fragmented, looked_at
from loaders.incidents import (
    BEGINS,
    ENDS,
    FIRING,
    LASTS,
    RENOTIFIED,
    RESOLVED,
    Key,
    Told,
    due,
    told_last,
)
from loaders.live_models import IncidentSettings, LiveModel, SnsSink, ToldModel
from loaders.table_folders import clear_empty_folder

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

OUTBOX = "bronze.outbox"
DELIVERIES = "bronze.deliveries"

OUTBOX_COLUMNS = """
    message_id string, model string, topic string, subject string, body string,
    attributes string, window_start timestamp, created_at timestamp
"""
DELIVERIES_COLUMNS = """
    message_id string, model string, state string, attempts bigint, error string,
    sns_message_id string, created_at timestamp, decided_at timestamp
"""

SENT, DEAD = "sent", "dead"
# An incident of which nothing was told for so long is forgotten.
INCIDENTS_KEPT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is to be sent; `attributes` by name."""

    message_id: str
    model: str
    topic: str
    subject: str | None
    body: str
    attributes: dict[str, str]
    created_at: datetime


def ensure_outbox(spark: SparkSession) -> None:
    """Create the two tables where they do not exist."""
    wanted = {OUTBOX: OUTBOX_COLUMNS, DELIVERIES: DELIVERIES_COLUMNS}
    missing = [name for name in wanted if not spark.catalog.tableExists(name)]
    if not missing:
        return
    schema = spark.sql("describe schema bronze").where("info_name = 'Location'").first()
    for name in missing:
        folder = f"{schema['info_value']}/{name.removeprefix('bronze.')}"
        clear_empty_folder(spark, folder)
        spark.sql(
            f"create table if not exists {name} ({wanted[name]}) using delta "
            f"cluster by (created_at) location '{folder}'"
        )


def put_messages(rows: DataFrame, model: LiveModel, query_id: str, batch_id: int) -> int:
    """Put what a batch's rows have to tell into the outbox, but for what stands there already.

    Returns: the number of new messages.
    """
    if model.sink is None:
        return 0
    new = _new_messages(rows, model, model.sink)
    if new and model.sink.incident:
        new = _first_ones(rows.sparkSession, new, model.name, model.sink.incident)
    if new:
        frame = rows.sparkSession.createDataFrame(new, OUTBOX_COLUMNS)
        append_idempotently(frame, OUTBOX, query_id, batch_id)
    return len(new)


def put_told(spark: SparkSession, model: ToldModel) -> int:
    """Put what the rows of a model that dbt builds have to tell into the outbox.

    Done again it puts nothing: what was told stands in the outbox. One caller at a time.

    Returns: the number of new messages.
    """
    rows = spark.table(model.relation)
    if model.sink.incident:
        new = _news_of_incidents(rows, model, model.sink, model.sink.incident)
    else:
        new = _new_messages(rows, model, model.sink)
    if new:
        append(spark.createDataFrame(new, OUTBOX_COLUMNS), OUTBOX)
    return len(new)


def _first_ones(
    spark: SparkSession,
    new: Sequence[dict[str, Any]],
    model: str,
    incident: IncidentSettings,
) -> list[dict[str, Any]]:
    """The first message of each incident, of those that were not told within the cool-down."""
    now = datetime.now(UTC)
    told = told_incidents(spark, model, incident.by, now)
    first: dict[Key, dict[str, Any]] = {}
    for message in new:
        key = _key(json.loads(message["attributes"]), incident)
        if due(True, told.get(key), now, incident.cool_down):
            first.setdefault(key, message)
    return list(first.values())


def _key(attributes: Mapping[str, str], incident: IncidentSettings) -> Key:
    return tuple(attributes[name] for name in incident.by)


def _news_of_incidents(
    rows: DataFrame, model: ToldModel, sink: SnsSink, incident: IncidentSettings
) -> list[dict[str, Any]]:
    """What is due of each incident that a row may begin, that goes on, or whose end is untold."""
    from pyspark.sql import functions as F

    now = datetime.now(UTC)
    told = told_incidents(rows.sparkSession, model.name, incident.by, now)
    untold_ends = [each.alert_id for each in told.values() if each.is_open]
    may_begin = F.coalesce(F.expr(sink.when), F.lit(False))
    wanted = rows.where(
        may_begin | (F.col("state") == FIRING) | F.col("alert_id").isin(untold_ends)
    )
    by_key: dict[Key, list[_Row]] = {}
    for row in _read(wanted, model, may_begin):
        key = _key(_attributes(sink, row.values), incident)
        by_key.setdefault(key, []).append(row)
    found = []
    for key in sorted(told.keys() | by_key.keys()):
        of_key, before = by_key.get(key, []), told.get(key)
        firing = [row for row in of_key if row.values["state"] == FIRING]
        deed = due(bool(firing), before, now, incident.cool_down)
        if deed == BEGINS:
            firing = [row for row in firing if row.may_begin]
            if firing:
                found.append(_of_incident(firing[-1], model, sink, before, now))
        elif deed == LASTS and before:
            found.append(_of_incident(firing[-1], model, sink, before, now, same_alert=True))
        elif deed == ENDS and before:
            ended = [
                row
                for row in of_key
                if (row.values["alert_id"], row.values["state"]) == (before.alert_id, RESOLVED)
            ]
            found.append(
                _of_incident(ended[-1], model, sink, before, now, same_alert=True)
                if ended
                else _withdrawn(model, sink, incident, before, now)
            )
    return found


def _of_incident(
    row: _Row,
    model: ToldModel,
    sink: SnsSink,
    before: Told | None,
    now: datetime,
    *,
    same_alert: bool = False,
) -> dict[str, Any]:
    """A row's message. same_alert: its id is that which was told before, whatever the row's is."""
    lasts = same_alert and row.values["state"] == FIRING
    shown = row.values | ({"state": f"still {FIRING}"} if lasts else {})
    message = _message(replace(row, values=shown), model, sink, now)
    attributes = _attributes(sink, row.values) | (RENOTIFIED if lasts else {})
    if before and same_alert:
        attributes["alert_id"] = before.alert_id
    identity = [row.values[name] for name in sink.idempotency_key]
    return message | {
        "message_id": message_id(model.name, [*identity, *([before.message_id] if before else [])]),
        "attributes": json.dumps(attributes),
    }


def _withdrawn(
    model: ToldModel, sink: SnsSink, incident: IncidentSettings, before: Told, now: datetime
) -> dict[str, Any]:
    """The end of what was told and is no row any more."""
    kept = {name: text for name, text in before.attributes.items() if name not in RENOTIFIED}
    attributes = {**kept, "state": RESOLVED}
    return {
        "message_id": message_id(model.name, [before.alert_id, RESOLVED, before.message_id]),
        "model": model.name,
        "topic": sink.topic,
        "subject": sink.subject and _filled(sink.subject, attributes),
        "body": _filled(incident.withdrawn, attributes),
        "attributes": json.dumps(attributes),
        "window_start": before.window_start,
        "created_at": now,
    }


def _new_messages(
    rows: DataFrame, model: LiveModel | ToldModel, sink: SnsSink
) -> list[dict[str, Any]]:
    told = _told(rows, model, sink)
    known = _known(rows.sparkSession, model, sink, told) if told else set()
    return [row for row in told if row["message_id"] not in known]


def _told(rows: DataFrame, model: LiveModel | ToldModel, sink: SnsSink) -> list[dict[str, Any]]:
    """A batch's messages; of rows with one idempotency key the first by the model's key."""
    now = datetime.now(UTC)
    by_id: dict[str, dict[str, Any]] = {}
    for row in _read(rows.where(sink.when), model):
        message = _message(row, model, sink, now)
        by_id.setdefault(message["message_id"], message)
    return list(by_id.values())


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of a model: its values as texts, all of it as JSON, its time, whether it may begin."""

    values: dict[str, str | None]
    json: str
    window_start: datetime | None
    may_begin: bool


def _read(
    rows: DataFrame, model: LiveModel | ToldModel, may_begin: Column | None = None
) -> list[_Row]:
    """The rows, by the model's key."""
    from pyspark.sql import functions as F

    texts = [F.col(column.name).cast("string").alias(column.name) for column in model.columns]
    wanted = rows.select(
        F.struct(*texts).alias("texts"),
        F.to_json(F.struct(*rows.columns)).alias("json"),
        F.col(model.prune_by).cast("timestamp").alias("window_start"),
        (F.lit(True) if may_begin is None else may_begin).alias("may_begin"),
    )
    read = [
        _Row(row["texts"].asDict(), row["json"], row["window_start"], row["may_begin"])
        for row in wanted.collect()
    ]
    return sorted(read, key=lambda row: [row.values[name] or "" for name in model.unique_key])


def _message(
    row: _Row, model: LiveModel | ToldModel, sink: SnsSink, now: datetime
) -> dict[str, Any]:
    values = row.values
    return {
        "message_id": message_id(model.name, [values[name] for name in sink.idempotency_key]),
        "model": model.name,
        "topic": sink.topic,
        "subject": sink.subject and _filled(sink.subject, values),
        "body": row.json if sink.message is None else _filled(sink.message, values),
        "attributes": json.dumps(_attributes(sink, values)),
        "window_start": row.window_start,
        "created_at": now,
    }


def _attributes(sink: SnsSink, values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: _filled(text, values) for name, text in sink.attributes.items()}


def message_id(model: str, values: Sequence[str | None]) -> str:
    """The same for the same model and values, whenever and by whomever it is computed."""
    return hashlib.sha256(json.dumps([model, *values]).encode()).hexdigest()[:32]


def _filled(template: str, values: Mapping[str, str | None]) -> str:
    filled = template
    for name, value in values.items():
        filled = filled.replace("{" + name + "}", "" if value is None else value)
    return filled


def _known(
    spark: SparkSession,
    model: LiveModel | ToldModel,
    sink: SnsSink,
    told: Sequence[dict[str, Any]],
) -> set[str]:
    """Which of the messages the outbox has; it is read no wider than the batch's windows."""
    from pyspark.sql import functions as F

    starts = [row["window_start"] for row in told if row["window_start"] is not None]
    rows = spark.table(OUTBOX).where(F.col("model") == model.name)
    # A key without the window makes one message of rows of all windows.
    if starts and model.prune_by in sink.idempotency_key:
        rows = rows.where(F.col("window_start").between(min(starts), max(starts)))
    found = rows.where(F.col("message_id").isin([row["message_id"] for row in told]))
    return {row[0] for row in found.select("message_id").collect()}


def told_incidents(
    spark: SparkSession, model: str, by: Sequence[str], now: datetime
) -> dict[Key, Told]:
    """What was told last of each incident of a model; `by`: the attributes that make one."""
    from pyspark.sql import functions as F

    rows = (
        spark.table(OUTBOX)
        .where((F.col("model") == model) & (F.col("created_at") >= now - INCIDENTS_KEPT))
        .select("message_id", "attributes", "window_start", "created_at")
    )
    messages = [
        (
            row["message_id"],
            json.loads(row["attributes"]),
            row["window_start"] and _utc(row["window_start"]),
            _utc(row["created_at"]),
        )
        for row in rows.orderBy("created_at", "message_id").collect()
    ]
    return told_last(messages, by)


def pending_messages(spark: SparkSession, since: datetime | None = None) -> list[Message]:
    """What is still to be sent, oldest first, of the messages created at or after `since`."""
    from pyspark.sql import functions as F

    outbox, decided = spark.table(OUTBOX), spark.table(DELIVERIES)
    if since is not None:
        outbox, decided = (rows.where(F.col("created_at") >= since) for rows in (outbox, decided))
    rows = outbox.join(decided.select("message_id"), "message_id", "left_anti")
    return [
        Message(
            row["message_id"],
            row["model"],
            row["topic"],
            row["subject"],
            row["body"],
            json.loads(row["attributes"]),
            _utc(row["created_at"]),
        )
        for row in rows.orderBy("created_at", "message_id").collect()
    ]


def note_deliveries(
    spark: SparkSession, outcomes: Sequence[tuple[Message, dict[str, Any]]]
) -> None:
    """Note what became of messages: `state`, `attempts`, `error`, `sns_message_id` of each."""
    now = datetime.now(UTC)
    rows = [
        {
            "message_id": message.message_id,
            "model": message.model,
            "created_at": message.created_at,
            "decided_at": now,
            **outcome,
        }
        for message, outcome in outcomes
    ]
    frame = spark.createDataFrame(rows, DELIVERIES_COLUMNS)
    frame.write.format("delta").mode("append").saveAsTable(DELIVERIES)


def compact_outbox(spark: SparkSession, deliveries: int) -> None:
    """Compact the two tables where they are fragmented; each is looked at every few deliveries.

    Args:
        deliveries: how many were noted before.
    """
    for table in looked_at(spark, (OUTBOX, DELIVERIES), deliveries):
        compact_if_fragmented(spark, table)


def _utc(naive: datetime) -> datetime:
    # Spark hands out local times without a zone.
    return naive.astimezone(UTC)
