"""Maintenance beside appends, merges, readers and streams; retention; bounded small files.

On a small project of its own (tests/pipeline/upkeep) with this project's macros.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_project import Outcome, TinyProject, project_with_our_macros

from loaders import log_trimming
from loaders.bronze import append_idempotently
from loaders.compaction import SMALL_FILES, surplus_files
from loaders.conflicts import retry_conflicts
from loaders.feeds import CloudFilesFeed
from loaders.maintenance import Operation, run
from loaders.run import run_once

RESOURCES = Path(__file__).parent / "upkeep"
VISITS, VISITORS = "bronze.visits", "silver.visitors"
TODAY = "2024-06-01"
EXPIRE = Operation(
    name="expire", macro="delete_expired", arguments={"today": TODAY}, alone=True, at="01:00"
)
COMPACT = Operation(name="compact", macro="optimize_tables", at="01:00")
RECLUSTER = Operation(name="again", macro="optimize_tables", arguments={"full": True}, at="01:00")


@dataclass
class Site:
    """The small project, its feed `visits` and its model `visitors`."""

    spark: Any
    project: TinyProject

    def deliver(self, batch_id: int, day: str, ids: range) -> None:
        """Append a batch as the loaders do."""
        rows = self.spark.range(ids.start, ids.stop, 1, 2).selectExpr(
            "id",
            "concat('192.0.2.', id % 256) as address",
            f"cast({batch_id} as bigint) as _batch_id",
            f"timestamp'{day}' as _ingested_at",
        )
        append_idempotently(rows, VISITS, "visits", batch_id)

    def dbt(self, arguments: list[str]) -> Any:
        outcome = self.project.dbt(*arguments)
        return SimpleNamespace(success=outcome.success, exception=outcome.error, result=None)

    def operation(self, name: str, **arguments: Any) -> Outcome:
        return self.project.dbt("run-operation", name, "--args", json.dumps(arguments))

    def ids(self, table: str) -> Counter[int]:
        return Counter(row[0] for row in self.spark.sql(f"select id from {table}").collect())

    def operations(self, table: str) -> list[str]:
        history = self.spark.sql(f"describe history {table}").collect()
        return [row["operation"] for row in history]


@pytest.fixture
def site(lakehouse: Path, spark: Any, tmp_path: Path) -> Site:
    project = project_with_our_macros(tmp_path / "project", RESOURCES)
    assert project.dbt("run").success  # creates both tables, empty
    return Site(spark, project)


@contextmanager
def meanwhile(deed: Callable[[], None], *, times: int | None = None) -> Iterator[list[None]]:
    """Do something again and again beside the body; a failure of it fails the test."""
    stop, done, failures = threading.Event(), [], []

    def keep() -> None:
        try:
            while not stop.is_set() and (times is None or len(done) < times):
                deed()
                done.append(None)
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
    assert failures == []


def test_rows_past_the_retention_go_and_the_models_keep_what_they_made_of_them(site: Site) -> None:
    site.deliver(0, "2024-05-01 23:59:59", range(100))
    site.deliver(1, "2024-05-02 00:00:00", range(100, 200))
    site.project.dbt("run")

    preview = site.operation("delete_expired", today=TODAY, dry_run=True)
    assert preview.printed[-1].split() == [VISITS, "30", "_ingested_at", "100"]
    assert site.ids(VISITS) == Counter(range(200))

    outcome = site.operation("delete_expired", today=TODAY)
    assert outcome.success, outcome.error
    assert outcome.printed[-1].split() == [VISITS, "30", "_ingested_at", "100"]
    assert site.ids(VISITS) == Counter(range(100, 200))

    site.deliver(2, "2024-06-01", range(200, 300))
    assert site.project.dbt("run").success
    assert site.ids(VISITORS) == Counter(range(300))

    before = len(site.operations(VISITS))
    assert site.operation("delete_expired", today=TODAY).success
    assert len(site.operations(VISITS)) == before, "nothing to delete makes no version"


def test_expired_rows_leave_the_disk_with_the_vacuum(site: Site, lakehouse: Path) -> None:
    import pyarrow.parquet as pq

    def addresses_on_disk() -> set[str]:
        files = (lakehouse / "warehouse/bronze.db/visits").glob("*.parquet")
        return {value for file in files for value in pq.read_table(file)["address"].to_pylist()}

    site.deliver(0, "2024-05-01", range(10))
    site.deliver(1, "2024-06-01", range(10, 20))
    # One file has rows of both sides: it has to be written anew.
    assert site.operation("optimize_tables", table=VISITS).success
    assert site.operation("delete_expired", today=TODAY).success
    assert len(addresses_on_disk()) == 20
    assert site.operation("vacuum_tables", retention_hours=0, schema="bronze", force=True).success
    assert addresses_on_disk() == {f"192.0.2.{number}" for number in range(10, 20)}


@pytest.mark.parametrize("through", [None, "view", "ephemeral"])
def test_a_full_refresh_that_would_lose_history_is_refused(site: Site, through: str | None) -> None:
    if through:
        models = site.project.folder / "models" / "silver"
        visitors = models / "visitors.sql"
        sql, visits = visitors.read_text(), "{{ source('bronze', 'visits') }}"
        for name, parent in (("seen", visits), ("seen_again", "{{ ref('seen') }}")):
            config = f"{{{{ config(materialized='{through}', access='protected') }}}}"
            (models / f"{name}.sql").write_text(f"{config}\nselect * from {parent}")
        visitors.write_text(sql.replace(visits, "{{ ref('seen_again') }}"))
    site.deliver(0, "2024-05-01", range(10))
    assert site.project.dbt("run").success
    assert site.operation("delete_expired", today=TODAY).success

    refused = site.project.dbt("run", "--full-refresh")
    assert not refused.success
    said = refused.error + " ".join(refused.message.values())
    assert "full refresh of visitors would lose what it has of bronze.visits" in said
    assert site.ids(VISITORS) == Counter(range(10))

    meant = site.project.dbt("run", "--full-refresh", "--vars", "{forget_expired: true}")
    assert meant.success, meant.error or meant.message
    assert site.ids(VISITORS) == Counter()


@pytest.mark.parametrize(
    "retention", ["{column: nowhere, days: 30}", "{column: _ingested_at, days: soon}"]
)
def test_a_retention_that_cannot_be_meant_is_refused(site: Site, retention: str) -> None:
    yaml = site.project.folder / "models/silver/_models.yml"
    yaml.write_text(yaml.read_text().replace("{column: _ingested_at, days: 30}", retention))
    outcome = site.operation("delete_expired", today=TODAY)
    assert not outcome.success
    assert "source.multihop.bronze.visits: meta.retention is" in outcome.error


def test_readers_streams_and_merges_go_on_beside_all_maintenance(
    site: Site, tmp_path: Path
) -> None:
    """A loader that appends without pause, a stream, a merge and a reader; in turns every
    operation. Each row arrives once everywhere, and the reader sees one version throughout.
    """
    spark, seen, batches = site.spark, Counter(), iter(range(2, 10_000))
    site.deliver(0, "2024-05-01", range(100))
    site.deliver(1, "2024-06-01", range(100, 200))
    # A reader that takes its time: file after file, as it is asked for rows.
    reader = spark.sql(f"select id from {VISITS}").toLocalIterator()
    read = Counter([next(reader)[0]])

    def append() -> None:
        batch = next(batches)
        site.deliver(batch, "2024-06-01", range(batch * 100, batch * 100 + 100))

    def merge() -> None:
        retry_conflicts(
            lambda: spark.sql(
                f"merge into {VISITORS} as target using (select id, 0 as _batch_id from range(50)) "
                "as source on target.id = source.id "
                "when matched then update set * when not matched then insert *"
            ),
            attempts=20,
        )

    stream = spark.sql(f"select id from stream({VISITS}) with ('skipChangeCommits' = 'true')")
    query = (
        stream.writeStream.foreachBatch(
            lambda frame, _: seen.update(row[0] for row in frame.collect())
        )
        .option("checkpointLocation", str(tmp_path / "checkpoint"))
        .start()
    )
    try:
        with meanwhile(append, times=15), meanwhile(merge, times=5):
            for operation in (EXPIRE, COMPACT, RECLUSTER):
                run(operation, site.dbt)
            assert site.operation("vacuum_tables").success
        query.processAllAvailable()
    finally:
        query.stop()
    read.update(row[0] for row in reader)
    assert read == Counter(range(200))
    last = next(batches)
    assert seen == Counter(range(last * 100))
    assert site.ids(VISITS) == Counter(range(100, last * 100))
    assert site.ids(VISITORS) == Counter(range(50))
    assert {"DELETE", "OPTIMIZE"} <= set(site.operations(VISITS))


def test_a_model_is_merged_although_others_write_to_its_table(site: Site) -> None:
    others = iter(range(-1, -100, -1))

    def write() -> None:
        site.spark.sql(f"insert into {VISITORS} values ({next(others)}, -1)")

    for batch in range(3):
        site.deliver(batch, "2024-06-01", range(batch * 10, batch * 10 + 10))
        with meanwhile(write, times=3):
            outcome = site.project.dbt("run")
        assert outcome.success, outcome.message
    ids = site.ids(VISITORS)
    assert Counter({id_: count for id_, count in ids.items() if id_ >= 0}) == Counter(range(30))


def test_a_loader_keeps_the_files_of_its_table_and_of_the_ledger_bounded(
    lakehouse: Path, spark: Any, tmp_path: Path
) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    feed = CloudFilesFeed(name="few", location=str(landing), table="few", description="A few.")

    def land(name: str) -> None:
        (landing / name).write_text(json.dumps({"name": name}))
        assert run_once(spark, [feed], lambda report: None) == {}

    def names() -> Counter[str]:
        rows = spark.sql("select data from bronze.few").collect()
        return Counter(json.loads(row[0])["name"] for row in rows)

    land("first.json")
    for table in ("bronze.few", "bronze.ledger"):
        rows = spark.table(table).limit(1).collect() * (SMALL_FILES + 8)
        one_each = spark.sparkContext.parallelize(rows, len(rows))
        scattered = spark.createDataFrame(one_each, spark.table(table).schema)
        scattered.write.format("delta").mode("append").saveAsTable(table)
        assert surplus_files(spark, table) > SMALL_FILES
    before = names()
    for number in range(4):
        land(f"{number}.json")
    assert names() == before + Counter({f"{number}.json": 1 for number in range(4)})
    for table in ("bronze.few", "bronze.ledger"):
        assert surplus_files(spark, table) <= SMALL_FILES
        assert "OPTIMIZE" in [
            row["operation"] for row in spark.sql(f"describe history {table}").collect()
        ]


def test_a_commit_leaves_two_files_in_the_log(site: Site, lakehouse: Path) -> None:
    log = lakehouse / "warehouse" / "bronze.db" / "visits" / "_delta_log"
    for batch in range(3):
        site.deliver(batch, "2024-05-01", range(1))
    newest = max(int(path.stem) for path in log.glob("*.json"))
    assert {path.name for path in log.iterdir() if path.is_file()} == {
        f"{version:020d}.{kind}" for version in range(newest + 1) for kind in ("json", "crc")
    }


def test_a_log_keeps_its_newest_commits(
    site: Site, lakehouse: Path, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = lakehouse / "warehouse" / "bronze.db" / "visits" / "_delta_log"
    monkeypatch.setattr(log_trimming, "KEPT_COMMITS", 20)
    monkeypatch.setattr(log_trimming, "SURPLUS_COMMITS", 10)
    monkeypatch.setattr(log_trimming, "KEPT_S", 29 * 60)

    def deliver(count: int) -> None:
        for batch in range(count):
            site.deliver(newest() + batch, "2024-05-01", range(1))
        # as if a minute lay between two commits: Delta forgets by the time of the file
        for path in log.glob("*.json"):
            at = time.time() - 60 * (newest() - int(path.stem)) - 1
            os.utime(path, (at, at))

    def versions() -> list[int]:
        return sorted(int(path.stem) for path in log.glob("*.json"))

    def newest() -> int:
        return versions()[-1]

    def set_property(value: str) -> None:
        spark.sql(
            f"alter table {VISITS} set tblproperties('delta.enableExpiredLogCleanup'={value})"
        )

    deliver(28 - newest())
    assert not log_trimming.trim_log(spark, VISITS), "29 versions"
    deliver(11)
    before = site.ids(VISITS)
    set_property("false")
    assert not log_trimming.trim_log(spark, VISITS)
    set_property("true")
    assert not log_trimming.trim_log(spark, VISITS), "none of the surplus is old enough"
    monkeypatch.setattr(log_trimming, "KEPT_S", 60)
    assert log_trimming.trim_log(spark, VISITS)
    kept = versions()
    assert kept == list(range(kept[0], newest() + 1))
    assert 20 <= len(kept) < 20 + 10, "back to the checkpoint before: one each ten versions"
    assert not log_trimming.trim_log(spark, VISITS)
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    assert site.ids(VISITS) == before
    spark.sql(f"select id from {VISITS} version as of {newest() - 19}").collect()
