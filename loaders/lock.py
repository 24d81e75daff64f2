"""One engine a root, and one dbt at a time in it: locked files, which no crash leaves locked.

Standard library only: dbt_guard/dbt_multihop.py loads this file by its path.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

_FILE = "engine.lock"
_TURN_FILE = "dbt.lock"
# A reader holds the lock for an instant, to see whether it is free.
_ATTEMPTS = 20
_PAUSE_S = 0.05
# A JVM outlives an engine that was killed by the moment it takes to see that.
_JVM_TIMEOUT_S = 30
# And other processes that were: Spark's own start took as long, before it came to the metastore.
_METASTORE_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that has the root to itself, its JVM, and the ports on which it answers."""

    pid: int
    thrift_port: int
    http_port: int
    jvm_pid: int | None = None

    @property
    def is_this_process(self) -> bool:
        return self.pid == os.getpid()


class RootInUseError(Exception):
    """Another process has the root; the message says which, and what can be done beside it."""


def holder(root: Path) -> Holder | None:
    """Who has the root to itself at this moment."""
    try:
        file = (root / _FILE).open()
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(root)
    return None


def refusal(root: Path, held_by: Holder) -> str:
    """What somebody is told who wants the root while an engine has it."""
    port = "" if held_by.thrift_port == 10000 else f"THRIFT_PORT={held_by.thrift_port} "
    return (
        f"an engine is running on {root} (pid {held_by.pid}, "
        f"http://127.0.0.1:{held_by.http_port}/status): go through it, "
        f"{port}dbt … --target engine, or stop it first, kill {held_by.pid}"
    )


def require_free(root: Path) -> None:
    """Raise RootInUseError where the engine of another process has the root."""
    held_by = holder(root)
    if held_by and not held_by.is_this_process:
        raise RootInUseError(refusal(root, held_by))


def require_metastore_free(root: Path) -> None:
    """Raise RootInUseError where another process has the embedded metastore open, and keeps it.

    Derby says so too, in a stack trace of 300 lines. It locks a file for as long as it lives, as
    fcntl does.
    """
    if _runs_spark():  # then it is this process's JVM that has it
        return
    deadline = time.monotonic() + _METASTORE_TIMEOUT_S
    while _is_metastore_open(root):
        if time.monotonic() > deadline:
            raise RootInUseError(metastore_in_use(root))
        time.sleep(_PAUSE_S)


def _is_metastore_open(root: Path) -> bool:
    try:
        file = (root / "metastore" / "dbex.lck").open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
    return False


def metastore_in_use(root: Path) -> str:
    """What somebody is told who wants the embedded metastore while another process has it."""
    return (
        f"the metastore under {root} is in use by another process: "
        "wait for it to end, or use `dbt … --target engine`"
    )


def _runs_spark() -> bool:
    pyspark = sys.modules.get("pyspark")
    return pyspark is not None and pyspark.SparkContext._gateway is not None


@contextmanager
def locked(root: Path, thrift_port: int, http_port: int) -> Iterator[Callable[[int], None]]:
    """Have the root to oneself while the context lasts.

    Waits for the JVM of an engine that was killed. Gives a function to note the own JVM with.

    Raises:
        RootInUseError: another process has it, or that JVM does not end.
    """
    with (root / _FILE).open("a+") as file:
        _lock(file.fileno(), root)
        _await_end(root, _read(root).jvm_pid)

        def note(jvm_pid: int | None) -> None:
            file.truncate(0)
            file.write(json.dumps(asdict(Holder(os.getpid(), thrift_port, http_port, jvm_pid))))
            file.flush()

        note(None)
        try:
            yield note
        finally:
            file.truncate(0)


def take_turn(root: Path) -> IO[str] | None:
    """Have the tables to oneself as dbt; None while another dbt writes them.

    Two that form a table from different states of its inputs would each be right, and the one
    that ends last would win. The turn ends when the file is closed, or with the process.
    """
    file = (root / _TURN_FILE).open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _await_end(root: Path, jvm_pid: int | None) -> None:
    deadline = time.monotonic() + _JVM_TIMEOUT_S
    while jvm_pid is not None and _is_jvm(jvm_pid):
        if time.monotonic() > deadline:
            raise RootInUseError(
                f"the JVM of an engine that was killed (pid {jvm_pid}) still writes to {root}: "
                f"kill -9 {jvm_pid}, then start again"
            )
        time.sleep(_PAUSE_S)


def _is_jvm(pid: int) -> bool:
    """Whether it is alive, and, where the system tells (Linux), no other program by now."""
    try:
        os.kill(pid, 0)
    except OSError:  # ended, or the number is another user's by now
        return False
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "java"
    except OSError:
        return not Path("/proc/self/comm").exists()


def _lock(file: int, root: Path) -> None:
    for attempt in range(_ATTEMPTS):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if attempt:
            time.sleep(_PAUSE_S)
    raise RootInUseError(refusal(root, _read(root)))


def _read(root: Path) -> Holder:
    """The holder as it wrote itself down; zeros for the instant before it has."""
    try:
        return Holder(**json.loads((root / _FILE).read_text()))
    except (ValueError, TypeError):
        return Holder(0, 0, 0)
