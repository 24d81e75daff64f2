"""Keeps the log of a table that gets a commit every few seconds from growing without bound.

Whoever looks at a table has the folder of its log listed; on a local disk each commit in it is some
50 microseconds of that (docs/decisions.md). Delta forgets by age alone, thirty days by default.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from loaders.delta_log import newest_snapshot

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A day at one commit in ten seconds.
KEPT_COMMITS = 8_640
# At any pace: what a reader, a stream or a restore may go back.
KEPT_S = 12 * 3600
# To forget is a listing and a deletion a file: not for each commit.
SURPLUS_COMMITS = 360


def trim_logs(spark: SparkSession, tables: Iterable[str]) -> str | None:
    """Trim the logs of tables that exist; what there is to say of it, None where nothing is."""
    trimmed = [table for table in tables if trim_log(spark, table)]
    return ", ".join(trimmed) or None


def trim_log(spark: SparkSession, table: str) -> bool:
    """Forget the versions before the newest KEPT_COMMITS, when they are SURPLUS_COMMITS or more.

    None is forgotten that is younger than KEPT_S.

    Delta does it as at a checkpoint, so what is left begins with one. A table whose property
    `delta.enableExpiredLogCleanup` is false keeps all.

    Returns: whether there were so many.
    """
    snapshot = newest_snapshot(spark, table)
    log = snapshot.deltaLog()
    first_kept = snapshot.version() - KEPT_COMMITS + 1
    if first_kept < SURPLUS_COMMITS or not log.enableExpiredLogCleanup(snapshot.metadata()):
        return False
    jvm = spark._jvm
    folder = log.logPath()
    files = folder.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())

    def commit(version: int) -> object:
        return jvm.org.apache.hadoop.fs.Path(folder, f"{version:020d}.json")

    def age_ms(version: int) -> int:
        at_ms = files.getFileStatus(commit(version)).getModificationTime()
        return time.time_ns() // 1_000_000 - at_ms

    surplus = first_kept - SURPLUS_COMMITS
    if not files.exists(commit(surplus)) or age_ms(surplus) < KEPT_S * 1000:
        return False
    kept_ms = max(age_ms(first_kept), KEPT_S * 1000)
    # py4j makes a small number an Integer, where Delta wants a Long.
    age = jvm.scala.collection.StringOps(str(kept_ms)).toLongOption()
    minute = jvm.org.apache.spark.sql.delta.TruncationGranularity.MINUTE()
    log.cleanUpExpiredLogs(snapshot, jvm.scala.Option.empty(), age, minute)
    return True
