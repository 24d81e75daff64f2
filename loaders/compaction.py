"""Keeps the number of a bronze table's files bounded while micro-batches are appended to it.

Done by the loader that appends, whichever process that is, so the bound holds with cron jobs, a
service, an engine and on a cluster. OPTIMIZE never conflicts with appends, and readers and streams
keep the version that they read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from loaders.conflicts import is_conflict
from loaders.delta_log import file_count_and_bytes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A table of S bytes may have S / FULL_FILE_BYTES full files, and so many others.
FULL_FILE_BYTES = 128 << 20
SMALL_FILES = 32
# A look costs some 60 ms. No more batches than this between two of them.
_MOST_BATCHES = 4
# Small files are first made into files of this size, and these, when they are too many, into full
# ones: rewriting all that is not full every time would write each byte hundreds of times.
FIRST_STEP_BYTES = 8 << 20

_CUBE = "spark.databricks.delta.optimize.clustering.mergeStrategy.minCubeSize.threshold"
_FILE = "spark.databricks.delta.optimize.maxFileSize"

_busy: set[str] = set()
_lock = threading.Lock()


def looked_at(spark: SparkSession, tables: Sequence[str], batch: int) -> Sequence[str]:
    """Which of the tables are to be looked at after a batch, as many of them after each.

    Batch: counted by whoever appends. One adds a file per core at most.
    """
    # Sources cut a batch by the cores of this machine, Spark a list by those of the cluster.
    cores = max(os.cpu_count() or 1, spark.sparkContext.defaultParallelism)
    every = batches_between_looks(cores)
    return tables[batch % every :: every]


def batches_between_looks(files: int) -> int:
    """After how many batches of so many files each a table is looked at again.

    Together they have no more than SMALL_FILES files, but for a single batch that has more.
    """
    return max(1, min(_MOST_BATCHES, SMALL_FILES // files))


def surplus_files(spark: SparkSession, table: str) -> int:
    """How many files the table has beyond those that its size needs; reads no data."""
    files, size = file_count_and_bytes(spark, table)
    return files - size // FULL_FILE_BYTES


def compact_if_fragmented(spark: SparkSession, table: str) -> None:
    """Compact the table where it has more than SMALL_FILES files beyond those it needs.

    Leaves it to another writer who is at it. Sets what it needs in the given session.
    """
    with _lock:
        if table in _busy:
            return
        _busy.add(table)
    try:
        for step in (FIRST_STEP_BYTES, FULL_FILE_BYTES):
            if surplus_files(spark, table) <= SMALL_FILES:
                return
            spark.conf.set(_CUBE, step)
            spark.conf.set(_FILE, 2 * step)  # files are at least half of it
            spark.sql(f"optimize {table}")
    except Exception as error:
        if not is_conflict(error):
            raise
    finally:
        with _lock:
            _busy.discard(table)
