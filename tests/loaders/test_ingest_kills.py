"""An ingest service that is killed again and again loses nothing that it acknowledged."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from ingest_server import (
    IngestProcess,
    Landing,
    Sender,
    a_landing,
    a_login,
    a_master_key,
    wait_for,
)

from loaders.vault.master_key import MasterKey
from loaders.vault.store import Access, StudioKey, Vault, prepare_vault_root

KILLS = int(os.environ.get("KILLS", "4"))
SEED = int(os.environ.get("SEED", "1"))
SENDERS = 3
SUSPECT = "203.0.113.250"  # where no contract has an address, too: to be quarantined


@pytest.fixture
def landing(aws: Any) -> Iterator[Landing]:
    with a_landing() as made:
        yield made


class GameServer(threading.Thread):
    """Sends batches one after another, and remembers those that were acknowledged.

    What got no answer is sent again, unchanged, as the description of the service asks for.
    """

    def __init__(self, number: int, key: StudioKey) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._key = key
        self.url: str | None = None
        self.stopped = threading.Event()
        self.acknowledged: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        batch: list[dict[str, Any]] = []
        while not self.stopped.is_set() or batch:
            batch = batch or [
                *(a_login(f"user-{self._number}-{n}", f"203.0.113.{n}") for n in range(7)),
                a_login(f"user-{self._number}-0", SUSPECT, session_id=SUSPECT),
            ]
            url = self.url
            try:
                answer = url and Sender(url, self._key).post(batch)
            except requests.RequestException:
                answer = None
            if answer is None or answer == "" or answer.status_code != 200:
                threading.Event().wait(0.02)  # it is being killed, or started
                continue
            assert answer.json()["refused"] == 0
            self.acknowledged |= {event["event_id"]: event for event in batch}
            batch = []


def test_nothing_that_was_acknowledged_is_lost_whenever_the_service_is_killed(
    landing: Landing, aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    master: MasterKey = a_master_key()
    folder, log = tmp_path / "vault", tmp_path / "ingest.log"
    monkeypatch.setenv("VAULT_ROOT", str(folder))
    vault = Vault(prepare_vault_root(), master)
    key = vault.new_studio_key("north")
    draw = random.Random(SEED)
    servers = [GameServer(number, key) for number in range(SENDERS)]
    for server in servers:
        server.start()

    for kill in range(KILLS):
        # In every other life Firehose takes nothing, so that all is left to the next one.
        refuses = "ServiceUnavailableException" if kill % 2 else None
        landing.firehose.refuse = lambda record, error=refuses: error
        process = IngestProcess(folder, master, log)
        before = acknowledged(servers)
        for server in servers:
            server.url = process.url
        enough = draw.randint(1, 400)
        wait_for(lambda before=before, enough=enough: len(acknowledged(servers) - before) >= enough)
        process.kill()
        # What lies on the disk of a machine that was lost shows no player.
        left = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        assert b"203.0.113" not in left
        assert b"user-" not in left

    landing.firehose.refuse = lambda record: None
    process = IngestProcess(folder, master, log)
    for server in servers:
        server.url = process.url
        server.stopped.set()
    for server in servers:
        server.join()
    assert process.end() == 0, log.read_text()

    told = f"KILLS={KILLS} SEED={SEED}: {log.read_text()[-500:]}"
    taken = {
        event_id: event for server in servers for event_id, event in server.acknowledged.items()
    }
    suspects = {
        event_id: event for event_id, event in taken.items() if event.get("session_id") == SUSPECT
    }
    sent = {event_id: event for event_id, event in taken.items() if event_id not in suspects}
    arrived = {event["event_id"]: event for event in landing.events()}
    assert sent.keys() == arrived.keys(), told
    assert not list((folder / "journal").glob("*.journal")), told

    # Of each player the vault has what their newest event said.
    newest = {}
    for event_id, event in sorted(
        sent.items(), key=lambda item: (item[1]["event_timestamp"], item[0])
    ):
        newest[arrived[event_id]["player_id"]] = {
            "user_id": event["user_id"],
            "client_ip": event["event_data"]["client_ip"],
        }
    held = {player: vault.export(player, Access("tester", "test")) for player in newest}
    assert {
        player: {field: item["value"] for field, item in fields.items()}
        for player, (fields, _) in held.items()
    } == newest, told
    kept = [event for _, events in held.values() for event in events]
    assert {event.event_id: orjson.loads(event.sent) for event in kept} == suspects, told
    vault.close()


def acknowledged(servers: list[GameServer]) -> set[str]:
    return {event_id for server in servers for event_id in list(server.acknowledged)}
