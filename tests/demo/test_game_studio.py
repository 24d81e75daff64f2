"""What the simulated studio sends: through the service, without personal data, each event once."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import boto3
import pytest
from ingest_server import concatenated

from demo import game_studio
from demo.games import Plan, Simulation

BUCKET = "studio"


@pytest.fixture
def small_game(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game_studio, "DAYS", 1)
    monkeypatch.setattr(game_studio, "INSTALLS", 3)
    monkeypatch.setattr(game_studio, "HEARTBEAT_SECONDS", 7200)


def landed(s3: Any) -> list[bytes]:
    """Every object of events, unzipped."""
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=game_studio.EVENTS)
    return [
        gzip.decompress(s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read())
        for item in found["Contents"]
    ]


def test_a_studio_sends_each_event_once_and_no_player_by_name(
    aws: Any, tmp_path: Path, small_game: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "GAMES_QUEUE",
        "AWS_ENDPOINT_URL_FIREHOSE",
        "GAMES_FIREHOSE",
        "VAULT_KMS_KEY",
        "VAULT_ROOT",
    ):
        monkeypatch.setenv(name, "")  # set back in the end
    root = tmp_path / "lakehouse"
    (root / "logs").mkdir(parents=True)
    monkeypatch.setenv("LAKEHOUSE_ROOT", str(root))
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    with game_studio.studio(root, BUCKET) as made:
        first = game_studio.produce(made, s3, BUCKET)
        second = game_studio.produce(made, s3, BUCKET)
    bodies = landed(s3)
    found = Counter(event["event_id"] for body in bodies for event in concatenated(body.decode()))

    start, until = game_studio._state(s3, BUCKET)
    plan = Plan(
        start=start, days=game_studio.A_YEAR, installs=3, heartbeat_seconds=7200, live_from=1
    )
    expected: Counter[str] = Counter()
    users = set()
    for sent in Simulation(plan).events():
        if sent.at > until:
            break
        expected[sent.event["event_id"]] += 1
        users.add(sent.event.get("user_id"))
    # what the simulation sends twice the service answers as a duplicate, and passes on once
    assert found == Counter(expected.keys())
    assert first + second == expected.total() > len(expected) > 100
    for user in users - {None}:
        assert not any(f'"{user}"'.encode() in body for body in bodies)
    assert len(users) > 3
    assert not list(root.rglob("*vault*"))


def test_without_its_key_a_vault_begins_anew(
    aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = tmp_path / "lakehouse-vault"
    vault.mkdir()
    (vault / "unreadable").touch()
    monkeypatch.setenv("VAULT_ROOT", str(vault))
    monkeypatch.setattr(game_studio, "VAULT_KEY", "alias/of-nobody")
    game_studio._make_vault_key()
    assert not vault.exists()
    vault.mkdir()
    game_studio._make_vault_key()  # now there is one
    assert vault.exists()
