"""What the demo sends of the games: a studio's servers, the ingest service, Firehose, S3.

The service runs in a process of its own, as people start it. Its vault lies beside the lakehouse,
never in it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import boto3
import orjson
import requests

from demo.firehose import DeliveryStream, FirehoseStandIn, firehose_stand_in
from demo.games import MISPRICED_OFFER, Incident, Plan, Sent, Simulation
from loaders.ingest.signing import signed_headers
from loaders.queues import create_queue
from loaders.session import PROJECT_ROOT, ConfigurationError
from loaders.vault.master_key import MasterKey
from loaders.vault.store import StudioKey, Vault, prepare_vault_root

FEEDS = ("game_events",)  # of loaders/feeds.yml
STUDIO, STREAM, VAULT_KEY = "north", "games", "alias/multihop-vault"
EVENTS, STATE = "games/events/", "games/studio.json"
# Before the first run: days that players have played, and how many came new on each.
DAYS, INSTALLS = 7, 20
HEARTBEAT_SECONDS = 600  # until the first run: history is small so
# On the evening before the first run an offer is shown at a tenth of its price: after the start.
MISPRICED = "weekend_gems"
MISPRICED_FROM = timedelta(days=DAYS - 1, hours=18)
MISPRICED_UNTIL = timedelta(days=DAYS - 1, hours=20)
A_YEAR = 366  # of days: the same plan in every run gives the same players
BATCH = 500
WAIT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Studio:
    """A studio's game servers, with the service that takes their events."""

    url: str
    key: StudioKey
    firehose: FirehoseStandIn

    def post(self, session: requests.Session, events: Iterable[Sent], now: float) -> int:
        """Send events, as uploaded now; returns how many.

        What happened long ago is sent late: sent_timestamp moves with it, so that the service
        does not take its age for a wrong clock.
        """
        batch = [
            sent.event | {"sent_timestamp": sent.event["sent_timestamp"] + now - sent.at}
            if "sent_timestamp" in sent.event
            else sent.event
            for sent in events
        ]
        if batch:
            post_until_taken(session, self.url, self.key, orjson.dumps({"events": batch}))
        return len(batch)

    def settle(self) -> None:
        """Have everything that was taken written to S3.

        Raises:
            ConfigurationError: the service does not get rid of it.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while any(self._backlog()):
            if time.monotonic() > deadline:
                raise ConfigurationError("the ingest service does not deliver: see its log")
            time.sleep(0.05)
        self.firehose.flush()

    def _backlog(self) -> Iterator[float]:
        """Bytes that wait for Firehose and for the vault."""
        for line in requests.get(f"{self.url}/metrics", timeout=10).text.splitlines():
            if line.startswith("ingest_backlog_bytes{"):
                yield float(line.split()[-1])


def post_until_taken(session: requests.Session, url: str, key: StudioKey, body: bytes) -> None:
    """Post a batch; where the service says stop, again when it says so.

    Args:
        url: of the service, without a path.

    Raises:
        ConfigurationError: it refuses the batch for good.
    """
    while True:
        signed = signed_headers(key.key_id, key.secret, int(time.time()), body)
        headers = signed | {"content-type": "application/json"}
        answer = session.post(f"{url}/v1/events", body, headers=headers, timeout=60)
        if answer.status_code == requests.codes.ok:
            return
        if "retry-after" not in answer.headers:
            raise ConfigurationError(f"the ingest service refused events: {answer.text[:200]}")
        time.sleep(float(answer.headers["retry-after"]))


@contextmanager
def studio(root: Path, bucket: str) -> Iterator[Studio]:
    """A studio whose events land under EVENTS of a bucket; the feed is told of its queue.

    Args:
        root: of the lakehouse; the vault's folder stands beside it.
        bucket: that exists.
    """
    with ExitStack() as stack:
        os.environ["GAMES_QUEUE"] = create_queue("game_events", f"s3://{bucket}/{EVENTS}").queue_url
        stream = DeliveryStream(STREAM, bucket, EVENTS, buffer_bytes=1 << 20, buffer_seconds=10)
        firehose = FirehoseStandIn(boto3.client("s3"), [stream])
        os.environ["AWS_ENDPOINT_URL_FIREHOSE"] = stack.enter_context(firehose_stand_in(firehose))
        os.environ |= {"GAMES_FIREHOSE": STREAM, "VAULT_KMS_KEY": VAULT_KEY}
        os.environ["VAULT_ROOT"] = str(root.with_name(f"{root.name}-vault"))
        _make_vault_key()
        vault = Vault(prepare_vault_root(), MasterKey(VAULT_KEY))
        stack.callback(vault.close)
        key = vault.new_studio_key(STUDIO)
        stack.callback(vault.revoke_studio_key, key.key_id)
        url = stack.enter_context(_service(root / "logs" / "ingest.log"))
        yield Studio(url, key, firehose)


def _make_vault_key() -> None:
    """Create the master key where there is none.

    Then what a vault of ours still holds, nobody can read any more: it goes with its key.
    """
    kms = boto3.client("kms")
    with suppress(kms.exceptions.NotFoundException):
        kms.describe_key(KeyId=VAULT_KEY)
        return
    shutil.rmtree(os.environ["VAULT_ROOT"], ignore_errors=True)
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName=VAULT_KEY, TargetKeyId=key_id)


@contextmanager
def _service(log: Path) -> Iterator[str]:
    """`python -m loaders ingest` on a free port; yields its address. It ends when it is empty."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "loaders", "ingest", "--port", "0"],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C is for us: we end it when nobody posts any more
        )
    try:
        said = process.stdout.readline() if process.stdout else ""
        if "/v1/events" not in said:
            raise ConfigurationError(f"the ingest service did not start: see {log}")
        yield said.split()[-1].removesuffix("/v1/events")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def produce(
    made: Studio, s3: Any, bucket: str, progress: Callable[[int, int], None] | None = None
) -> int:
    """Send what the players did since the last run, at first of DAYS; returns how many events."""
    now = time.time()
    start, until = _state(s3, bucket)
    sent = 0
    with requests.Session() as session:
        for batch in _batches(_sent(start, until, now)):
            sent += made.post(session, batch, time.time())
            if progress:
                progress(int(batch[-1].at - until), int(now - until))
    made.settle()
    _note(s3, bucket, start, now)
    return sent


def keep_sending(made: Studio, s3: Any, bucket: str, stop: Event) -> None:
    """Send what players do as time goes by, until `stop` is set."""
    start, until = _state(s3, bucket)
    waiting: list[Sent] = []

    def post(session: requests.Session) -> None:
        made.post(session, waiting, time.time())
        waiting.clear()

    with requests.Session() as session:
        for sent in _sent(start, until, float("inf")):
            while sent.at > time.time():
                post(session)
                _note(s3, bucket, start, time.time())
                if stop.wait(min(5.0, max(0.0, sent.at - time.time()))):
                    return
            waiting.append(sent)
            if len(waiting) == BATCH:
                post(session)


def _sent(start: datetime, after: float, until: float) -> Iterator[Sent]:
    """The events of the studio's game that are sent between two times."""
    mispriced = Incident(
        MISPRICED_OFFER,
        (start + MISPRICED_FROM).timestamp(),
        (start + MISPRICED_UNTIL).timestamp(),
        MISPRICED,
    )
    plan = Plan(
        start=start,
        days=A_YEAR,
        installs=INSTALLS,
        heartbeat_seconds=HEARTBEAT_SECONDS,
        live_from=DAYS,
        incidents=(mispriced,),
    )
    for sent in Simulation(plan).events():
        if sent.at > until:
            return
        if sent.at > after:
            yield sent


def _batches(events: Iterable[Sent]) -> Iterator[list[Sent]]:
    batch: list[Sent] = []
    for event in events:
        batch.append(event)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _state(s3: Any, bucket: str) -> tuple[datetime, float]:
    """When the game began, and up to when its events were sent (seconds since 1970)."""
    with suppress(s3.exceptions.NoSuchKey):
        state = json.loads(s3.get_object(Bucket=bucket, Key=STATE)["Body"].read())
        return datetime.fromisoformat(state["start"]), state["until"]
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight - timedelta(days=DAYS)
    return start, start.timestamp() - 1  # its first events are sent with it


def _note(s3: Any, bucket: str, start: datetime, until: float) -> None:
    state = {"start": start.isoformat(), "until": until}
    s3.put_object(Bucket=bucket, Key=STATE, Body=json.dumps(state).encode())
