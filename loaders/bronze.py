"""Bronze tables: idempotent append, ledger, quarantine.

Every record that a source hands over ends in the feed's bronze table or in bronze.quarantine,
once, whatever is killed or redelivered; bronze.ledger says of every object what became of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loaders.counting import Counting
from loaders.destinations import Destination, OneTable
from loaders.kinds import Kind

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LEDGER = "bronze.ledger"
QUARANTINE = "bronze.quarantine"

LEDGER_COLUMNS = """
    feed string, batch_id bigint, container string, item string, version string,
    size_bytes bigint, modified_at timestamp, received bigint, kept bigint, duplicates bigint,
    quarantined bigint, first_position string, last_position string, query_id string,
    ingested_at timestamp
"""
QUARANTINE_COLUMNS = """
    feed string, batch_id bigint, container string, item string, version string,
    ordinal bigint, offset_bytes bigint, reason string, raw binary, ingested_at timestamp
"""


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one batch did.

    `batch_id` is its number in the bronze table, `query_batch_id` that in its query; `objects`
    counts the objects, or shards, that it has records of.
    """

    feed: str
    batch_id: int
    query_id: str
    query_batch_id: int
    objects: int
    size_bytes: int
    received: int
    kept: int
    duplicates: int
    quarantined: int
    seconds: float


def ensure_tables(spark: SparkSession, destination: Destination, kind: Kind) -> None:
    """Create a feed's bronze tables, the ledger and the quarantine where they do not exist.

    With its location named, a table whose files are there and whose entry in the metastore is
    lost is registered again (Delta refuses that to a table without one).
    """
    wanted = dict.fromkeys(destination.tables, (kind.columns, "_batch_id")) | {
        LEDGER.removeprefix("bronze."): (LEDGER_COLUMNS, "feed, item"),
        QUARANTINE.removeprefix("bronze."): (QUARANTINE_COLUMNS, "feed, batch_id"),
    }
    # A statement for a table that is there would read its log.
    there = {table.name.lower() for table in spark.catalog.listTables("bronze")}
    missing = [name for name in wanted if name.lower() not in there]
    if not missing:
        return
    schema = spark.sql("describe schema bronze").where("info_name = 'Location'").first()
    for name in missing:
        columns, clustered_by = wanted[name]
        spark.sql(
            f"create table if not exists bronze.{name} ({columns}) using delta "
            f"cluster by ({clustered_by}) location '{schema['info_value']}/{name.lower()}'"
        )


def batch_writer(
    feed: str,
    destination: Destination,
    kind: Kind,
    checkpoint: Path,
    report: Callable[[BatchReport], None],
) -> Callable[[DataFrame, int], None]:
    """A foreachBatch function that appends the rows of a source to bronze.

    The rows carry `_ingested_at` besides, the batch's planning time, which Spark's offset log
    keeps, so that a replay writes the same rows. `checkpoint` is the query's own.

    The order of the writes is bronze, quarantine, ledger. Each is skipped by Delta when this
    query's batch is in it already (txnAppId, txnVersion), so a batch that was cut short is
    completed by its replay. What another query or an earlier batch has in the ledger is a
    duplicate: counted, not appended.
    """
    first_batch_id: int | None = None

    def write(batch: DataFrame, spark_batch_id: int) -> None:
        nonlocal first_batch_id
        started = time.monotonic()
        session = batch.sparkSession
        query_id = session.sparkContext.getLocalProperty("sql.streaming.queryId")
        is_first = first_batch_id is None  # and so may be a replay
        if first_batch_id is None:
            first_batch_id = next_batch_id(session, feed, query_id)
        numbers = (first_batch_id + spark_batch_id, query_id, spark_batch_id)
        is_written = (
            is_first
            and isinstance(destination, OneTable)
            and spark_batch_id <= last_written(session, destination.tables[0], query_id)
        )
        offset = logged_offset(checkpoint, spark_batch_id)
        is_held = destination.reads_often
        counting = kind.counting(kind.received(batch), offset, is_held=is_held)
        try:
            counted = _append(counting, kind, feed, destination, *numbers, is_written=is_written)
        finally:
            counting.close()
        seconds = round(time.monotonic() - started, 3)
        report(BatchReport(feed, *numbers, *counted, seconds=seconds))

    return write


def logged_offset(checkpoint: Path, spark_batch_id: int) -> dict[str, Any]:
    """Where a batch ends, as its only source said it: Spark's offset log has a line a source."""
    return json.loads((checkpoint / "offsets" / str(spark_batch_id)).read_text().splitlines()[-1])


def last_written(spark: SparkSession, table: str, query_id: str) -> int:
    """The query's last batch that Delta has in the bronze table; -1 where there is none."""
    session = spark._jsparkSession
    name = session.sessionState().sqlParser().parseTableIdentifier(f"bronze.{table}")
    log = spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(session, name)
    none = spark._jvm.scala.Option.empty()
    found = log.update(False, none, none).transactions().get(query_id)
    return found.get() if found.isDefined() else -1


def next_batch_id(spark: SparkSession, feed: str, query_id: str) -> int:
    """The bronze batch number of a query's batch 0: after everything other queries wrote.

    The query's own batches are left out, so that a restarted query goes on with its numbering.
    """
    from pyspark.sql import functions as F

    others = spark.table(LEDGER).where((F.col("feed") == feed) & (F.col("query_id") != query_id))
    return others.agg(F.coalesce(F.max("batch_id"), F.lit(-1)) + 1).first()[0]


def _append(
    counting: Counting,
    kind: Kind,
    feed: str,
    destination: Destination,
    batch_id: int,
    query_id: str,
    spark_batch_id: int,
    *,
    is_written: bool,
) -> tuple[int, int, int, int, int, int]:
    from pyspark.sql import functions as F

    spark = counting.rows.sparkSession

    def append(rows: DataFrame, name: str) -> None:
        append_idempotently(rows, name, query_id, spark_batch_id)

    others = spark.table(LEDGER).where((F.col("feed") == feed) & (F.col("batch_id") != batch_id))
    known = kind.known(others, counting.items)
    fresh = kind.without(counting.rows, known) if known else counting.rows
    numbered = fresh.withColumn("_batch_id", F.lit(batch_id).cast("bigint"))
    writes = not is_written and counting.may_keep(known)
    if writes:
        columns = spark.table(f"bronze.{destination.tables[0]}").columns
        destination.append(numbered.where("data is not null").select(columns), append)
    entries = counting.entries(known, is_written=writes)
    size, count, kept, duplicates, quarantined = (
        sum(entry[name] for entry in entries)
        for name in ("size_bytes", "received", "kept", "duplicates", "quarantined")
    )
    if quarantined:
        append(
            numbered.where("error is not null").select(
                F.lit(feed).alias("feed"),
                F.col("_batch_id").alias("batch_id"),
                *("container", "item", "version", "ordinal", "offset_bytes"),
                F.col("error").alias("reason"),
                "raw",
                F.col("_ingested_at").alias("ingested_at"),
            ),
            QUARANTINE,
        )
    common = {"feed": feed, "batch_id": batch_id, "query_id": query_id}
    # A batch without any item has a row all the same: the ledger's batches have no gaps.
    rows = [common | entry for entry in entries or [_NOTHING | {"ingested_at": datetime.now(UTC)}]]
    append(spark.createDataFrame(rows, LEDGER_COLUMNS), LEDGER)
    return len(entries), size, count, kept, duplicates, quarantined


def append_idempotently(rows: DataFrame, name: str, query_id: str, spark_batch_id: int) -> None:
    """Append to a Delta table, unless this batch of this query is in it already."""
    (
        rows.write.format("delta")
        .mode("append")
        .option("txnAppId", query_id)
        .option("txnVersion", spark_batch_id)
        .saveAsTable(name)
    )


# What the row of a batch without items has.
_NOTHING = (
    dict.fromkeys(("container", "item", "version"), "")
    | dict.fromkeys(("modified_at", "first_position", "last_position"))
    | dict.fromkeys(("size_bytes", "received", "kept", "duplicates", "quarantined"), 0)
)
