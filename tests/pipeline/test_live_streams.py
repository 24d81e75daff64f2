"""Streaming models: the engine and dbt run one text, agree on it, and never write side by side."""

from __future__ import annotations

import random
import re
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from live_project import MODELS, Event, LiveProject, by_hand, event
from pyspark.errors import StreamingQueryException
from tiny_project import PROJECT_ROOT, project_with_our_macros

from loaders import dbt_project
from loaders.cycles import Cycles
from loaders.dbt_project import DbtProject
from loaders.engine import EngineError, Models
from loaders.journal import read_live_progress
from loaders.live import start_live
from loaders.live_models import Column
from loaders.live_tables import OWNER, owner
from loaders.session import ConfigurationError

COMMITS = 6


def shuffled_within_the_delay() -> list[list[Event]]:
    """Commits of events up to 30 s out of order, some of them twice, some unfit."""
    draw = random.Random(42)
    kinds = ["STREAM", "ERROR", "STOP"]
    events = [
        event(draw.uniform(0, 600), draw.choice(kinds), f"p{draw.randrange(9)}") for _ in range(300)
    ]
    events += draw.sample(events, 40)
    arrival = {id(each): each[0].timestamp() + draw.uniform(0, 29) for each in events}
    events.sort(key=lambda each: arrival[id(each)])
    size = len(events) // COMMITS + 1
    commits = [events[at : at + size] for at in range(0, len(events), size)]
    # without a time; with a clock that runs ahead, which would close every window
    commits[0] += [event(None), event(10**7, late=-1)]
    return commits


def test_stream_and_batch_agree_whatever_the_order_through_a_crash_and_a_pause(
    live: LiveProject,
) -> None:
    models = live.models()
    commits = shuffled_within_the_delay()

    def stream(deliveries: list[list[Event]], report: Any = None) -> None:
        with ExitStack() as running:
            wait = [running.enter_context(live.streaming(models[m], report)) for m in MODELS]
            for each in deliveries:
                live.deliver(each)
                for done in wait:
                    done()

    def crash_after_the_table_is_written(_: Any) -> None:
        # Longer than what Spark's search for an interruption bears (loaders/causes.py).
        java = "py4j.protocol.Py4JJavaError: An error occurred while calling o1.sql."
        raise RuntimeError(java + "\n\tat a.frame" * 3000)

    stream(commits[:3])
    with pytest.raises(StreamingQueryException):
        stream(commits[3:4], crash_after_the_table_is_written)
    live.deliver(commits[4])  # while nothing runs
    stream(commits[5:])

    expected = by_hand(each for some in commits for each in some)
    for name in MODELS:
        assert live.rows(f"select * from gold.{name}") == expected[name]
    versions = [live.version(f"gold.{name}") for name in MODELS]
    assert live.run() == dict.fromkeys(MODELS, "OK nothing new")
    assert [live.version(f"gold.{name}") for name in MODELS] == versions


def comes_true(condition: Any) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    return condition()


def test_a_row_later_than_the_delay_is_left_out_counted_and_put_in_by_dbt(
    live: LiveProject, lakehouse: Path
) -> None:
    model = live.models()["error_share"]
    # The watermark that the second commit sets closes windows at the end of the third.
    commits = [[event(5)], [event(200)], [event(201)], [event(6), event(141)]]
    with live.streaming(model) as done:
        for each in commits:
            live.deliver(each)
            done()
    said = lambda: read_live_progress(lakehouse, "error_share")  # noqa: E731
    assert comes_true(lambda: said().state == "ended")
    assert (said().late_rows, said().batch_id, said().waiting_files) == (1, 3, 0)

    everything = [each for some in commits for each in some]
    in_time = [each for each in everything if each != event(6)]
    assert live.rows("select * from gold.error_share") == by_hand(in_time)["error_share"]
    live.run()
    assert live.rows("select * from gold.error_share") == by_hand(everything)["error_share"]

    # The stream goes on from its state, and leaves what dbt mended.
    with live.streaming(model) as done:
        live.deliver([event(202)])
        done()
    everything.append(event(202))
    assert live.rows("select * from gold.error_share") == by_hand(everything)["error_share"]


def test_a_table_is_the_engines_or_dbts_and_changes_hands_in_any_order(
    live: LiveProject, spark: Any
) -> None:
    model = live.models()["active_players"]
    table = "gold.active_players"
    live.deliver([event(1)])

    def run(*arguments: str) -> str:
        return live.run(*arguments)["active_players"]

    assert run() == "OK"
    first = live.rows(f"select * from {table}")
    with live.streaming(model) as done:
        done()
        assert owner(spark, table) == spark.sparkContext.applicationId
        version = live.version(table)
        live.deliver([event(2, player="q")])
        done()
        written = live.version(table)
        assert written == version + 1
        assert run() == run("--full-refresh") == "OK left to the engine"
        assert live.version(table) == written
    second = live.rows(f"select * from {table}")
    assert second != first

    assert owner(spark, table) is None
    assert run() == "OK nothing new"
    live.deliver([event(3, player="r")])
    assert run() == "OK"

    # An engine that was killed never lets go. On one machine it cannot be there any more.
    spark.sql(f"alter table {table} set tblproperties ('{OWNER}' = 'local-1')")
    live.deliver([event(4, player="s")])
    assert run() == "OK"
    live.deliver([event(5, player="t")])
    with live.streaming(model) as done:
        done()
    everything = [event(n, player=p) for n, p in enumerate("pqrst", 1)]
    assert live.rows(f"select * from {table}") == by_hand(everything)["active_players"]


def test_engine_and_dbt_create_the_same_table(live: LiveProject, spark: Any) -> None:
    model = live.models()["active_players"]

    def shape() -> tuple[Any, ...]:
        detail = spark.sql("describe detail gold.active_players").first()
        columns = [tuple(row) for row in spark.sql("describe gold.active_players").collect()]
        return detail["description"], detail["clusteringColumns"], columns

    with live.streaming(model):
        by_engine = shape()
    spark.sql("drop table gold.active_players")
    live.run()
    assert by_engine == shape()


def test_a_changed_query_starts_anew_and_says_so(live: LiveProject, lakehouse: Path) -> None:
    live.deliver([event(1), event(61, "ERROR"), event(62, "ERROR")])
    model = live.models()["error_share"]
    for _ in range(2):
        with live.streaming(model) as done:
            done()
    assert live.notices == [
        "error_share: starts from the earliest row of its input, and replaces the table's rows"
    ]
    assert len(live.rows("select * from gold.error_share")) == 2

    changed = live.models(having="having count(*) > 1")["error_share"]
    with live.streaming(changed) as done:
        done()
    (notice,) = live.notices[1:]
    assert notice.startswith("error_share: its query has changed: it starts anew from the earliest")
    assert len(live.rows("select * from gold.error_share")) == 1
    assert len(list((lakehouse / "checkpoints" / "live" / "error_share").iterdir())) == 1


def test_a_query_that_starts_late_leaves_windows_alone_that_it_cannot_know_whole(
    live: LiveProject,
) -> None:
    before = [event(1), event(59), event(70)]
    live.deliver(before)
    live.run()
    model = live.models(error_share_start="latest")["error_share"]
    after = [event(71), event(130), event(131)]
    with live.streaming(model) as done:
        live.deliver(after[:2])
        done()
        live.deliver(after[2:])
        done()
    (notice,) = live.notices
    assert notice.endswith("with the first window after 2026-01-01 00:01:10 UTC")
    complete = by_hand([*before, *after])["error_share"]
    half = by_hand(before)["error_share"]
    third_minute = max(complete)
    assert live.rows("select * from gold.error_share") == half | {third_minute}
    live.run()
    assert live.rows("select * from gold.error_share") == complete


def test_a_start_in_time_reads_what_was_committed_since(live: LiveProject, spark: Any) -> None:
    live.deliver([event(1)])
    history = spark.sql("describe history bronze.events").collect()
    at = history[0]["timestamp"].isoformat()
    live.deliver([event(61), event(62)])
    model = live.models(error_share_start=at)["error_share"]
    with live.streaming(model) as done:
        done()
    assert (
        live.rows("select * from gold.error_share")
        == by_hand([event(61), event(62)])["error_share"]
    )


def test_a_table_that_does_not_fit_the_contract_is_refused_in_one_line(
    live: LiveProject, spark: Any
) -> None:
    model = live.models()["error_share"]
    spark.sql("create table gold.error_share (window_start timestamp, events string) using delta")
    with pytest.raises(ConfigurationError, match=r"error_share\.events is string, .* bigint: stop"):
        start_live(spark, model, print)
    spark.sql("drop table gold.error_share")
    spark.sql("create table gold.error_share (window_start timestamp, events bigint) using delta")
    live.deliver([event(1, "ERROR")])
    with live.streaming(model) as done:
        done()
    assert live.rows("select errors from gold.error_share") == {(1,)}


def test_a_query_that_its_contract_does_not_fit_is_refused_in_one_line(
    live: LiveProject, spark: Any
) -> None:
    model = live.models()["error_share"]
    start, events, _ = model.columns
    declared = (start, replace(events, data_type="string"), Column("players", "bigint", ""))
    with pytest.raises(ConfigurationError) as refused:
        start_live(spark, replace(model, columns=declared), print)
    assert str(refused.value) == (
        "error_share: query and contract differ: errors is bigint, declared nowhere; events is "
        "bigint, declared string; players is missing, declared bigint: correct its YAML"
    )
    assert not spark.catalog.tableExists("gold.error_share")


def test_a_merge_reads_the_files_of_its_batchs_windows_alone(live: LiveProject, spark: Any) -> None:
    model = live.models()["error_share"]
    with live.streaming(model) as done:
        live.deliver([event(1)])
        done()  # the first batch replaces what is there
        live.deliver([event(61), event(130)])
        done()
    history = spark.sql("describe history gold.error_share").where("operation = 'MERGE'")
    predicate = history.first()["operationParameters"]["predicate"]
    assert re.findall(r"window_start#\d+ ([<>]=) ([\d: -]+)\)", predicate) == [
        (">=", "2026-01-01 00:01:00"),
        ("<=", "2026-01-01 00:02:00"),
    ]


def test_in_append_mode_a_window_is_written_once_when_it_is_closed(
    live: LiveProject, spark: Any
) -> None:
    model = replace(live.models()["error_share"], output_mode="append")
    commits = [[event(1), event(61)], [event(2, "ERROR"), event(95)], [event(170)]]
    after = [set(), {0}, {0, 1}]  # minutes that are more than the delay of 30 seconds ago
    everything: list[Event] = []
    with live.streaming(model) as done:
        for some, closed in zip(commits, after, strict=True):
            live.deliver(some)
            done()
            everything += some
            written = live.rows("select * from gold.error_share")
            assert written == {
                row for row in by_hand(everything)["error_share"] if row[0].minute in closed
            }
    updated = spark.sql("describe history gold.error_share").where("operation = 'MERGE'")
    assert {row["operationMetrics"]["numTargetRowsUpdated"] for row in updated.collect()} == {"0"}


BROKEN = "{% if execute %}{{ exceptions.raise_compiler_error('no such view') }}{% endif %}"


def test_a_live_model_that_does_not_compile_leaves_the_others_running(
    live: LiveProject, lakehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = project_with_our_macros(tmp_path / "project", PROJECT_ROOT / "tests/pipeline/live")
    (project.folder / "profiles").symlink_to(project.profiles)
    monkeypatch.setattr(dbt_project, "PROJECT_ROOT", project.folder)
    models = project.folder / "models" / "live"
    view, model = models / "broken_view.sql", models / "over_it.sql"
    view.write_text((models / "fit_events.sql").read_text() + BROKEN)
    text = (models / "error_share.sql").read_text()
    model.write_text(text.replace("'fit_events'", "'broken_view'"))
    contract = (models / "_models.yml").read_text().partition("  - name: error_share")[2]
    (models / "_over_it.yml").write_text(f"models:\n  - name: over_it{contract}")

    started: list[str] = []
    stop = threading.Event()
    stop.set()
    cycles = Cycles(live.spark, lakehouse, DbtProject(lakehouse))
    task = Models(cycles, lambda: None, lambda some, told: started.extend(m.name for m in some))
    for _ in range(2):
        with pytest.raises(EngineError, match=r"^over_it: .*broken_view.*no such view") as failed:
            task.run(stop, print)
        assert "\n" not in str(failed.value)
        assert started == list(MODELS)
    view.write_text((models / "fit_events.sql").read_text())
    task.run(stop, print)
    assert started == [*MODELS, "over_it"]
