"""What is written from loaders/games/events.yml is up to date."""

from __future__ import annotations

import re

import pytest

from loaders.destinations import GameTables
from loaders.games.contract import game_contract
from scripts import game_contracts

RENEW = "run: .venv/bin/python scripts/game_contracts.py"
CONTRACT = game_contract()


def test_sources_models_and_macros_are_those_of_the_contract() -> None:
    files = game_contracts.files(CONTRACT)
    stale = [path.name for path, text in files.items() if path.read_text() != text]
    assert stale == [], RENEW
    assert {path for path in game_contracts.SILVER.iterdir() if path not in files} == set(), RENEW


def test_every_event_has_a_bronze_table_and_a_silver_model() -> None:
    sources = game_contracts.SOURCES.read_text()
    for table in GameTables(CONTRACT).tables:
        assert f"name: {table}" in sources
    models = {path.stem for path in game_contracts.SILVER.glob("*.sql")}
    assert models == {event.table for event in CONTRACT.events}


def test_no_personal_field_has_a_column() -> None:
    for event in CONTRACT.events:
        model = game_contracts.model(CONTRACT, event)
        names = set(re.findall(r"'name': '(\w+)'", model))
        assert names == {field.column for field in event.fields if field.column}
        assert names & {field.name for field in event.fields if field.personal} == set()


def test_the_envelope_that_dbt_reads_is_that_of_the_contract() -> None:
    macro = (game_contracts.EVENT_TYPES.parent / "game_envelope_type.sql").read_text()
    fields = (*CONTRACT.envelope, *CONTRACT.stamped)
    assert set(re.findall(r"'(\w+)'", macro)) - {"join"} == {field.column for field in fields}


def test_a_field_that_the_envelope_has_too_gets_a_column_of_its_own() -> None:
    assert list(game_contracts.columns(CONTRACT, CONTRACT["login"])) == [
        "event_platform",
        "last_login_ts",
    ]


def test_the_documented_events_are_those_of_the_contract() -> None:
    document = game_contracts.DOCS.read_text()
    assert document == game_contracts.with_events(document, CONTRACT), RENEW


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks a marker"):
        game_contracts.with_events("no markers", CONTRACT)
