"""python -m loaders vault …, as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from click import MissingParameter
from click.testing import CliRunner
from deltalake import write_deltalake

from loaders.session import ConfigurationError
from loaders.vault.commands import vault as command
from loaders.vault.envelope import pseudonym_of
from loaders.vault.master_key import MasterKey
from loaders.vault.scan import Place, scan_tables
from loaders.vault.store import PersonalValues, Vault, prepare_vault_root


@pytest.fixture
def store(aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    key = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
    monkeypatch.setenv("VAULT_ROOT", str(tmp_path / "vault"))
    monkeypatch.setenv("VAULT_KMS_KEY", key)
    opened = Vault(prepare_vault_root(), MasterKey(key))
    yield opened
    opened.close()


def call(*arguments: str) -> str:
    outcome = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    return outcome.stdout


def test_a_player_is_shown_exported_and_erased_by_either_name(store: Vault) -> None:
    player_id = pseudonym_of(store.pseudonym_key(), "north", "u-17")
    store.put([PersonalValues(player_id, "e-1", 1_700_000_000.0, {"email": "ada@example.com"})])
    why = ("--reason", "ticket 17")
    assert call("show", "north/u-17", *why) == "email: ada@example.com\n"
    assert call("show", player_id, *why) == "email: ada@example.com\n"
    assert json.loads(call("export", "north/u-17", *why)) == {
        "player_id": player_id,
        "personal_data": {
            "email": {
                "value": "ada@example.com",
                "said_at": "2023-11-14T22:13:20+00:00",
                "event_id": "e-1",
            }
        },
    }
    certificate = json.loads(call("erase", "north/u-17", "--yes", *why))
    assert certificate["player_id"] == player_id
    assert (certificate["had_key"], certificate["fields"]) == (True, 1)
    with pytest.raises(ConfigurationError, match="has nothing of player"):
        call("show", "north/u-17", *why)
    entries = [json.loads(line) for line in call("audit").splitlines()]
    assert [(entry["action"], entry["player_id"]) for entry in entries] == [
        *[("show", player_id)] * 2,
        ("export", player_id),
        ("erase", player_id),
        ("show", player_id),
    ]


def test_nothing_is_shown_without_a_reason(store: Vault) -> None:
    with pytest.raises(MissingParameter, match="reason"):
        call("show", "north/u-17")
    assert store.audit() == []


def test_a_scan_says_where_and_how_often_and_never_what(tmp_path: Path) -> None:
    records = [
        {"event_data": {"note": "write to eve@example.org"}, "app_version": "1.2.3.4"},
        {"event_data": {"note": "nothing"}, "device_id": "x"},
        {"event_data": {"note": "eve@example.org"}},
    ]
    rows = {"data": [json.dumps(record) for record in records], "_batch_id": [0, 1, 2]}
    folder = tmp_path / "warehouse" / "bronze.db" / "game_login"
    write_deltalake(folder, pa.table(rows))
    places = scan_tables(tmp_path, (), 10)
    assert places == [
        Place("game_login", "device_id", "field_deviceid", 1),
        Place("game_login", "event_data.note", "email", 2),
    ]
    assert scan_tables(tmp_path, ["game_login"], 1) == [
        Place("game_login", "event_data.note", "email", 1)
    ]
    assert "eve@" not in str(places)
    with pytest.raises(ConfigurationError, match="no table"):
        scan_tables(tmp_path, ["game_nothing"], 1)
