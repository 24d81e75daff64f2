"""An AWS on this machine: MiniStack, started, checked, and stopped again.

It runs in an environment of its own (`.venv-aws`), listens on loopback only, and keeps
what it is told in a directory, so a later start with the same directory goes on.
"""

import contextlib
import fcntl
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HOST = "127.0.0.1"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10
PYTHON = Path(__file__).resolve().parent.parent / ".venv-aws" / "bin" / "python"

# Reads its standard input beside serving: when the parent is gone, however it went, the
# pipe closes and the server stops as on SIGTERM, which also saves its state.
SERVER = """
import os, signal, threading

def stop_with_parent():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=stop_with_parent, daemon=True).start()
from ministack.app import main
main()
"""


class SetupError(Exception):
    """Something outside the program is missing or in the way; the message says how to mend it."""


@dataclass(frozen=True)
class EmbeddedAws:
    """A running embedded AWS."""

    endpoint_url: str
    pid: int


def environment(aws: EmbeddedAws) -> dict[str, str]:
    """Return the variables with which boto3 and every AWS tool reach `aws`."""
    return {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def embedded_aws(data_dir: Path, port: int | None = None) -> Iterator[EmbeddedAws]:
    """Run the embedded AWS while the context lasts; its data and log lie in `data_dir`.

    `port` defaults to the variable AWS_PORT, and without it to a free one.

    Raises:
        SetupError: not installed, port taken, `data_dir` in use, or it died at start.
    """
    if not PYTHON.exists():
        raise SetupError(f"the embedded AWS is not installed ({PYTHON}): run `make setup`")
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    port = _usable_port(_port_from_environment() if port is None else port)
    log = data_dir / "ministack.log"
    with log.open("ab") as log_file:
        _lock(log_file, data_dir)
        log_file.truncate(0)
        server = subprocess.Popen(
            [PYTHON, "-P", "-c", SERVER],
            env=_server_environment(data_dir, port),
            cwd=data_dir,
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(server, port, log)
        yield EmbeddedAws(f"http://{HOST}:{port}", server.pid)
    finally:
        _stop(server)


def _port_from_environment() -> int:
    """Return AWS_PORT, or 0 for any free port."""
    text = os.environ.get("AWS_PORT") or "0"
    if not text.isdecimal() or int(text) > 65535:
        raise SetupError(f"AWS_PORT is {text!r}: give a port number below 65536, or unset it")
    return int(text)


def _usable_port(port: int) -> int:
    """Return `port` if it can be listened on; for 0 a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise SetupError(
                f"port {port} on {HOST} cannot be used ({error.strerror}): "
                "set AWS_PORT to a free port, or unset it to have one chosen"
            ) from None
        return probe.getsockname()[1]


def _lock(log_file: BinaryIO, data_dir: Path) -> None:
    """Hold `data_dir` through its log file; the server inherits the lock with the file."""
    try:
        fcntl.flock(log_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SetupError(
            f"another embedded AWS is using {data_dir}: stop it, or set LAKEHOUSE_ROOT elsewhere"
        ) from None


def _server_environment(data_dir: Path, port: int) -> dict[str, str]:
    """Return MiniStack's settings; nothing of the caller's AWS settings reaches it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return inherited | {
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "LOG_LEVEL": "WARNING",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(data_dir / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(data_dir / "s3"),
        "TMPDIR": str(data_dir),
    }


def _wait_until_healthy(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SetupError(f"the embedded AWS died at start: {_last_line(log)} (log: {log})")
        if _is_healthy(port):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(0.05)
    raise SetupError(f"the embedded AWS did not answer in {START_TIMEOUT_S} s (log: {log})")


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server: SIGTERM, which saves its state, then SIGKILL."""
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    finally:
        if server.stdin:
            server.stdin.close()
