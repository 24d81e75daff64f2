"""Keeps the number of a bronze table's files bounded while micro-batches are appended to it.

Done by the loader that appends, whichever process that is, so the bound holds with cron jobs, a
service, an engine and on a cluster. OPTIMIZE never conflicts with appends, and readers and streams
keep the version that they read.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from loaders.conflicts import is_conflict
from loaders.delta_log import file_count_and_bytes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# A table of S bytes may have S / FULL_FILE_BYTES full files, and so many others.
FULL_FILE_BYTES = 128 << 20
SMALL_FILES = 32
# Batches between two looks. A batch adds a file per core at most, so that up to 8 of them keep the
# table below 64.
CHECK_EVERY = 4
# Small files are first made into files of this size, and these, when they are too many, into full
# ones: rewriting all that is not full every time would write each byte hundreds of times.
FIRST_STEP_BYTES = 8 << 20

_CUBE = "spark.databricks.delta.optimize.clustering.mergeStrategy.minCubeSize.threshold"
_FILE = "spark.databricks.delta.optimize.maxFileSize"

_busy: set[str] = set()
_lock = threading.Lock()


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
