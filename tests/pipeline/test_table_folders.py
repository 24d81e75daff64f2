"""A table whose creation was killed: its folder has folders and no file, and it is created anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from live_project import LiveProject

from loaders.bronze import ensure_tables
from loaders.destinations import destination_of
from loaders.feeds import read_feeds
from loaders.live_tables import ensure_table
from loaders.outbox import ensure_outbox
from loaders.run import kind_of_feed
from loaders.table_folders import clear_empty_folder


def leave(root: Path, relation: str) -> None:
    """What Delta has made of a table before its first commit."""
    schema, name = relation.lower().split(".")
    (root / "warehouse" / f"{schema}.db" / name / "_delta_log" / "_staged_commits").mkdir(
        parents=True
    )


def test_bronze_and_the_outbox_are_created_where_a_kill_left_folders(
    spark: Any, lakehouse: Path
) -> None:
    feed = read_feeds()["cdn_logs"]
    created = ("bronze.cdn_logs", "bronze.ledger", "bronze.quarantine")
    told = ("bronze.outbox", "bronze.deliveries")
    for relation in (*created, *told):
        leave(lakehouse, relation)
    ensure_tables(spark, destination_of(feed), kind_of_feed(feed))
    ensure_outbox(spark)
    for relation in (*created, *told):
        assert spark.table(relation).collect() == []


def test_a_live_table_is_created_where_a_kill_left_folders(
    live: LiveProject, spark: Any, lakehouse: Path
) -> None:
    model = live.models()["error_share"]
    leave(lakehouse, model.relation)
    ensure_table(spark, model)
    assert spark.table(model.relation).collect() == []


def test_a_folder_with_a_file_is_left_alone(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "part").touch()
    clear_empty_folder(spark, str(tmp_path))
    assert (tmp_path / "data" / "part").exists()
