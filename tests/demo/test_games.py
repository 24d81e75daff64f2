"""The simulated players: real in their habits, known in what goes wrong, nobody in particular."""

from __future__ import annotations

import ipaddress
import random
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from demo.games import (
    CATALOGUE,
    CURRENCY_EXPLOIT,
    DAY,
    HOUR,
    IMPOSSIBLE_LEVEL,
    MISPRICED_OFFER,
    PAYMENT_OUTAGE,
    SERVER_OUTAGE,
    Incident,
    Plan,
    Sent,
    Simulation,
    active_days,
)
from loaders.games.contract import game_contract
from loaders.games.separation import Separated, Separator

START = datetime(2026, 3, 1, tzinfo=UTC)
NOON = START.timestamp() + 12 * HOUR


def run(**plan: Any) -> tuple[list[Sent], Simulation]:
    simulation = Simulation(Plan(start=START, **plan))
    return list(simulation.events()), simulation


@pytest.fixture(scope="module")
def calm() -> tuple[list[Sent], Simulation]:
    """Two weeks of few players, where refunds are frequent."""
    return run(
        days=14,
        installs=8,
        refunds=0.5,
        duplicates=0.02,
        late=0.02,
        skewed=0.1,
        heartbeat_seconds=HOUR,
    )


def distinct(sent: list[Sent]) -> dict[str, dict[str, Any]]:
    return {item.event["event_id"]: item.event for item in sent}


def of_type(sent: list[Sent], event_type: str) -> list[dict[str, Any]]:
    return [event for event in distinct(sent).values() if event["event_type"] == event_type]


def test_one_plan_gives_the_same_events_and_another_seed_others() -> None:
    plan = {"days": 1, "installs": 5}
    assert run(**plan)[0] == run(**plan)[0]
    assert run(**plan)[0] != run(seed=2, **plan)[0]


def test_players_come_back_as_those_of_the_real_launch() -> None:
    """Day 0 is a player's first; of 40,000 players the error of a share is 0.25 points."""
    chance = random.Random(1)
    days = [set(active_days(chance, 10)) for _ in range(40_000)]
    shares = {n: 100 * sum(n in played for played in days) / len(days) for n in (1, 3, 7)}
    assert shares == pytest.approx({1: 56.7, 3: 39.7, 7: 29.2}, abs=1)


def test_every_event_of_the_contract_is_sent_and_fits_it(
    calm: tuple[list[Sent], Simulation],
) -> None:
    sent, simulation = calm
    separator = Separator(game_contract(), lambda studio, user_id: f"{studio}-pseudonym")
    refused = Counter(
        separated[1:]
        for event in distinct(sent).values()
        if not isinstance(separated := separator.separate(event, "north", 0.0), Separated)
    )
    assert refused == {}
    assert simulation.truth.sent.keys() == {event.name for event in game_contract().events}


def test_the_truth_counts_what_is_sent(calm: tuple[list[Sent], Simulation]) -> None:
    sent, simulation = calm
    truth = simulation.truth
    assert Counter(event["event_type"] for event in distinct(sent).values()) == truth.sent
    copies = Counter(item.event["event_id"] for item in sent)
    assert {event_id for event_id, count in copies.items() if count == 2} == truth.duplicates
    assert max(copies.values()) == 2
    assert [item.at for item in sent] == sorted(item.at for item in sent)


def test_late_events_and_wrong_clocks_are_those_that_the_truth_names(
    calm: tuple[list[Sent], Simulation],
) -> None:
    sent, simulation = calm
    truth = simulation.truth
    first: dict[str, Sent] = {}
    for item in sent:
        first.setdefault(item.event["event_id"], item)
    for event_id, (at, event) in first.items():
        if "sent_timestamp" in event:
            skew = truth.skew.get(event["user_id"], 0.0)
            delay = at - (event["event_timestamp"] - skew)
            assert (delay > 10 * 60 - 0.01) == (event_id in truth.late)
            assert event["sent_timestamp"] == pytest.approx(at + skew, abs=0.01)
    assert truth.skew
    assert all(60 <= abs(skew) <= 3 * HOUR for skew in truth.skew.values())


def test_players_are_active_on_the_days_that_the_truth_names(
    calm: tuple[list[Sent], Simulation],
) -> None:
    sent, simulation = calm
    truth = simulation.truth
    active = defaultdict(set)
    for event in of_type(sent, "session_start"):
        at = event["event_timestamp"] - truth.skew.get(event["user_id"], 0.0)
        active[int((at - START.timestamp()) // DAY)].add(event["user_id"])
    assert active == truth.active


def test_balances_add_up_event_by_event(calm: tuple[list[Sent], Simulation]) -> None:
    sent, simulation = calm
    moved = {
        event["event_id"]: event["event_data"]["amount"] * sign
        for event_type, sign in (("currency_earned", 1), ("currency_spent", -1))
        for event in of_type(sent, event_type)
    }
    balances: dict[tuple[str, str], int] = defaultdict(int)
    changes = of_type(sent, "balance_changed")
    for event in sorted(changes, key=lambda event: event["event_timestamp"]):
        data = event["event_data"]
        account = (event["user_id"], data["currency"])
        assert data["old"] == balances[account]
        assert data["new"] - data["old"] == moved.pop(data["order_id"])
        balances[account] = data["new"]
    assert moved == {}
    assert balances == simulation.truth.balances


def test_purchases_have_an_offer_and_refunds_a_purchase_days_before(
    calm: tuple[list[Sent], Simulation],
) -> None:
    sent, simulation = calm
    shown = {event["event_data"]["offer_id"] for event in of_type(sent, "offer_shown")}
    purchases = {
        event["event_data"]["transaction_id"]: event for event in of_type(sent, "iap_purchase")
    }
    assert {event["event_data"]["offer_id"] for event in purchases.values()} <= shown
    assert {
        transaction: event["event_data"]["amount_minor"] for transaction, event in purchases.items()
    } == simulation.truth.purchases
    refunds = of_type(sent, "iap_refund")
    assert {
        event["event_data"]["transaction_id"]: event["event_data"]["amount_minor"]
        for event in refunds
    } == simulation.truth.refunded
    assert simulation.truth.refunded
    for event in refunds:
        skew = simulation.truth.skew.get(event["user_id"], 0.0)
        bought = purchases[event["event_data"]["transaction_id"]]["event_timestamp"] - skew
        assert event["event_timestamp"] - bought > 1.9 * DAY


def test_sessions_end_unless_the_truth_says_that_they_do_not(
    calm: tuple[list[Sent], Simulation],
) -> None:
    sent, simulation = calm
    starts = {event["session_id"] for event in of_type(sent, "session_start")}
    ends = {event["session_id"] for event in of_type(sent, "session_end")}
    assert starts - ends == simulation.truth.endless
    assert ends <= starts


def test_personal_data_are_of_nobody(calm: tuple[list[Sent], Simulation]) -> None:
    sent, _ = calm
    for event in of_type(sent, "player_registered"):
        assert event["event_data"]["email"].endswith("@example.com")
        assert re.fullmatch(r"\+120255501\d\d", event["event_data"]["phone"])
    documentation = ipaddress.ip_network("198.51.100.0/24")
    for event in of_type(sent, "login"):
        assert ipaddress.ip_address(event["event_data"]["client_ip"]) in documentation


# ---- incidents: each seen in the events of its hours, and in no others


def within(event: dict[str, Any], incident: Incident) -> bool:
    return incident.start <= event["event_timestamp"] < incident.end


def rate(events: list[dict[str, Any]], is_so: Any) -> float:
    return sum(map(is_so, events)) / max(1, len(events))


@pytest.fixture(scope="module")
def eventful() -> tuple[list[Sent], dict[str, Incident]]:
    incidents = {
        kind: Incident(kind, NOON + start * HOUR, NOON + (start + 2) * HOUR, about)
        for kind, start, about in (
            (MISPRICED_OFFER, 0, "starter_bundle"),
            (IMPOSSIBLE_LEVEL, 2, "level_03"),
            (CURRENCY_EXPLOIT, 4, ""),
            (PAYMENT_OUTAGE, 6, ""),
            (SERVER_OUTAGE, 8, "eu-2"),
        )
    }
    sent, _ = run(days=1, installs=400, skewed=0, incidents=tuple(incidents.values()))
    return sent, incidents


def test_a_mispriced_offer_costs_a_tenth(eventful: tuple[list[Sent], dict]) -> None:
    sent, incidents = eventful
    catalogue = {offer.name: offer.price_minor for offer in CATALOGUE}
    wrong = [
        event
        for event in of_type(sent, "offer_shown")
        if event["event_data"]["price_minor"] != catalogue[event["event_data"]["offer_name"]]
    ]
    assert len(wrong) >= 10
    for event in wrong:
        assert within(event, incidents[MISPRICED_OFFER])
        assert event["event_data"]["offer_name"] == "starter_bundle"
        assert event["event_data"]["price_minor"] == 49


def test_an_impossible_level_comes_with_a_config_and_nobody_completes_it(
    eventful: tuple[list[Sent], dict],
) -> None:
    sent, incidents = eventful
    ends = [e for e in of_type(sent, "level_end") if e["event_data"]["level_id"] == "level_03"]
    during = [event for event in ends if within(event, incidents[IMPOSSIBLE_LEVEL])]
    others = [event for event in ends if event not in during]
    assert len(during) >= 20
    assert rate(during, lambda event: event["event_data"]["result"] == "completed") == 0
    assert rate(others, lambda event: event["event_data"]["result"] == "completed") > 0.5
    changed = {event["event_data"]["config_version"] for event in of_type(sent, "offer_shown")}
    assert changed == {"c1", "c2", "c3"}


def test_an_exploit_earns_many_times_as_much(eventful: tuple[list[Sent], dict]) -> None:
    sent, incidents = eventful
    levels = [e for e in of_type(sent, "currency_earned") if e["event_data"]["source"] == "level"]
    huge = [event for event in levels if event["event_data"]["amount"] > 200]
    assert len(huge) >= 20
    assert all(within(event, incidents[CURRENCY_EXPLOIT]) for event in huge)


def test_in_a_payment_outage_nobody_pays(eventful: tuple[list[Sent], dict]) -> None:
    sent, incidents = eventful
    outage = incidents[PAYMENT_OUTAGE]
    assert not any(within(event, outage) for event in of_type(sent, "iap_purchase"))
    failed = [
        event
        for event in of_type(sent, "iap_failed")
        if event["event_data"]["reason"] == "store_unavailable"
    ]
    assert len(failed) >= 5
    assert all(within(event, outage) for event in failed)


def test_a_server_that_is_down_is_silent_and_the_others_are_not(
    eventful: tuple[list[Sent], dict],
) -> None:
    sent, incidents = eventful
    beats: dict[str, list[float]] = defaultdict(list)
    for event in of_type(sent, "server_heartbeat"):
        beats[event["server_id"]].append(event["event_timestamp"])
    gaps = {
        server: max(right - left for left, right in pairwise(times))
        for server, times in ((server, sorted(times)) for server, times in beats.items())
    }
    outage = incidents[SERVER_OUTAGE]
    assert gaps == {"eu-1": 30, "us-1": 30, "ap-1": 30, "eu-2": outage.end - outage.start + 30}
    logins = of_type(sent, "login")
    assert not any(event["server_id"] == "eu-2" and within(event, outage) for event in logins)
