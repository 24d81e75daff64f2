"""Files, log and reading of a bronze table after many micro-batches: python -m bench small_files.

SMALL_FILES_BATCHES says how many, by default the goal's 10,000 (Ctrl-C: measure what is there); the
batches are small, so that appending is all they cost. The table is read as they leave it and once
more when it is compacted; what a compacted copy is read quicker by is the table's log.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import outcome

TABLE = "bronze.small_files"
BATCHES, ROWS = 10_000, 50
READS = 7
# Times the seconds that it takes when compacted.
READING = 1.5


def main() -> None:
    """Print files and their bound, reading against a compacted copy, and the cost of appending."""
    batches = int(os.environ.get("SMALL_FILES_BATCHES") or BATCHES)
    with tempfile.TemporaryDirectory(prefix="bench-small-files-") as folder:
        os.environ["LAKEHOUSE_ROOT"] = folder
        rows = _run(batches, Path(folder))
    table = Table("measure", title=f"{batches:,} micro-batches of {ROWS} records", box=SIMPLE)
    table.add_column("value", justify="right")
    table.add_column("goal", justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _run(batches: int, root: Path) -> list[tuple[str, ...]]:
    from loaders.batch_settings import suit_batch
    from loaders.bronze import append_idempotently, ensure_tables
    from loaders.compaction import FULL_FILE_BYTES, compact_if_fragmented, looked_at
    from loaders.destinations import OneTable
    from loaders.kinds import kind_of
    from loaders.log_trimming import SURPLUS_COMMITS, trim_log
    from loaders.session import get_spark

    spark = get_spark(resident=True)
    ensure_tables(
        spark,
        OneTable(TABLE.removeprefix("bronze.")),
        kind_of("cloudFiles", allow_overwrites=False),
    )
    # streams of an engine have a session of their own, with what suits a small batch
    batches_session = spark.newSession()
    suit_batch(batches_session, 0)
    seconds, most = [], 0
    console = Console(stderr=True)
    stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stopped.set())  # in place of PySpark's
    for batch in range(batches):
        if stopped.is_set():
            break
        started = time.perf_counter()
        append_idempotently(_records(batches_session, batch), TABLE, "bench", batch)
        appended = time.perf_counter()
        for table in looked_at(batches_session, [TABLE], batch):
            compact_if_fragmented(batches_session, table)
        if batch % SURPLUS_COMMITS == 0:
            trim_log(batches_session, TABLE)
        seconds.append((appended - started, time.perf_counter() - appended))
        if batch % 50 == 43:  # just before a look at the files
            files, _ = _detail(spark, TABLE)
            most = max(most, files)
            recent = statistics.median(map(sum, seconds[-50:]))
            console.print(
                f"{batch + 1:,} batches, {files} files, {recent:.2f} s a batch", style="dim"
            )
    batches = len(seconds)
    files, size = _detail(spark, TABLE)
    log = list((root / "warehouse/bronze.db/small_files/_delta_log").iterdir())
    fresh = f"{TABLE}_compacted"
    spark.sql(f"create table {fresh} using delta cluster by (_batch_id) as select * from {TABLE}")
    spark.sql(f"optimize {fresh} full")
    scattered, copy = _reading(spark, fresh)
    spark.sql(f"optimize {TABLE} full")
    compacted, _ = _reading(spark, fresh)
    tenth = max(1, batches // 10)
    first, last = (
        statistics.median(append for append, _ in part)
        for part in (seconds[tenth : 2 * tenth] or seconds, seconds[-tenth:])
    )
    bound = 64 + size // FULL_FILE_BYTES
    most = max(most, files)
    spark.stop()
    return [
        ("batches", f"{batches:,}", f"≥ {BATCHES:,}", outcome(batches, BATCHES, at_least=True)),
        ("files at the end", f"{files}", f"≤ {bound}", outcome(files, bound)),
        ("most files seen", f"{most}", f"≤ {bound}", outcome(most, bound)),
        ("bytes", f"{size:,}"),
        ("files of the log", f"{len(log):,}"),
        (
            "reading, of the table when compacted",
            f"{scattered / compacted:.2f} ({scattered:.2f} s, {compacted:.2f} s)",
            f"≤ {READING:g}",
            outcome(scattered / compacted, READING),
        ),
        (
            "reading, of a compacted copy with a log of one commit",
            f"{scattered / copy:.2f} ({copy:.2f} s)",
        ),
        ("append, median of the second tenth", f"{first:.3f} s"),
        ("append, median of the last tenth", f"{last:.3f} s"),
        (
            "of the time for compaction",
            f"{sum(c for _, c in seconds) / sum(map(sum, seconds)):.0%}",
        ),
    ]


def _records(spark: Any, batch: int) -> Any:
    return spark.sql(f"""
        select
            to_json(named_struct('id', uuid(), 'batch', {batch}, 'value', rand())) as data,
            'bench' as _bucket,
            'objects/{batch:08d}.json' as _key,
            'v1' as _version,
            id as _ordinal,
            timestamp'2024-01-01' + make_dt_interval(0, 0, 0, {batch}) as _modified_at,
            cast({batch} as bigint) as _batch_id,
            timestamp'2024-01-01' + make_dt_interval(0, 0, 0, {batch}) as _ingested_at
        from range({ROWS})
    """).coalesce(1)


def _detail(spark: Any, table: str) -> tuple[int, int]:
    row = spark.sql(f"describe detail {table}").first()
    return row["numFiles"], row["sizeInBytes"]


def _reading(spark: Any, fresh: str) -> tuple[float, float]:
    """Median seconds of reading every value of the table and of its copy, in turns."""

    def read(table: str) -> float:
        started = time.perf_counter()
        spark.sql(
            f"select count(*), max(length(data)), max(_key), max(_ordinal) from {table}"
        ).collect()
        return time.perf_counter() - started

    for table in (TABLE, fresh) * 3:
        read(table)
    pairs = [(read(TABLE), read(fresh)) for _ in range(READS)]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return ours, theirs


if __name__ == "__main__":
    main()
