"""The incremental materialization, its comments and OPTIMIZE, and the operations on tables.

On a small project of its own (tests/pipeline/maintenance) with this project's macros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_project import Outcome, TinyProject, project_with_our_macros

RESOURCES = Path(__file__).parent / "maintenance"
TABLES = ("bronze.arrivals", "silver.readings", "silver.totals")


@dataclass
class Meters:
    """The small project, and the one feed it reads."""

    spark: Any
    project: TinyProject
    batch_id: int = 0

    def deliver(self, *rows: str) -> int:
        """One batch of rows `id, day, value, updated`; returns its batch id."""
        self.batch_id += 1
        values = ", ".join(f"({row}, {self.batch_id})" for row in rows)
        self.spark.sql(f"insert into bronze.arrivals values {values}")
        return self.batch_id

    def run(self, model: str, *arguments: str) -> Outcome:
        outcome = self.project.dbt("run", "--select", model, *arguments)
        assert outcome.success, outcome.error or outcome.message
        return outcome

    def operation(self, name: str, arguments: str = "{}") -> Outcome:
        return self.project.dbt("run-operation", name, "--args", arguments)

    def history(self, table: str) -> list[Any]:
        return self.spark.sql(f"describe history {table}").collect()

    def version(self, table: str) -> int:
        return self.history(table)[0]["version"]

    def rows(self, query: str) -> list[tuple]:
        return [tuple(row) for row in self.spark.sql(query).collect()]

    def scatter(self, table: str, files: int) -> None:
        """Write the table anew as so many small files."""
        rows = self.spark.table(table).coalesce(1).collect()
        frame = self.spark.createDataFrame(rows * files, self.spark.table(table).schema)
        frame.repartition(files).write.format("delta").mode("append").saveAsTable(table)


@pytest.fixture(scope="module")
def meters(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meters]:
    """Two meters with one reading each, built once."""

    def drop() -> None:
        spark.sql("drop view if exists silver.newest")
        for table in TABLES:
            spark.sql(f"drop table if exists {table}")

    drop()
    project = project_with_our_macros(tmp_path_factory.mktemp("meters") / "project", RESOURCES)
    assert project.dbt("run", "--select", "newest").success  # creates bronze.arrivals, empty
    meters = Meters(spark, project)
    meters.deliver("1, date'2024-01-01', 10, 1", "2, date'2024-01-01', 20, 1")
    meters.run("readings totals newest")
    yield meters
    drop()


def sent(outcome: Outcome, model: str, keyword: str) -> list[str]:
    """The statements of a model that begin with a keyword, taken out of their scripts."""
    texts = [text.split("*/", 1)[-1].strip() for text in outcome.statements.get(model, [])]
    repeated = re.compile(r"attempt \+ 1; end; (?:execute immediate ')?(.*?)'?; set done = true;")
    texts = [found[1] if (found := repeated.search(text)) else text for text in texts]
    return [text for text in texts if text.startswith(keyword)]


def test_a_run_with_nothing_new_commits_nothing_and_asks_nothing_of_the_table(
    meters: Meters,
) -> None:
    before = meters.version("silver.readings")
    outcome = meters.run("readings")
    assert outcome.message["readings"] == "OK nothing new"
    assert meters.version("silver.readings") == before
    for keyword in ("merge", "optimize", "describe detail", "alter", "comment"):
        assert sent(outcome, "readings", keyword) == []


def test_the_merge_is_pruned_by_the_batchs_own_range_in_literals(meters: Meters) -> None:
    meters.deliver("1, date'2024-01-02', 11, 1", "2, date'2024-01-03', 21, 1")
    (merge,) = sent(meters.run("readings"), "readings", "merge")
    between = "between cast('2024-01-02' as date) and cast('2024-01-03' as date)"
    assert f"target.day {between}" in merge


def test_the_last_updated_delivery_wins_and_a_late_older_one_only_moves_the_cursor(
    meters: Meters,
) -> None:
    meters.deliver("3, date'2024-01-05', 31, 7", "4, date'2024-01-05', 40, 1")
    meters.run("readings")
    batch = meters.deliver("3, date'2024-01-05', 30, 6", "4, date'2024-01-05', 41, 2")
    meters.run("readings")
    readings = "select id, value, updated, _batch_id from silver.readings where id in (3, 4)"
    assert sorted(meters.rows(readings)) == [(3, 31, 7, batch), (4, 41, 2, batch)]


def test_only_rows_that_change_are_updated(meters: Meters) -> None:
    meters.run("totals")
    meters.deliver("1, date'2024-01-09', 1000, 1")
    meters.run("totals")
    metrics = meters.history("silver.totals")[0]["operationMetrics"]
    assert (metrics["numTargetRowsUpdated"], metrics["numTargetRowsInserted"]) == ("1", "0")


def test_unchanged_comments_make_no_version_and_changed_ones_make_one(meters: Meters) -> None:
    def comments() -> dict[str, str]:
        return {row[0]: row[2] for row in meters.rows("describe silver.readings")[:5]}

    assert comments()["id"] == "It's the meter."
    assert comments()["value"] == r'Matches \d+ and "quotes".'
    before = meters.version("silver.readings")

    yaml = meters.project.folder / "models/silver/_models.yml"
    text = yaml.read_text().replace("It's the meter", "The meter").replace("Matches", "Fits")
    yaml.write_text(text)
    meters.deliver("1, date'2024-02-01', 1, 1")
    meters.run("readings")
    since = [entry for entry in meters.history("silver.readings") if entry["version"] > before]
    assert [entry["operation"] for entry in since] == ["CHANGE COLUMNS", "MERGE"]
    assert comments()["id"] == "The meter."
    assert comments()["value"] == r'Fits \d+ and "quotes".'


def test_optimize_runs_when_small_files_pile_up_and_not_again(meters: Meters) -> None:
    meters.scatter("silver.readings", files=6)
    meters.deliver("1, date'2024-03-01', 1, 1")
    large_enough = meters.run("readings", "--vars", "{small_file_bytes: 100}")
    assert sent(large_enough, "readings", "optimize") == []

    meters.deliver("1, date'2024-03-02', 1, 1")
    assert sent(meters.run("readings"), "readings", "optimize") == ["optimize silver.readings"]
    assert meters.history("silver.readings")[0]["operation"] == "OPTIMIZE"

    meters.deliver("1, date'2024-03-03', 1, 1")
    again = meters.run("readings newest")
    assert sent(again, "readings", "optimize") == []
    assert len(sent(again, "readings", "describe detail")) == 1
    assert sent(again, "newest", "describe detail") == []


def test_a_model_without_a_key_is_refused_in_one_line(meters: Meters) -> None:
    (meters.project.folder / "models/silver/keyless.sql").write_text("select 1 as id\n")
    outcome = meters.project.dbt("run", "--select", "keyless")
    (meters.project.folder / "models/silver/keyless.sql").unlink()
    assert not outcome.success
    assert "silver.keyless is merged and has no unique_key" in outcome.message["keyless"]


def test_optimize_tables_compacts_and_prints_files_before_and_after(meters: Meters) -> None:
    meters.scatter("silver.totals", files=5)
    files = meters.rows("describe detail silver.totals")[0][9]
    assert files > 5
    outcome = meters.operation("optimize_tables", "{table: totals, full: true}")
    assert outcome.success, outcome.error
    heading, line = outcome.printed
    assert heading.split("  ")[0].strip() == "table"
    assert line.split()[:3] == ["silver.totals", str(files), "1"]


def test_optimize_tables_names_the_tables_it_cannot_find(meters: Meters) -> None:
    outcome = meters.operation("optimize_tables", "{table: silver.reading}")
    assert not outcome.success
    assert "no Delta table silver.reading in bronze, silver" in outcome.error


def test_table_health_prints_one_aligned_line_a_table(meters: Meters) -> None:
    outcome = meters.operation("table_health", "{schema: silver}")
    assert outcome.success, outcome.error
    heading, *lines = outcome.printed
    names = ["table", "files", "size", "small files", "versions", "last write (UTC)", "by"]
    assert [part.strip() for part in heading.split("  ") if part.strip()] == names
    tables = {line.split()[0]: line for line in lines}
    assert {"silver.readings", "silver.totals"} <= tables.keys()
    versions_end = heading.index("versions") + len("versions")
    for name, line in tables.items():
        assert line[:versions_end].split()[-1] == str(meters.version(name) + 1)
    files = meters.rows("describe detail silver.totals")[0][9]
    assert tables["silver.totals"].split()[1] == str(files)


def test_an_unknown_schema_is_refused_with_those_there_are(meters: Meters) -> None:
    outcome = meters.operation("table_health", "{schema: platinum}")
    assert not outcome.success
    assert "no schema platinum in this project; there is bronze, silver" in outcome.error


def test_vacuum_refuses_less_than_a_week_and_says_why(meters: Meters) -> None:
    before = meters.version("silver.totals")
    outcome = meters.operation("vacuum_tables", "{retention_hours: 1, schema: silver}")
    assert not outcome.success
    assert "retention_hours 1 is less than 168 (7 days)" in outcome.error
    assert "force: true" in outcome.error
    assert meters.version("silver.totals") == before


def test_vacuum_deletes_what_no_kept_version_needs(meters: Meters) -> None:
    meters.spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.parallelism", "2")
    arguments = "{retention_hours: 0, schema: silver, force: true, dry_run: %s}"
    preview = meters.operation("vacuum_tables", arguments % "true")
    assert preview.success, preview.error
    listed = {line.split()[0]: int(line.split()[1]) for line in preview.printed[1:]}
    assert listed["silver.totals"] > 0
    rows = meters.rows("select * from silver.totals order by id")

    one = "{retention_hours: 0, table: silver.readings, force: true}"
    outcome = meters.operation("vacuum_tables", one)
    assert outcome.success, outcome.error
    (line,) = outcome.printed[1:]
    assert line.split() == ["silver.readings", str(listed["silver.readings"])]

    outcome = meters.operation("vacuum_tables", arguments % "false")
    assert outcome.success, outcome.error
    deleted = {line.split()[0]: int(line.split()[1]) for line in outcome.printed[1:]}
    assert deleted == listed | {"silver.readings": 0}
    assert meters.rows("select * from silver.totals order by id") == rows
    guard = meters.spark.conf.get("spark.databricks.delta.retentionDurationCheck.enabled")
    assert guard == "true"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("{version: 0}", "say which table"),
        ("{table: totals}", "say either version or timestamp"),
        ("{table: totals, version: 0, timestamp: 2024-01-01}", "say either version or timestamp"),
        ("{table: totals, version: 900}", "silver.totals has no version 900; it has "),
        ("{table: totals, timestamp: 2001-01-01}", "has no version as old as 2001-01-01 UTC"),
        ("{table: totals, timestamp: yesterdayish}", "yesterdayish is no timestamp"),
    ],
)
def test_restore_refuses_what_it_cannot_mean(meters: Meters, arguments: str, reason: str) -> None:
    outcome = meters.operation("restore_table", arguments)
    assert not outcome.success
    assert reason in outcome.error


def test_restore_previews_what_it_undoes_and_acts_only_when_confirmed(meters: Meters) -> None:
    meters.deliver("8, date'2024-04-01', 80, 1")
    meters.run("totals")
    good = meters.version("silver.totals")
    rows = meters.rows("select * from silver.totals order by id")
    meters.deliver("8, date'2024-04-02', 8000, 1", "9, date'2024-04-02', 90, 1")
    meters.run("totals")

    preview = meters.operation("restore_table", f"{{table: silver.totals, version: {good}}}")
    assert preview.success, preview.error
    first, heading, undone, last = preview.printed
    assert f"version {good} of silver.totals" in first
    assert heading.split("  ")[0].strip() == "version"
    assert undone.split()[0] == str(good + 1)
    assert undone.split()[3:] == ["MERGE", "+1", "~1", "-0"]
    assert last == "Nothing done yet: pass confirm: true to do it"
    assert meters.version("silver.totals") == good + 1

    moment = meters.history("silver.totals")[1]["timestamp"].astimezone().isoformat()
    arguments = f"{{table: silver.totals, timestamp: '{moment}', confirm: true}}"
    restored = meters.operation("restore_table", arguments)
    assert restored.success, restored.error
    assert f"version {good} of silver.totals" in restored.printed[0]
    assert meters.history("silver.totals")[0]["operation"] == "RESTORE"
    assert meters.rows("select * from silver.totals order by id") == rows
