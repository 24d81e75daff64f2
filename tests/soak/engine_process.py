"""An engine as a process of its own: started, asked, killed, ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from loaders.maintenance import read_schedule
from loaders.session import QUICK_COMPILER

FEEDS = ("stocks_daily_prices", "stocks_fundamentals")
PROJECT_ROOT = Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 300
# The engine's own limit is 30 seconds; as many again for what runs beside it on the machine.
EXIT_TIMEOUT_S = 60
POLL_S = 0.2
SCHEDULE = read_schedule()
# The daily ones; the weekly one takes minutes more.
OPERATIONS = [operation.name for operation in SCHEDULE if operation.weekday is None]
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening_addresses(port: int) -> set[str]:
    """The addresses on which somebody of this machine listens at a port (Linux)."""
    found = set()
    for table in Path("/proc/net").glob("tcp*"):
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if int(number, 16) == port and state == "0A":
                # In words of four bytes, each of which stands in the order of this machine.
                words = [bytes.fromhex(address[at : at + 8]) for at in range(0, len(address), 8)]
                found.add(ip_address(b"".join(word[::-1] for word in words)))
    return {str(getattr(each, "ipv4_mapped", None) or each) for each in found}


def wait_for(what: Callable[[], Any], timeout_s: float, why: str) -> Any:
    """What `what` returns as soon as it is true."""
    pause = threading.Event()
    for _ in range(int(timeout_s / POLL_S)):
        if value := what():
            return value
        pause.wait(POLL_S)
    raise AssertionError(f"not within {timeout_s:.0f} s: {why}")


class EngineProcess:
    """`python -m loaders up` on a root and a landing folder, restarted as often as one likes."""

    def __init__(self, root: Path, landing: Path, log: Path) -> None:
        self.thrift_port, self.http_port = free_port(), free_port()
        self.root = root
        self.environment = os.environ | {
            "LAKEHOUSE_ROOT": str(root),
            "LANDING": str(landing),
            "THRIFT_PORT": str(self.thrift_port),
            "HTTP_PORT": str(self.http_port),
            "DBT_PROFILES_DIR": str(PROJECT_ROOT / "profiles"),
            "DBT_TARGET_PATH": str(root / "dbt_user"),
            "DBT_LOG_PATH": str(root / "dbt_user"),
            "JDK_JAVA_OPTIONS": QUICK_COMPILER,  # its lives are short
        }
        self.environment.pop("STOCKS_PRICES_QUEUE", None)
        self._log = log
        self._process: subprocess.Popen[bytes]
        self._lives = 0
        # Which of its lives this is; none while it starts or ends.
        self.life: int | None = None

    def start(self) -> None:
        """Until it answers that it is running."""
        self.launch()
        self.wait_until("running")
        self._lives += 1
        self.life = self._lives

    def launch(self) -> None:
        """Without waiting for it."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "loaders", "up", "--json", *FEEDS],
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until(self, state: str) -> None:
        """Until it answers so; it must not end before."""

        def is_so() -> bool:
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            return self.status().get("state") == state

        wait_for(is_so, READY_TIMEOUT_S, f"the engine is {state}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def status(self) -> dict[str, Any]:
        """What /status.json says; nothing while it does not answer."""
        try:
            return json.loads(self.get("status.json"))
        except OSError:
            return {}

    def get(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.http_port}/{path}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read().decode()

    def kill(self, *, with_jvm: bool) -> None:
        """SIGKILL: to the process alone, which leaves its JVM to notice, or to all it started."""
        self.life = None
        if with_jvm:
            os.killpg(self.pid, signal.SIGKILL)
        else:
            self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """SIGTERM, at which it ends by itself in time, with all it started; the exit code."""
        self.life = None
        self._process.terminate()
        code = self._process.wait(EXIT_TIMEOUT_S)
        wait_for(lambda: not self.left_behind(), EXIT_TIMEOUT_S, "what it started has ended too")
        return code

    def left_behind(self) -> list[str]:
        """Names of processes that it started and that are alive (Linux)."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
                state, _, group, *_ = rest.split()
                if int(group) == self.pid and state != "Z":
                    found.append(name)
        return found

    def owe_maintenance(self) -> None:
        """As if they had not run for years: whoever starts next has the daily operations to do."""
        record = self._maintained()
        record.parent.mkdir(exist_ok=True)
        now = datetime.now(UTC).isoformat()
        said = {each.name: now if each.weekday else LONG_AGO.isoformat() for each in SCHEDULE}
        record.write_text(json.dumps(said))

    def owed(self) -> set[str]:
        """The operations of maintenance that were not done since."""
        said = json.loads(self._maintained().read_text())
        return {name for name in OPERATIONS if said[name] == LONG_AGO.isoformat()}

    def _maintained(self) -> Path:
        return self.root / "progress" / "maintenance.json"

    def end(self) -> None:
        """Whatever is left of it, at the end of a test."""
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Another process on the same root."""
        return subprocess.run(
            command,
            cwd=PROJECT_ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )
