"""The vault keeps personal data apart, sealed, audited, and forgets for good."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loaders.games.separation import Quarantined
from loaders.session import ConfigurationError
from loaders.vault.envelope import Damaged, Sealer, pseudonym_of
from loaders.vault.master_key import MasterKey, master_key
from loaders.vault.store import (
    Access,
    NoSuchPlayer,
    PersonalValues,
    QuarantineGroup,
    Vault,
    prepare_vault_root,
    vault_root,
)

WHY = Access("tester", "request 17")
ADA = "ada-pseudonym"


@pytest.fixture(scope="module")
def key(aws: Any) -> MasterKey:
    return MasterKey(boto3.client("kms").create_key()["KeyMetadata"]["KeyId"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAULT_ROOT", str(tmp_path / "vault"))
    return prepare_vault_root()


@pytest.fixture
def vault(folder: Path, key: MasterKey) -> Iterator[Vault]:
    opened = Vault(folder, key)
    yield opened
    opened.close()


_events = itertools.count()


def said(player_id: str, at: float = 1.0, **values: str) -> PersonalValues:
    return PersonalValues(player_id, f"event-{next(_events):06}", at, values)


def bytes_under(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_was_put_is_shown_and_nothing_of_it_is_readable_on_disk(
    vault: Vault, folder: Path
) -> None:
    vault.put([said(ADA, email="ada@example.com", user_id="u-17"), said("bob", user_id="u-18")])
    assert vault.show(ADA, WHY) == {"email": "ada@example.com", "user_id": "u-17"}
    held = bytes_under(folder)
    assert ADA.encode() in held
    assert b"ada@example.com" not in held
    assert b"u-17" not in held


def test_another_process_with_the_same_master_key_reads_what_was_put(
    vault: Vault, folder: Path, key: MasterKey
) -> None:
    vault.put([said(ADA, email="ada@example.com")])
    other = Vault(folder, key)
    assert other.show(ADA, WHY) == {"email": "ada@example.com"}
    other.close()


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_the_newest_value_of_a_field_stays_in_whatever_order_and_portions_it_comes(
    vault: Vault, data: Any
) -> None:
    player = f"player-{next(_events)}"
    values = [said(player, at, email=f"{at}-{n}@example.com") for n, at in enumerate((1, 2, 2, 3))]
    order = data.draw(st.permutations([*values, *values]))
    cut = data.draw(st.integers(0, len(order)))
    vault.put(order[:cut])
    vault.put(order[cut:])
    assert vault.show(player, WHY) == {"email": "3-3@example.com"}


def test_a_value_that_is_moved_to_another_row_or_field_does_not_open(
    vault: Vault, folder: Path
) -> None:
    vault.put([said(ADA, email="ada@example.com", phone="+12025550123")])
    with sqlite3.connect(folder / "vault.db") as db:
        (sealed,) = db.execute("select sealed from player_pii where field = 'email'").fetchone()
        db.execute("update player_pii set sealed = ? where field = 'phone'", (sealed,))
    with pytest.raises(Damaged, match="player_pii/ada-pseudonym/phone"):
        vault.show(ADA, WHY)


def test_a_key_that_is_moved_to_another_player_is_refused_by_kms(
    vault: Vault, folder: Path, key: MasterKey
) -> None:
    vault.put([said(ADA, email="ada@example.com"), said("eve", email="eve@example.com")])
    with sqlite3.connect(folder / "vault.db") as db:
        (wrapped,) = db.execute(
            "select wrapped_key from player_keys where player_id = ?", (ADA,)
        ).fetchone()
        db.execute("update player_keys set wrapped_key = ? where player_id = 'eve'", (wrapped,))
    other = Vault(folder, key)
    with pytest.raises(Damaged, match="eve does not open: InvalidCiphertext"):
        other.show("eve", WHY)
    other.close()


def test_a_player_whose_key_does_not_open_is_told_and_keeps_no_other_ones_data_back(
    vault: Vault, folder: Path, key: MasterKey
) -> None:
    kms = boto3.client("kms")
    retired = MasterKey(kms.create_key()["KeyMetadata"]["KeyId"])
    for master, player in ((key, "eve"), (key, "fay"), (retired, "ian")):
        before = Vault(folder, master)
        before.put([said(player, user_id="u-0")])
        before.close()
    kms.disable_key(KeyId=retired.key_id)
    with sqlite3.connect(folder / "vault.db") as db:
        db.execute("update player_keys set wrapped_key = 'damaged' where player_id = 'eve'")
        short = key.wrap(b"short", player="fay")
        db.execute("update player_keys set wrapped_key = ? where player_id = 'fay'", (short,))
    coming = [said(player, email="x@example.com") for player in (ADA, "eve", "fay", "ian", "bob")]
    assert vault.put(coming) == {"eve", "fay", "ian"}
    apart = [quarantined(player, "{}") for player in ("eve", "cyd")]
    assert vault.quarantine(apart) == {"eve"}
    assert vault.export("cyd", WHY) == ({}, apart[1:])
    with pytest.raises(Damaged, match="the key of player eve does not open"):
        vault.rotate(WHY)
    assert [vault.show(player, WHY)["email"] for player in (ADA, "bob")] == ["x@example.com"] * 2
    kms.enable_key(KeyId=retired.key_id)
    assert vault.put(coming) == {"eve", "fay"}
    assert vault.show("ian", WHY) == {"email": "x@example.com", "user_id": "u-0"}


def test_erasing_destroys_key_and_data_and_leaves_other_players_alone(
    vault: Vault, folder: Path
) -> None:
    vault.put([said(ADA, email="ada@example.com"), said("bob", email="bob@example.com")])
    with sqlite3.connect(folder / "vault.db") as db:
        remains = [
            blob
            for table, column in (("player_keys", "wrapped_key"), ("player_pii", "sealed"))
            for (blob,) in db.execute(f"select {column} from {table} where player_id = ?", (ADA,))
        ]
    db.close()
    assert [blob in bytes_under(folder) for blob in remains] == [True, True]
    erasure = vault.erase(ADA, WHY)
    assert (erasure.had_key, erasure.fields) == (True, 1)
    assert [blob in bytes_under(folder) for blob in remains] == [False, False]
    with pytest.raises(NoSuchPlayer):
        vault.show(ADA, WHY)
    assert vault.show("bob", WHY) == {"email": "bob@example.com"}
    assert vault.erase(ADA, WHY).had_key is False


def test_a_player_who_comes_back_after_erasure_gets_a_new_key_though_the_old_one_is_in_memory(
    vault: Vault, folder: Path, key: MasterKey
) -> None:
    vault.put([said(ADA, email="ada@example.com")])
    other = Vault(folder, key)
    other.erase(ADA, WHY)
    vault.put([said(ADA, at=2.0, email="ada@example.org")])
    assert other.show(ADA, WHY) == {"email": "ada@example.org"}
    other.close()


def quarantined(player_id: str, sent: str, **others: Any) -> Quarantined:
    names = ("event_data.contact", "email")
    event_id = f"event-{next(_events):06}"
    event = Quarantined(event_id, player_id, "north", 5.0, "level_end", 1, *names, sent)
    return event._replace(**others)


def test_an_event_in_quarantine_is_kept_as_it_came_first_and_is_not_readable_on_disk(
    vault: Vault, folder: Path
) -> None:
    event = quarantined(ADA, '{"contact": "ada@example.com"}')
    vault.quarantine([event, event._replace(sent="{}")])
    vault.quarantine([event._replace(sent="{}", taken_at=6.0)])
    assert vault.export(ADA, WHY) == ({}, [event])
    assert vault.show(ADA, WHY) == {f"quarantined {event.event_id}": event.sent}
    assert b"ada@example.com" not in bytes_under(folder)


def test_of_the_quarantine_only_kinds_places_and_times_are_told(vault: Vault) -> None:
    vault.quarantine(
        [
            quarantined(ADA, "{}", taken_at=7.0),
            quarantined("bob", "{}"),
            quarantined("bob", "{}", event_type="by ada@example.com", field="event_data.Ada L."),
            quarantined("bob", "{}", studio="south"),
        ]
    )
    first, last = (datetime.fromtimestamp(at, UTC) for at in (5, 7))
    contact = ("level_end", 1, "event_data.contact", "email")
    assert vault.quarantine_groups() == [
        QuarantineGroup("north", "*.com", 1, "event_data.*.*", "email", 1, first, first),
        QuarantineGroup("north", *contact, 2, first, last),
        QuarantineGroup("south", *contact, 1, first, first),
    ]


@pytest.mark.parametrize("column", ["studio_id", "event_id", "player_id"])
def test_an_event_in_quarantine_that_is_moved_does_not_open(
    vault: Vault, folder: Path, column: str
) -> None:
    vault.quarantine([quarantined(ADA, "{}")])
    vault.put([said("bob", email="bob@example.com")])
    with sqlite3.connect(folder / "vault.db") as db:
        db.execute(f"update quarantined set {column} = 'bob'")
    with pytest.raises(Damaged, match="quarantined/"):
        vault.export("bob" if column == "player_id" else ADA, WHY)


def test_erasing_destroys_quarantined_events_too(vault: Vault, folder: Path) -> None:
    vault.quarantine([quarantined(ADA, "{}"), quarantined(ADA, "{}"), quarantined("bob", "{}")])
    with sqlite3.connect(folder / "vault.db") as db:
        rows = db.execute("select sealed from quarantined where player_id = ?", (ADA,)).fetchall()
    db.close()
    assert {blob in bytes_under(folder) for (blob,) in rows} == {True}
    erasure = vault.erase(ADA, WHY)
    assert (erasure.had_key, erasure.fields, erasure.quarantined) == (True, 0, 2)
    assert {blob in bytes_under(folder) for (blob,) in rows} == {False}
    with pytest.raises(NoSuchPlayer):
        vault.export(ADA, WHY)
    assert [group.events for group in vault.quarantine_groups()] == [1]


def test_quarantined_events_open_after_a_rotation(folder: Path, key: MasterKey) -> None:
    kms = boto3.client("kms")
    old = MasterKey(kms.create_key()["KeyMetadata"]["KeyId"])
    event = quarantined(ADA, '{"contact": "ada@example.com"}')
    before = Vault(folder, old)
    before.quarantine([event])
    before.close()
    after = Vault(folder, key)
    after.rotate(WHY)
    kms.schedule_key_deletion(KeyId=old.key_id, PendingWindowInDays=7)
    assert after.export(ADA, WHY) == ({}, [event])
    after.close()


def test_every_access_is_audited_also_one_that_finds_nothing(vault: Vault) -> None:
    vault.put([said(ADA, email="ada@example.com")])
    vault.show(ADA, Access("carol", "ticket 1"))
    vault.export(ADA, Access("carol", "ticket 2"))
    with pytest.raises(NoSuchPlayer):
        vault.show("nobody", Access("dave", "curiosity"))
    vault.erase(ADA, Access("carol", "ticket 3"))
    entries = [
        (entry["actor"], entry["action"], entry["player_id"], entry["reason"])
        for entry in vault.audit()
    ]
    assert entries == [
        ("carol", "show", ADA, "ticket 1"),
        ("carol", "export", ADA, "ticket 2"),
        ("dave", "show", "nobody", "curiosity"),
        ("carol", "erase", ADA, "ticket 3"),
    ]
    assert "ada@example.com" not in str(vault.audit())


def test_the_audit_cannot_be_changed_through_the_database(vault: Vault, folder: Path) -> None:
    vault.erase("nobody", WHY)
    with sqlite3.connect(folder / "vault.db") as db:
        for statement in ("delete from audit", "update audit set actor = 'someone else'"):
            with pytest.raises(sqlite3.IntegrityError, match="audit is not"):
                db.execute(statement)


def test_after_rotation_the_old_master_key_may_go_and_no_datum_was_rewritten(
    folder: Path, key: MasterKey
) -> None:
    kms = boto3.client("kms")
    old = MasterKey(kms.create_key()["KeyMetadata"]["KeyId"])
    before = Vault(folder, old)
    before.put([said(ADA, email="ada@example.com")])
    pseudonyms = before.pseudonym_key()
    studio = before.new_studio_key("north")
    before.close()

    def sealed() -> list[tuple]:
        with sqlite3.connect(folder / "vault.db") as db:
            return db.execute("select * from player_pii").fetchall()

    data = sealed()
    rotating = Vault(folder, key)
    assert rotating.rotate(WHY) == 3
    rotating.close()
    kms.schedule_key_deletion(KeyId=old.key_id, PendingWindowInDays=7)
    after = Vault(folder, key)
    assert after.show(ADA, WHY) == {"email": "ada@example.com"}
    assert after.pseudonym_key() == pseudonyms
    assert after.studio_key(studio.key_id) == studio
    assert sealed() == data
    after.close()


def test_a_revoked_studio_key_is_gone_and_others_stay(vault: Vault) -> None:
    one, two = vault.new_studio_key("north"), vault.new_studio_key("north")
    assert vault.studio_key(one.key_id) == one
    assert vault.revoke_studio_key(one.key_id)
    assert vault.studio_key(one.key_id) is None
    assert not vault.revoke_studio_key(one.key_id)
    assert [row[:2] for row in vault.studio_keys()] == [(two.key_id, "north")]
    assert not vault.revoke_studio_key("pseudonym")


def test_the_pseudonym_key_is_the_same_for_all_processes(
    vault: Vault, folder: Path, key: MasterKey
) -> None:
    other = Vault(folder, key)
    assert vault.pseudonym_key() == other.pseudonym_key()
    other.close()


def test_pseudonyms_differ_by_studio_by_player_and_by_key() -> None:
    parts = [(b"k" * 32, "north", "17"), (b"k" * 32, "north1", "7"), (b"l" * 32, "north", "17")]
    assert len({pseudonym_of(*part) for part in parts}) == 3
    assert pseudonym_of(*parts[0]) == pseudonym_of(*parts[0])
    assert {len(pseudonym_of(*part)) for part in parts} == {22}


@given(st.binary(max_size=60), st.lists(st.text(max_size=5), min_size=1, max_size=3), st.data())
def test_what_is_sealed_opens_in_its_place_only_and_unchanged_only(
    value: bytes, place: list[str], data: Any
) -> None:
    sealer = Sealer(bytes(32))
    sealed = sealer.seal(value, place)
    assert sealer.open(sealed, place) == value
    elsewhere = data.draw(st.lists(st.text(max_size=5), min_size=1, max_size=3))
    at = data.draw(st.integers(0, len(sealed) - 1))
    changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
    for wrong, where in ((changed, place), (sealed[:at], place), (sealed, elsewhere)):
        if (wrong, where) != (sealed, place):
            with pytest.raises(Damaged):
                sealer.open(wrong, where)


def test_the_vault_is_for_its_owner_alone(folder: Path, vault: Vault) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}
    folder.chmod(0o750)
    with pytest.raises(ConfigurationError, match=r"open to others .*chmod 700"):
        prepare_vault_root()


@pytest.mark.parametrize(("vault_at", "lake_at"), [("lake/vault", "lake"), ("a", "a/lake")])
def test_vault_and_lake_do_not_lie_within_one_another(
    vault_at: str, lake_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ROOT", str(tmp_path / vault_at))
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(tmp_path / lake_at))
    with pytest.raises(ConfigurationError, match="within one another"):
        vault_root()


def test_without_a_master_key_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAULT_KMS_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="VAULT_KMS_KEY is not set"):
        master_key()
    assert "VAULT_KMS_KEY" not in os.environ
