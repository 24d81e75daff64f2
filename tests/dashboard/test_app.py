"""The dashboard over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from starlette.testclient import TestClient

from dashboard.app import create_app, news
from dashboard.choice import FILTERS
from dashboard.lakehouse import Lakehouse
from dashboard.metrics import PLAYBACK
from dashboard.panels import PAGES, PANELS
from tests.dashboard.gold import (
    COHORTS,
    END,
    baselines,
    columns_of,
    playback_cells,
    write,
    write_everything,
)

PROJECT_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("app")
    write_everything(root, seed=3)
    return root


@pytest.fixture(scope="module")
def client(root):
    with TestClient(create_app(Lakehouse(root)), base_url="http://127.0.0.1:8050") as client:
        yield client


@pytest.fixture
def empty(tmp_path):
    with TestClient(create_app(Lakehouse(tmp_path)), base_url="http://127.0.0.1:8050") as client:
        yield client


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_its_panels_and_nothing_of_another_host(client, path):
    page = client.get(path)
    assert page.status_code == 200
    for name in PAGES[path]:
        assert f'data-panel="{name}"' in page.text
    assert "//" not in page.text.replace("<!doctype", "")


def test_filters_of_the_url_stand_in_the_form(client):
    page = client.get("/?isp=Rheinkabel&country=ATA&interval=3h&viewer=abc").text
    assert "<option selected>Rheinkabel</option>" in page
    assert "<option selected>ATA</option>" in page
    assert '<option value="3h" selected>' in page
    assert 'name="viewer" value="abc"' in page


def test_choices_are_what_there_is_in_the_interval(client, empty):
    choices = client.get("/choices?isp=Rheinkabel&interval=24h").json()
    assert choices == {name: sorted(COHORTS[column]) for name, (column, _) in FILTERS.items()}
    assert empty.get("/choices").json() == {}


CHARTS = {"cdn", "countries", "game_days", "model_quality", "stock", "time_series", "viewer"}


@pytest.mark.parametrize("name", PANELS)
def test_every_panel_shows_its_tables(client, name):
    query = "from=2026-05-30T17:07&to=2026-05-30T18:07&viewer=a&ticker=A"
    query += "&video=v1" if name == "live_video_viewers" else ""
    answer = client.get(f"/panels/{name}?{query}").json()
    assert answer["state"] == "ok"
    assert "<table" in answer["html"] or 'class="tiles"' in answer["html"]
    assert (answer["chart"] is not None) == (name in CHARTS)


def test_every_chart_has_its_figures_in_a_table(client):
    for name in CHARTS:
        html = client.get(f"/panels/{name}?viewer=a&ticker=A").json()["html"]
        assert '<div class="chart" role="img" aria-label="' in html
        assert "<summary>As a table</summary>" in html
        assert "<caption>" in html


def test_old_data_are_said_to_be_old(client):
    answer = client.get("/panels/status").json()
    assert answer["state"] == "stale"
    assert "No new player event for" in answer["html"]
    # an interval of the past is meant to be old
    query = "from=2026-05-30T17:07&to=2026-05-30T18:07"
    assert client.get(f"/panels/status?{query}").json()["state"] == "ok"


def test_a_filter_that_leaves_nothing_is_named(client):
    answer = client.get("/panels/status?country=ATA&isp=Nobody").json()
    assert answer["state"] == "empty"
    assert "Nothing in this interval of Country ATA, ISP Nobody." in answer["html"]


@pytest.mark.parametrize("name", PANELS)
def test_without_tables_every_panel_says_what_makes_them(empty, name):
    answer = empty.get(f"/panels/{name}?viewer=a&video=v&ticker=A").json()
    assert answer["state"] == "empty"
    assert "is not there yet. It comes with" in answer["html"]


def test_without_tables_the_page_says_so(empty):
    page = empty.get("/")
    assert page.status_code == 200
    assert "There are no gold tables yet" in page.text


def test_what_cannot_be_read_is_an_error_without_its_trace(tmp_path, caplog):
    write(tmp_path, "gold.live_active_users", [{"window_start": END, "active_users": 1}])
    next(tmp_path.rglob("*.parquet")).write_bytes(b"no parquet")
    with TestClient(create_app(Lakehouse(tmp_path)), base_url="http://localhost") as client:
        answer = client.get("/panels/live_active_users")
    assert answer.json()["state"] == "error"
    for word in ("Traceback", "parquet", str(tmp_path)):
        assert word not in answer.text
    assert "no parquet" in caplog.text or "arquet" in caplog.text


def test_a_mistake_in_the_server_is_an_error_without_its_trace(root, monkeypatch):
    lakehouse = Lakehouse(root)
    app = create_app(lakehouse)
    monkeypatch.setattr(lakehouse, "has_tables", lambda: 1 / 0)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.get("/live")
    assert answer.status_code == 500
    assert "That went wrong" in answer.text
    assert "ZeroDivision" not in answer.text
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/?interval=5y",
        "/panels/status?metric=x",
        "/panels/status?scheme=pink",
        "/news",
        "/news?panels=status,nothing",
    ],
)
def test_a_bad_request_is_told_what_to_do(client, path):
    answer = client.get(path)
    assert answer.status_code == 400
    assert "choose one of" in answer.text or "name the panels" in answer.text


@pytest.mark.parametrize("path", ["/nothing", "/panels/nothing", "/static/../app.py"])
def test_what_is_not_there_is_not_found(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "content-security-policy" in answer.headers


def test_nothing_can_be_written(client):
    assert client.post("/panels/status").status_code == 405


def test_texts_of_rows_and_of_the_url_are_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    cells = [row | {"isp": evil if row["of_failing"] else "calm"} for row in playback_cells(seed=3)]
    write(tmp_path, "gold.noc_playback", columns_of(cells))
    write(tmp_path, "gold.noc_baseline", baselines(PLAYBACK))
    with TestClient(create_app(Lakehouse(tmp_path)), base_url="http://localhost") as client:
        texts = [
            client.get("/", params={"isp": evil, "viewer": evil}).text,
            client.get("/panels/isp_edge").json()["html"],
            client.get("/panels/cohorts").json()["html"],
            client.get("/panels/status", params={"country": evil}).json()["html"],
        ]
    for text in texts:
        assert "<script>alert" not in text
        assert "&lt;script&gt;" in text


@pytest.mark.parametrize("path", ["/", "/panels/status", "/static/dashboard.js", "/nothing"])
def test_answers_tell_browsers_to_be_careful(client, path):
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_other_names_for_this_host_are_refused(root):
    """A page of another site that points its name at 127.0.0.1 gets nothing."""
    with TestClient(create_app(Lakehouse(root)), base_url="http://evil.example") as client:
        assert client.get("/panels/status").status_code == 400


def test_news_name_the_panels_whose_tables_changed(root):
    """And no others; a table that is not there yet is news when it comes."""
    lakehouse = Lakehouse(root)
    names = ["live_active_users", "live_client_errors", "status"]

    async def first_news():
        told = news(lakehouse, names, Event())
        assert (await anext(told)).startswith("retry:")
        waiting = asyncio.ensure_future(anext(told))
        # the generator looks once at all, and then each second
        while len(lakehouse_seen) < len(names):
            await asyncio.sleep(0.01)
        row = {"window_start": datetime.now(UTC), "active_users": 5}
        write(root, "gold.live_active_users", [row])
        return await waiting

    lakehouse_seen = set()
    versions = lakehouse.versions

    def noting(query):
        found = versions(query)
        if query in ("live_active_users", "live_client_errors", "playback"):
            lakehouse_seen.add(query)
        return found

    lakehouse.versions = noting
    message = asyncio.run(first_news())
    assert message == f"event: news\ndata: {json.dumps('live_active_users')}\n\n"


def test_a_live_panel_shows_the_newest_window(tmp_path):
    now = datetime.now(UTC)
    rows = [
        {"window_start": now - timedelta(minutes=ago), "active_users": 1000 + ago}
        for ago in range(3)
    ]
    write(tmp_path, "gold.live_active_users", rows)
    with TestClient(create_app(Lakehouse(tmp_path)), base_url="http://localhost") as client:
        answer = client.get("/panels/live_active_users").json()
    assert answer["state"] == "ok"
    assert "1,000" in answer["html"]


# ---- the command


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "dashboard", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_taken_port_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run(DASHBOARD_PORT=str(port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {port}" in done.stderr
    assert "DASHBOARD_PORT" in done.stderr


def test_a_port_that_is_none_is_one_line():
    done = run(DASHBOARD_PORT="http")
    assert done.returncode == 1
    assert done.stderr == (
        "dashboard: DASHBOARD_PORT is 'http': give a port number from 1 to 65535\n"
    )


def test_ctrl_c_ends_it_in_silence_while_a_page_is_open(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "DASHBOARD_PORT": str(port), "LAKEHOUSE_ROOT": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert f"no gold tables under {tmp_path} yet" in process.stdout.readline()
        assert f"http://127.0.0.1:{port}/" in process.stdout.readline()
        with opened(process, port) as stream:
            stream.sendall(b"GET /news?panels=status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while b"retry:" not in received:
                received += stream.recv(4096)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said) == (0, "")


def opened(process, port):
    """A connection, once the server listens."""
    while process.poll() is None:
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("127.0.0.1", port), timeout=60)
    raise AssertionError(process.stderr.read())


def test_help_teaches():
    assert "DASHBOARD_PORT names the port" in run("--help").stdout
