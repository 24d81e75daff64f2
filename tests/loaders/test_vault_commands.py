"""python -m loaders vault …, as a person calls it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from click import MissingParameter
from click.testing import CliRunner
from deltalake import write_deltalake
from ingest_server import STREAM, a_landing, a_login

from loaders.erasure import LakeErasure
from loaders.games.contract import EventField, game_contract
from loaders.games.separation import Quarantined, Separator
from loaders.ingest.journal import at_rest
from loaders.session import PROJECT_ROOT, ConfigurationError
from loaders.vault.commands import vault as command
from loaders.vault.envelope import pseudonym_of
from loaders.vault.master_key import MasterKey
from loaders.vault.scan import Place, scan_tables
from loaders.vault.store import (
    PersonalValues,
    Pseudonyms,
    Vault,
    prepare_vault_root,
    vault_root,
)


@pytest.fixture
def store(aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    key = boto3.client("kms").create_key()["KeyMetadata"]["KeyId"]
    monkeypatch.setenv("VAULT_ROOT", str(tmp_path / "vault"))
    monkeypatch.setenv("VAULT_KMS_KEY", key)
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path / "lakehouse"))
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
        "quarantined": [],
        "lake": {},
    }
    certificate = json.loads(call("erase", "north/u-17", "--yes", *why))
    (player,) = certificate["players"]
    assert player["player_id"] == player_id
    assert (player["had_key"], player["fields"]) == (True, 1)
    with pytest.raises(ConfigurationError, match="has nothing of player"):
        call("show", "north/u-17", *why)
    entries = [json.loads(line) for line in call("audit").splitlines()]
    assert {entry["actor"] for entry in entries} == {pwd.getpwuid(os.getuid()).pw_name}
    assert [(entry["action"], entry["player_id"]) for entry in entries] == [
        *[("show", player_id)] * 2,
        ("export", player_id),
        ("erase", player_id),
        ("erase in lake", player_id),
        ("show", player_id),
        ("audit", None),
    ]


@pytest.mark.parametrize(
    ("uid", "environment", "actor"),
    [
        (0, {"SUDO_USER": "carol"}, "carol"),
        (0, {}, "root"),
        (4_000_000, {"SUDO_USER": "carol", "USER": "dave", "LOGNAME": "dave"}, "uid 4000000"),
    ],
)
def test_nobody_but_root_says_by_a_variable_who_asks(
    store: Vault,
    monkeypatch: pytest.MonkeyPatch,
    uid: int,
    environment: dict[str, str],
    actor: str,
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("loaders.vault.commands.os.getuid", lambda: uid)
    (entry,) = [json.loads(line) for line in call("audit").splitlines()]
    assert (entry["actor"], entry["action"]) == (actor, "audit")


def test_an_erasure_of_nobody_is_told_and_a_failure_and_others_are_erased(store: Vault) -> None:
    known, typo = (pseudonym_of(store.pseudonym_key(), "north", name) for name in ("u-17", "typo"))
    store.put([PersonalValues(known, "e-1", 1_700_000_000.0, {"email": "ada@example.com"})])
    why = ("--yes", "--reason", "ticket 17")
    outcome = CliRunner().invoke(command, ["erase", "north/u-17", "north/typo", *why])
    assert outcome.exit_code == 1
    told = "neither vault nor lake know north/typo: it is mistyped, or erased already\n"
    assert outcome.stderr.endswith(told)
    certificate = json.loads(outcome.stdout)
    assert certificate["unknown"] == [typo]
    assert [player["had_key"] for player in certificate["players"]] == [True, False]
    alone = CliRunner().invoke(command, ["erase", "north/u-17", "--vault-only", *why])
    assert (alone.exit_code, "the vault does not know north/u-17" in alone.stderr) == (1, True)


def test_who_is_in_the_lake_alone_or_half_erased_is_known(store: Vault, lake: Lake) -> None:
    in_lake, half, nobody = (
        pseudonym_of(store.pseudonym_key(), "north", name) for name in ("a", "b", "c")
    )
    lake.put(in_lake)
    store.unlinking(half, "fresh")
    lake.answers.append(LakeErasure())
    players = ("north/a", "north/b", "north/c")
    outcome = CliRunner().invoke(command, ["erase", *players, "--yes", "--reason", "ticket 17"])
    assert json.loads(outcome.stdout)["unknown"] == [nobody]


def test_keys_are_not_rotated_while_a_service_has_the_journal_or_left_events_in_it(
    store: Vault,
) -> None:
    why = ("--reason", "yearly")
    folder = vault_root() / "journal"
    assert call("rotate", *why) == "0 keys wrapped anew\n"
    store.pseudonym_key()
    folder.mkdir()
    left = folder / "000000000001.journal"
    with at_rest(folder), pytest.raises(ConfigurationError, match=r"service uses .*: stop it"):
        call("rotate", *why)
    left.write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"1\.journal holds acknowledged events"):
        call("rotate", *why)
    left.unlink()
    assert call("rotate", *why) == "1 keys wrapped anew\n"


def test_a_file_that_is_locked_or_no_vault_ends_in_a_line(
    store: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.vault.store.LOCK_SECONDS", 0)
    file = vault_root() / "vault.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("begin immediate")
        with pytest.raises(ConfigurationError, match=r"vault\.db: database is locked: another"):
            call("show", "player", "--reason", "ticket 17")
    store.close()
    for path in vault_root().glob("vault.db*"):
        path.unlink()
    file.write_text("no database " * 100)
    with pytest.raises(ConfigurationError, match=r"vault\.db: file is not a database: see"):
        call("show", "player", "--reason", "ticket 17")
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigurationError, match=r"vault\.db: Is a directory"):
        call("show", "player", "--reason", "ticket 17")


def test_an_export_has_the_rows_of_the_lake_and_of_who_is_in_the_lake_alone(
    store: Vault, tmp_path: Path
) -> None:
    def in_table(name: str, **columns: list) -> None:
        write_deltalake(tmp_path / "lakehouse" / "warehouse" / name, pa.table(columns))

    player, other = (pseudonym_of(store.pseudonym_key(), "north", f"u-{n}") for n in (17, 18))
    at = datetime(2026, 3, 1, 10, tzinfo=UTC)
    in_table(
        "gold.db/player_profile",
        player_id=[player, other],
        profile_date=[date(2026, 3, 2)] * 2,
        share=[0.5, None],
    )
    in_table(
        "silver.db/game_login",
        player_id=[player, other],
        event_at=[at, at],
        price=[Decimal("1.50"), None],
        flags=[["clock_wrong"], []],
    )
    in_table("bronze.db/quarantine", raw=[b"\xff" + player.encode(), b"{"])
    lake = {
        "bronze.quarantine": [{"raw": f"\\xff{player}"}],
        "silver.game_login": [
            {
                "player_id": player,
                "event_at": "2026-03-01T10:00:00+00:00",
                "price": "1.50",
                "flags": ["clock_wrong"],
            }
        ],
        "gold.player_profile": [{"player_id": player, "profile_date": "2026-03-02", "share": 0.5}],
    }
    why = ("--reason", "ticket 17")
    nothing_told = {"player_id": player, "personal_data": {}, "quarantined": []}
    assert json.loads(call("export", "north/u-17", *why)) == nothing_told | {"lake": lake}
    with pytest.raises(ConfigurationError, match="the vault has nothing of player"):
        call("export", "north/u-17", "--vault-only", *why)
    with pytest.raises(ConfigurationError, match="neither vault nor lake has anything of player"):
        call("export", "north/u-19", *why)

    store.put([PersonalValues(player, "e-1", 1_700_000_000.0, {"email": "ada@example.com"})])
    exported = json.loads(call("export", "north/u-17", *why))
    assert exported["personal_data"]["email"]["value"] == "ada@example.com"
    assert exported.pop("lake") == lake
    assert json.loads(call("export", "north/u-17", "--vault-only", *why)) == exported
    assert [json.loads(line)["action"] for line in call("audit").splitlines()] == ["export"] * 5 + [
        "audit"
    ]


NOTHING_IN_THE_LAKE = {"tables": {}, "objects_rewritten": 0, "versions_deleted": 0, "left": {}}


def test_an_erasure_of_several_leaves_one_certificate_that_only_its_owner_reads(
    store: Vault, tmp_path: Path
) -> None:
    players = ("north/u-17", "north/u-18", "north/u-17")
    printed = call("erase", *players, "--yes", "--reason", "ticket 17")
    (kept,) = (tmp_path / "vault" / "certificates").iterdir()
    assert kept.read_text() == printed
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    certificate = json.loads(printed)
    ids = [pseudonym_of(store.pseudonym_key(), "north", name) for name in ("u-17", "u-18")]
    assert [player["player_id"] for player in certificate["players"]] == ids
    assert certificate["reason"] == "ticket 17"
    # there is no lakehouse
    assert certificate["lake"] == NOTHING_IN_THE_LAKE
    call("erase", *players, "--yes", "--vault-only", "--reason", "ticket 17")
    (newer,) = set((tmp_path / "vault" / "certificates").iterdir()) - {kept}
    assert json.loads(newer.read_text())["lake"] is None


def test_what_an_unfinished_erasure_puts_in_a_players_place_stays_the_same(store: Vault) -> None:
    assert store.unlinking("player", "one") == "one"
    assert store.unlinking("player", "another") == "one"
    store.forget_unlinking("player")
    assert store.unlinking("player", "another") == "another"


class Lake:
    """A lake with a table of players: what it is told to erase, and what it answers.

    tests/pipeline/test_player_erasure.py has a real one.
    """

    def __init__(self, root: Path) -> None:
        self.told: list[dict[str, str]] = []
        self.answers: list[LakeErasure | Exception] = []
        self._table = root / "warehouse" / "silver.db" / "game_players"
        self.put("p")

    def put(self, player_id: str) -> None:
        """Give the table a row of a player."""
        write_deltalake(self._table, pa.table({"player_id": [player_id]}), mode="append")

    def erase(self, _: Any, __: Path, replacements: dict[str, str], ___: Any) -> LakeErasure:
        self.told.append(replacements)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        """It is its own session."""


@pytest.fixture
def lake(store: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    made = Lake(tmp_path / "lakehouse")
    monkeypatch.setattr("loaders.session.get_spark", lambda: made)
    monkeypatch.setattr("loaders.erasure.erase_in_lake", made.erase)
    return made


def test_the_certificate_says_what_was_done_in_the_lake(store: Vault, lake: Lake) -> None:
    done = LakeErasure({"silver.game_players": 2}, objects_rewritten=3, versions_deleted=1)
    lake.answers.append(done)
    certificate = json.loads(call("erase", "north/u-17", "--yes", "--reason", "ticket 17"))
    assert certificate["lake"] == asdict(done)
    (entry,) = [entry for entry in store.audit() if entry["action"] == "erase in lake"]
    assert entry["outcome"] == "rows 2, objects 3, left 0"


def test_what_is_left_in_the_lake_is_said_and_is_a_failure(store: Vault, lake: Lake) -> None:
    lake.answers.append(LakeErasure(left={"s3://landing/games/a.gz": "truncated_gzip"}))
    outcome = CliRunner().invoke(command, ["erase", "north/u-17", "--yes", "--reason", "ticket 17"])
    assert outcome.exit_code == 1
    (kept,) = (vault_root() / "certificates").iterdir()
    assert json.loads(kept.read_text())["lake"]["left"] == {
        "s3://landing/games/a.gz": "truncated_gzip"
    }


def test_an_erasure_that_was_cut_short_goes_on_with_the_same_pseudonym_and_a_later_one_does_not(
    store: Vault, lake: Lake
) -> None:
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")
    lake.answers += [refused, LakeErasure(), LakeErasure()]
    player = ("north/u-17", "--yes", "--reason", "ticket 17")
    with pytest.raises(ConfigurationError, match=r"AccessDenied.*not yet in the lake"):
        call("erase", *player)
    assert not (vault_root() / "certificates").exists()
    call("erase", *player)
    call("erase", *player)
    first, second, third = lake.told
    assert first == second
    assert first.keys() == third.keys()
    assert first != third


def test_a_player_id_that_begins_with_a_dash_is_no_option(store: Vault) -> None:
    player = "-" + "Ab_0-" * 4 + "x"
    store.put([PersonalValues(player, "e-1", 1_700_000_000.0, {"email": "ada@example.com"})])
    assert call("show", player, "--reason", "ticket 17") == "email: ada@example.com\n"
    assert json.loads(call("erase", player, "--yes", "--reason", "x"))["players"]


def test_a_word_that_is_no_pseudonym_is_refused_before_anything_is_erased(store: Vault) -> None:
    player_id = pseudonym_of(store.pseudonym_key(), "north", "u-17")
    with pytest.raises(ConfigurationError, match="a is no player_id of the lake"):
        call("erase", player_id, "a", "--yes", "--reason", "ticket 17")
    assert store.audit() == []


def test_nothing_is_erased_while_an_engine_has_the_root(store: Vault, tmp_path: Path) -> None:
    root = tmp_path / "lakehouse"
    root.mkdir()
    player_id = pseudonym_of(store.pseudonym_key(), "north", "u-17")
    of_another = (
        "import sys; from pathlib import Path; from loaders.lock import locked\n"
        "with locked(Path(sys.argv[1]), 1, 2): print('locked', flush=True); sys.stdin.read()"
    )
    engine = subprocess.Popen(
        [sys.executable, "-c", of_another, root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=PROJECT_ROOT,
    )
    with engine:
        assert engine.stdout is not None
        assert engine.stdin is not None
        assert engine.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigurationError, match="an engine is running"):
            call("erase", player_id, "--yes", "--reason", "ticket 17")
        engine.stdin.close()
    assert store.audit() == []


def test_nothing_is_erased_while_a_loader_has_a_batch_a_replay_or_a_backfill_to_complete(
    store: Vault, tmp_path: Path
) -> None:
    player_id = pseudonym_of(store.pseudonym_key(), "north", "u-17")
    checkpoints = tmp_path / "lakehouse" / "checkpoints"
    for begun, told in (
        ("game_events/offsets/7", "run game_events --once"),
        ("replays/game_events/0", "quarantine replay game_events"),
        ("backfills/game_events/location", "backfill game_events s3://b/games/"),
    ):
        (checkpoints / begun).parent.mkdir(parents=True)
        (checkpoints / begun).write_text("s3://b/games/")
        with pytest.raises(ConfigurationError, match=told):
            call("erase", player_id, "--yes", "--reason", "ticket 17")
        shutil.rmtree(checkpoints)
    assert store.audit() == []


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


def test_the_quarantine_is_listed_without_values_and_released_by_type(
    store: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = game_contract()
    event = a_login("u-17", event_data={"platform": "guest", "contact": "eve@example.org"})
    pseudonym = Pseudonyms(store.pseudonym_key())
    suspect = Separator(contract, pseudonym).separate(event, "north", 1_700_000_000.0)
    assert isinstance(suspect, Quarantined)
    store.quarantine([suspect])
    at = "2023-11-14T22:13:20+00:00"
    assert call("quarantine", "list") == (
        f"north: login v1: event_data.contact: email, 1 events, {at} to {at}\n"
    )
    assert json.loads(call("quarantine", "list", "--json")) == [
        {
            "studio": "north",
            "event_type": "login",
            "event_version": 1,
            "field": "event_data.contact",
            "kind": "email",
            "events": 1,
            "first_taken": at,
            "last_taken": at,
        }
    ]
    (exported,) = json.loads(call("export", "north/u-17", "--reason", "t"))["quarantined"]
    assert exported == {
        "taken_at": at,
        "found": {"field": "event_data.contact", "kind": "email"},
        "event": event,
    }
    release = ("quarantine", "release", "login", "--reason", "ticket 17")
    monkeypatch.delenv("GAMES_FIREHOSE", raising=False)
    with pytest.raises(ConfigurationError, match="no Firehose stream is named"):
        call(*release)
    with a_landing() as landing:
        monkeypatch.setenv("GAMES_FIREHOSE", STREAM)
        assert call(*release) == (
            "0 events released, 1 stay\nlogin: event_data.contact: personal_data:email, 1 events\n"
        )
        contact = EventField(name="contact", type="string", description=".", personal="vault")
        login = contract["login"].model_copy(
            update={"fields": (*contract["login"].fields, contact)}
        )
        changed = contract.model_copy(update={"events": (login,)})
        monkeypatch.setattr("loaders.games.contract.game_contract", lambda: changed)
        assert call(*release) == "1 events released, 0 stay\n"
        (arrived,) = landing.events()
    assert arrived["event_id"] == event["event_id"]
    assert call("quarantine", "list") == "quarantine is empty\n"
