"""boto3 clients for the sources: credentials and endpoints the boto3 way, or by option."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

# Option name (as Spark lower-cases it) → argument of boto3's client().
_CLIENT_OPTIONS = {
    "region": "region_name",
    "endpointurl": "endpoint_url",
    "awsaccesskey": "aws_access_key_id",
    "awssecretkey": "aws_secret_access_key",
    "awssessiontoken": "aws_session_token",
}


ClientSettings = tuple[tuple[str, str], ...]


def client_settings(options: Mapping[str, str]) -> ClientSettings:
    """The client() arguments among a source's options; `cloudFiles.` prefixes are accepted."""
    settings = {}
    for name, value in options.items():
        argument = _CLIENT_OPTIONS.get(name.lower().removeprefix("cloudfiles."))
        if argument and value:
            settings[argument] = value
    return tuple(sorted(settings.items()))


@lru_cache(maxsize=16)
def client(service: str, settings: ClientSettings = ()) -> Any:
    """A boto3 client, one a process: making one costs 0.1 s, and workers are reused.

    Args:
        service: boto3's name of the service, such as "s3".
        settings: what client_settings() returned.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "adaptive", "max_attempts": 8},
        max_pool_connections=32,
        connect_timeout=10,
        read_timeout=60,
    )
    return boto3.client(service, config=config, **dict(settings))
