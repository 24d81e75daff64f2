"""Streaming models: each one a streaming query that keeps its table, beside the feeds.

    models = live_models(json.loads(Path("target/manifest.json").read_text()))
    query = start_live(spark, models[0], print)

A batch brings the whole new value of every window that it touches, out of the query's state, and
MERGE puts it in the place of the old one by the model's key. So a batch that is run again after a
crash writes what is there already; nothing need be remembered of it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from loaders.batch_settings import BATCH_SETTINGS, put_setting
from loaders.causes import brief_errors
from loaders.conflicts import retry_conflicts
from loaders.live_listener import LiveListener
from loaders.live_models import LiveModel, live_models
from loaders.live_start import StartPoint, settle_start
from loaders.live_tables import check_contract, contract_of, ensure_table, let_go, take
from loaders.outbox import ensure_outbox, put_messages
from loaders.session import ConfigurationError, lakehouse_root

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

__all__ = ["LiveBatch", "LiveModel", "LiveNotice", "live_models", "start_live", "stop_live"]

# No batch only to close windows: a closed window's row is written already.
_CLOSING_BATCHES = "spark.sql.streaming.noDataMicroBatches.enabled"
_PARTITIONS = "spark.sql.shuffle.partitions"
# A batch of few rows, as nearly all are: compiling and spreading the work costs more than it saves.
# Measured, a MERGE of three rows: 1.5 s with Spark's own settings, 0.95 s with these.
_SMALL_ROWS = 10_000
_SETTINGS = {
    # name: (for few rows, for many)
    **BATCH_SETTINGS,
    # Few rows are a local relation, which is the same whenever it is read.
    "spark.databricks.delta.merge.materializeSource": ("none", "auto"),
}

_LAST_BATCH_S = 10


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
        ConfigurationError: contract, table or start do not fit, or Spark cannot run the query as a
            stream; the message says what to do.
    """
    from pyspark.errors import AnalysisException

    try:
        return _start(spark, model, report, once=once)
    except AnalysisException as error:
        said = str(error).splitlines()[0]
        raise ConfigurationError(
            f"{model.name} cannot run as a stream: {said} (docs/streaming-models.md, Windows)"
        ) from error


def _start(
    spark: SparkSession,
    model: LiveModel,
    report: Callable[[LiveBatch | LiveNotice], None],
    *,
    once: bool,
) -> StreamingQuery:
    session, listener = _live_session(spark)
    checkpoint, start, notice = settle_start(session, model)
    stream = session.sql(model.streaming_sql(start.options(model)))
    check_contract(model, stream.schema)
    ensure_table(session, model)
    if model.sink:
        session.createDataFrame([], contract_of(model)).where(model.sink.when)  # does it fit?
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
        # The first batch of a query may have years of rows to read.
        _tune(session, is_small=(checkpoint / "commits" / "0").exists())
        session.conf.set(_PARTITIONS, str(model.state_partitions))
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
    """Stop the model's query once its running batch is done, and give the table back to dbt.

    A batch that takes longer than a few seconds is cut short, and run again at the next start.
    """
    idle = threading.Event()
    deadline = time.monotonic() + _LAST_BATCH_S
    while query.isActive and query.status["isTriggerActive"] and time.monotonic() < deadline:
        idle.wait(0.02)
    query.stop()
    let_go(spark, model)


def _batch_writer(
    model: LiveModel, start: StartPoint, report: Callable[[LiveBatch | LiveNotice], None]
) -> Callable[[DataFrame, int], None]:
    """A foreachBatch function that merges a batch's rows into the model's table."""
    # After a rest the first batch may have years of rows; those that follow it closely are small.
    is_first = True

    def write(batch: DataFrame, batch_id: int) -> None:
        nonlocal is_first
        with brief_errors():
            report(written(batch, batch_id))
        is_first = False

    def written(batch: DataFrame, batch_id: int) -> LiveBatch:
        started = time.monotonic()
        query_id = batch.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId")
        rows = _after(batch, model, start.complete_after)
        with _gathered(rows, model, may_be_large=is_first) as gathered:
            count, messages = _write(model, start, gathered, query_id, batch_id)
        seconds = round(time.monotonic() - started, 3)
        return LiveBatch(model.name, query_id, batch_id, count, messages, seconds)

    return write


@dataclass(frozen=True, slots=True)
class _Gathered:
    """A batch's rows, which are computed and may be read again; how many; between which times."""

    rows: DataFrame
    count: int
    smallest: str
    greatest: str


@contextmanager
def _gathered(rows: DataFrame, model: LiveModel, *, may_be_large: bool) -> Iterator[_Gathered]:
    """Compute a batch's rows: few become a local relation, in one job; many are kept by Spark."""
    from pyspark.sql import functions as F

    extent = [F.expr(f"{end}({model.prune_by})").alias(end) for end in ("min", "max")]
    kept = rows.persist() if may_be_large else rows
    try:
        if may_be_large and (count := kept.count()) > _SMALL_ROWS:
            smallest, greatest = (column[0] for column in kept.agg(*extent).toArrow().columns)
            yield _Gathered(kept, count, _wall_time(smallest), _wall_time(greatest))
            return
        table = kept.toArrow()
        ends = pc.min_max(table[model.prune_by])
        local = rows.sparkSession.createDataFrame(table, rows.schema)
        yield _Gathered(local, len(table), _wall_time(ends["min"]), _wall_time(ends["max"]))
    finally:
        if may_be_large:
            kept.unpersist()


def _wall_time(value: pa.Scalar) -> str:
    """As the session's clock shows it, which is how it reads the literals of a statement."""
    at = value.as_py()
    return str(at.replace(tzinfo=None) if isinstance(at, datetime) else at)


def _after(rows: DataFrame, model: LiveModel, micros: int | None) -> DataFrame:
    """The rows of windows that start after a moment; None: all."""
    from pyspark.sql import functions as F

    if micros is None:
        return rows
    return rows.where(F.col(model.prune_by) > F.timestamp_micros(F.lit(micros)))


def _write(
    model: LiveModel, start: StartPoint, batch: _Gathered, query_id: str, batch_id: int
) -> tuple[int, int]:
    """Bring a batch into the model's table and its messages into the outbox; how many of each."""
    if not batch.count:
        return 0, 0
    session = batch.rows.sparkSession
    _tune(session, is_small=batch.count <= _SMALL_ROWS)
    batch.rows.createOrReplaceTempView("batch")
    names = ", ".join(f"`{column.name}`" for column in model.columns)
    if start.replaces and batch_id == 0:
        statement = f"insert overwrite {model.relation} ({names}) select {names} from batch"
    else:
        statement = _merge(model, batch.smallest, batch.greatest)
    retry_conflicts(lambda: session.sql(statement))
    # After the table, so that who hears of a row finds it.
    news = _after(batch.rows, model, start.told_after)
    return batch.count, put_messages(news, model, query_id, batch_id)


def _tune(session: SparkSession, *, is_small: bool) -> None:
    for name, (small, large) in _SETTINGS.items():
        put_setting(session, name, small if is_small else large)
    cores = session.sparkContext.defaultParallelism
    session.conf.set(_PARTITIONS, "1" if is_small else str(cores))


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
