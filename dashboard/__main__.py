"""python -m dashboard: serve the NOC page of LAKEHOUSE_ROOT on loopback, until Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

from loaders.ports import HOST, port_from_environment, require_usable
from loaders.session import ConfigurationError, lakehouse_root

if TYPE_CHECKING:
    from types import FrameType

PORT = 8050


def main() -> None:
    """Serve until interrupted."""
    argparse.ArgumentParser(
        prog="python -m dashboard",
        description=(
            f"Serve the NOC page of LAKEHOUSE_ROOT (default ./lakehouse) on {HOST}. "
            f"DASHBOARD_PORT names the port (default {PORT}). It reads the Delta tables as they "
            "stand, starts no Spark, and may run beside the engine."
        ),
    ).parse_args()
    try:
        port = port_from_environment("DASHBOARD_PORT", PORT)
        require_usable(port, "DASHBOARD_PORT")
    except ConfigurationError as error:
        sys.exit(f"dashboard: {error}")
    root = lakehouse_root()

    import uvicorn  # the checks above come first, and fast

    from dashboard.app import create_app
    from dashboard.lakehouse import Lakehouse, MissingTable

    lakehouse = Lakehouse(root)
    with suppress(MissingTable):
        lakehouse.ask("newest", {})  # the first question of a process takes seconds
    if not lakehouse.has_tables():
        print(f"dashboard: no gold tables under {root} yet: `make demo` or `make up` makes them")
    stopping = Event()

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            stopping.set()  # a stream of news would wait for ever
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        create_app(lakehouse, stopping),
        host=HOST,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    print(f"dashboard: http://{HOST}:{port}/ (Ctrl-C ends it)", flush=True)
    with suppress(KeyboardInterrupt):
        Server(config).run()


if __name__ == "__main__":
    main()
