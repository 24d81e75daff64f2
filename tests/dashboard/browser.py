"""A dashboard that is served, and a headless Chromium that looks at it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from dashboard.app import create_app
from dashboard.lakehouse import Lakehouse

# No look-ups of the browser's own: nothing may leave the host.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
PAINTED = "[data-panel][aria-busy=true]"


@contextmanager
def serving(root: Path, port: int = 0) -> Iterator[str]:
    """The dashboard of a lakehouse on loopback, on a free port; gives its address."""
    config = uvicorn.Config(
        create_app(Lakehouse(root)), port=port, log_level="error", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright. Without Chromium, no package of Python's, the test is skipped."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def painted(page: Any, address: str) -> None:
    """Go there, and wait until every panel stands."""
    page.goto(address)
    page.wait_for_selector(PAINTED, state="detached")
