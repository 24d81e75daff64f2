"""Servers on this machine: real protocol peers for the tests, each with its own errors.

roto-server (Kinesis) and microburst (throttling and errors in front of any server) come with
`.venv-aws` (make setup). kinesis-local needs Node and is installed into tests/node on first use;
where there is no Node, its tests are skipped, except in CI.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
NODE_FOLDER = PROJECT_ROOT / "tests" / "node"
HOST = "127.0.0.1"
START_TIMEOUT_S = 60

# What the servers take as credentials, and what keeps boto3 from looking for others.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def roto(log: Path) -> Iterator[str]:
    """The URL of a running roto-server, which keeps everything in memory."""
    command = _installed("roto-server")
    port = free_port()
    with _running([command, "--port", str(port), "--ephemeral"], {}, port, log) as url:
        yield url


@contextmanager
def faulty(upstream: str, rules: list[dict[str, Any]], log: Path) -> Iterator[str]:
    """The URL of a proxy before a server, which answers some calls with errors (microburst)."""
    port = free_port()
    command = [_installed("microburst"), "--upstream", upstream, "--host", HOST]
    with _running([*command, "--port", str(port)], {}, port, log) as url:
        _send(f"{url}/_microburst/rules", "POST", rules)
        yield url


def faults_of(url: str) -> set[tuple[str, str]]:
    """Operation and action of every error that the proxy has answered with."""
    fired = _send(f"{url}/_microburst/fired?limit=100000", "GET")
    return {(fault["operation"], fault["action"]) for fault in fired}


def _send(url: str, method: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urlopen(request, timeout=START_TIMEOUT_S) as answer:
        return json.loads(answer.read() or b"null")


def _installed(command: str) -> str:
    binary = PROJECT_ROOT / ".venv-aws" / "bin" / command
    found = str(binary) if binary.exists() else shutil.which(command)
    if not found:
        pytest.fail(f"{command} is not installed ({binary}): run `make setup`")
    return found


@contextmanager
def kinesis_local(log: Path) -> Iterator[str]:
    """The URL of a running kinesis-local; skips the test where it cannot be had."""
    folder = _installed_kinesis_local()
    port = free_port()
    settings = {
        "KINESIS_MOCK_CERT_PATH": str(folder / "server.json"),
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(free_port()),
        "LOG_LEVEL": "ERROR",
        "SHARD_LIMIT": "500",
        "CREATE_STREAM_DURATION": "1ms",
        "DELETE_STREAM_DURATION": "1ms",
        "SPLIT_SHARD_DURATION": "1ms",
        "MERGE_SHARDS_DURATION": "1ms",
    }
    with _running(["node", str(folder / "main.js")], settings, port, log) as url:
        yield url


def _installed_kinesis_local() -> Path:
    folder = NODE_FOLDER / "node_modules" / "kinesis-local"
    if not shutil.which("node"):
        _missing("there is no Node on PATH: install Node 20 or newer")
    with (NODE_FOLDER / ".gitignore").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several runs at a time installs
        if not (folder / "main.js").exists():
            if not shutil.which("npm"):
                _missing("there is no npm on PATH: install it with Node")
            npm = ["npm", "ci", "--no-progress"]
            done = subprocess.run(npm, cwd=NODE_FOLDER, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                _missing(f"`npm ci` failed in {NODE_FOLDER}: {done.stderr.strip()[-500:]}")
    return folder


def _missing(why: str) -> None:
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"kinesis-local is needed in CI: {why}")
    pytest.skip(f"kinesis-local: {why}")


@contextmanager
def _running(command: list[Any], settings: dict[str, str], port: int, log: Path) -> Iterator[str]:
    inherited = {name: value for name, value in os.environ.items() if "AWS_" not in name}
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            env=inherited | settings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(server, port, log)
        yield f"http://{HOST}:{port}"
    finally:
        server.kill()  # it keeps nothing
        server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    # A server may take a call before it is ready, and never answer it.
    probe = a_client(f"http://{HOST}:{port}", total_max_attempts=1, timeout=2)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"{server.args} died at start: {log.read_text(errors='replace')[-500:]}")
        try:
            probe.list_streams()
        except (BotoCoreError, ClientError):
            threading.Event().wait(0.1)
        else:
            return
    pytest.fail(f"{server.args} did not answer in {START_TIMEOUT_S} s")


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def a_client(url: str, *, total_max_attempts: int = 4, timeout: float = 60) -> Any:
    """A boto3 client for Kinesis at a server."""
    retries = {"mode": "standard", "total_max_attempts": total_max_attempts}
    return boto3.client(
        "kinesis",
        endpoint_url=url,
        region_name=ENVIRONMENT["AWS_DEFAULT_REGION"],
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries=retries, connect_timeout=timeout, read_timeout=timeout),
    )
