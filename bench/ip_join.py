"""python -m bench ip_join: addresses located by a million ranges, rows a second.

The look-up of silver.cdn_logs (macro ip_lookup) against the same by a plain BETWEEN on a sample,
since the latter is a nested loop. Ranges and addresses are drawn by a seed; all addresses differ.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.measure import outcome
from loaders.session import PROJECT_ROOT, get_spark

RANGES = 1_000_000
ADDRESSES = 2_000_000
SAMPLE = 2_000  # addresses of the nested loop
GOAL = 200_000  # addresses a second


def main() -> None:
    """Print how long it took, in a lakehouse of its own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LAKEHOUSE_ROOT"] = folder
        os.environ["DBT_TARGET_PATH"] = f"{folder}/target"
        os.environ["DBT_LOG_PATH"] = f"{folder}/logs"
        spark = get_spark()
        try:
            _measure(spark, Path(folder))
        finally:
            spark.stop()


def _measure(spark: Any, folder: Path) -> None:
    _write_ranges(spark, folder)
    _dbt("run", "--select", "+ip_ranges")
    _write_addresses(spark, folder)
    equi = _compiled("select count(*) from ({{ ip_lookup('addresses', 'country') }})")
    nested = (
        "select /*+ broadcast(ranges) */ count(*) from some_addresses as addresses "
        "inner join (select distinct range_start, range_end from silver.ip_ranges) as ranges "
        "on addresses.ip_key between ranges.range_start and ranges.range_end "
        "and length(addresses.ip_key) = length(ranges.range_start)"
    )
    goal = f"≥ {GOAL:,}"
    results = Table("look-up", "addresses", "found", "seconds", "a second", goal, box=None)
    for name, query, count, is_judged in (
        ("equi-join on prefixes", equi, ADDRESSES, True),
        ("the same again", equi, ADDRESSES, True),
        ("BETWEEN", nested, SAMPLE, False),
    ):
        started = time.perf_counter()
        (found,) = spark.sql(query).first()
        seconds = time.perf_counter() - started
        rate = count / seconds
        results.add_row(
            name,
            f"{count:,}",
            f"{found:,}",
            f"{seconds:.1f}",
            f"{rate:,.0f}",
            outcome(rate, GOAL, at_least=True) if is_judged else "",
        )
    Console().print(results)


def _write_ranges(spark: Any, folder: Path) -> None:
    """Ranges without overlaps, three fifths of them IPv4, of all sizes."""
    rng = Random(1)  # noqa: S311 - no secret
    path = folder / "ranges.json"
    with path.open("w") as file:
        for bits, digits, count in ((32, 8, RANGES * 3 // 5), (48, 12, RANGES * 2 // 5)):
            low = 1 << (bits - 8) if bits == 32 else 0x20 << (bits - 8)
            high = (1 << bits) * 7 // 8 if bits == 32 else 0x30 << (bits - 8)
            starts = sorted({rng.randrange(low, high) for _ in range(count)})
            for start, following in zip(starts, [*starts[1:], high], strict=True):
                first, last = f"{start:0{digits}x}", f"{following - 1:0{digits}x}"
                if bits == 48:
                    first, last = first + "0" * 20, last + "f" * 20
                file.write(
                    f'{{"kind":"country","first":"{first}","last":"{last}","country":"DE",'
                    '"valid_from":"2020-01-01"}\n'
                )
    spark.sql("create schema if not exists bronze")
    spark.read.text(path.as_uri()).selectExpr(
        "value as data",
        "'b' as _bucket",
        "'k' as _key",
        "'v' as _version",
        "monotonically_increasing_id() as _ordinal",
        "current_timestamp() as _modified_at",
        "0L as _batch_id",
        "current_timestamp() as _ingested_at",
    ).write.format("delta").saveAsTable("bronze.ip_ranges")


def _write_addresses(spark: Any, folder: Path) -> None:
    """Distinct addresses, half of them IPv6, as a cached view."""
    path = (folder / "addresses").as_uri()
    spark.range(ADDRESSES).selectExpr(
        "if(id % 2 = 0, lower(lpad(hex(16777216 + (id * 2654435761) % 3741319168), 8, '0')),"
        " concat('2', right(md5(cast(id as string)), 31))) as ip_key",
        "date'2026-01-31' as valid_on",
    ).write.parquet(path)
    spark.read.parquet(path).createOrReplaceTempView("addresses")
    spark.read.parquet(path).limit(SAMPLE).createOrReplaceTempView("some_addresses")


def _dbt(*arguments: str) -> Any:
    from dbt.cli.main import dbtRunner

    profiles = str(PROJECT_ROOT / "profiles")
    outcome = dbtRunner().invoke(
        [*arguments, "--project-dir", str(PROJECT_ROOT), "--profiles-dir", profiles, "--quiet"]
    )
    if not outcome.success:
        raise RuntimeError(f"dbt {arguments[0]}: {outcome.exception or outcome.result}")
    return outcome.result


def _compiled(sql: str) -> str:
    return _dbt("compile", "--inline", sql).results[0].node.compiled_code
