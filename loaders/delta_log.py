"""What Delta knows of a table without reading its rows, by way of the JVM.

Each commit leaves a summary beside it, so that these answers need no Spark job; where there is no
summary Delta goes through its log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def last_transaction(spark: SparkSession, table: str, application: str) -> int:
    """The greatest txnVersion that the application has written; -1 where there is none."""
    snapshot = newest_snapshot(spark, table)
    known = snapshot.setTransactionsIfKnown()
    found = known.get() if known.isDefined() else snapshot.setTransactions()
    versions = {found.apply(at).appId(): found.apply(at).version() for at in range(found.size())}
    return versions.get(application, -1)


def file_count_and_bytes(spark: SparkSession, table: str) -> tuple[int, int]:
    """How many files the table's newest version has, and how many bytes they hold."""
    snapshot = newest_snapshot(spark, table)
    files, size = snapshot.numOfFilesIfKnown(), snapshot.sizeInBytesIfKnown()
    return (
        files.get() if files.isDefined() else snapshot.numOfFiles(),
        size.get() if size.isDefined() else snapshot.sizeInBytes(),
    )


def newest_snapshot(spark: SparkSession, table: str) -> Any:
    """Delta's own object (JVM) of the table as it is now."""
    session = spark._jsparkSession
    identifier = session.sessionState().sqlParser().parseTableIdentifier(table)
    log = spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(session, identifier)
    none = spark._jvm.scala.Option.empty()
    return log.update(False, none, none)
