"""What the engine says over HTTP, to people and to machines."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from loaders.cycles import ModelStatus
from loaders.feeds import read_feeds
from loaders.http_page import serving_page
from loaders.page import EngineStatus, as_html, health, metrics
from loaders.ports import port_from_environment, require_usable
from loaders.session import ConfigurationError
from loaders.status import feed_status
from loaders.tasks import FAILED, RUNNING, TaskStatus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def status(tmp_path):
    return EngineStatus(
        state=RUNNING,
        pid=7,
        root="/a & b",
        started_at=NOW - timedelta(hours=3),
        at=NOW,
        thrift_port=10000,
        http_port=8088,
        memory_bytes=3 << 30,
        tasks=[TaskStatus("prices", "feed", RUNNING, NOW, runs=5, outcome="batch 4")],
        models=[ModelStatus("viewPE", "success", NOW, 1.5)],
        feeds=feed_status(tmp_path, list(read_feeds().values())),
        failed_tests={},
    )


def failing(status):
    bad = TaskStatus("cycle", "cycle", FAILED, NOW, failures=2, failed_in_all=3, error='<"no">')
    return replace(status, tasks=[*status.tasks, bad])


def test_what_fails_is_no_reason_to_restart_the_engine(status):
    assert health(status) == (200, "ok")
    assert health(failing(status)) == (200, "degraded: cycle")
    assert health(replace(status, state="stopping")) == (503, "stopping")


def test_failing_models_and_tests_are_named(status):
    bad = ModelStatus("viewPE", "error", NOW, 1.5, failures=1, error="no such column")
    assert health(replace(status, models=[bad]))[1] == "degraded: model viewPE"
    assert health(replace(status, failed_tests={"unique": "2 rows"}))[1] == "degraded: test unique"


def test_a_feed_that_had_records_and_has_none_any_more_is_named(status):
    def last_had(minutes, now=status):
        feeds = [
            replace(feed, last_records_at=NOW - timedelta(minutes=minutes))
            for feed in now.feeds
            if feed.feed in ("player_events", "stocks_daily_prices")
        ]
        return replace(now, feeds=feeds)

    silent = last_had(5)
    assert health(silent) == (200, "degraded: silent feed player_events")
    assert "5 min (silent)" in as_html(silent)
    assert 'multihop_feed_silent_seconds{feed="player_events"} 300' in metrics(silent).splitlines()
    assert health(last_had(4)) == (200, "ok")
    assert health(last_had(25 * 60)) == (200, "ok")  # it is over with
    # what nobody was there to load is not missing
    started = replace(status, started_at=NOW - timedelta(minutes=4))
    assert health(last_had(30, started)) == (200, "ok")


def test_metrics_are_prometheus_text(status):
    lines = metrics(failing(status)).splitlines()
    assert 'multihop_task_up{task="prices",kind="feed"} 1' in lines
    assert 'multihop_task_up{task="cycle",kind="cycle"} 0' in lines
    assert 'multihop_task_failures_total{task="cycle",kind="cycle"} 3' in lines
    assert "multihop_up 1" in lines
    assert f"multihop_memory_bytes {3 << 30}" in lines
    sample = re.compile(r'^[a-z_]+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?[\d.e+]+$')
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    for line in lines:
        assert line.startswith("#") or sample.match(line), line
        assert line.startswith("#") or re.split(r"[{ ]", line)[0] in named


def test_the_page_needs_no_network_and_takes_texts_literally(status):
    page = as_html(failing(status))

    class Links(HTMLParser):
        def __init__(self):
            super().__init__()
            self.seen = []

        def handle_starttag(self, tag, attrs):
            self.seen += [(tag, value) for name, value in attrs if name in ("href", "src")]

    links = Links()
    links.feed(page)
    assert links.seen
    assert all(tag == "a" and target.startswith("/") for tag, target in links.seen)
    assert "&lt;&quot;no&quot;&gt;" in page
    assert "/a &amp; b" in page
    assert "up 3 h" in page


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_pages_are_served_until_the_end(status):
    port = free_port()

    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.headers["Content-Type"], answer.read().decode()

    with serving_page(port, lambda: status):
        assert get("/healthz") == ("text/plain; charset=utf-8", "ok\n")
        assert get("/metrics")[0] == "text/plain; version=0.0.4"
        assert get("/status")[1].startswith("<!DOCTYPE html>")
        kind, body = get("/status.json")
        assert kind.startswith("application/json")
        assert json.loads(body)["tasks"][0]["outcome"] == "batch 4"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get("/nothing")
    with pytest.raises(urllib.error.URLError):
        get("/healthz")


def test_a_taken_port_is_one_clear_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            ConfigurationError, match=f"port {port} .* set HTTP_PORT to a free port"
        ):
            require_usable(port, "HTTP_PORT")


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1"])
def test_no_port_number_is_one_clear_line(monkeypatch, text):
    monkeypatch.setenv("THRIFT_PORT", text)
    with pytest.raises(ConfigurationError, match="THRIFT_PORT is"):
        port_from_environment("THRIFT_PORT", 10000)


def test_ports_have_defaults(monkeypatch):
    monkeypatch.delenv("HTTP_PORT", raising=False)
    assert port_from_environment("HTTP_PORT", 8088) == 8088
