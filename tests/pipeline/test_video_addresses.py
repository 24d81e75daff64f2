"""Whole addresses of viewers leave the disk; what was made of them stays."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from demo.forget import files_that_name
from loaders.feeds import read_feeds
from loaders.run import run_once

# Addresses for documentation, each in one log alone; the last two in what cannot be read.
OLD = ("203.0.113.71", "2001:db8:71::71", "203.0.113.72", "203.0.113.73")
NEW = ("203.0.113.81",)
LOGS = ("--select", "+cdn_logs")
TABLES = {
    "cdn_logs": ("_key", "_ingested_at"),
    "ledger": ("item", "ingested_at"),
    "quarantine": ("item", "ingested_at"),
}
NETWORKS = {"203.0.113.0", "2001:db8:71::"}


def row(address: str, number: int, *, first: bool = False) -> bytes:
    """A row of a log; CloudFront writes the fields in the order that one asks for."""
    of_viewer = {"c-ip": address}
    fields = {
        "date": "2026-05-29",
        "time": f"18:00:{number:02d}",
        "x-edge-location": "FRA56-P3",
        "cs-uri-stem": "/v1/720/1.ts",
        "sc-status": "200",
        "x-edge-result-type": "Hit",
        "x-edge-request-id": f"request-{number}",
    }
    return json.dumps(of_viewer | fields if first else fields | of_viewer).encode() + b"\n"


def named(root: Path, addresses: tuple[str, ...]) -> set[tuple[str, str]]:
    """Addresses whose text or digits stand in a file, with its table's name or else its own."""
    return {
        (address, Path(name).parts[2] if name.startswith("warehouse/") else name)
        for address in addresses
        for said in (address, f"{int(ip_address(address)):x}")
        for name in files_that_name(root, said)
    }


def test_no_file_under_the_root_names_an_address_that_has_expired(
    spark: Any,
    dbt: Callable[..., Any],
    lakehouse: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LANDING", str(tmp_path))
    folder = tmp_path / "qos" / "cdn_logs"
    folder.mkdir(parents=True)

    readable = row(OLD[0], 1) + row(OLD[1], 2, first=True)
    broken = row(OLD[2], 3).replace(b"}", b"")
    old = readable + broken + row(OLD[3], 4, first=True)[:-20]
    (folder / "old.gz").write_bytes(gzip.compress(old))
    (folder / "new.gz").write_bytes(gzip.compress(row(NEW[0], 5)))
    assert run_once(spark, [read_feeds()["cdn_logs"]], lambda _: None) == {}
    for table, (item, time) in TABLES.items():
        spark.sql(
            f"update bronze.{table} set {time} = {time} - interval 40 days"
            f" where endswith({item}, 'old.gz')"
        )
    dbt("seed", "--select", "country_codes", "networks")
    dbt("run", *LOGS)

    readable_ones = {(address, "cdn_logs") for address in (*OLD[:2], *NEW)}
    broken_ones = {(address, "quarantine") for address in OLD[2:]}
    assert named(lakehouse, OLD + NEW) == readable_ones | broken_ones
    silver = spark.table("silver.cdn_logs").collect()
    assert {each.ip for each in silver} == NETWORKS
    assert {(each.origin, each.isp) for each in silver} == {("Unavailable", "Unavailable")}

    dbt("run-operation", "delete_expired")
    dbt(
        *("run-operation", "vacuum_tables"),
        *("--args", "{schema: bronze, retention_hours: 0, force: true}"),
    )
    assert named(lakehouse, OLD + NEW) == {(address, "cdn_logs") for address in NEW}
    assert spark.table("silver.cdn_logs").collect() == silver
    dbt("test", "--select", "bronze_rows_equal_ledger", "quarantine_rows_equal_ledger")

    refused = dbt("run", *LOGS, "--full-refresh", expect_failure=True)
    said = "full refresh of cdn_logs would lose what it has of bronze.cdn_logs"
    assert said in str(refused.exception)
    assert spark.table("silver.cdn_logs").collect() == silver
