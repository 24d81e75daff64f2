"""Wall time and peak memory of a piece of work in this process and its JVM (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True)
class Cost:
    """seconds: wall time. peak_mb: the largest resident set of process and children, in MiB."""

    seconds: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def cost() -> Iterator[Cost]:
    """Measure the body; the peak is counted from its start."""
    spent = Cost()
    pids = _family()
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    started = time.perf_counter()
    yield spent
    spent.seconds = time.perf_counter() - started
    spent.peak_mb = sum(_kb(pid, "VmHWM:") for pid in _family()) / 1024


def _family() -> list[int]:
    """This process and its descendants."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        parents[int(status.parent.name)] = int(fields[1])
    family = [os.getpid()]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return family


def resident_mb() -> float:
    """The resident set of this process and its children now, in MiB."""
    return sum(_kb(pid, "VmRSS:") for pid in _family()) / 1024


def _kb(pid: int, entry: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line[:6] == entry), 0)
