"""One stream, a table for each event: nothing lost, nothing twice, wherever a batch is cut."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from game_sender import CONTRACT, TABLES, Sender, game_sender, in_bronze, table_of

from demo.games import Plan, Simulation
from loaders import bronze
from loaders.bronze import BatchReport
from loaders.destinations import GameTables
from loaders.games.contract import UNKNOWN_TABLE
from loaders.games.separation import Separated, Separator
from loaders.run import run_once
from loaders.vault.scan import Place, scan_tables


@pytest.fixture(scope="module")
def sender(aws: Any, shared_lakehouse: Path) -> Iterator[Sender]:
    with game_sender() as sender:
        yield sender


@pytest.fixture(scope="module")
def played() -> list[dict[str, Any]]:
    """A few events of every type, separated."""
    plan = Plan(days=14, installs=3, refunds=1.0, heartbeat_seconds=3600)
    separator = Separator(CONTRACT, lambda studio, user_id: f"p-{user_id}")
    events, taken = [], Counter()
    for sent in Simulation(plan).events():
        event_type = sent.event["event_type"]
        if taken[event_type] < 3:
            taken[event_type] += 1
            separated = separator.separate(sent.event, "north", 0.0)
            assert isinstance(separated, Separated)
            events.append(json.loads(separated.body))
    assert taken.keys() == {event.name for event in CONTRACT.events}
    return events


def load(spark: Any, sender: Sender) -> tuple[list[BatchReport], dict[str, str]]:
    reports: list[BatchReport] = []
    return reports, run_once(spark, [sender.feed], reports.append)


def newest_commits(root: Path) -> dict[str, str]:
    logs = {table: root / "warehouse" / "bronze.db" / table / "_delta_log" for table in TABLES}
    return {table: max(path.name for path in log.glob("*.json")) for table, log in logs.items()}


def test_each_event_stands_in_the_table_of_its_type_and_unknown_ones_apart(
    spark: Any, root: Path, sender: Sender, played: list[dict[str, Any]]
) -> None:
    strange = [
        {"event_type": "volcano_erupted", "event_version": 1},
        {"event_type": "login", "event_version": 2},
        {"event_type": "login", "event_version": 0},
        {"event_type": "login", "event_version": "1"},
        {"event_type": "unknown", "event_version": 1},
        {"event_type": None},
        {"event_type": {"login": 1}, "event_version": 1},
        {},
    ]
    sender.put(played)
    sender.put(strange)
    (report,), failed = load(spark, sender)
    assert failed == {}
    assert in_bronze(root) == sender.sent
    assert sender.sent.keys() == set(TABLES)
    assert sender.sent[UNKNOWN_TABLE].total() == len(strange)
    assert (report.received, report.kept) == (len(played) + len(strange),) * 2


def test_tables_without_rows_are_not_written_and_what_is_broken_is_quarantined(
    spark: Any, root: Path, sender: Sender, played: list[dict[str, Any]]
) -> None:
    before = newest_commits(root)
    logins = [event for event in played if event["event_type"] == "login"]
    sender.put(logins, after=b'{"event_type": "login')
    (report,), failed = load(spark, sender)
    assert failed == {}
    assert (report.received, report.kept, report.quarantined) == (len(logins) + 1, len(logins), 1)
    assert in_bronze(root) == sender.sent
    after = newest_commits(root)
    assert {table for table in TABLES if after[table] != before[table]} == {"game_login"}


def test_a_scan_finds_what_came_past_the_service_that_keeps_personal_data_back(
    spark: Any, root: Path, sender: Sender, played: list[dict[str, Any]]
) -> None:
    assert scan_tables(root, (), 100) == []
    (login, *_) = (event for event in played if event["event_type"] == "login")
    sender.put([login | {"contact": "someone@example.com"}])
    load(spark, sender)
    assert scan_tables(root, (), 1) == [Place("game_login", "contact", "email", 1)]


class Cut(Exception):
    """The end of a process, as far as the tables can tell."""


def test_a_batch_cut_between_tables_again_and_again_is_completed_by_its_replays(
    spark: Any,
    root: Path,
    sender: Sender,
    played: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = in_bronze(root)
    some = [event for event in played if event["event_type"].startswith(("level", "match"))]
    sender.put([*some, {"event_type": "volcano_erupted", "event_version": 1}])
    tables = sorted(set(map(table_of, some)) | {UNKNOWN_TABLE})
    assert len(tables) == 6
    inner, reached = bronze.append, set()
    # which tables each life reaches; the last one dies before the ledger
    lives: list[set[str]] = [{tables[0]}, set(tables[::2]), set(tables[1:]), set(tables)]
    for life in lives:

        def append(rows: Any, name: str, *, life: set[str] = life, **options: Any) -> None:
            if name.removeprefix("bronze.") not in life:
                raise Cut(f"cut before the commit of {name}")
            inner(rows, name, **options)

        with monkeypatch.context() as cutting:
            cutting.setattr(bronze, "append", append)
            assert "cut before the commit" in load(spark, sender)[1]["game_events"]
        reached |= life
        assert in_bronze(root) == {
            table: (sender.sent if table in reached else before)[table] for table in TABLES
        }
    unfinished = spark.table("bronze.ledger").count()

    sender.put(played[:5])
    assert load(spark, sender)[1] == {}
    assert in_bronze(root) == sender.sent
    ledger = spark.table("bronze.ledger").collect()
    assert sum(row["kept"] for row in ledger) == sum(map(Counter.total, sender.sent.values()))
    assert len({row["item"] for row in ledger}) == len(ledger) == unfinished + 2


def test_the_tables_are_those_of_the_contract() -> None:
    assert list(GameTables(CONTRACT).tables) == TABLES
    assert len(TABLES) == 30 + 3 + 1
