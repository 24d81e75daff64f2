"""make demo: its steps on a short range of dates, and how it ends when it cannot go on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import write_deltalake

import demo.__main__ as command
from demo import build, stocks, summary, use_cases
from demo.stocks import Delivery
from loaders.dbt_project import BuildError, DbtProject, Result
from loaders.session import PROJECT_ROOT

FIRST, LAST = date(2010, 1, 4), date(2010, 2, 5)
NEXT = date(2010, 2, 8)
STOCKS = [case for case in use_cases.USE_CASES if case.name == "stocks"]


@pytest.fixture
def main(tmp_path, monkeypatch):
    """Runs the command in this process on a root of its own; returns its exit code.

    What it sets is undone.
    """
    before = dict(os.environ)
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path / "lakehouse"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["demo", *arguments])
        with pytest.raises(SystemExit) as ended:
            command.main()
        return ended.value.code

    yield run
    os.environ.clear()
    os.environ.update(before)


def deliver(folder, first, last):
    """The landing objects of some sessions, in a folder instead of a bucket."""
    for item in stocks.landing_objects(last):
        if item.key.rsplit("/")[-1] >= first.isoformat():
            path = folder / item.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.body)


# ---- the steps, on five weeks of sessions


def test_data_is_loaded_built_shown_and_next_time_only_what_is_new(
    spark, lakehouse, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("LANDING", str(tmp_path))

    def run():
        command.load(spark, STOCKS)
        command.build_tables(lakehouse, DbtProject(lakehouse), STOCKS)
        command.show(lakehouse, spark, STOCKS)
        return capsys.readouterr().out

    for stamp in (lakehouse / "target").glob("green_build*"):
        stamp.unlink()
    deliver(tmp_path, FIRST, LAST)
    said = run()
    assert "stocks_daily_prices: 96 records of 24 objects" in said
    assert f"{LAST}" in said
    assert "AAPL" in said
    assert "tests passed" in said
    expected = {
        (day, bar["close"], bar["close"] / 3.74)
        for day, bars in stocks.bars_by_session().items()
        for bar in bars
        if bar["ticker"] == "AAPL" and date(2010, 1, 25) < day <= LAST
    }
    rows = spark.sql("select price_date, price, pe from gold.viewPE where ticker = 'AAPL'")
    assert {(row.price_date, row.price, row.pe) for row in rows.collect()} == expected
    page = (lakehouse / "charts" / "aapl_price_and_pe.html").read_text()
    assert page.startswith("<!DOCTYPE html>")

    said = run()
    assert "loaders, to bronze: nothing new" in said
    assert "dbt build, to silver and gold: skipped" in said

    figures = {table.name: table for table in summary.gold_tables(lakehouse, spark)}
    assert figures["stocksDailyPricesWFund"].newest == LAST
    assert figures["stocksDailyPricesWFund"].rows == 4 * 24
    assert figures["viewPE"].newest == LAST
    assert figures["viewPE"].size_bytes is None

    deliver(tmp_path, NEXT, NEXT)
    command.load(spark, STOCKS)
    assert "stocks_daily_prices: 4 records of 1 objects" in capsys.readouterr().out
    assert not build.is_current(lakehouse)


@pytest.mark.parametrize(
    ("grain", "column"),
    [
        (["name", "minute"], "minute"),
        (["name", "day", "minute"], "day"),
        (["name"], "minute"),  # the first of all columns
    ],
)
def test_a_table_is_as_new_as_the_first_time_of_its_grain(grain, column):
    types = {"name": "string", "minute": "timestamp", "day": "date"}
    columns = {name: {"data_type": data_type} for name, data_type in types.items()}
    model = {"columns": columns, "config": {"meta": {"grain": grain}}}
    assert summary.time_column(model) == column
    del columns["minute"], columns["day"]
    assert summary.time_column(model | {"config": {"meta": {"grain": ["name"]}}}) is None


def test_newest_is_said_as_a_day_or_as_a_minute_in_utc(tmp_path):
    minutes = [datetime(2026, 1, 2, hour, 30, tzinfo=UTC) for hour in (9, 10)]
    rows = pa.table({"day": [FIRST, LAST], "Minute": minutes})
    folder = tmp_path / "warehouse" / "gold.db"
    write_deltalake(folder / "full", rows)
    write_deltalake(folder / "empty", rows.slice(0, 0))

    def said(name, column):
        return summary.delta_table(tmp_path, name, column).newest_in_words

    assert said("full", "day") == "2010-02-05"
    assert said("full", "Minute") == "2026-01-02 10:30"
    assert {said("full", None), said("empty", "day"), said("empty", "Minute")} == {"-"}


def test_nothing_of_a_small_table_is_cut_where_it_is_too_wide(capsys):
    rule, words = (
        "personalized_offer_mispriced",
        "many words " * 12 + "a_cohort_of_fifty_letters" * 2,
    )
    rows = SimpleNamespace(columns=["rule", "cohort"], collect=lambda: [(rule, words)])
    command.show_rows("alerts", rows)
    shown = capsys.readouterr().out
    assert rule in shown.split()
    assert "…" not in shown


def test_a_change_of_the_project_asks_for_a_build(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "PROJECT_ROOT", tmp_path)
    monkeypatch.setattr(build, "PROJECT_PARTS", ("dbt_project.yml", "models"))
    (tmp_path / "target").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "dbt_project.yml").write_text("name: some")
    model = tmp_path / "models" / "some.sql"
    model.write_text("select 1")
    assert not build.is_current(tmp_path)
    build.mark_current(tmp_path)
    assert build.is_current(tmp_path)
    model.write_text("select 2")
    assert not build.is_current(tmp_path)


def test_a_commit_to_any_table_asks_for_a_build(tmp_path):
    log = tmp_path / "warehouse" / "gold.db" / "average_close" / "_delta_log"
    log.mkdir(parents=True)
    (tmp_path / "target").mkdir()
    (log / f"{0:020}.json").touch()
    build.mark_current(tmp_path)
    assert build.is_current(tmp_path)
    (log / f"{1:020}.json").touch()
    assert not build.is_current(tmp_path)


def test_a_failed_build_names_the_node_and_the_cause_in_one_line():
    bad = Result("model.m", "m", "model", "error", "Runtime Error no such column", 0.1)
    good = Result("model.n", "n", "model", "success", "OK", 0.1)
    project = SimpleNamespace(run=lambda *arguments, report: [good, bad])
    with pytest.raises(BuildError, match=r"^m: Runtime Error no such column$"):
        build.dbt_build(project, print)


@pytest.mark.parametrize(
    ("delivery", "words"),
    [
        (Delivery(LAST, 1, 5, 0, 0), "1 new session: 5 bars (up to 2010-02-05)"),
        (
            Delivery(LAST, 2, 10, 1, 3),
            "2 new sessions: 10 bars, 1 new filing date: 3 filings (up to 2010-02-05)",
        ),
        (Delivery(LAST, 0, 0, 0, 0), "nothing new (up to 2010-02-05)"),
    ],
)
def test_what_was_new_is_said_in_words(delivery, words):
    assert use_cases.describe(delivery) == words


# ---- how it ends


def test_an_unwritable_root_is_one_line_and_exit_code_1(main, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path / "file" / "lakehouse"))
    assert main() == 1
    said = capsys.readouterr().err
    assert said.startswith("demo: cannot write to LAKEHOUSE_ROOT")
    assert len(said.splitlines()) == 1


def test_an_unknown_use_case_is_refused_with_those_there_are(main, capsys):
    assert main("--only", "chess") == 2
    assert "'chess' is not one of 'stocks', 'games', 'video'" in capsys.readouterr().err


def test_a_taken_port_is_one_line_and_exit_code_1(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "demo"],
            cwd=PROJECT_ROOT,
            env={**os.environ, "LAKEHOUSE_ROOT": str(tmp_path), "AWS_PORT": port},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"demo: port {port} on 127.0.0.1 cannot be used")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("trouble", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "demo: stopped; the next run goes on from here\n"),
        (command.DemoError("feed some: gone"), 1, "demo: feed some: gone\n"),
    ],
)
def test_the_embedded_aws_is_stopped_whatever_ends_the_demo(
    main, monkeypatch, capsys, trouble, code, words
):
    endpoints = []

    def interrupted(cases, root):
        endpoints.append(os.environ["AWS_ENDPOINT_URL"])
        raise trouble

    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setattr(command, "get_spark", lambda: SimpleNamespace(stop=lambda: None))
    monkeypatch.setattr(command, "deliver", interrupted)
    assert main() == code
    assert capsys.readouterr().err.lstrip() == words
    assert "AWS_PROFILE" not in os.environ
    address = endpoints[0].removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address[0], int(address[1])), timeout=5)
