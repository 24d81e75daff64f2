"""Settings of a Spark session that suit the size of a batch.

What a small batch costs is planning and compiling, not rows: a MERGE of 1,000 rows took 1.15 s
with the first of each pair and 1.5 s with the second, Spark's own; a large batch is slowed by the
first.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import SparkSession

# From so many bytes on, as they lie in files, a batch is worth compiling and replanning.
LARGE_BATCH_BYTES = 8 << 20

# name: (for a small batch, for a large one); None: Spark's own
BATCH_SETTINGS: Mapping[str, tuple[str | None, str | None]] = {
    "spark.sql.adaptive.enabled": ("false", "true"),
    "spark.sql.codegen.wholeStage": ("false", "true"),
    "spark.sql.codegen.factoryMode": ("NO_CODEGEN", "FALLBACK"),
    # A scan is a task a 128 MB, and not one a core at least: each of Delta's log, which every new
    # version costs, writes the code of its reader anew, a tenth of all CPU of small batches.
    "spark.sql.leafNodeDefaultParallelism": ("1", None),
}


def suit_batch(spark: SparkSession, size_bytes: int) -> None:
    """Set the session, which should be the batch's own, for so many bytes."""
    for name, values in BATCH_SETTINGS.items():
        put_setting(spark, name, values[size_bytes >= LARGE_BATCH_BYTES])


@contextmanager
def suited_to_batch(spark: SparkSession, size_bytes: int) -> Iterator[None]:
    """The session's settings for so many new bytes; afterwards they are what they were."""
    before = {name: spark.conf.get(name, None) for name in BATCH_SETTINGS}
    suit_batch(spark, size_bytes)
    try:
        yield
    finally:
        for name, value in before.items():
            put_setting(spark, name, value)


def put_setting(spark: SparkSession, name: str, value: str | None) -> None:
    """Set one of a session's settings; None: to what Spark was started with."""
    if value is None:
        spark.conf.unset(name)
    else:
        spark.conf.set(name, value)
