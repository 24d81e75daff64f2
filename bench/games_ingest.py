"""games_ingest: the ingest service on one core, fed by simulated players from the other.

Everything is real but AWS: HTTP, signatures, journal with fsync, KMS and S3 of the embedded AWS,
the Firehose stand-in. The service's own CPU time is given too: what else runs on the machine
changes the wall, hardly the CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue

import boto3
import requests
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import verdict
from demo.aws import embedded_aws, environment
from demo.firehose import DeliveryStream, FirehoseStandIn, firehose_stand_in
from demo.game_studio import post_until_taken
from demo.games import Plan, Simulation
from loaders.vault.master_key import MasterKey
from loaders.vault.store import StudioKey, Vault, prepare_vault_root

EVENTS = 40_000
BATCH = 50
SENDERS = 8
STREAM = "games"
GOAL = 3_000
SERVICE = "from loaders.ingest.commands import ingest; ingest()"


@dataclass(frozen=True, slots=True)
class Run:
    """seconds: wall; cpu: of the service; latencies: of requests, sorted, in seconds.

    idle_ms: how much longer than asked a sleep took meanwhile, at the 99th percentile: what the
    machine adds to whatever runs on it, and no request can be quicker than.
    """

    events: int
    seconds: float
    cpu: float
    latencies: Sequence[float]
    idle_ms: float

    def percentile(self, share: float) -> float:
        """A latency in milliseconds."""
        return 1000 * self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def main() -> None:
    """Print what the service does at full speed, beside the goal, and requests at half of it."""
    bodies = batches()
    half = len(bodies) // 2
    with service() as (url, key, process):
        flat_out = post(url, key, process, bodies[:half], per_second=None)
        paced = post(url, key, process, bodies[half:], per_second=GOAL / 2)
    table = Table("pace", title=f"games_ingest: {BATCH} events a request", box=SIMPLE)
    for title in ("events", "events/s", "events per CPU second", "p50 ms", "p99 ms", "idle p99 ms"):
        table.add_column(title, justify="right")
    for pace, run in (("flat out", flat_out), (f"{GOAL // 2:,} events/s", paced)):
        table.add_row(
            pace,
            f"{run.events:,}",
            f"{run.events / run.seconds:,.0f}",
            f"{run.events / run.cpu:,.0f}",
            f"{run.percentile(0.5):.1f}",
            f"{run.percentile(0.99):.1f}",
            f"{run.idle_ms:.1f}",
        )
    console = Console(highlight=False)
    console.print(table)
    said = verdict(flat_out.events / flat_out.seconds, GOAL, " events/s", at_least=True)
    console.print(f"flat out: {said}")


def batches() -> list[bytes]:
    """Bodies of requests, as a game with many new players sends them."""
    players = Simulation(Plan(days=1, installs=1000, heartbeat_seconds=600)).events()
    events = [next(players).event for _ in range(EVENTS)]
    return [
        json.dumps({"events": events[at : at + BATCH]}).encode() for at in range(0, EVENTS, BATCH)
    ]


@contextmanager
def service() -> Iterator[tuple[str, StudioKey, subprocess.Popen[str]]]:
    """A service on a core of its own, where there are two."""
    with tempfile.TemporaryDirectory() as folder, embedded_aws(Path(folder) / "aws") as aws:
        os.environ.update(environment(aws), VAULT_ROOT=str(Path(folder) / "vault"))
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="games")
        master = MasterKey(boto3.client("kms").create_key()["KeyMetadata"]["KeyId"])
        vault = Vault(prepare_vault_root(), master)
        key = vault.new_studio_key("north")
        vault.close()
        stand_in = FirehoseStandIn(s3, [DeliveryStream(STREAM, "games")])
        with firehose_stand_in(stand_in) as endpoint:
            os.environ |= {
                "AWS_ENDPOINT_URL_FIREHOSE": endpoint,
                "VAULT_KMS_KEY": master.key_id,
                "GAMES_FIREHOSE": STREAM,
            }
            process = subprocess.Popen(
                [sys.executable, "-c", SERVICE, "--port", "0"], stdout=subprocess.PIPE, text=True
            )
            try:
                assert process.stdout is not None  # noqa: S101 - it is a pipe
                url = process.stdout.readline().split()[-1].removesuffix("/v1/events")
                if hasattr(os, "sched_setaffinity"):
                    os.sched_setaffinity(process.pid, {min(os.sched_getaffinity(0))})
                yield url, key, process
            finally:
                process.terminate()
                process.wait()


def post(
    url: str,
    key: StudioKey,
    process: subprocess.Popen[str],
    bodies: Sequence[bytes],
    per_second: float | None,
) -> Run:
    """Post the bodies, as fast as the answers come or at so many events a second."""
    waiting: Queue[tuple[float, bytes]] = Queue()
    latencies: list[float] = []
    started = time.perf_counter() + 0.2
    for number, body in enumerate(bodies):
        waiting.put((started + number * BATCH / per_second if per_second else 0.0, body))

    def send() -> None:
        with requests.Session() as session:
            while True:
                try:
                    due, body = waiting.get_nowait()
                except Empty:
                    return
                time.sleep(max(0.0, due - time.perf_counter()))
                begun = time.perf_counter()
                post_until_taken(session, url, key, body)
                latencies.append(time.perf_counter() - begun)

    overslept: list[float] = []
    ended = threading.Event()

    def idle() -> None:
        while not ended.is_set():
            begun = time.perf_counter()
            time.sleep(0.005)
            overslept.append(time.perf_counter() - begun - 0.005)

    watch = threading.Thread(target=idle)
    watch.start()
    cpu = cpu_seconds(process.pid)
    begun = time.perf_counter()
    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    spent = cpu_seconds(process.pid) - cpu
    ended.set()
    watch.join()
    idle_ms = 1000 * sorted(overslept)[int(0.99 * len(overslept))]
    return Run(len(bodies) * BATCH, seconds, spent, sorted(latencies), idle_ms)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
