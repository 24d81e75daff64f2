"""loaders/games/events.yml: thirty events, and what is refused in such a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from loaders.games.contract import game_contract, read_contract
from loaders.session import ConfigurationError

# The numbered events of the specification, in its order.
THIRTY = [
    "app_install", "player_registered", "login", "session_start", "session_end",
    "client_device", "consent_changed", "tutorial_step", "level_start", "level_end",
    "player_level_up", "quest_progress", "achievement_unlocked", "match_start", "match_end",
    "matchmaking_result", "guild_action", "currency_earned", "currency_spent",
    "balance_changed", "lootbox_opened", "store_viewed", "offer_shown", "offer_result",
    "iap_purchase", "iap_failed", "iap_refund", "ad_impression", "live_event_progress",
    "client_error",
]  # fmt: skip

ENVELOPE = "envelope: {event_id: {type: uuid, required: true, description: Its id.}}\nstamped: {}\n"


def test_the_thirty_events_stand_in_their_order_and_operational_ones_are_apart() -> None:
    events = game_contract().events
    assert [event.name for event in events if event.number] == THIRTY
    assert {event.name for event in events if not event.number} == {
        "server_heartbeat",
        "experiment_assigned",
        "push_opened",
    }


def test_every_field_and_event_is_described_in_a_sentence() -> None:
    contract = game_contract()
    described = {event.name: event.description for event in contract.events}
    for owner, fields in [
        ("envelope", contract.envelope),
        ("stamped", contract.stamped),
        *((event.name, event.fields) for event in contract.events),
    ]:
        described |= {f"{owner}.{field.name}": field.description for field in fields}
    assert [name for name, text in described.items() if not text.endswith(".")] == []


def test_amounts_of_money_name_their_unit_and_stand_beside_a_currency() -> None:
    for event in game_contract().events:
        names = {field.name for field in event.fields}
        for field in event.fields:
            if field.name.endswith("_minor"):
                assert "currency" in names, event.name
                assert (field.type, "minor unit" in field.description) == ("integer", True)


def test_no_column_is_called_like_another_of_its_event() -> None:
    contract = game_contract()
    common = [field.column for field in (*contract.envelope, *contract.stamped)]
    assert len(common) == len(set(common))
    for event in contract.events:
        columns = [field.column for field in event.fields if field.column]
        assert len(columns) == len(set(columns)), event.name


def test_personal_fields_have_no_column_and_identities_that_of_their_pseudonym() -> None:
    contract = game_contract()
    columns = {
        field.name: field.column
        for fields in (contract.envelope, *(event.fields for event in contract.events))
        for field in fields
        if field.personal
    }
    assert columns == {
        "user_id": "player_id",
        "target_user_id": "target_player_id",
        **dict.fromkeys(
            (
                *("advertising_id", "email", "display_name", "birth_date", "phone", "client_ip"),
                *("device_id", "receipt", "message", "device_token"),
            )
        ),
    }


def a_field(**says: str) -> str:
    """An event `a` with one field `b`."""
    said = ", ".join(f"{key}: {value}" for key, value in ({"description": "B."} | says).items())
    return f"events: {{a: {{version: 1, description: A., fields: {{b: {{{said}}}}}}}}}"


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ("events: [", "no YAML"),
        ("events: {}", "events: "),
        ("events: {a: {version: 1}}", "events.a.description: "),
        ("events: {a: {version: 1, number: 2, description: A.}}", "not 1, 2, 3"),
        ("events: {a: {version: 1, colour: red, description: A.}}", "events.a.colour: "),
        (a_field(type="text"), "events.a.fields.b.type: "),
        (a_field(type="string", since="2"), "newest version is 1: raise `version`"),
        (a_field(type="string", personal="identity"), "`becomes` names the pseudonym"),
        (a_field(type="integer", personal="vault"), "personal data are strings"),
    ],
)
def test_a_mistake_in_the_file_ends_in_a_line_that_names_the_place(
    events: str, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "events.yml"
    file.write_text(ENVELOPE + events)
    with pytest.raises(ConfigurationError, match=r"^events\.yml") as caught:
        read_contract(file)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
