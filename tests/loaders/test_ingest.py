"""The ingest service: who may send, what is answered, and where it goes."""

from __future__ import annotations

import gzip
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
import requests
import schemathesis
from ingest_server import (
    Landing,
    Running,
    Sender,
    a_landing,
    a_login,
    a_master_key,
    an_ingest,
    wait_for,
)

from loaders.ingest.journal import Journal, Segment
from loaders.ingest.limits import TokenBucket
from loaders.ingest.service import Limits
from loaders.ingest.signing import signed_headers
from loaders.vault.envelope import DataKey, pseudonym_of
from loaders.vault.master_key import MasterKey
from loaders.vault.store import Access, StudioKey, Vault

WHY = Access("tester", "test")


@pytest.fixture(scope="module")
def master(aws: Any) -> MasterKey:
    return a_master_key()


@pytest.fixture
def landing(aws: Any) -> Iterator[Landing]:
    with a_landing() as made:
        yield made


@pytest.fixture
def ingest(landing: Landing, master: MasterKey, tmp_path: Path) -> Iterator[Running]:
    with an_ingest(tmp_path / "vault", master) as running:
        yield running


def ids(events: list[dict[str, Any]]) -> list[str]:
    return sorted(event["event_id"] for event in events)


def bytes_under(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_events_reach_the_bucket_without_personal_data_and_the_vault_with_them(
    landing: Landing, master: MasterKey, tmp_path: Path
) -> None:
    sent = [a_login(f"user-{n}", f"198.51.100.{n}") for n in range(20)]
    with an_ingest(tmp_path / "vault", master) as running:
        answer = running.sender.post(sent)
    assert answer.status_code == 200
    assert answer.json() == {
        "accepted": 20,
        "duplicate": 0,
        "quarantined": 0,
        "refused": 0,
        "events": [{"event_id": event["event_id"], "status": "accepted"} for event in sent],
    }
    arrived = landing.events()
    assert ids(arrived) == ids(sent)
    assert not any(b"198.51.100" in body or b"user-" in body for body in landing.bodies())
    players = {event["event_id"]: event["player_id"] for event in arrived}
    vault = Vault(tmp_path / "vault", master)
    assert {event["event_id"]: vault.show(players[event["event_id"]], WHY) for event in sent} == {
        event["event_id"]: {
            "user_id": event["user_id"],
            "client_ip": event["event_data"]["client_ip"],
        }
        for event in sent
    }
    vault.close()
    held = bytes_under(tmp_path / "vault")
    assert b"198.51.100" not in held
    assert b"user-" not in held


def test_objects_hold_events_with_nothing_between_them_under_the_time_of_arrival(
    ingest: Running, landing: Landing
) -> None:
    ingest.sender.post([a_login("u"), a_login("u")])
    wait_for(lambda: sum(body.count(b'"event_id"') for body in landing.bodies()) == 2)
    (body,) = landing.bodies()
    assert body.count(b"}{") == 1
    (item,) = boto3.client("s3").list_objects_v2(Bucket=landing.bucket)["Contents"]
    assert item["Key"].startswith(time.strftime("games/%Y/%m/%d/", time.gmtime()))
    assert item["Key"].endswith(".gz")


def test_each_event_is_judged_alone(ingest: Running) -> None:
    good = a_login("u")
    suspect = a_login("u", session_id="eve@example.org")
    of_nobody = suspect | {"event_type": "server_heartbeat", "event_data": {"ccu": 1}}
    del of_nobody["user_id"]
    sent = [good, 17, a_login("u", event_id="17"), good, a_login(""), suspect, of_nobody]
    answer = ingest.sender.post(sent).json()
    assert [tuple(event.values())[1:] for event in answer["events"]] == [
        ("accepted",),
        ("refused", "not_an_object", None),
        ("refused", "not_uuid", "event_id"),
        ("duplicate",),
        ("refused", "missing", "user_id"),
        ("quarantined", "personal_data:email", "session_id"),
        ("refused", "personal_data:email", "session_id"),
    ]
    counts = {name: answer[name] for name in ("accepted", "duplicate", "quarantined", "refused")}
    assert counts == {"accepted": 1, "duplicate": 1, "quarantined": 1, "refused": 4}


def test_an_event_with_unexpected_personal_data_goes_sealed_into_the_vault_and_nowhere_else(
    landing: Landing, master: MasterKey, tmp_path: Path
) -> None:
    suspect = a_login("user-17", session_id="eve@example.org")
    folder = tmp_path / "vault"
    with an_ingest(folder, master) as running:
        # The vault is held up, so that the journal is looked at while it has the event.
        other = sqlite3.connect(folder / "vault.db", isolation_level=None)
        other.execute("begin immediate")
        assert running.sender.post([suspect]).json()["quarantined"] == 1
        assert list((folder / "journal").glob("*.journal"))
        held = bytes_under(folder)
        other.execute("rollback")
        other.close()
        assert running.sender.post([suspect]).json()["duplicate"] == 1
        told = metrics(running, "")
    assert b'outcome="quarantined",reason="personal_data:email"} 1.0' in told
    for seen in (held, bytes_under(folder), told):
        assert b"eve@example.org" not in seen
        assert b"user-17" not in seen
    assert landing.bodies() == []
    vault = Vault(folder, master)
    player_id = pseudonym_of(vault.pseudonym_key(), "north", "user-17")
    fields, (event,) = vault.export(player_id, WHY)
    assert (fields, orjson.loads(event.sent)) == ({}, suspect)
    vault.close()


def test_a_studio_with_its_quarantine_full_is_refused_and_may_send_again_when_there_is_room(
    landing: Landing, master: MasterKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.ingest.service.QUARANTINE_SECONDS", 1)
    sent = [a_login(f"user-{n}", session_id="eve@example.org") for n in range(3)]
    limits = Limits(quarantined_events=2)
    with an_ingest(tmp_path / "vault", master, limits) as running:
        answer = running.sender.post(sent).json()
        assert [tuple(event.values())[1:] for event in answer["events"]] == [
            *[("quarantined", "personal_data:email", "session_id")] * 2,
            ("refused", "personal_data:email", "session_id"),
        ]
    with an_ingest(tmp_path / "vault", master, limits) as running:
        assert running.sender.post(sent[2:]).json()["refused"] == 1
        assert running.sender.post([a_login("u")]).json()["accepted"] == 1
        vault = Vault(tmp_path / "vault", master)
        vault.erase(pseudonym_of(vault.pseudonym_key(), "north", "user-0"), WHY)
        wait_for(lambda: running.sender.post(sent[2:]).json()["quarantined"] == 1)
        vault.close()


def test_a_batch_that_is_sent_again_is_known_also_by_the_next_process(
    landing: Landing, master: MasterKey, tmp_path: Path
) -> None:
    sent = [a_login("u") for _ in range(5)]
    with an_ingest(tmp_path / "vault", master) as running:
        assert running.sender.post(sent).json()["accepted"] == 5
        assert running.sender.post(sent).json()["duplicate"] == 5
    with an_ingest(tmp_path / "vault", master) as running:
        assert running.sender.post([*sent, a_login("u")]).json()["duplicate"] == 5
    assert len(landing.events()) == 6


def test_one_studio_cannot_keep_another_ones_events_out(
    ingest: Running, landing: Landing, master: MasterKey, tmp_path: Path
) -> None:
    vault = Vault(tmp_path / "vault", master)
    south = Sender(ingest.url, vault.new_studio_key("south"))
    vault.close()
    event = a_login("u")
    assert south.post([event]).json()["accepted"] == 1
    assert ingest.sender.post([event]).json()["accepted"] == 1
    wait_for(lambda: len(landing.events()) == 2)
    by_studio = {event["studio_id"]: event["player_id"] for event in landing.events()}
    assert by_studio.keys() == {"north", "south"}
    assert len(set(by_studio.values())) == 2


def test_a_body_may_be_gzipped(ingest: Running) -> None:
    body = gzip.compress(orjson.dumps({"events": [a_login("u")]}))
    assert ingest.sender.send(body, content_encoding="gzip").json()["accepted"] == 1


BODY = orjson.dumps({"events": [a_login("u")]})


@pytest.mark.parametrize(
    ("body", "headers", "status", "error"),
    [
        (b"{", {}, 400, "no JSON"),
        (b"[]", {}, 400, '"events"'),
        (b'{"events": []}', {}, 400, "one event at least"),
        (b'{"events": [1], "more": 1}', {}, 400, '"events"'),
        (orjson.dumps({"events": [0] * 501}), {}, 422, "at most 500 events"),
        (b" " * (1 << 20) + b"1", {}, 413, "at most 1048576 bytes"),
        (BODY, {"content_type": "text/plain"}, 415, "application/json"),
        (BODY, {"content_encoding": "br"}, 415, "gzip"),
        (BODY, {"content_encoding": "gzip"}, 400, "no gzip"),
        (gzip.compress(bytes(9 << 20)), {"content_encoding": "gzip"}, 413, "when unzipped"),
        (gzip.compress(BODY)[:-9], {"content_encoding": "gzip"}, 400, "one whole gzip"),
        (gzip.compress(BODY) * 2, {"content_encoding": "gzip"}, 400, "one whole gzip"),
    ],
)
def test_a_request_that_is_wrong_as_a_whole_says_why(
    ingest: Running, body: bytes, headers: dict, status: int, error: str
) -> None:
    answer = ingest.sender.send(body, **headers)
    assert (answer.status_code, error in answer.json()["error"]) == (status, True), answer.text


def test_only_a_valid_signature_of_time_and_body_opens_the_door(ingest: Running) -> None:
    key = ingest.sender.key
    right = signed_headers(key.key_id, key.secret, int(time.time()), BODY)

    def status(headers: dict[str, str], body: bytes = BODY) -> int:
        headers = {"content-type": "application/json"} | headers
        url = f"{ingest.url}/v1/events"
        return requests.post(url, body, headers=headers, timeout=60).status_code

    assert status(right) == 200
    assert status(right) == 200  # a copy changes nothing
    assert status({}) == 401
    assert [status({**right, name: ""}) for name in right] == [401] * 3
    assert [status({**right, name: "0" * 64}) for name in right] == [401] * 3
    assert status({**right, "x-multihop-timestamp": "-1"}) == 401
    assert status(right, BODY + b" ") == 401
    assert ingest.sender.send(BODY, at=-330).status_code == 401
    assert ingest.sender.send(BODY, at=330).status_code == 401
    stranger = Sender(ingest.url, StudioKey("north-0", "north", key.secret))
    assert stranger.send(BODY).status_code == 401


def test_a_revoked_key_is_refused_soon(ingest: Running, master: MasterKey, tmp_path: Path) -> None:
    assert ingest.sender.send(BODY).status_code == 200
    vault = Vault(tmp_path / "vault", master)
    vault.revoke_studio_key(ingest.sender.key.key_id)
    vault.close()
    wait_for(lambda: ingest.sender.send(BODY).status_code == 401)


def test_a_studio_that_sends_too_much_is_told_when_to_go_on(
    landing: Landing, master: MasterKey, tmp_path: Path
) -> None:
    limits = Limits(events_per_second=0.5)  # five at once
    with an_ingest(tmp_path / "vault", master, limits) as running:
        assert running.sender.post([a_login("u") for _ in range(5)]).status_code == 200
        answer = running.sender.post([a_login("u") for _ in range(4)])
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 8


def test_a_request_larger_than_the_burst_is_waited_for_by_the_next_one() -> None:
    now = [0.0]
    bucket = TokenBucket(per_second=1, burst_seconds=10, clock=lambda: now[0])
    assert bucket.take(25) == 0
    assert bucket.take(1) == 16
    assert bucket.take(25) == 25
    now[0] = 24
    assert bucket.take(25) == 1
    now[0] = 25
    assert bucket.take(25) == 0


def test_firehose_that_refuses_gets_the_failed_part_again_and_nothing_twice(
    landing: Landing, master: MasterKey, tmp_path: Path
) -> None:
    refusals = iter(["ServiceUnavailableException"] * 3)
    landing.firehose.refuse = lambda record: (b"marked" in record and next(refusals, None)) or None
    # Large enough for a record each.
    sent = [a_login("u", note="n" * 60_000) for _ in range(8)]
    sent[3]["event_name"] = sent[6]["event_name"] = "marked"
    with an_ingest(tmp_path / "vault", master) as running:
        assert running.sender.post(sent).json()["accepted"] == 8
    assert next(refusals, None) is None
    assert ids(landing.events()) == ids(sent)


def test_while_firehose_takes_nothing_the_service_says_stop_and_loses_nothing(
    landing: Landing, master: MasterKey, tmp_path: Path
) -> None:
    landing.firehose.refuse = lambda record: "ServiceUnavailableException"
    accepted = []
    with an_ingest(tmp_path / "vault", master, Limits(backlog_bytes=30_000)) as running:
        while True:
            sent = [a_login("u", note="n" * 1000) for _ in range(10)]
            answer = running.sender.post(sent)
            if answer.status_code == 503:
                break
            accepted += sent
        assert int(answer.headers["retry-after"]) >= 1
        assert len(accepted) < 100
        landing.firehose.refuse = lambda record: None
        wait_for(lambda: running.sender.post(sent).status_code == 200)
    assert ids(landing.events()) == ids(accepted + sent)


class Kms(MasterKey):
    """A master key that can be away."""

    is_away = False

    def new_data_key(self, **purpose: str) -> DataKey:
        self._need("GenerateDataKey")
        return super().new_data_key(**purpose)

    def unwrap(self, wrapped: bytes, **purpose: str) -> bytes:
        self._need("Decrypt")
        return super().unwrap(wrapped, **purpose)

    def _need(self, call: str) -> None:
        if self.is_away:
            raise boto3.client("kms").exceptions.KMSInternalException({}, call)


def test_while_kms_is_away_events_are_taken_and_the_vault_gets_its_part_later(
    landing: Landing, tmp_path: Path
) -> None:
    master = Kms(a_master_key().key_id)
    with an_ingest(tmp_path / "vault", master) as running:
        assert running.sender.post([a_login("bob")]).json()["accepted"] == 1
        master.is_away = True
        assert running.sender.post([a_login("ada")]).json()["accepted"] == 1
        wait_for(lambda: b'to="vault"} 0' not in metrics(running, "ingest_retried_parts"))
        master.is_away = False
    vault = Vault(tmp_path / "vault", master)
    users = [vault.show(event["player_id"], WHY)["user_id"] for event in landing.events()]
    assert sorted(users) == ["ada", "bob"]
    vault.close()


def test_while_kms_is_away_known_studios_are_served_revoked_ones_refused_and_new_ones_told_when(
    landing: Landing, tmp_path: Path
) -> None:
    master = Kms(a_master_key().key_id)
    with an_ingest(tmp_path / "vault", master) as running:
        vault = Vault(tmp_path / "vault", MasterKey(master.key_id))
        revoked = Sender(running.url, vault.new_studio_key("south"))
        assert [each.post([a_login("u")]).status_code for each in (running.sender, revoked)] == [
            200,
            200,
        ]
        master.is_away = True
        fresh = Sender(running.url, vault.new_studio_key("west"))
        vault.revoke_studio_key(revoked.key.key_id)
        vault.close()
        wait_for(lambda: revoked.post([a_login("u")]).status_code == 401)  # it has looked anew
        assert running.sender.post([a_login("u")]).json()["accepted"] == 1
        sent = [a_login("u")]
        answer = fresh.post(sent)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert metrics(running, 'ingest_requests_total{status="503"}') != b""
        master.is_away = False
        assert fresh.post(sent).json()["accepted"] == 1


def test_a_player_whose_key_does_not_open_holds_up_no_other_and_is_told_and_not_lost(
    landing: Landing, master: MasterKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.ingest.delivery.ASIDE_SECONDS", 0.05)
    with an_ingest(tmp_path / "vault", master) as running:
        running.sender.post([a_login("eve")])
    (first,) = landing.events()
    with sqlite3.connect(tmp_path / "vault" / "vault.db") as db:
        (right,) = db.execute("select wrapped_key from player_keys").fetchone()
        db.execute("update player_keys set wrapped_key = 'damaged'")

    def health() -> tuple[int, str]:
        answer = requests.get(f"{running.url}/healthz", timeout=60)
        return answer.status_code, answer.json()["status"]

    with an_ingest(tmp_path / "vault", master) as running:
        running.sender.post([a_login("eve", "198.51.100.7"), a_login("bob", "198.51.100.8")])
        wait_for(lambda: b'to="vault"} 1' in metrics(running, "ingest_parts_aside"))
        assert health() == (200, "degraded: 1 parts wait for keys of players that do not open")
        wait_for(lambda: len(landing.events()) == 3)
        vault = Vault(tmp_path / "vault", master)
        players = {event["player_id"] for event in landing.events()}
        (bob,) = players - {first["player_id"]}
        assert vault.show(bob, WHY)["client_ip"] == "198.51.100.8"
        with sqlite3.connect(tmp_path / "vault" / "vault.db") as db:
            db.execute(
                "update player_keys set wrapped_key = ? where player_id = ?",
                (right, first["player_id"]),
            )
        wait_for(lambda: health() == (200, "ok"))
    assert vault.show(first["player_id"], WHY)["client_ip"] == "198.51.100.7"
    vault.close()
    assert not list((tmp_path / "vault" / "journal").glob("*.journal"))


def test_what_a_dead_process_had_set_aside_is_delivered_by_the_next(
    landing: Landing, master: MasterKey, tmp_path: Path
) -> None:
    with an_ingest(tmp_path / "vault", master) as running:
        running.sender.post([a_login("eve")])
    db = sqlite3.connect(tmp_path / "vault" / "vault.db", isolation_level=None)
    (right,) = db.execute("select wrapped_key from player_keys").fetchone()
    db.execute("update player_keys set wrapped_key = 'damaged'")
    with an_ingest(tmp_path / "vault", master) as running:
        running.sender.post([a_login("eve", "198.51.100.7")])
        wait_for(lambda: b'to="vault"} 1' in metrics(running, "ingest_parts_aside"))
    assert list((tmp_path / "vault" / "journal").glob("*.journal"))
    db.execute("update player_keys set wrapped_key = ?", (right,))
    db.close()
    with an_ingest(tmp_path / "vault", master):
        pass
    vault = Vault(tmp_path / "vault", master)
    assert vault.show(landing.events()[0]["player_id"], WHY)["client_ip"] == "198.51.100.7"
    vault.close()


def test_an_error_that_nobody_foresaw_is_told_without_its_message_and_tried_again(
    landing: Landing,
    master: MasterKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    errors = [RuntimeError("about ada@example.com")]
    put = Vault.put

    def failing(vault: Vault, said: Any) -> set[str]:
        if errors:
            raise errors.pop()
        return put(vault, said)

    monkeypatch.setattr(Vault, "put", failing)
    with an_ingest(tmp_path / "vault", master) as running:
        running.sender.post([a_login("ada")])
    (event,) = landing.events()
    vault = Vault(tmp_path / "vault", master)
    assert vault.show(event["player_id"], WHY)["user_id"] == "ada"
    vault.close()
    assert "vault got nothing of 1 parts: RuntimeError at test_ingest.py" in caplog.text
    assert "ada@" not in caplog.text


def test_a_file_of_the_journal_that_cannot_be_put_away_ends_no_delivery_and_goes_later(
    landing: Landing, master: MasterKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.ingest.journal.SEGMENT_BYTES", 1)  # a file a request
    errors = [OSError(5, "Input/output error")] * 2
    put_away = Journal._put_away

    def failing(journal: Journal, segment: Segment) -> None:
        if errors:
            raise errors.pop()
        put_away(journal, segment)

    monkeypatch.setattr(Journal, "_put_away", failing)
    with an_ingest(tmp_path / "vault", master) as running:
        sent = [a_login("u") for _ in range(3)]
        for event in sent:
            assert running.sender.post([event]).status_code == 200
        wait_for(lambda: len(landing.events()) == 3)
        wait_for(lambda: not list((tmp_path / "vault" / "journal").glob("*.journal")))
        assert requests.get(f"{running.url}/healthz", timeout=60).json() == {"status": "ok"}
    assert errors == []
    assert ids(landing.events()) == ids(sent)


def test_when_a_delivery_has_ended_nothing_is_acknowledged_any_more(
    landing: Landing, master: MasterKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("loaders.ingest.delivery.FirehoseDelivery._settle", failing)
    with an_ingest(tmp_path / "vault", master) as running:
        assert running.sender.post([a_login("u")]).status_code == 200
        wait_for(lambda: running.sender.post([a_login("u")]).status_code == 503)
        health = requests.get(f"{running.url}/healthz", timeout=60)
    told = "delivery to firehose has ended: start the service anew"
    assert (health.status_code, health.json()["status"]) == (503, told)


def metrics(running: Running, name: str) -> bytes:
    text = requests.get(f"{running.url}/metrics", timeout=60).content
    return b"\n".join(line for line in text.split(b"\n") if line.startswith(name.encode()))


def test_a_journal_that_cannot_be_written_ends_acknowledging(
    ingest: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    assert requests.get(f"{ingest.url}/healthz", timeout=60).json() == {"status": "ok"}
    monkeypatch.setattr("loaders.ingest.journal.os.fsync", no_space)
    assert [ingest.sender.post([a_login("u")]).status_code for _ in range(2)] == [503, 503]
    health = requests.get(f"{ingest.url}/healthz", timeout=60)
    assert (health.status_code, "No space left" in health.json()["status"]) == (503, True)


def test_metrics_count_events_by_outcome_and_name_no_player(ingest: Running) -> None:
    event = a_login("user-1")
    ingest.sender.post([event, event, a_login("user-1", app_version=3)])
    counted = metrics(ingest, "ingest_events_total")
    assert set(counted.split(b"\n")) == {
        b'ingest_events_total{outcome="accepted",reason=""} 1.0',
        b'ingest_events_total{outcome="duplicate",reason=""} 1.0',
        b'ingest_events_total{outcome="refused",reason="not_string"} 1.0',
    }
    assert b"user-1" not in metrics(ingest, "")


def test_what_is_delivered_leaves_the_journal(
    landing: Landing, master: MasterKey, tmp_path: Path
) -> None:
    with an_ingest(tmp_path / "vault", master) as running:
        running.sender.post([a_login("u") for _ in range(5)])
    journal = tmp_path / "vault" / "journal"
    assert {path.suffix for path in journal.iterdir()} == {".ids", ""}
    assert sum(path.stat().st_size for path in journal.glob("*.ids")) == 5 * 16


def test_many_senders_at_once_lose_nothing_and_repeat_nothing(
    ingest: Running, landing: Landing
) -> None:
    sent = [[a_login(f"user-{n}") for n in range(20)] for _ in range(40)]

    def post(batches: list[Any]) -> None:
        for batch in batches:
            assert ingest.sender.post(batch).status_code == 200

    threads = [threading.Thread(target=post, args=(sent[at::4] * 2,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = ids([event for batch in sent for event in batch])
    wait_for(lambda: len(landing.events()) >= len(everything))
    assert ids(landing.events()) == everything


def test_the_openapi_description_tells_the_truth(ingest: Running) -> None:
    """schemathesis: what the description allows is taken, what it forbids is refused, and no
    answer is of another kind than it says."""
    schema = schemathesis.openapi.from_url(f"{ingest.url}/openapi.json")
    key = ingest.sender.key
    tried: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        def check(case: Any) -> None:
            tried.add(f"{case.method} {case.path}")
            request = requests.Request(**case.as_transport_kwargs(base_url=ingest.url)).prepare()
            body = request.body or b""
            body = body.encode() if isinstance(body, str) else body
            signed = signed_headers(key.key_id, key.secret, int(time.time()), body)
            case.call_and_validate(base_url=ingest.url, headers=signed)

        for_all(operation, check)
    assert tried == {"POST /v1/events", "GET /healthz", "GET /metrics"}


def for_all(operation: Any, check: Any) -> None:
    """Run a check on generated cases of an operation, right ones and wrong ones."""
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis import GenerationMode

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        if mode == GenerationMode.NEGATIVE and operation.method.upper() == "GET":
            continue  # nothing of it can be wrong
        tried = given(operation.as_strategy(generation_mode=mode))(check)
        settings(
            max_examples=40,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            database=None,
        )(tried)()


def test_the_description_names_every_event_with_its_fields(ingest: Running) -> None:
    schemas = requests.get(f"{ingest.url}/openapi.json", timeout=60).json()["components"]["schemas"]
    assert len([name for name in schemas if name.startswith("event_")]) == 33
    purchase = schemas["event_iap_purchase"]["properties"]
    assert purchase["event_data"]["required"] == [
        "transaction_id", "sku", "amount_minor", "currency",
    ]  # fmt: skip
    assert "user_id" not in schemas["event_server_heartbeat"]["properties"]


def test_a_uuid_in_capitals_is_the_same_event(ingest: Running) -> None:
    event_id = str(uuid.uuid4())
    first, second = (a_login("u", event_id=text) for text in (event_id, event_id.upper()))
    answers = ingest.sender.post([first, second]).json()["events"]
    assert [answer["status"] for answer in answers] == ["accepted", "duplicate"]
