"""What is written from loaders/games/events.yml is up to date."""

from __future__ import annotations

import pytest

from loaders.destinations import GameTables
from loaders.games.contract import game_contract
from scripts import game_contracts

RENEW = "run: .venv/bin/python scripts/game_contracts.py"


def test_the_bronze_sources_are_those_of_the_contract() -> None:
    written = game_contracts.SOURCES.read_text()
    assert written == game_contracts.sources(game_contract()), RENEW
    for table in GameTables(game_contract()).tables:
        assert f"name: {table}" in written


def test_the_documented_events_are_those_of_the_contract() -> None:
    document = game_contracts.DOCS.read_text()
    assert document == game_contracts.with_events(document, game_contract()), RENEW


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks a marker"):
        game_contracts.with_events("no markers", game_contract())
