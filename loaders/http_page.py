"""Serves the engine's page on loopback: /healthz, /metrics, /status, /status.json."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from loaders.page import EngineStatus, as_html, as_json, health, metrics
from loaders.ports import HOST

_TEXT, _HTML, _JSON = "text/plain", "text/html", "application/json"


@contextmanager
def serving_page(port: int, status: Callable[[], EngineStatus]) -> Iterator[None]:
    """Answer while the context lasts; `status` is asked anew for each request."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    code, said = health(status())
                    self._answer(code, _TEXT, said + "\n")
                case "/metrics":
                    self._answer(200, f"{_TEXT}; version=0.0.4", metrics(status()))
                case "/status.json":
                    self._answer(200, _JSON, json.dumps(as_json(status()), default=str))
                case "/" | "/status":
                    self._answer(200, _HTML, as_html(status()))
                case _:
                    self._answer(404, _TEXT, "/healthz /metrics /status /status.json\n")

        def _answer(self, code: int, kind: str, body: str) -> None:
            data = body.encode()
            self.send_response(code)
            self.send_header("Content-Type", kind if ";" in kind else f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            with suppress(ConnectionError):  # who asked is gone
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Requests are nobody's news."""

    server = ThreadingHTTPServer((HOST, port), Page)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="page")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
