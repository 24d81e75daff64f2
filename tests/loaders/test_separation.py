"""What leaves the ingest service holds no personal data; what is held back says why."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.games.contract import EventField, game_contract
from loaders.games.detection import in_words, kind_of_value, may_hold_personal_data
from loaders.games.separation import Quarantined, Refused, Separated, Separator

CONTRACT = game_contract()
EVENT_ID = "0b0e6f3c-6a0e-4c1e-9d3c-2f0a5a5f1a11"


def pseudonym(studio: str, identity: str) -> str:
    return hashlib.sha256(f"{studio}/{identity}".encode()).hexdigest()[:22]


SEPARATOR = Separator(CONTRACT, pseudonym)


def an_event(event_type: str = "session_start", data: dict | None = None, **others: Any) -> dict:
    return {
        "event_id": EVENT_ID,
        "event_type": event_type,
        "event_version": 1,
        "event_timestamp": 1_700_000_000.25,
        "application_id": "castles",
        "app_version": "1.2.3",
        "user_id": "u-17",
        "server_id": "eu-1",
        "event_data": {"session_num": 1, "is_first": True} if data is None else data,
    } | others


an = an_event


def separate(event: Any) -> Separated | Quarantined | Refused:
    return SEPARATOR.separate(event, "north", 1_700_000_001.5)


def body_of(event: Any) -> dict[str, Any]:
    separated = separate(event)
    assert isinstance(separated, Separated), separated
    return orjson.loads(separated.body)


def without(event: dict, name: str) -> dict:
    return {key: value for key, value in event.items() if key != name}


def test_a_player_goes_on_under_a_pseudonym_and_into_the_vault_by_name() -> None:
    separated = separate(an_event())
    assert isinstance(separated, Separated)
    assert separated.personal == {"user_id": "u-17"}
    assert separated.player_id == pseudonym("north", "u-17")
    assert orjson.loads(separated.body) == without(an_event(), "user_id") | {
        "player_id": pseudonym("north", "u-17"),
        "studio_id": "north",
        "ingest_ts": 1_700_000_001.5,
    }


def test_personal_fields_go_to_the_vault_alone() -> None:
    data = {
        "method": "email",
        "country": "DE",
        "email": "ada@example.com",
        "display_name": "Ada",
        "birth_date": "1990-01-01",
    }
    separated = separate(an_event("player_registered", data))
    assert isinstance(separated, Separated)
    assert separated.personal == {
        "user_id": "u-17",
        "email": "ada@example.com",
        "display_name": "Ada",
        "birth_date": "1990-01-01",
    }
    assert orjson.loads(separated.body)["event_data"] == {"method": "email", "country": "DE"}


def test_a_personal_field_of_the_envelope_goes_to_the_vault_alone_too() -> None:
    contact = EventField(name="contact", type="string", personal="vault", description="A friend.")
    changed = CONTRACT.model_copy(update={"envelope": (*CONTRACT.envelope, contact)})
    sent = an_event(contact="eve@example.org")
    separated = Separator(changed, pseudonym).separate(sent, "north", 1_700_000_001.5)
    assert isinstance(separated, Separated)
    assert separated.personal == {"user_id": "u-17", "contact": "eve@example.org"}
    assert orjson.loads(separated.body) == body_of(an_event())
    of_nobody = without(sent, "user_id") | {"event_type": "server_heartbeat"}
    of_nobody["event_data"] = {"ccu": 1}
    refused = Separator(changed, pseudonym).separate(of_nobody, "north", 0.0)
    assert refused == Refused(EVENT_ID, "missing", "user_id")


def test_another_player_who_is_named_gets_the_pseudonym_that_they_have_themselves() -> None:
    data = {"group_id": "g", "action": "invited", "target_user_id": "u-18"}
    body = body_of(an_event("guild_action", data))
    assert body["event_data"] == {
        "group_id": "g",
        "action": "invited",
        "target_player_id": body_of(an_event(user_id="u-18"))["player_id"],
    }


def test_an_event_of_a_server_needs_no_player() -> None:
    event = without(an_event("server_heartbeat", {"ccu": 12}), "user_id")
    separated = separate(event)
    assert isinstance(separated, Separated)
    assert (separated.player_id, separated.personal) == (None, {})


def test_fields_nobody_declared_are_kept() -> None:
    data = {"session_num": 1, "is_first": True, "weather": {"kind": "rain", "mm": [1, 2]}}
    body = body_of(an_event(data=data, build_flavour="gold"))
    assert body["event_data"] == data
    assert body["build_flavour"] == "gold"


@pytest.mark.parametrize(
    "event",
    [
        an_event("volcano_erupted", {"height_m": 3}),
        an_event("session_start", {"anything": 1}, event_version=2),
        without(an_event("volcano_erupted", {}), "user_id"),
    ],
    ids=["type", "version", "no-player"],
)
def test_an_unknown_type_or_version_needs_its_envelope_only(event: dict) -> None:
    assert isinstance(separate(event), Separated)


def test_a_newer_version_of_a_known_event_is_separated_like_the_newest_known() -> None:
    data = {"email": "ada@example.com", "shoe_size": 40}
    separated = separate(an_event("player_registered", data, event_version=9))
    assert isinstance(separated, Separated)
    assert separated.personal == {"user_id": "u-17", "email": "ada@example.com"}
    assert orjson.loads(separated.body)["event_data"] == {"shoe_size": 40}


def test_a_field_is_required_from_the_version_on_that_brought_it() -> None:
    later = EventField(name="mood", type="string", required=True, since=2, description="Mood.")
    start = CONTRACT["session_start"]
    changed = start.model_copy(update={"version": 2, "fields": (*start.fields, later)})
    separator = Separator(CONTRACT.model_copy(update={"events": (changed,)}), pseudonym)
    old, new = (separator.separate(an_event(event_version=v), "north", 0.0) for v in (1, 2))
    assert isinstance(old, Separated)
    assert new == Refused(EVENT_ID, "missing", "event_data.mood")


IP = "192.0.2.7"
REFUSALS = [
    ([], "not_an_object", None),
    (without(an(), "event_id"), "missing", "event_id"),
    (an(event_id="17"), "not_uuid", "event_id"),
    (an(event_type=["a"]), "not_string", "event_type"),
    (without(an(), "app_version"), "missing", "app_version"),
    (without(an(), "user_id"), "missing", "user_id"),
    (an(user_id=""), "missing", "user_id"),
    (an(event_timestamp="2026-01-01"), "not_timestamp", "event_timestamp"),
    (an(event_timestamp=1_700_000_000_000), "not_timestamp", "event_timestamp"),
    (an(event_version=0), "not_a_version", "event_version"),
    (an(event_version=True), "not_integer", "event_version"),
    (an(event_data=[1]), "not_an_object", "event_data"),
    (an(data={"is_first": True}), "missing", "event_data.session_num"),
    (an(data={"session_num": None, "is_first": True}), "missing", "event_data.session_num"),
    (an(data={"session_num": 1.5, "is_first": True}), "not_integer", "event_data.session_num"),
    (an(data={"session_num": 1, "is_first": 1}), "not_boolean", "event_data.is_first"),
    (an(studio_id="south"), "not_for_senders", "studio_id"),
    (an(ingest_ts=1.0), "not_for_senders", "ingest_ts"),
    (an(player_id="p"), "not_for_senders", "player_id"),
    (
        an("guild_action", {"group_id": "g", "action": "a", "target_player_id": "p"}),
        "not_for_senders",
        "event_data.target_player_id",
    ),
    (an("login", {"platform": "p", "client_ip": 7}), "not_string", "event_data.client_ip"),
    (an(session_id="s" * 1025), "not_string", "session_id"),
    (an(note="n" * 70_000), "too_large", None),
    (
        an("login", {"client_ip": "n" * 70_000}, event_version=9, session_id="ada@example.com"),
        "too_large",
        None,
    ),
    # Personal data of nobody whose key could seal them.
    (
        without(an("server_heartbeat", {"ccu": 1, "note": "to " + IP}), "user_id"),
        "personal_data:ip_address",
        "event_data.note",
    ),
    (without(an("eruption", {"email": "x"}), "user_id"),
     "personal_data:field_email", "event_data.email"),
]  # fmt: skip


# Personal data in an unexpected place.
SUSPECTS = [
    (an(session_id="ada@example.com"), "personal_data:email", "session_id"),
    (an("eruption", {"a": [{"b": IP}]}), "personal_data:ip_address", "event_data.a[].b"),
    (an("eruption", {"E-Mail": "x"}), "personal_data:field_email", "event_data.E-Mail"),
    (an("eruption", {IP: 1}), "personal_data:ip_address", "event_data"),
    (an("eruption", {"ip " + IP: 1}), "personal_data:ip_address", "event_data"),
    (an("from " + IP), "personal_data:ip_address", "event_type"),
    (an("eruption", {"user_id": "u"}), "personal_data:field_userid", "event_data.user_id"),
    (an(client_ip="hidden"), "personal_data:field_clientip", "client_ip"),
    (an("iap_failed", {"sku": "s", "reason": "call +1 202 555 0123"}),
     "personal_data:phone", "event_data.reason"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "reason", "field"), REFUSALS)
def test_a_refusal_names_reason_and_field(event: Any, reason: str, field: str | None) -> None:
    event_id = event.get("event_id") if isinstance(event, dict) else None
    known_id = event_id if event_id == EVENT_ID else None
    assert separate(event) == Refused(known_id, reason, field)


@pytest.mark.parametrize(("event", "reason", "field"), SUSPECTS)
def test_personal_data_where_no_contract_has_any_put_the_event_into_quarantine_as_it_was_sent(
    event: dict, reason: str, field: str
) -> None:
    before = orjson.dumps(event)
    quarantined = separate(event)
    assert isinstance(quarantined, Quarantined)
    assert (quarantined.reason, quarantined.field) == (reason, field)
    assert quarantined.sent.encode() == before == orjson.dumps(event)
    assert quarantined[:4] == (EVENT_ID, pseudonym("north", "u-17"), "north", 1_700_000_001.5)


def test_what_is_declared_is_in_quarantine_too_when_something_else_is_suspect() -> None:
    data = {"method": "email", "email": "ada@example.com", "contact": "+12025550123"}
    quarantined = separate(an_event("player_registered", data))
    assert isinstance(quarantined, Quarantined)
    assert quarantined.field == "event_data.contact"
    assert orjson.loads(quarantined.sent)["event_data"] == data


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("event_data.a[][].e-mail_2", "event_data.a[][].e-mail_2"),
        ("level_end", "level_end"),
        ("event_data.Ada Lovelace.mail", "event_data.*.mail"),
        ("a field's name", "*"),
        ("event_data.+12025550123", "event_data.*"),
        ("eve@example.org", "*.org"),
        ("192.0.2.7", "*.*.*.*"),
        (f"event_data.{'x' * 65}", "event_data.*"),
    ],
)
def test_of_a_path_only_what_reads_like_names_is_told(path: str, told: str) -> None:
    assert in_words(path) == told


def test_data_nested_without_end_are_refused() -> None:
    nested: Any = "x"
    for _ in range(900):
        nested = {"n": nested}
    refused = separate(an_event("volcano_erupted", {"n": nested, "mail": ""}))
    assert isinstance(refused, Refused)
    assert refused.reason == "nested_too_deeply"


def test_a_version_of_four_parts_is_no_ip_address() -> None:
    assert isinstance(separate(an_event(app_version="1.12.0.4")), Separated)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("ada@example.com", "email"),
        ("mail ada.lovelace+x@mail.example.co.uk now", "email"),
        ("192.0.2.7", "ip_address"),
        ("from 203.0.113.250:443", "ip_address"),
        ("2001:db8::1", "ip_address"),
        ("2001:db8:0:0:0:0:0:1", "ip_address"),
        ("00:00:5e:00:53:af", "ip_address"),
        ("+442079460123", "phone"),
        ("+1 (202) 555-0123", "phone"),
        ("1.2.3", None),
        ("300.1.2.3", None),
        ("12:34:56", None),
        ("2026-01-01T12:34:56+02:00", None),
        ("map:castle:north", None),
        ("@home", None),
        ("+100", None),
        ("1700000000.123", None),
        (EVENT_ID, None),
    ],
)
def test_values_are_known_by_their_shape(value: str, kind: str | None) -> None:
    assert kind_of_value(value) == kind
    assert may_hold_personal_data(orjson.dumps({"value": value})) == (kind is not None)


@given(
    st.text(max_size=5),
    st.ip_addresses().map(str) | st.emails() | st.from_regex(r"\A\+[1-9]( ?[0-9]){7,14}\Z"),
    st.text(max_size=5),
)
def test_the_quick_look_sees_whatever_the_thorough_one_finds(
    before: str, secret: str, after: str
) -> None:
    value = before + secret + after
    if kind_of_value(value):
        assert may_hold_personal_data(orjson.dumps(value))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
secrets = st.sampled_from(["eve@example.org", "198.51.100.23", "2001:db8::5:1", "+12025550147"])


def bury(value: Any, secret: str, draw: Any) -> Any:
    """The value with the secret somewhere in it."""
    if isinstance(value, dict) and value:
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: bury(value[key], secret, draw)}
    if isinstance(value, list) and value:
        return [bury(value[0], secret, draw), *value[1:]]
    return draw(st.sampled_from([secret, f"x {secret}", [secret], {"k": secret}]))


@given(st.data(), st.sampled_from(CONTRACT.events), values, secrets)
def test_no_secret_passes_wherever_it_is_put(
    data: Any, event: Any, value: Any, secret: str
) -> None:
    """Whatever is done with an event, its body never shows a secret, nor the player's own id."""
    names = [field.name for field in event.fields] + ["extra", "nested"]
    sent = an_event(event.name, {data.draw(st.sampled_from(names)): bury(value, secret, data.draw)})
    sent |= {"event_version": data.draw(st.integers(1, 3)), "user_id": "user-of-old"}
    separated = separate(sent)
    if isinstance(separated, Separated):
        assert secret.encode() not in separated.body
        assert b"user-of-old" not in separated.body
    elif isinstance(separated, Quarantined):
        assert secret not in str(separated._replace(sent=""))
        assert "user-of-old" not in str(separated._replace(sent=""))
    else:
        assert secret not in str(separated)


@given(values)
def test_anything_at_all_is_answered(value: Any) -> None:
    assert isinstance(separate(value), Refused)
    separate(an_event("volcano_erupted", {"x": value}, event_id=str(uuid.uuid4())))
