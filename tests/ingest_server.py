"""An ingest service for tests: real HTTP, KMS of the embedded AWS, the Firehose stand-in."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import orjson
import requests
import uvicorn

from demo.firehose import DeliveryStream, FirehoseStandIn, firehose_stand_in
from loaders.games.contract import game_contract
from loaders.ingest.app import create_app
from loaders.ingest.commands import firehose_client
from loaders.ingest.service import IngestService, Limits
from loaders.ingest.signing import signed_headers
from loaders.vault.master_key import MasterKey
from loaders.vault.store import StudioKey, Vault, prepare_vault_root

PROJECT_ROOT = Path(__file__).resolve().parent.parent
STREAM = "games"
WAIT_SECONDS = 60


@dataclass
class Landing:
    """A stream's stand-in and the bucket it writes to."""

    firehose: FirehoseStandIn
    bucket: str
    url: str

    def bodies(self) -> list[bytes]:
        """Every object, unzipped."""
        self.firehose.flush()
        s3 = boto3.client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return [
            gzip.decompress(s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
            for key in keys
        ]

    def events(self) -> list[dict[str, Any]]:
        """Every event in the bucket, read by the loaders' own reader of concatenated JSON."""
        return [event for body in self.bodies() for event in concatenated(body.decode())]


def concatenated(text: str) -> Iterator[dict[str, Any]]:
    """The values of a text in which nothing stands between them: slow, and plainly right."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value


@contextmanager
def a_landing() -> Iterator[Landing]:
    s3 = boto3.client("s3")
    bucket = f"games-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    stream = DeliveryStream(STREAM, bucket, "games/", buffer_seconds=3600)
    firehose = FirehoseStandIn(s3, [stream])
    before = os.environ.get("AWS_ENDPOINT_URL_FIREHOSE")
    with firehose_stand_in(firehose) as url:
        os.environ["AWS_ENDPOINT_URL_FIREHOSE"] = url
        try:
            yield Landing(firehose, bucket, url)
        finally:
            os.environ.pop("AWS_ENDPOINT_URL_FIREHOSE")
            if before:
                os.environ["AWS_ENDPOINT_URL_FIREHOSE"] = before


def a_master_key() -> MasterKey:
    return MasterKey(boto3.client("kms").create_key()["KeyMetadata"]["KeyId"])


@dataclass
class Sender:
    """A game server of a studio."""

    url: str
    key: StudioKey

    def post(self, events: Any, **headers: str) -> requests.Response:
        return self.send(orjson.dumps({"events": events}), **headers)

    def send(self, body: bytes, at: float = 0, **headers: str) -> requests.Response:
        signed = signed_headers(self.key.key_id, self.key.secret, int(time.time() + at), body)
        others = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return requests.post(f"{self.url}/v1/events", body, headers=signed | others, timeout=60)


@dataclass
class Running:
    """A service in a thread of this process."""

    url: str
    service: IngestService
    sender: Sender


@contextmanager
def an_ingest(
    folder: Path, master: MasterKey, limits: Limits | None = None, firehose: Any = None
) -> Iterator[Running]:
    """The service under VAULT_ROOT=folder; at the end it has delivered what it can."""
    os.environ["VAULT_ROOT"] = str(folder)
    root = prepare_vault_root()
    vault = Vault(root, master)
    key = vault.new_studio_key("north")
    vault.close()
    service = IngestService(
        root, master, firehose or firehose_client(), STREAM, game_contract(), limits
    )
    config = uvicorn.Config(
        create_app(service, game_contract()), port=0, log_level="error", loop="asyncio"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield Running(url, service, Sender(url, key))
    finally:
        server.should_exit = True
        thread.join()
        os.environ.pop("VAULT_ROOT")


class IngestProcess:
    """The service as people start it, without the other commands, whose imports take seconds."""

    _COMMAND = "from loaders.ingest.commands import ingest; ingest()"

    def __init__(self, folder: Path, master: MasterKey, log: Path) -> None:
        environment = {
            **os.environ,
            "VAULT_ROOT": str(folder),
            "VAULT_KMS_KEY": master.key_id,
            "GAMES_FIREHOSE": STREAM,
        }
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", self._COMMAND, "--port", "0"],
                env=environment,
                cwd=PROJECT_ROOT,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said.startswith("taking events at "), log.read_text()
        self.url = said.split()[-1].removesuffix("/v1/events")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(WAIT_SECONDS)


def wait_for(is_so: Any) -> None:
    """Until it is so.

    Raises:
        AssertionError: not within a minute.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        threading.Event().wait(0.02)


def a_login(user_id: str, client_ip: str = "192.0.2.1", **others: Any) -> dict[str, Any]:
    """An event with personal data."""
    return {
        "event_id": str(uuid.uuid4()),
        "event_type": "login",
        "event_version": 1,
        "event_timestamp": time.time(),
        "application_id": "castles",
        "app_version": "1.2.3",
        "user_id": user_id,
        "server_id": "eu-1",
        "event_data": {"platform": "guest", "client_ip": client_ip},
    } | others
