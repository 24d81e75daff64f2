"""quarantine list and show: how much, why, from where, and no personal data unless asked for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from loaders.cli import cli

SECRET = b'{"ip": "192.0.2.7", \x1b[31m'


@pytest.fixture
def quarantine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows of two feeds, one with an object's name that would steer a terminal."""
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (3, 1, 2)]
    rows = {
        "feed": ["games", "games", "stocks"],
        "batch_id": [7, 5, 6],
        "container": ["landing"] * 3,
        "item": ["new.json", "[red]old\x1b[2J.json", "gone.json"],
        "version": ["v3", "v1", "v2"],
        "ordinal": [2, 0, 0],
        "offset_bytes": [30, 10, 0],
        "reason": ["invalid_json", "invalid_json", "deleted_before_read"],
        "raw": [SECRET, b"\xff", b""],
        "ingested_at": days,
    }
    write_deltalake(str(tmp_path / "warehouse" / "bronze.db" / "quarantine"), pa.table(rows))


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.main(["quarantine", *arguments], standalone_mode=False)
    return capsys.readouterr().out


@pytest.mark.usefixtures("quarantine")
def test_list_counts_by_feed_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    games = {
        "feed": "games",
        "reason": "invalid_json",
        "records": 2,
        "first_seen": "2026-01-01 00:00:00+00:00",
        "last_seen": "2026-01-03 00:00:00+00:00",
    }
    assert json.loads(shown(capsys, "list", "--feed", "games", "--json")) == [games]
    every = json.loads(shown(capsys, "list", "--json"))
    assert [(group["feed"], group["records"]) for group in every] == [("games", 2), ("stocks", 1)]
    assert "2026-01-01 00:00:00" in shown(capsys, "list")


@pytest.mark.usefixtures("quarantine")
def test_show_tells_the_place_and_keeps_the_bytes_back(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "show", "games")
    assert out.splitlines() == [
        "invalid_json  landing new.json  version v3  record 2  byte 30  batch 7",
        "invalid_json  landing [red]old\\x1b[2J.json  version v1  record 0  byte 10  batch 5",
    ]
    assert "192.0.2.7" not in out + shown(capsys, "show", "games", "--json")


@pytest.mark.usefixtures("quarantine")
def test_show_has_the_bytes_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(capsys, "show", "games", "--raw", "--limit", "1")
    assert out.splitlines()[1:] == ['    {"ip": "192.0.2.7", \\x1b[31m']
    rows = json.loads(shown(capsys, "show", "games", "--raw", "--json"))
    assert [row["raw"] for row in rows] == [SECRET.decode(), "\\xff"]


@pytest.mark.usefixtures("quarantine")
def test_show_by_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "show", "stocks", "--reason", "invalid_json") == "nothing in quarantine\n"


def test_an_empty_lakehouse_has_no_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path))
    assert shown(capsys, "list") == "quarantine is empty\n"
    assert json.loads(shown(capsys, "show", "games", "--json")) == []
