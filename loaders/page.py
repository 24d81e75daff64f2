"""What the engine says over HTTP: to people, to machines, to Prometheus. Pure functions."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from loaders.cycles import ModelStatus
from loaders.status import FeedStatus, is_silent
from loaders.tasks import FAILED, RUNNING, TaskStatus


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine at one moment. Times UTC, sizes in bytes; state: starting, running, stopping."""

    state: str
    pid: int
    root: str
    started_at: datetime
    at: datetime
    thrift_port: int
    http_port: int
    memory_bytes: int
    tasks: Sequence[TaskStatus]
    models: Sequence[ModelStatus]
    feeds: Sequence[FeedStatus]
    failed_tests: Mapping[str, str]

    @property
    def failing(self) -> list[str]:
        """What does not work at the moment, by name."""
        return [
            *(task.name for task in self.tasks if task.state == FAILED),
            *(f"model {model.name}" for model in self.models if model.failures),
            *(f"test {name}" for name in self.failed_tests),
            *(f"silent feed {name}" for name in self.silent),
        ]

    @property
    def silent(self) -> list[str]:
        """The feeds that have had no records for longer than they may."""
        return [
            feed.feed
            for feed in self.feeds
            if is_silent(feed.last_records_at, feed.silent_after_minutes, self.started_at, self.at)
        ]


def as_json(status: EngineStatus) -> dict[str, Any]:
    """All of it, for json.dumps(…, default=str)."""
    return {**asdict(status), "failing": status.failing}


def health(status: EngineStatus) -> tuple[int, str]:
    """HTTP code and one line. A failing feed or model is no reason to restart the engine."""
    if status.state != RUNNING:
        return 503, status.state
    return 200, f"degraded: {', '.join(status.failing)}" if status.failing else "ok"


def metrics(status: EngineStatus) -> str:
    """Prometheus' text format."""
    lines: list[str] = []

    def metric(
        name: str, kind: str, help_text: str, samples: Iterable[tuple[dict[str, str], float | None]]
    ) -> None:
        lines.append(f"# HELP multihop_{name} {help_text}")
        lines.append(f"# TYPE multihop_{name} {kind}")
        for labels, value in samples:
            if value is not None:
                inside = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
                lines.append(f"multihop_{name}{{{inside}}} {_number(value)}".replace("{}", ""))

    def of_tasks(value: Any) -> Iterable[tuple[dict[str, str], float | None]]:
        return [({"task": task.name, "kind": task.kind}, value(task)) for task in status.tasks]

    def of_feeds(value: Any) -> Iterable[tuple[dict[str, str], float | None]]:
        return [({"feed": feed.feed}, value(feed)) for feed in status.feeds]

    def of_models(value: Any) -> Iterable[tuple[dict[str, str], float | None]]:
        return [({"model": model.name}, value(model)) for model in status.models]

    metric("up", "gauge", "1 while the engine runs", [({}, float(status.state == RUNNING))])
    metric("start_time_seconds", "gauge", "when it started", [({}, status.started_at.timestamp())])
    metric(
        "memory_bytes", "gauge", "resident memory, JVM included", [({}, float(status.memory_bytes))]
    )
    metric("task_up", "gauge", "1 unless failed", of_tasks(lambda each: each.state != FAILED))
    metric("task_runs_total", "counter", "successes", of_tasks(lambda each: each.runs))
    metric("task_failures_total", "counter", "failures", of_tasks(lambda each: each.failed_in_all))
    metric("feed_records_total", "counter", "records received", of_feeds(lambda f: f.received))
    metric("feed_kept_total", "counter", "records kept in bronze", of_feeds(lambda f: f.kept))
    metric(
        "feed_quarantined_total",
        "counter",
        "records quarantined",
        of_feeds(lambda f: f.quarantined),
    )
    metric(
        "feed_lag_seconds", "gauge", "age of the oldest waiting", of_feeds(lambda f: f.lag_seconds)
    )
    metric(
        "feed_silent_seconds",
        "gauge",
        "since its last batch with records",
        of_feeds(lambda f: f.last_records_at and (status.at - f.last_records_at).total_seconds()),
    )
    metric("model_failures", "gauge", "failures in a row", of_models(lambda each: each.failures))
    metric("model_seconds", "gauge", "its last run", of_models(lambda each: each.seconds))
    metric("model_run_time_seconds", "gauge", "when it ran", of_models(lambda m: m.at.timestamp()))
    metric("failed_tests", "gauge", "tests that fail", [({}, float(len(status.failed_tests)))])
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; margin-bottom: 1.5rem } h2 { font-size: 1.1rem }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; vertical-align: top }
th { font-weight: 600; border-bottom: 1px solid #8888 } .n { text-align: right }
.bad { color: #b00020; font-weight: 600 }
@media (prefers-color-scheme: dark) {
  body { background: #111; color: #ddd } .bad { color: #ff7b7b }
}
"""


def as_html(status: EngineStatus) -> str:
    """A page for people: opens without a network, renews itself every five seconds."""
    at = status.at
    silent = set(status.silent)
    code, said = health(status)
    tasks = _table(
        ("task", "kind", "state", "for", "successes", "failures", "said last", "error", "retried"),
        [
            (
                task.name,
                task.kind,
                task.state,
                _ago(task.since, at),
                task.runs,
                task.failed_in_all,
                task.outcome,
                task.error,
                task.retry_at and f"{task.retry_at:%H:%M:%S}",
            )
            for task in status.tasks
        ],
    )
    feeds = _table(
        (
            "feed",
            "state",
            "seen ago",
            "records ago",
            "batches",
            "received",
            "kept",
            "quarantined",
            "lag",
        ),
        [
            (
                feed.feed,
                feed.state,
                _ago(feed.seen_at, at),
                _ago(feed.last_records_at, at) + (" (silent)" if feed.feed in silent else ""),
                feed.batches,
                feed.received,
                feed.kept,
                feed.quarantined,
                None if feed.lag_seconds is None else f"{feed.lag_seconds:,.1f} s",
            )
            for feed in status.feeds
        ],
    )
    models = _table(
        ("model", "status", "run ago", "seconds", "failures", "error", "retried"),
        [
            (
                model.name,
                model.status,
                _ago(model.at, at),
                f"{model.seconds:.1f}",
                model.failures,
                model.error,
                model.retry_at and f"{model.retry_at:%H:%M:%S}",
            )
            for model in status.models
        ],
    )
    tests = _table(("failed test", "message"), list(status.failed_tests.items()))
    bad = ' class="bad"' if code != 200 or status.failing else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<title>multihop: {html.escape(said)}</title><style>{_STYLE}</style></head><body>
<h1>multihop</h1>
<p{bad}>{html.escape(said)}</p>
<p>{html.escape(status.root)}, pid {status.pid}, up {_ago(status.started_at, at)},
{status.memory_bytes / 2**20:,.0f} MiB, SQL on 127.0.0.1:{status.thrift_port},
at {at:%Y-%m-%d %H:%M:%S} UTC</p>
<h2>Tasks</h2>{tasks}<h2>Feeds</h2>{feeds}<h2>Models</h2>{models}
{f"<h2>Tests</h2>{tests}" if status.failed_tests else ""}
<p><a href="/status.json">/status.json</a> <a href="/metrics">/metrics</a>
<a href="/healthz">/healthz</a></p>
</body></html>
"""


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return "<p>none yet</p>"
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join(
        f"<tr>{''.join(_cell(title, cell) for title, cell in zip(titles, row, strict=True))}</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(title: str, value: Any) -> str:
    text = "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    is_bad = text == FAILED or (title in ("error", "message") and text)
    kind = ' class="bad"' if is_bad else ' class="n"' if isinstance(value, int) else ""
    return f"<td{kind}>{html.escape(text)}</td>"


def _ago(then: datetime | None, now: datetime) -> str:
    if then is None:
        return "-"
    seconds = max((now - then.astimezone(UTC)).total_seconds(), 0)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"
