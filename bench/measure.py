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
    """What was spent by this process and its children.

    seconds: wall time. cpu_seconds: of all their cores. peak_mb: the largest resident set, in MiB.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def cost() -> Iterator[Cost]:
    """Measure the body; the peak is counted from its start."""
    spent = Cost()
    pids = _family()
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    started, cpu = time.perf_counter(), cpu_seconds()
    yield spent
    spent.seconds, spent.cpu_seconds = time.perf_counter() - started, cpu_seconds() - cpu
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


def cpu_seconds() -> float:
    """CPU time of this process and its children so far, those that have ended included."""
    ticks = 0
    for pid in _family():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mb() -> float:
    """The resident set of this process and its children now, in MiB."""
    return sum(_kb(pid, "VmRSS:") for pid in _family()) / 1024


def _kb(pid: int, entry: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line[:6] == entry), 0)
