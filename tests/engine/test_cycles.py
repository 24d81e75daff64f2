"""Cycles against a project and a session that are played: what is run when, and what is owed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from test_graph import manifest

import loaders.cycles as cycles_module
from loaders import batch_settings
from loaders.cycles import Cycles
from loaders.dbt_project import BuildError, Result
from loaders.lock import take_turn

MODELS = {
    "parsed": ("view", ["events"]),
    "typed": ("incremental", ["parsed"]),
    "summed": ("incremental", ["typed"]),
    "apart": ("incremental", []),
}


class PlayedProject:
    """dbt that does nothing; `broken` names what fails, with what fails behind it skipped."""

    def __init__(self):
        self.runs = []
        self.broken = set()
        self.is_changed = True
        self.readings = 0
        self.settings = None
        self.conf = None

    def has_changed(self):
        return self.is_changed

    def parse(self):
        self.is_changed = False
        self.readings += 1

    def manifest(self):
        return manifest(MODELS)

    def run(self, *arguments):
        self.settings = dict(self.conf.values)
        names = list(arguments[arguments.index("--select") + 1 :])
        self.is_settled = "settled: true" in arguments
        if "everything" in self.broken:
            raise BuildError("no such macro")
        self.runs.append((arguments[0], set(names)))
        results = []
        for name in MODELS:
            if name not in names:
                continue
            parents = MODELS[name][1]
            status, message = "success", "OK"
            if name in self.broken:
                status, message = "error", "no such column"
            elif any(r.name in parents and r.status in ("error", "skipped") for r in results):
                status, message = "skipped", "no message"
            results.append(Result(f"model.p.{name}", name, "model", status, message, 0.5))
        return results


class PlayedConf:
    def __init__(self):
        self.values = {}

    def get(self, name, default):
        return self.values.get(name, default)

    def set(self, name, value):
        self.values[name] = value

    def unset(self, name):
        self.values.pop(name, None)


class World:
    """A root with one bronze table, and a clock."""

    def __init__(self, root, monkeypatch):
        self.events = root / "warehouse" / "bronze.db" / "events"
        self.project = PlayedProject()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        monkeypatch.setattr(cycles_module, "_now", lambda: self.now)
        spark = type("Spark", (), {"conf": PlayedConf()})
        self.project.conf = spark.conf
        self.cycles = Cycles(spark, root, self.project, check_pause_s=0)

    def send(self, *numbers):
        write_deltalake(self.events, pa.table({"number": numbers}), mode="append")

    def step(self):
        """What was run, by name; None when nothing was."""
        before = len(self.project.runs)
        self.cycles.step()
        return self.project.runs[-1][1] if len(self.project.runs) > before else None


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


@pytest.fixture
def caught_up(world):
    world.send(1)
    world.step()
    return world


def test_the_first_cycle_builds_everything(world):
    assert world.step() == set(MODELS)
    assert world.step() is None


def test_a_cycle_leaves_the_tables_to_a_dbt_of_another_process_and_owes_what_is_new(
    caught_up, tmp_path
):
    with take_turn(tmp_path):
        caught_up.send(2)
        assert caught_up.step() is None
    assert caught_up.step() == {"typed", "summed"}


def test_new_rows_run_what_stands_below_them_and_nothing_else(caught_up):
    caught_up.send(2)
    assert caught_up.step() == {"typed", "summed"}
    assert caught_up.step() is None


def test_a_table_that_comes_later_is_seen(world):
    world.step()
    world.send(1)
    assert world.step() == {"typed", "summed"}


def test_a_change_of_the_project_builds_everything(caught_up):
    caught_up.project.is_changed = True
    assert caught_up.step() == set(MODELS)


def test_a_project_that_somebody_else_read_anew_is_built_too(caught_up):
    caught_up.project.readings += 1
    assert caught_up.step() == set(MODELS)


def test_a_model_that_fails_is_tried_again_when_its_pause_is_over(caught_up):
    caught_up.send(2)
    caught_up.project.broken = {"typed"}
    assert caught_up.step() == {"typed", "summed"}
    (typed,) = [m for m in caught_up.cycles.models() if m.name == "typed"]
    assert (typed.status, typed.failures, typed.error) == ("error", 1, "no such column")
    assert caught_up.step() == {"summed"}  # what was skipped goes on without it
    assert caught_up.step() is None
    caught_up.now += timedelta(seconds=1)
    assert caught_up.step() == {"typed"}
    caught_up.now += timedelta(seconds=1)
    assert caught_up.step() is None  # the second pause is longer
    caught_up.project.broken = set()
    caught_up.now += timedelta(seconds=1)
    assert caught_up.step() == {"typed"}
    assert caught_up.step() == {"summed"}  # what follows it had run without it
    assert caught_up.step() is None
    (typed,) = [m for m in caught_up.cycles.models() if m.name == "typed"]
    assert (typed.failures, typed.error) == (0, None)


def test_the_others_go_on_while_a_model_waits(caught_up):
    caught_up.project.broken = {"typed"}
    caught_up.send(2)
    caught_up.step()
    caught_up.step()
    caught_up.send(3)
    assert caught_up.step() == {"summed"}


def test_a_run_that_dbt_refuses_is_owed_still(caught_up):
    caught_up.send(2)
    caught_up.project.broken = {"everything"}
    with pytest.raises(BuildError):
        caught_up.step()
    caught_up.project.broken = set()
    assert caught_up.step() == {"typed", "summed"}


def test_a_small_batch_is_not_compiled_and_a_large_one_is(caught_up, monkeypatch):
    caught_up.send(2)
    caught_up.step()
    assert caught_up.project.settings["spark.sql.codegen.wholeStage"] == "false"
    assert caught_up.project.conf.values == {}
    monkeypatch.setattr(batch_settings, "LARGE_BATCH_BYTES", 1)
    caught_up.send(3)
    caught_up.step()
    assert caught_up.project.settings["spark.sql.codegen.wholeStage"] == "true"
    assert caught_up.project.conf.values == {}


def test_a_large_batch_that_failed_is_tried_again_as_a_large_one(caught_up, monkeypatch):
    monkeypatch.setattr(batch_settings, "LARGE_BATCH_BYTES", 1)
    caught_up.project.broken = {"typed"}
    caught_up.send(2)
    caught_up.step()
    caught_up.project.broken = set()
    caught_up.now += timedelta(seconds=1)
    assert caught_up.step() >= {"typed"}
    assert caught_up.project.settings["spark.sql.codegen.wholeStage"] == "true"
    caught_up.step()
    monkeypatch.undo()
    caught_up.send(3)
    caught_up.step()
    assert caught_up.project.settings["spark.sql.codegen.wholeStage"] == "false"


def test_a_cycle_leaves_the_session_as_it_found_it(caught_up):
    caught_up.project.conf.values = {"spark.sql.adaptive.enabled": "false", "other": "1"}
    caught_up.send(2)
    caught_up.step()
    assert caught_up.project.settings["spark.sql.codegen.wholeStage"] == "false"
    assert caught_up.project.conf.values == {"spark.sql.adaptive.enabled": "false", "other": "1"}


def test_columns_and_comments_are_looked_at_with_the_first_batch_alone(world):
    world.step()
    assert not world.project.is_settled
    world.send(1)
    world.step()
    assert world.project.is_settled
    world.project.is_changed = True
    world.step()
    assert not world.project.is_settled


def checked(world):
    """The models whose tests are run until there is nothing to test, run by run."""
    runs = len(world.project.runs)
    while world.cycles.check():
        pass
    assert {command for command, _ in world.project.runs[runs:]} <= {"test"}
    return [names for _, names in world.project.runs[runs:]]


def test_only_models_that_changed_are_tested(caught_up):
    assert checked(caught_up) == [set(MODELS)]
    assert checked(caught_up) == []
    caught_up.send(2)
    caught_up.step()
    assert checked(caught_up) == [{"summed", "typed"}]


def test_models_are_tested_a_few_at_a_time(caught_up, monkeypatch):
    monkeypatch.setattr(cycles_module, "CHECKED_AT_ONCE", 3)
    some, rest = checked(caught_up)
    assert (len(some), len(rest), some | rest) == (3, 1, set(MODELS))


def test_models_that_could_not_be_tested_are_tested_with_the_next_ones(caught_up):
    caught_up.project.broken = {"everything"}
    with pytest.raises(BuildError):
        caught_up.cycles.check()
    caught_up.project.broken = set()
    assert checked(caught_up) == [set(MODELS)]


def test_failed_tests_are_named_until_they_pass(caught_up):
    caught_up.project.broken = {"typed"}
    checked(caught_up)
    assert caught_up.cycles.failed_tests() == {"typed": "no such column"}
    caught_up.project.broken = set()
    caught_up.send(2)
    caught_up.step()
    checked(caught_up)
    assert caught_up.cycles.failed_tests() == {}
