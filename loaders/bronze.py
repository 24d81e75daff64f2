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
from functools import reduce
from operator import and_
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loaders.batch_settings import suit_batch
from loaders.causes import brief_errors
from loaders.compaction import compact_if_fragmented, looked_at
from loaders.counting import Counting
from loaders.delta_log import last_transaction
from loaders.destinations import Append, Destination, OneTable
from loaders.gate import Gate
from loaders.kinds import Kind
from loaders.log_trimming import SURPLUS_COMMITS, trim_logs
from loaders.session import in_threads
from loaders.table_folders import clear_empty_folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LEDGER = "bronze.ledger"
QUARANTINE = "bronze.quarantine"
# Which columns' least and greatest values the log tells.
STATISTICS = "delta.dataSkippingStatsColumns"

# What has to see every row of a bronze table, such as a delete, runs while none is appended.
APPENDS = Gate()

LEDGER_COLUMNS = """
    feed string, batch_id bigint, container string, item string, version string,
    size_bytes bigint, modified_at timestamp, received bigint, kept bigint, duplicates bigint,
    quarantined bigint, first_position string, last_position string, query_id string,
    ingested_at timestamp
"""
QUARANTINE_COLUMNS = """
    feed string, batch_id bigint, container string, item string, version string,
    ordinal bigint, offset_bytes bigint, reason string, raw binary, modified_at timestamp,
    partition_key string, ingested_at timestamp
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
    counted = f"tblproperties ('{STATISTICS}' = '{','.join(kind.counted_columns)}')"
    layout = (kind.columns, ", ".join(kind.layout.clustered_by), counted)
    wanted = dict.fromkeys(destination.tables, layout) | {
        LEDGER.removeprefix("bronze."): (LEDGER_COLUMNS, "feed, item", ""),
        QUARANTINE.removeprefix("bronze."): (QUARANTINE_COLUMNS, "feed, batch_id", ""),
    }
    # A statement for a table that is there would read its log.
    there = {row["tableName"] for row in spark.sql("show tables in bronze").collect()}
    missing = [name for name in wanted if name.lower() not in there]
    if not missing:
        return
    schema = spark.sql("describe schema bronze").where("info_name = 'Location'").first()

    def create(name: str) -> None:
        columns, clustered_by, properties = wanted[name]
        folder = f"{schema['info_value']}/{name.lower()}"
        clear_empty_folder(spark, folder)
        spark.sql(
            f"create table if not exists bronze.{name} ({columns}) using delta "
            f"cluster by ({clustered_by}) location '{folder}' {properties}"
        )

    in_threads(spark, create, missing)


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

    The order of the writes is bronze, quarantine, ledger. Each is left out when this query's batch
    is in it already, so a batch that was cut short is completed by its replay. What another query
    has in the ledger is a duplicate: counted, not appended. (What the query itself has loaded, its
    source does not give again.)
    """
    first_batch_id: int | None = None
    begun = begun_batches(checkpoint)

    @brief_errors()
    def write(batch: DataFrame, spark_batch_id: int) -> None:
        nonlocal first_batch_id
        started = time.monotonic()
        session = batch.sparkSession
        query_id = session.sparkContext.getLocalProperty("sql.streaming.queryId")
        if first_batch_id is None:
            first_batch_id = next_batch_id(session, feed, query_id)
        numbers = (first_batch_id + spark_batch_id, query_id, spark_batch_id)
        offset = logged_offset(checkpoint, spark_batch_id)
        suit_batch(session, kind.size_bytes(offset))
        counting = kind.counting(kind.received(batch), offset)
        others = _of_other_batches(session, feed, numbers[0]) if first_batch_id else None
        is_replay = spark_batch_id in begun
        written = _written(session, destination, *numbers) if is_replay else frozenset()
        append_to = _appending(destination, kind, is_replay=is_replay, numbers=numbers)
        try:
            counted = _append(
                counting, kind, others, written, feed, destination, append_to, *numbers
            )
        finally:
            counting.close()
        tables = (*(f"bronze.{table}" for table in destination.tables), LEDGER, QUARANTINE)
        for name in looked_at(session, tables, numbers[0]):
            compact_if_fragmented(session, name)
        if numbers[0] % SURPLUS_COMMITS == 0:
            trim_logs(session, tables)
        seconds = round(time.monotonic() - started, 3)
        report(BatchReport(feed, *numbers, *counted, seconds=seconds))

    return write


def begun_batches(checkpoint: Path) -> set[int]:
    """Numbers of the query's batches that Spark has planned and not completed: it repeats them."""

    def numbers(folder: str) -> set[int]:
        names = (path.name for path in (checkpoint / folder).glob("*"))
        return {int(name) for name in names if name.isdigit()}

    return numbers("offsets") - numbers("commits")


def logged_offset(checkpoint: Path, spark_batch_id: int) -> dict[str, Any]:
    """Where a batch ends, as its only source said it: Spark's offset log has a line a source."""
    return json.loads((checkpoint / "offsets" / str(spark_batch_id)).read_text().splitlines()[-1])


def _of_other_batches(spark: SparkSession, feed: str, batch_id: int) -> DataFrame:
    from pyspark.sql import functions as F

    return spark.table(LEDGER).where((F.col("feed") == feed) & (F.col("batch_id") != batch_id))


def _written(
    spark: SparkSession,
    destination: Destination,
    batch_id: int,
    query_id: str,
    spark_batch_id: int,
) -> frozenset[str]:
    """Which of the bronze table and the ledger have the query's batch.

    Of several tables the appends find out.
    """
    from pyspark.sql import functions as F

    entries = spark.table(LEDGER).where(
        (F.col("query_id") == query_id) & (F.col("batch_id") == batch_id)
    )
    in_ledger = {LEDGER} if not entries.isEmpty() else set()
    in_bronze = {
        table
        for table in destination.tables
        if isinstance(destination, OneTable)
        and spark_batch_id <= last_transaction(spark, f"bronze.{table}", query_id)
    }
    return frozenset(in_ledger | in_bronze)


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
    others: DataFrame | None,
    written: frozenset[str],
    feed: str,
    destination: Destination,
    append_to: Append,
    batch_id: int,
    query_id: str,
    spark_batch_id: int,
) -> tuple[int, int, int, int, int, int]:
    """others: the ledger's rows of batches that may have items of this one; None: there are none.

    written: the tables that have the batch.
    """
    from pyspark.sql import functions as F

    spark = counting.rows.sparkSession
    known = [] if others is None else kind.known(others, counting.items)
    fresh = kind.without(counting.rows, known) if known else counting.rows
    numbered = fresh.withColumn("_batch_id", F.lit(batch_id).cast("bigint"))
    is_written = destination.tables[0] not in written and counting.may_keep(known)
    if is_written:
        columns = spark.table(f"bronze.{destination.tables[0]}").columns
        destination.append(kind.stored(numbered.where("data is not null"), columns), append_to)
    entries = counting.entries(known, is_written=is_written)
    size, count, kept, duplicates, quarantined = (
        sum(entry[name] for entry in entries)
        for name in ("size_bytes", "received", "kept", "duplicates", "quarantined")
    )
    if quarantined:
        bad = numbered.where("error is not null").select(
            F.lit(feed).alias("feed"),
            F.col("_batch_id").alias("batch_id"),
            *("container", "item", "version", "ordinal", "offset_bytes"),
            F.col("error").alias("reason"),
            *("raw", "modified_at", "partition_key"),
            F.col("_ingested_at").alias("ingested_at"),
        )
        append_idempotently(bad, QUARANTINE, query_id, spark_batch_id)
    if LEDGER not in written:
        common = {"feed": feed, "batch_id": batch_id, "query_id": query_id}
        # A batch without any item has a row all the same: the ledger's batches have no gaps.
        entries_or_none = entries or [_NOTHING | {"ingested_at": datetime.now(UTC)}]
        rows = [common | entry for entry in entries_or_none]
        append(spark.createDataFrame(rows, LEDGER_COLUMNS), LEDGER)
    return len(entries), size, count, kept, duplicates, quarantined


def _appending(
    destination: Destination, kind: Kind, *, is_replay: bool, numbers: tuple[int, str, int]
) -> Append:
    """How a batch's rows are appended to each of its tables, once.

    Into many tables each append without Delta's own check: the few batches that are replayed look
    for their rows instead.
    """
    batch_id, query_id, spark_batch_id = numbers

    def missing(rows: DataFrame, name: str) -> None:
        append_missing(rows, name, kind, batch_id)

    if isinstance(destination, OneTable):
        return lambda rows, name: append_idempotently(rows, name, query_id, spark_batch_id)
    return missing if is_replay else append


def append_missing(rows: DataFrame, name: str, kind: Kind, batch_id: int) -> None:
    """Append the rows of a batch that are not in the table, by where they came from."""
    from pyspark.sql import functions as F

    there = rows.sparkSession.table(name).where(F.col("_batch_id") == batch_id)
    columns = [part.split()[0] for part in kind.provenance.split(",")]
    same = reduce(and_, (rows[column].eqNullSafe(there[column]) for column in columns))
    missing = rows.join(there, same, "left_anti")
    if not missing.isEmpty():
        append(missing, name)


def append_idempotently(rows: DataFrame, name: str, query_id: str, spark_batch_id: int) -> None:
    """Append to a Delta table, unless this batch of this query is in it already.

    Delta looks through its whole log for that, which doubles the time of a small append.
    """
    # A quarantine of an earlier version lacks columns.
    merged = {"mergeSchema": True} if name == QUARANTINE else {}
    append(rows, name, txnAppId=query_id, txnVersion=spark_batch_id, **merged)


def append(rows: DataFrame, name: str, **options: Any) -> None:
    """Append to a Delta table."""
    with APPENDS.passing():
        rows.write.format("delta").mode("append").options(**options).saveAsTable(name)


# What the row of a batch without items has.
_NOTHING = (
    dict.fromkeys(("container", "item", "version"), "")
    | dict.fromkeys(("modified_at", "first_position", "last_position"))
    | dict.fromkeys(("size_bytes", "received", "kept", "duplicates", "quarantined"), 0)
)
