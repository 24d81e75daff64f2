"""Events leave the quarantine once the contract declares what was found in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from ingest_server import STREAM, Landing, a_landing, a_login, a_master_key

from loaders.games.contract import Contract, EventField, game_contract
from loaders.games.separation import Quarantined, Separator
from loaders.ingest.commands import firehose_client
from loaders.ingest.releasing import Release, release
from loaders.session import ConfigurationError
from loaders.vault.master_key import MasterKey
from loaders.vault.store import Access, Pseudonyms, Vault, prepare_vault_root

WHY = Access("carol", "contact is declared now")
TAKEN_AT = 1_700_000_100.25


@pytest.fixture(scope="module")
def master(aws: Any) -> MasterKey:
    return a_master_key()


@pytest.fixture
def landing(aws: Any) -> Iterator[Landing]:
    with a_landing() as made:
        yield made


@pytest.fixture
def store(master: MasterKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    monkeypatch.setenv("VAULT_ROOT", str(tmp_path / "vault"))
    opened = Vault(prepare_vault_root(), master)
    yield opened
    opened.close()


def declaring(**attributes: Any) -> Contract:
    """The contract with a field `contact` of level_end in its next version."""
    contract = game_contract()
    contact = EventField(name="contact", since=2, description="A friend.", **attributes)
    changed = contract["level_end"].model_copy(
        update={"version": 2, "fields": (*contract["level_end"].fields, contact)}
    )
    others = (event for event in contract.events if event.name != "level_end")
    return contract.model_copy(update={"events": (*others, changed)})


DECLARED = declaring(type="string", personal="vault")


def a_suspect(user_id: str = "u-17", version: int = 1, **data: Any) -> dict[str, Any]:
    return a_login(
        user_id,
        event_type="level_end",
        event_version=version,
        event_data={"level_id": "l-1", "result": "won", "contact": "eve@example.org"} | data,
    )


def quarantine(store: Vault, *events: dict[str, Any]) -> None:
    """Have events quarantined as the service does."""
    separator = Separator(game_contract(), Pseudonyms(store.pseudonym_key()))
    found = [separator.separate(event, "north", TAKEN_AT) for event in events]
    store.quarantine(event for event in found if isinstance(event, Quarantined))
    assert {type(event) for event in found} == {Quarantined}


def released(
    store: Vault, contract: Contract = DECLARED, *types: str, pauses: list[float] | None = None
) -> Release:
    separator = Separator(contract, Pseudonyms(store.pseudonym_key()))
    told = [] if pauses is None else pauses
    return release(
        store, WHY, types or ("level_end",), separator, firehose_client(), STREAM, told.append
    )


def left(store: Vault) -> dict[tuple[str, str, str], int]:
    """(type, field, kind) → events in quarantine."""
    return {
        (group.event_type, group.field, group.kind): group.events
        for group in store.quarantine_groups()
    }


def test_what_the_contract_declares_by_now_goes_on_as_if_it_had_never_been_held(
    store: Vault, landing: Landing
) -> None:
    suspects = [a_suspect("u-17"), a_suspect("u-18", version=2)]
    quarantine(store, *suspects)
    assert released(store) == Release(2)
    pseudonym = Pseudonyms(store.pseudonym_key())
    arrived = {event["event_id"]: event for event in landing.events()}
    assert arrived == {
        event["event_id"]: {name: value for name, value in event.items() if name != "user_id"}
        | {
            "event_data": {"level_id": "l-1", "result": "won"},
            "player_id": pseudonym("north", event["user_id"]),
            "studio_id": "north",
            "ingest_ts": TAKEN_AT,
        }
        for event in suspects
    }
    for event in suspects:
        assert store.show(pseudonym("north", event["user_id"]), WHY) == {
            "contact": "eve@example.org",
            "user_id": event["user_id"],
        }
    assert left(store) == {}


def test_a_field_that_is_only_called_like_personal_data_may_be_declared_as_none(
    store: Vault, landing: Landing
) -> None:
    contract = game_contract()
    street = EventField(name="street", type="string", description="Of the castle.")
    changed = contract["level_end"].model_copy(
        update={"fields": (*contract["level_end"].fields, street)}
    )
    data = {"level_id": "l-1", "result": "won", "street": "drawbridge"}
    quarantine(store, a_suspect() | {"event_data": data})
    assert released(store, contract.model_copy(update={"events": (changed,)})) == Release(1)
    assert [event["event_data"] for event in landing.events()] == [data]


def test_what_is_still_suspect_or_does_not_fit_stays_and_is_told_by_place(
    store: Vault, landing: Landing
) -> None:
    fits = a_suspect()
    login = a_login("u-17", session_id="eve@example.org")
    quarantine(store, fits, a_suspect(note="to 192.0.2.7"), a_suspect(contact=["+12025550123"]))
    quarantine(store, login)
    done = released(store)
    assert done == Release(
        1,
        {
            ("level_end", "event_data.note", "personal_data:ip_address"): 1,
            ("level_end", "event_data.contact", "not_string"): 1,
        },
    )
    assert [event["event_id"] for event in landing.events()] == [fits["event_id"]]
    assert left(store) == {
        ("level_end", "event_data.note", "ip_address"): 1,
        ("level_end", "event_data.contact[]", "phone"): 1,
        ("login", "session_id", "email"): 1,
    }


def test_a_release_is_audited_by_player_and_as_a_whole(store: Vault, landing: Landing) -> None:
    quarantine(store, a_suspect("u-17"), a_suspect("u-17", note="192.0.2.7"), a_suspect("u-18"))
    released(store)
    pseudonym = Pseudonyms(store.pseudonym_key())
    entries = {(entry["player_id"], entry["outcome"]) for entry in store.audit()}
    assert entries == {
        (pseudonym("north", "u-17"), "quarantined events: 2"),
        (pseudonym("north", "u-18"), "quarantined events: 1"),
        (None, "released 2, staying 1: level_end"),
    }
    assert {(e["actor"], e["action"], e["reason"]) for e in store.audit()} == {
        ("carol", "release", WHY.reason)
    }


def test_what_firehose_refuses_is_sent_again_and_nothing_else(
    store: Vault, landing: Landing
) -> None:
    # Large enough for a record each, and together for several calls.
    suspects = [a_suspect(f"u-{n}", note="n" * 60_000) for n in range(80)]
    suspects[3]["event_name"] = "marked"
    quarantine(store, *suspects)
    refusals = iter(["ServiceUnavailableException"] * 2)
    landing.firehose.refuse = lambda record: (b"marked" in record and next(refusals, None)) or None
    pauses: list[float] = []
    assert released(store, pauses=pauses) == Release(80)
    assert len(pauses) == 2
    arrived = sorted(event["event_id"] for event in landing.events())
    assert arrived == sorted(event["event_id"] for event in suspects)


def test_while_firehose_takes_nothing_events_stay_and_the_next_release_completes_it(
    store: Vault, landing: Landing
) -> None:
    suspect = a_suspect()
    quarantine(store, suspect)
    landing.firehose.refuse = lambda record: "ServiceUnavailableException"
    with pytest.raises(ConfigurationError, match="does not take 1 events for 'games'"):
        released(store)
    assert left(store) == {("level_end", "event_data.contact", "email"): 1}
    landing.firehose.refuse = lambda record: None
    assert released(store) == Release(1)
    assert [event["event_id"] for event in landing.events()] == [suspect["event_id"]]


def test_a_release_that_is_cut_short_after_firehose_took_events_is_completed_by_the_next(
    store: Vault, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspects = [a_suspect(f"u-{n}") for n in range(3)]
    quarantine(store, *suspects)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(Vault, "settle_quarantined", killed)
        with pytest.raises(KeyboardInterrupt):
            released(store)
    assert released(store) == Release(3)
    assert released(store) == Release(0)
    arrived = [orjson.dumps(event) for event in landing.events()]
    # Twice, and the same: silver takes one of each event_id.
    assert len(arrived) == 6
    assert {orjson.loads(body)["event_id"] for body in set(arrived)} == {
        event["event_id"] for event in suspects
    }
    assert len(set(arrived)) == 3


def test_events_of_a_player_who_was_erased_are_not_released(store: Vault, landing: Landing) -> None:
    gone, stays = a_suspect("u-17"), a_suspect("u-18")
    quarantine(store, gone, stays)
    store.erase(Pseudonyms(store.pseudonym_key())("north", "u-17"), WHY)
    assert released(store) == Release(1)
    assert [event["event_id"] for event in landing.events()] == [stays["event_id"]]


def test_more_events_of_a_player_than_are_read_at_once_all_go_on(
    store: Vault, landing: Landing
) -> None:
    suspects = [a_suspect() for _ in range(501)]
    quarantine(store, *suspects)
    assert released(store) == Release(501)
    assert {event["event_id"] for event in landing.events()} == {
        event["event_id"] for event in suspects
    }
