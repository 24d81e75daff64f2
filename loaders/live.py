"""Streaming models: each one a streaming query that keeps its table, beside the feeds.

    models = live_models(json.loads(Path("target/manifest.json").read_text()))
    query = start_live(spark, models[0], print)

A batch brings the whole new value of every window that it touches, out of the query's state, and
MERGE puts it in the place of the old one by the model's key. So a batch that is run again after a
crash writes what is there already; nothing need be remembered of it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from loaders.batch_settings import BATCH_SETTINGS
from loaders.live_listener import LiveListener
from loaders.live_models import LiveModel, live_models
from loaders.live_start import StartPoint, settle_start
from loaders.live_tables import check_contract, ensure_table, let_go, take
from loaders.outbox import ensure_outbox, put_messages
from loaders.session import lakehouse_root

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

__all__ = ["LiveBatch", "LiveModel", "LiveNotice", "live_models", "start_live", "stop_live"]

# No batch only to close windows: a closed window's row is written already.
_CLOSING_BATCHES = "spark.sql.streaming.noDataMicroBatches.enabled"
# A batch of few rows, as nearly all are: compiling and spreading the work costs more than it saves.
# Measured, a MERGE of three rows: 1.5 s with Spark's own settings, 0.95 s with these.
_SMALL_ROWS = 10_000
_SETTINGS = {
    # name: (for few rows, for many)
    **BATCH_SETTINGS,
    "spark.sql.shuffle.partitions": ("1", None),
    "spark.databricks.delta.snapshotPartitions": ("1", None),
    # Few rows are a local relation, which is the same whenever it is read.
    "spark.databricks.delta.merge.materializeSource": ("none", "auto"),
}

_CONFLICT = ("DELTA_CONCURRENT_", "DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED")
_CONFLICT_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class LiveBatch:
    """What one batch of a model did: rows of its table that it wrote, and messages it put down."""

    model: str
    query_id: str
    batch_id: int
    rows: int
    messages: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LiveNotice:
    """Something a person should know of a model, in one line."""

    model: str
    text: str

    def __str__(self) -> str:
        return f"{self.model}: {self.text}"


def start_live(
    spark: SparkSession,
    model: LiveModel,
    report: Callable[[LiveBatch | LiveNotice], None],
    *,
    once: bool = False,
) -> StreamingQuery:
    """Start the model's query, named like it. The table is the engine's until `stop_live`.

    Args:
        report: hears of each batch, on a thread of the query's, and of a new beginning.
        once: end when everything that is there now has been read.

    Raises:
        ConfigurationError: contract, table or start do not fit; the message says what to do.
        AnalysisException: Spark cannot run the query as a stream.
    """
    session, listener = _live_session(spark)
    checkpoint, start, notice = settle_start(session, model)
    stream = session.sql(model.streaming_sql(start.options(model)))
    check_contract(model, stream.schema)
    ensure_table(session, model)
    if model.sink:
        ensure_outbox(session)
    take(session, model)
    if notice:
        report(LiveNotice(model.name, notice))
    listener.watch(model)
    trigger: dict[str, Any] = {"availableNow": True}
    if not once:
        trigger = {"processingTime": f"{round(model.trigger_seconds * 1000)} milliseconds"}
    writer = (
        stream.select(*(column.name for column in model.columns))
        .writeStream.queryName(model.name)
        .outputMode(model.output_mode)
        .foreachBatch(_batch_writer(model, start, report))
        .option("checkpointLocation", str(checkpoint))
        .trigger(**trigger)
    )
    with _starting:  # the query takes the session's settings as they are now
        # In append mode a window is written when it closes.
        session.conf.set(_CLOSING_BATCHES, json.dumps(model.output_mode == "append"))
        return writer.start()


_starting = threading.Lock()


@cache
def _live_session(spark: SparkSession) -> tuple[SparkSession, LiveListener]:
    """One session for all models, so that their settings do not reach other queries."""
    session = spark.newSession()
    listener = LiveListener(lakehouse_root())
    session.streams.addListener(listener)
    return session, listener


def stop_live(spark: SparkSession, model: LiveModel, query: StreamingQuery) -> None:
    """Stop the model's query once its running batch is done, and give the table back to dbt."""
    idle = threading.Event()
    while query.isActive and query.status["isTriggerActive"]:
        idle.wait(0.05)
    query.stop()
    let_go(spark, model)


def _batch_writer(
    model: LiveModel, start: StartPoint, report: Callable[[LiveBatch | LiveNotice], None]
) -> Callable[[DataFrame, int], None]:
    """A foreachBatch function that merges a batch's rows into the model's table."""
    from pyspark.sql import functions as F

    def write(batch: DataFrame, batch_id: int) -> None:
        started = time.monotonic()
        session = batch.sparkSession
        query_id = session.sparkContext.getLocalProperty("sql.streaming.queryId")
        if start.complete_after is not None:
            begun = F.timestamp_micros(F.lit(start.complete_after))
            batch = batch.where(F.col(model.prune_by) > begun)
        rows = batch.persist()
        try:
            written, messages = _write(
                model, rows, query_id, batch_id, replace=start.replaces and batch_id == 0
            )
        finally:
            rows.unpersist()
        seconds = round(time.monotonic() - started, 3)
        report(LiveBatch(model.name, query_id, batch_id, written, messages, seconds))

    return write


def _write(
    model: LiveModel, rows: DataFrame, query_id: str, batch_id: int, *, replace: bool
) -> tuple[int, int]:
    """Bring a batch into the model's table and its messages into the outbox; how many of each."""
    from pyspark.sql import functions as F

    extent = rows.agg(
        F.count("*").alias("rows"),
        *(F.expr(f"cast({end}({model.prune_by}) as string)").alias(end) for end in ("min", "max")),
    ).first()
    if not extent["rows"]:
        return 0, 0
    session = rows.sparkSession
    is_small = extent["rows"] <= _SMALL_ROWS
    _tune(session, is_small=is_small)
    if is_small:
        rows = session.createDataFrame(rows.toArrow(), rows.schema)
    rows.createOrReplaceTempView("batch")
    names = ", ".join(f"`{column.name}`" for column in model.columns)
    if replace:
        statement = f"insert overwrite {model.relation} ({names}) select {names} from batch"
    else:
        statement = _merge(model, extent["min"], extent["max"])
    _run(session, statement)
    # After the table, so that who hears of a row finds it.
    return extent["rows"], put_messages(rows, model, query_id, batch_id)


def _tune(session: SparkSession, *, is_small: bool) -> None:
    for name, (small, large) in _SETTINGS.items():
        value = small if is_small else large
        if value is None:
            session.conf.unset(name)
        else:
            session.conf.set(name, value)


def _merge(model: LiveModel, smallest: str, greatest: str) -> str:
    """As macros/incremental/merge_sql.sql: the target is bounded by literals of the batch."""
    kind = next(c.data_type for c in model.columns if c.name == model.prune_by)
    on = " and ".join(f"target.`{name}` <=> source.`{name}`" for name in model.unique_key)
    same = " and ".join(
        f"target.`{column.name}` <=> source.`{column.name}`"
        for column in model.columns
        if column.name not in model.unique_key
    )
    return (
        f"merge into {model.relation} as target using batch as source on {on} "
        f"and target.`{model.prune_by}` between cast('{smallest}' as {kind}) "
        f"and cast('{greatest}' as {kind}) "
        f"when matched and not ({same or 'true'}) then update set * "
        "when not matched then insert *"
    )


def _run(session: SparkSession, statement: str) -> None:
    """Run a statement, again when another commit came in between (OPTIMIZE, say)."""
    for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
        try:
            session.sql(statement)
        except Exception as error:
            if attempt == _CONFLICT_ATTEMPTS or not any(sign in str(error) for sign in _CONFLICT):
                raise
            logging.getLogger(__name__).debug("conflict, attempt %d", attempt, exc_info=error)
        else:
            return
