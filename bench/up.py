"""up: what `make up` runs, for UP_MINUTES (default 60): memory, work done, and how it ends.

An embedded AWS, producers that keep sending and the engine, on a lakehouse of their own. The third
sixth of the time is what memory is compared with: until then caches and the JVM's heap fill.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import FLAT, family, resident_mb, verdict
from loaders.session import PROJECT_ROOT

MINUTES = float(os.environ.get("UP_MINUTES") or 60)
# At least two samples in each part of the time.
SAMPLE_S = min(30.0, 60 * MINUTES / 12)
PARTS = 6
START_TIMEOUT_S, STOP_TIMEOUT_S, ANSWER_TIMEOUT_S = 600, 300, 20
STOP_S = 30
LOG, ERRORS = "up.log", 10
_METRIC = re.compile(
    r"^multihop_(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$", re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

# (name of the metric, its task, feed or model) → value
Metrics = dict[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment. minutes: since the engine ran. Memory in MiB.

    python, jvm and the JVM's Python workers make the engine; whole is as the engine says it, with
    the embedded AWS and the ingest service. Pages that workers share count in each of them.
    """

    minutes: float
    python: float
    jvm: float
    workers: float
    whole: float
    metrics: Metrics

    @property
    def engine(self) -> float:
        return self.python + self.jvm + self.workers

    @property
    def cycles(self) -> float:
        return self.total("task_runs_total", "cycle")

    def total(self, name: str, *labels: str) -> float:
        """The sum of a metric, of all tasks, feeds or models or of those named."""
        return sum(
            value
            for (metric, label), value in self.metrics.items()
            if metric == name and (not labels or label in labels)
        )


def main() -> None:
    """Print memory by sixths of the time, what was done meanwhile, and the goals met or missed."""
    with tempfile.TemporaryDirectory(prefix="bench-up-") as name:
        folder = Path(name)
        port = _free_port()
        with _up(folder, port) as process:
            samples, unanswered = _watch(process, port)
            stop_s = _stop(process)
        told = _told(folder / "lakehouse" / "warehouse" / "bronze.db")
        log = (folder / LOG).read_text(errors="replace")
    _print(samples, unanswered, told, stop_s, process.returncode)
    for line, times in Counter(re.findall("^error: .*", log, re.MULTILINE)).most_common(ERRORS):
        print(f"  {times} x {line[:300]}")


@contextmanager
def _up(folder: Path, http_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """`make up` in a folder; nothing of it is left after the context."""
    environment = {name: value for name, value in os.environ.items() if name != "AWS_PORT"}
    environment |= {
        "LAKEHOUSE_ROOT": str(folder / "lakehouse"),
        "THRIFT_PORT": str(_free_port()),
        "HTTP_PORT": str(http_port),
    }
    log_path = folder / LOG
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo.up"],
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException:
        sys.stderr.write(log_path.read_text(errors="replace")[-2000:])
        raise
    finally:
        if process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _watch(process: subprocess.Popen[bytes], port: int) -> tuple[list[Sample], int]:
    """Samples of MINUTES since the engine ran, and how often its page did not answer."""
    pause = threading.Event()
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (metrics := _metrics(port)).get(("up", "")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("bench: what make up runs did not start")
        pause.wait(1)
    began = time.monotonic()
    samples, unanswered = [_sample(process.pid, 0.0, metrics)], 0
    for number in range(1, round(60 * MINUTES / SAMPLE_S) + 1):
        pause.wait(max(0.0, began + number * SAMPLE_S - time.monotonic()))
        if process.poll() is not None:
            raise SystemExit(f"bench: make up ended by itself, with {process.returncode}")
        if metrics := _metrics(port):
            samples.append(_sample(process.pid, (time.monotonic() - began) / 60, metrics))
            _say(samples[-1])
        else:
            unanswered += 1
    return samples, unanswered


def _metrics(port: int) -> Metrics:
    """What /metrics says; nothing where it does not answer."""
    url = f"http://127.0.0.1:{port}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_TIMEOUT_S) as answer:
            return parsed(answer.read().decode())
    except OSError:
        return {}


def parsed(text: str) -> Metrics:
    """Prometheus' text; of several labels the first counts."""
    found: Metrics = {}
    for match in _METRIC.finditer(text):
        labels = _LABEL.findall(match["labels"] or "")
        found[match["name"], labels[0][1] if labels else ""] = float(match["value"])
    return found


def _sample(pid: int, minutes: float, metrics: Metrics) -> Sample:
    jvm = next((each for each in family(pid) if _command(each) == "java"), None)
    workers = family(jvm)[1:] if jvm else []
    return Sample(
        minutes=minutes,
        python=resident_mb([pid]),
        jvm=resident_mb([jvm]) if jvm else 0.0,
        workers=resident_mb(workers),
        whole=metrics["memory_bytes", ""] / 2**20,
        metrics=metrics,
    )


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # ended meanwhile
        return ""


def _say(sample: Sample) -> None:
    print(
        f"{sample.minutes:5.1f} min: engine {sample.engine:,.0f} MiB (Python {sample.python:,.0f}, "
        f"JVM {sample.jvm:,.0f}, workers {sample.workers:,.0f}), with AWS {sample.whole:,.0f}; "
        f"{sample.total('feed_kept_total'):,.0f} rows, "
        f"{sample.cycles:,.0f} cycles, "
        f"{sample.total('task_failures_total'):,.0f} failures",
        file=sys.stderr,
        flush=True,
    )


def _stop(process: subprocess.Popen[bytes]) -> float:
    """SIGTERM; seconds until the process has ended."""
    started = time.monotonic()
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"bench: it did not end within {STOP_TIMEOUT_S} s of SIGTERM") from None
    return time.monotonic() - started


def _told(bronze: Path) -> Counter[str]:
    """Messages that SNS took, by what they told."""
    try:
        outbox, deliveries = (DeltaTable(str(bronze / name)) for name in ("outbox", "deliveries"))
    except TableNotFoundError:
        return Counter()
    states = deliveries.to_pyarrow_table(columns=["message_id", "state"]).to_pylist()
    sent = {row["message_id"] for row in states if row["state"] == "sent"}
    messages = outbox.to_pyarrow_table(columns=["message_id", "model", "attributes"]).to_pylist()
    told = [row for row in messages if row["message_id"] in sent]
    return Counter(
        f"{row['model']} {json.loads(row['attributes']).get('state', '')}".strip() for row in told
    )


def _print(
    samples: Sequence[Sample], unanswered: int, told: Counter[str], stop_s: float, code: int
) -> None:
    console = Console(highlight=False)
    table = Table("MiB, mean of", title=f"make up, {MINUTES:g} min", box=SIMPLE)
    for number in range(PARTS):
        table.add_column(f"{number + 1}/{PARTS}", justify="right")
    table.add_column("MiB/h*", justify="right")
    rows: dict[str, Callable[[Sample], float]] = {
        "Python": lambda sample: sample.python,
        "JVM": lambda sample: sample.jvm,
        "its workers": lambda sample: sample.workers,
        "engine": lambda sample: sample.engine,
        "with AWS": lambda sample: sample.whole,
    }
    means = {title: _means(samples, memory) for title, memory in rows.items()}
    for title, memory in rows.items():
        slope = _slope(samples[len(samples) // 2 :], memory)
        table.add_row(title, *(f"{mean:,.0f}" for mean in means[title]), f"{slope:+,.0f}")
    console.print(table)
    console.print("* slope over the second half; with AWS: embedded AWS and ingest service too")
    last = samples[-1]
    first = next((f", the first done by {s.minutes:.1f} min" for s in samples if s.cycles), "")
    console.print(
        f"received {last.total('feed_records_total'):,.0f} records, kept "
        f"{last.total('feed_kept_total'):,.0f}, quarantined "
        f"{last.total('feed_quarantined_total'):,.0f}; "
        f"{last.cycles:,.0f} cycles{first}, "
        f"{last.total('task_runs_total', 'check'):,.0f} times some models were tested"
    )
    incidents = told["alerts firing"]
    messages = ", ".join(f"{what} {count}" for what, count in sorted(told.items()))
    console.print(f"incidents told: {incidents} ({messages or 'no message'})")
    console.print(f"failures: {_failures(samples) or 'none'}; page unanswered {unanswered} times")
    for title in ("engine", "with AWS"):
        ratio = means[title][-1] / means[title][2]
        console.print(
            f"memory flat, {title}, last sixth of third: {verdict(ratio, FLAT, ' x')}",
            soft_wrap=True,
        )
    console.print(f"SIGTERM to exit (code {code}): {verdict(stop_s, STOP_S, ' s')}")


def _means(samples: Sequence[Sample], memory: Callable[[Sample], float]) -> list[float]:
    """The mean of each sixth of the time."""
    parts: list[list[float]] = [[] for _ in range(PARTS)]
    for sample in samples:
        parts[min(int(PARTS * sample.minutes / MINUTES), PARTS - 1)].append(memory(sample))
    return [statistics.mean(part) if part else float("nan") for part in parts]


def _slope(samples: Sequence[Sample], memory: Callable[[Sample], float]) -> float:
    """MiB an hour, by least squares."""
    hours = [sample.minutes / 60 for sample in samples]
    return statistics.linear_regression(hours, [memory(each) for each in samples]).slope


def _failures(samples: Sequence[Sample]) -> str:
    """What failed, and how often: of models the longest row of failures, of tests the most seen."""
    worst: Metrics = {}
    for sample in samples:
        for key, value in sample.metrics.items():
            if key[0] in ("task_failures_total", "model_failures", "failed_tests"):
                worst[key] = max(value, worst.get(key, 0))
    names = {"task_failures_total": "task ", "model_failures": "model ", "failed_tests": "tests"}
    return ", ".join(
        f"{names[metric]}{label} {value:g}" for (metric, label), value in worst.items() if value
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
