"""Wall time and memory of a piece of work in this process and its JVM (Linux); goals met or not."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
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
    pids = family()
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    started, cpu = time.perf_counter(), cpu_seconds()
    yield spent
    spent.seconds, spent.cpu_seconds = time.perf_counter() - started, cpu_seconds() - cpu
    spent.peak_mb = sum(_kb(pid, "VmHWM:") for pid in family()) / 1024


# Memory is flat that grows by no more than a tenth.
FLAT = 1.1


def verdict(figure: float, limit: float, unit: str = "", *, at_least: bool = False) -> str:
    """A figure, its goal, and "met" or "missed by" the difference.

    Args:
        figure: what was measured.
        limit: the goal: at most so much, or with `at_least` at least.
        unit: of both, as it is written behind a number: " s", " x".
    """
    if math.isnan(figure):
        return "not told, noise is larger"
    bound = "at least" if at_least else "at most"
    said = outcome(figure, limit, unit, at_least=at_least)
    return f"{_in_digits(figure)}{unit} (goal: {bound} {limit:,g}{unit}): {said}"


def outcome(figure: float, limit: float, unit: str = "", *, at_least: bool = False) -> str:
    """The end of a verdict: "met", or "missed by" how much."""
    gap = limit - figure if at_least else figure - limit
    return f"missed by {_in_digits(gap)}{unit}" if gap > 0 else "met"


def _in_digits(figure: float) -> str:
    """Three digits, and never fewer than stand before the point."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def family(ancestor: int | None = None) -> list[int]:
    """A process and its descendants; by default this one's."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        parents[int(status.parent.name)] = int(fields[1])
    found = [ancestor or os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_seconds() -> float:
    """CPU time of this process and its children so far, those that have ended included."""
    ticks = 0
    for pid in family():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mb(pids: Iterable[int] | None = None) -> float:
    """The resident sets of processes now, in MiB; by default of this one and its children."""
    return sum(_kb(pid, "VmRSS:") for pid in (family() if pids is None else pids)) / 1024


def _kb(pid: int, entry: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line[:6] == entry), 0)
