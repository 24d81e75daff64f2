"""Bronze tables: idempotent append, ledger, quarantine.

Every record that a source hands over ends in the feed's bronze table or in bronze.quarantine,
once, whatever is killed or redelivered; bronze.ledger says of every object what became of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

LEDGER = "bronze.ledger"
QUARANTINE = "bronze.quarantine"

BRONZE_OBJECT_COLUMNS = """
    data string, _bucket string, _key string, _version string, _ordinal bigint,
    _modified_at timestamp, _batch_id bigint, _ingested_at timestamp
"""
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
# Literals of the longest list that is pushed down to the ledger in one predicate.
_MAX_IN_LIST = 2000


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What one batch did. `batch_id` is the number in the bronze table."""

    feed: str
    batch_id: int
    objects: int
    size_bytes: int
    received: int
    kept: int
    duplicates: int
    quarantined: int
    seconds: float


def ensure_tables(spark: SparkSession, table: str) -> None:
    """Create a feed's bronze table, the ledger and the quarantine where they do not exist.

    With its location named, a table whose files are there and whose entry in the metastore is
    lost is registered again (Delta refuses that to a table without one).
    """
    schema = spark.sql("describe schema bronze").where("info_name = 'Location'").first()
    for name, columns, clustered_by in (
        (table, BRONZE_OBJECT_COLUMNS, "_batch_id"),
        (LEDGER.removeprefix("bronze."), LEDGER_COLUMNS, "feed, item"),
        (QUARANTINE.removeprefix("bronze."), QUARANTINE_COLUMNS, "feed, batch_id"),
    ):
        spark.sql(
            f"create table if not exists bronze.{name} ({columns}) using delta "
            f"cluster by ({clustered_by}) location '{schema['info_value']}/{name.lower()}'"
        )


def batch_writer(
    feed: str, table: str, report: Callable[[BatchReport], None]
) -> Callable[[DataFrame, int], None]:
    """A foreachBatch function that appends the rows of RecordRows to bronze.

    The rows carry `_ingested_at` besides, the batch's planning time, which Spark's offset log
    keeps, so that a replay writes the same rows.

    The order of the writes is bronze, quarantine, ledger. Each is skipped by Delta when this
    query's batch is in it already (txnAppId, txnVersion), so a batch that was cut short is
    completed by its replay. Objects that another query or an earlier batch has in the ledger
    are duplicates: counted, not appended.
    """
    first_batch_id: int | None = None

    def write(batch: DataFrame, spark_batch_id: int) -> None:
        nonlocal first_batch_id
        started = time.monotonic()
        session = batch.sparkSession
        query_id = session.sparkContext.getLocalProperty("sql.streaming.queryId")
        if first_batch_id is None:
            first_batch_id = next_batch_id(session, feed, query_id)
        batch_id = first_batch_id + spark_batch_id
        batch.persist()
        try:
            counted = _append(batch, batch_id, query_id, spark_batch_id, feed, table)
        finally:
            batch.unpersist()
        report(BatchReport(feed, batch_id, *counted, seconds=round(time.monotonic() - started, 3)))

    return write


def next_batch_id(spark: SparkSession, feed: str, query_id: str) -> int:
    """The bronze batch number of a query's batch 0: after everything other queries wrote.

    The query's own batches are left out, so that a restarted query goes on with its numbering.
    """
    from pyspark.sql import functions as F

    others = spark.table(LEDGER).where((F.col("feed") == feed) & (F.col("query_id") != query_id))
    return others.agg(F.coalesce(F.max("batch_id"), F.lit(-1)) + 1).first()[0]


def _append(
    batch: DataFrame, batch_id: int, query_id: str, spark_batch_id: int, feed: str, table: str
) -> tuple[int, int, int, int, int, int]:
    from pyspark.sql import functions as F

    spark = batch.sparkSession
    objects = _objects(batch)
    known = _known_objects(spark, feed, batch_id, objects)

    def append(rows: DataFrame, name: str) -> None:
        append_idempotently(rows, name, query_id, spark_batch_id)

    fresh = batch
    if known:
        identity = F.struct("bucket", "key", "version")
        fresh = batch.where(
            ~identity.isin([F.struct(*(F.lit(part) for part in item)) for item in known])
        )
    entries = [_ledger_entry(row, _identity(row) in known) for row in objects]
    kept, duplicates, quarantined = (
        sum(entry[field] for entry in entries) for field in ("kept", "duplicates", "quarantined")
    )
    if kept:
        append(
            fresh.where("data is not null").select(
                "data",
                F.col("bucket").alias("_bucket"),
                F.col("key").alias("_key"),
                F.col("version").alias("_version"),
                F.col("ordinal").alias("_ordinal"),
                F.col("modified_at").alias("_modified_at"),
                F.lit(batch_id).cast("bigint").alias("_batch_id"),
                "_ingested_at",
            ),
            f"bronze.{table}",
        )
    if quarantined:
        append(
            fresh.where("error is not null").select(
                F.lit(feed).alias("feed"),
                F.lit(batch_id).cast("bigint").alias("batch_id"),
                F.col("bucket").alias("container"),
                F.col("key").alias("item"),
                "version",
                "ordinal",
                "offset_bytes",
                F.col("error").alias("reason"),
                "raw",
                F.col("_ingested_at").alias("ingested_at"),
            ),
            QUARANTINE,
        )
    ledger = [
        {**entry, "feed": feed, "batch_id": batch_id, "query_id": query_id} for entry in entries
    ]
    append(spark.createDataFrame(ledger, LEDGER_COLUMNS), LEDGER)
    received = sum(entry["received"] for entry in entries)
    size = sum(entry["size_bytes"] for entry in entries)
    return len(entries), size, received, kept, duplicates, quarantined


def append_idempotently(rows: DataFrame, name: str, query_id: str, spark_batch_id: int) -> None:
    """Append to a Delta table, unless this batch of this query is in it already."""
    (
        rows.write.format("delta")
        .mode("append")
        .option("txnAppId", query_id)
        .option("txnVersion", spark_batch_id)
        .saveAsTable(name)
    )


def _objects(batch: DataFrame) -> list[Row]:
    """One row per object of the batch: what its reader counted."""
    from pyspark.sql import functions as F

    return (
        batch.groupBy("bucket", "key", "version")
        .agg(
            F.max("size_bytes").alias("size_bytes"),
            F.max("modified_at").alias("modified_at"),
            F.max("_ingested_at").alias("ingested_at"),
            F.sum("received").alias("received"),
            F.count("error").alias("errors"),
            F.min("ordinal").alias("first"),
            F.max("ordinal").alias("last"),
        )
        .collect()
    )


def _identity(row: Row) -> tuple[str, str, str]:
    return (row["bucket"], row["key"], row["version"])


def _known_objects(
    spark: SparkSession, feed: str, batch_id: int, objects: Iterable[Row]
) -> set[tuple[str, str, str]]:
    """Those of the objects that another batch of the feed has in the ledger."""
    from pyspark.sql import functions as F

    keys = sorted({row["key"] for row in objects})
    found: set[tuple[str, str, str]] = set()
    for at in range(0, len(keys), _MAX_IN_LIST):
        rows = (
            spark.table(LEDGER)
            .where((F.col("feed") == feed) & (F.col("batch_id") != batch_id))
            .where(F.col("item").isin(keys[at : at + _MAX_IN_LIST]))
            .select("container", "item", "version")
            .collect()
        )
        found |= {tuple(row) for row in rows}
    return found & {_identity(row) for row in objects}


def _ledger_entry(row: Row, is_duplicate: bool) -> dict[str, object]:
    received, errors = row["received"], row["errors"]
    first: int | None = row["first"]
    last: int | None = row["last"]
    modified_at: datetime = row["modified_at"]
    return {
        "container": row["bucket"],
        "item": row["key"],
        "version": row["version"],
        "size_bytes": row["size_bytes"],
        "modified_at": modified_at,
        "received": received,
        "kept": 0 if is_duplicate else received - errors,
        "duplicates": received if is_duplicate else 0,
        "quarantined": 0 if is_duplicate else errors,
        "first_position": None if first is None else str(first),
        "last_position": None if last is None else str(last),
        "ingested_at": row["ingested_at"],
    }
