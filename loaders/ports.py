"""The engine's ports on loopback."""

from __future__ import annotations

import os
import socket

from loaders.session import ConfigurationError

HOST = "127.0.0.1"
THRIFT_PORT = 10000
HTTP_PORT = 8088


def port_from_environment(variable: str, default: int) -> int:
    """The port that the environment names, or the default.

    Raises:
        ConfigurationError: no port number.
    """
    text = os.environ.get(variable) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfigurationError(f"{variable} is {text!r}: give a port number from 1 to 65535")
    return int(text)


def require_usable(port: int, variable: str) -> None:
    """See that the port can be listened on.

    Raises:
        ConfigurationError: it is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} on {HOST} cannot be used ({error.strerror}): "
                f"set {variable} to a free port"
            ) from error
