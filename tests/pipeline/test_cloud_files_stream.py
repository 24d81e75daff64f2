"""cloudFiles → bronze: every record once, in its table or in quarantine, whatever happens."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpus import OBJECTS

from loaders import bronze
from loaders.bronze import BatchReport
from loaders.feeds import CloudFilesFeed, Feed
from loaders.run import run_once
from loaders.sources import register

Identity = tuple[str, int, str]  # file name, ordinal, record


def a_feed(folder: Path, **settings: Any) -> Feed:
    return CloudFilesFeed(
        name="things",
        location=str(folder),
        table="things",
        description="things",
        **settings,
    )


def load(spark: Any, feed: Feed) -> list[BatchReport]:
    reports: list[BatchReport] = []
    assert run_once(spark, [feed], reports.append) == {}
    return reports


def kept(spark: Any) -> list[Identity]:
    rows = spark.sql("select _key, _ordinal, data from bronze.things").collect()
    return sorted((Path(row[0]).name, row[1], row[2]) for row in rows)


def unbalanced(spark: Any) -> list[Any]:
    return spark.sql(
        "select * from bronze.ledger where received <> kept + duplicates + quarantined"
    ).collect()


def write_objects(folder: Path, names: range, seed: int) -> list[Identity]:
    """Objects in every shape that holds records; returns what must be kept."""
    chance = random.Random(seed)
    folder.mkdir(exist_ok=True)
    expected = []
    for number in names:
        records = [
            json.dumps({"object": number, "n": n, "pad": "x" * chance.randrange(40)})
            for n in range(chance.randrange(6))
        ]
        text = chance.choice(["\n", "\r\n", ""]).join(records).encode()
        name = f"{number:04}.json"
        (folder / name).write_bytes(gzip.compress(text) if chance.random() < 0.3 else text)
        expected += [(name, n, record) for n, record in enumerate(records)]
    return expected


def test_every_record_is_loaded_once_and_a_second_run_loads_only_what_is_new(
    spark: Any, lakehouse: Path, tmp_path: Path
) -> None:
    feed = a_feed(tmp_path / "in", max_files_per_trigger=10)
    expected = write_objects(tmp_path / "in", range(25), seed=1)
    reports = load(spark, feed)
    assert [report.batch_id for report in reports] == [0, 1, 2]
    assert kept(spark) == sorted(expected)
    assert load(spark, feed) == []
    expected += write_objects(tmp_path / "in", range(25, 30), seed=2)
    (only,) = load(spark, feed)
    assert (only.batch_id, only.objects) == (3, 5)
    assert kept(spark) == sorted(expected)
    assert unbalanced(spark) == []


def test_a_lost_checkpoint_repeats_nothing_and_the_ledger_counts_the_duplicates(
    spark: Any, lakehouse: Path, tmp_path: Path
) -> None:
    feed = a_feed(tmp_path / "in")
    expected = write_objects(tmp_path / "in", range(8), seed=3)
    load(spark, feed)
    shutil.rmtree(lakehouse / "checkpoints")
    expected += write_objects(tmp_path / "in", range(8, 11), seed=4)
    (again,) = load(spark, feed)
    assert again.batch_id == 1
    assert again.duplicates + again.kept == again.received == len(expected)
    assert kept(spark) == sorted(expected)
    assert unbalanced(spark) == []


def test_after_a_lost_checkpoint_an_overwritten_object_is_reported_and_not_loaded_again(
    spark: Any, lakehouse: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("same", "overwritten", "was_broken"):
        (folder / name).write_text("{}" if name != "was_broken" else "{")
    load(spark, a_feed(folder))
    shutil.rmtree(lakehouse / "checkpoints")
    (folder / "overwritten").write_text('{"n":1}\n{"n":2}\n{"n":')
    (folder / "was_broken").write_text('{"n":3}')
    (again,) = load(spark, a_feed(folder))
    assert (again.received, again.kept, again.duplicates, again.quarantined) == (5, 1, 1, 3)
    assert kept(spark) == [
        ("overwritten", 0, "{}"),
        ("same", 0, "{}"),
        ("was_broken", 0, '{"n":3}'),
    ]
    rows = spark.sql("select item, reason, raw from bronze.quarantine where batch_id = 1").collect()
    assert {(Path(row[0]).name, row[1], bytes(row[2])) for row in rows} == {
        ("overwritten", "overwrite_ignored", b'{"n":1}'),
        ("overwritten", "overwrite_ignored", b'{"n":2}'),
        ("overwritten", "truncated_json", b'{"n":'),
    }
    assert unbalanced(spark) == []


class Crash(Exception):
    """Stands for the end of the process at a named step."""


def test_a_batch_cut_short_at_each_step_is_completed_by_its_replay(
    spark: Any, lakehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write_objects(tmp_path / "in", range(6), seed=5)
    (tmp_path / "in" / "broken.json").write_text('{"a":1}\n{"a":\n')
    expected.append(("broken.json", 0, '{"a":1}'))
    feed = a_feed(tmp_path / "in")
    append = bronze.append

    def crash_before(step: str) -> None:
        def crashing(rows: Any, name: str, **options: Any) -> None:
            if name == step:
                raise Crash(step)
            append(rows, name, **options)

        monkeypatch.setattr(bronze, "append", crashing)

    def crashing_report(report: BatchReport) -> None:
        raise Crash("report")

    # Each run comes one step further with the same batch.
    for step in ("bronze.things", bronze.QUARANTINE, bronze.LEDGER, "report"):
        crash_before(step)
        assert run_once(spark, [feed], crashing_report) == {"things": f"Crash: {step}"}
    monkeypatch.undo()

    load(spark, feed)
    assert kept(spark) == sorted(expected)
    assert spark.sql("select count(*) from bronze.quarantine").first()[0] == 1
    assert spark.sql("select count(*) from bronze.ledger").first()[0] == 7
    assert unbalanced(spark) == []


def test_each_object_of_the_corpus_ends_in_bronze_or_quarantine_and_stops_nothing(
    spark: Any, lakehouse: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name, (content, _) in OBJECTS.items():
        (tmp_path / "in" / name).write_bytes(content)
    load(spark, a_feed(tmp_path / "in"))

    records = kept(spark)
    quarantined = spark.sql(
        "select item, raw, reason from bronze.quarantine order by item, ordinal"
    ).collect()
    for name, (_, pieces) in OBJECTS.items():
        good = [piece.decode() for piece, reason in pieces if reason is None]
        assert [data for file, _, data in records if file == name] == good, name
        bad = [(bytes(raw), reason) for item, raw, reason in quarantined if Path(item).name == name]
        assert bad == [piece for piece in pieces if piece[1] is not None], name
    assert unbalanced(spark) == []
    in_ledger = spark.sql("select item from bronze.ledger").collect()
    assert {Path(row[0]).name for row in in_ledger} == OBJECTS.keys()


def test_an_object_deleted_or_overwritten_before_it_is_read_is_reported(
    spark: Any, lakehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    write_objects(folder, range(2), seed=6)
    (folder / "gone.json").write_text('{"a":1}')
    (folder / "changed.json").write_text('{"a":1}')
    number = bronze.next_batch_id

    def meddling(*received: Any) -> Any:
        (folder / "gone.json").unlink()
        (folder / "changed.json").write_text('{"a":2, "longer": true}')
        return number(*received)

    monkeypatch.setattr(bronze, "next_batch_id", meddling)
    load(spark, a_feed(folder))
    rows = spark.sql("select item, reason from bronze.quarantine").collect()
    assert {(Path(row[0]).name, row[1]) for row in rows} == {
        ("gone.json", "deleted_before_read"),
        ("changed.json", "overwritten_before_read"),
    }
    assert unbalanced(spark) == []


def drain(frame: Any, checkpoint: Path, sink: Callable[[Any], None] | None = None) -> list[Any]:
    """Run a streaming frame once and return its rows."""
    rows: list[Any] = []
    query = (
        frame.writeStream.foreachBatch(lambda batch, _: rows.extend(batch.collect()))
        .option("checkpointLocation", str(checkpoint))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    return rows


def test_a_foreign_job_reads_json_with_no_more_than_register(
    spark: Any, tmp_path: Path, root: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text('{"id":1,"tags":["x"]}\n{"id":2,"extra":null}')
    register(spark)
    input_location = str(tmp_path / "in")
    region = "us-east-1"
    auto_loader_df = (
        spark.readStream.format("cloudFiles")
        .option("cloudFiles.format", "json")
        .option("cloudFiles.region", region)
        .load(input_location)
    )
    assert auto_loader_df.columns == ["id", "tags", "extra", "_rescued_data"]
    rows = drain(auto_loader_df, tmp_path / "checkpoint")
    assert sorted((row["id"], row["tags"]) for row in rows) == [("1", '["x"]'), ("2", None)]

    typed = (
        spark.readStream.format("cloudFiles")
        .option("cloudFiles.format", "json")
        .schema("id bigint, tags array<string>, _rescued_data string")
        .load(input_location)
    )
    rows = drain(typed, tmp_path / "checkpoint2")
    assert sorted((row["id"], row["tags"]) for row in rows) == [(1, ["x"]), (2, None)]


def test_a_new_column_stops_the_query_once_and_its_restart_loads_everything(
    spark: Any, tmp_path: Path, root: Path
) -> None:
    register(spark)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "0").write_text('{"id":0}')

    def load_once() -> list[Any]:
        frame = (
            spark.readStream.format("cloudFiles")
            .option("cloudFiles.format", "json")
            .option("cloudFiles.inferColumnTypes", "true")
            .option("cloudFiles.schemaLocation", str(tmp_path / "location"))
            .option(
                "cloudFiles.schemaHints",
                "_metadata struct<file_name: string, file_modification_time: timestamp>",
            )
            .load(str(folder))
        )
        return drain(frame, tmp_path / "checkpoint")

    (row,) = load_once()
    assert (row["id"], row["_metadata"]["file_name"]) == (0, "0")
    modified = (folder / "0").stat().st_mtime
    assert abs(row["_metadata"]["file_modification_time"].timestamp() - modified) < 1
    for n in range(1, 5):
        (folder / str(n)).write_text(json.dumps({"id": n, f"new{n}": [n]}))
    with pytest.raises(Exception, match=r"new columns .*they stand in the schema now, version 1"):
        load_once()
    rows = load_once()
    assert {row["id"]: row[f"new{row['id']}"] for row in rows} == {n: [n] for n in range(1, 5)}
    assert load_once() == []


def test_a_query_that_wants_only_new_files_keeps_to_it_over_restarts(
    spark: Any, tmp_path: Path, root: Path
) -> None:
    register(spark)
    folder = tmp_path / "in"
    folder.mkdir()
    found = []
    for n in range(3):
        (folder / str(n)).write_text(json.dumps({"id": n}))
        frame = (
            spark.readStream.format("cloudFiles")
            .option("cloudFiles.format", "json")
            .option("cloudFiles.includeExistingFiles", "false")
            .schema("id bigint")
            .load(str(folder))
        )
        found.append([row["id"] for row in drain(frame, tmp_path / "checkpoint")])
    assert found == [[], [1], [2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "cloudFiles.format is missing"),
        ({"cloudFiles.format": "csv"}, "use one of json, records"),
        ({"cloudFiles.format": "json", "cloudFiles.frmat": "x"}, "no option"),
    ],
)
def test_a_wrong_option_is_named(
    spark: Any, tmp_path: Path, options: dict[str, str], message: str
) -> None:
    register(spark)
    with pytest.raises(Exception, match=message):
        spark.readStream.format("cloudFiles").options(**options).load(str(tmp_path))
