"""python -m loaders ingest: run the service, and the keys that studios sign with."""

from __future__ import annotations

import json
import signal
import socket
from typing import Any

import click

from loaders.session import ConfigurationError
from loaders.vault.commands import opened_vault, told_in_a_line


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port; 0 takes a free one.")
@click.option("--stream", envvar="GAMES_FIREHOSE", help="Firehose stream (or GAMES_FIREHOSE).")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), help="PEM file.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="PEM file.")
@click.option("--behind-proxy", is_flag=True, help="TLS ends before us: allow plain HTTP.")
@click.pass_context
def ingest(
    context: click.Context,
    host: str,
    port: int,
    stream: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    *,
    behind_proxy: bool,
) -> None:
    """Take events of game servers over HTTP, until Ctrl-C or SIGTERM.

    \b
    export VAULT_KMS_KEY=alias/multihop-vault GAMES_FIREHOSE=games
    python -m loaders ingest key create north    a key for the studio `north`, told once
    python -m loaders ingest                     POST /v1/events, /healthz, /metrics, /openapi.json

    Player identities become pseudonyms and personal fields go into the vault under VAULT_ROOT
    (default ./vault), before anything goes on to Firehose. What was answered as accepted is in
    the journal there, and survives a kill.
    """
    if context.invoked_subcommand:
        return
    stream = require_stream(stream)
    if bool(tls_cert) != bool(tls_key):
        raise ConfigurationError("--tls-cert and --tls-key go together")
    if not (tls_cert or behind_proxy) and host not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigurationError(
            f"{host} can be reached from outside, and events hold personal data: give --tls-cert "
            "and --tls-key, or --behind-proxy where something before us ends TLS"
        )
    _serve(host, port, stream, tls_cert, tls_key)


def _serve(host: str, port: int, stream: str, tls_cert: str | None, tls_key: str | None) -> None:
    import uvicorn

    from loaders.games.contract import game_contract
    from loaders.ingest.app import create_app
    from loaders.ingest.service import IngestService
    from loaders.vault.master_key import master_key
    from loaders.vault.store import prepare_vault_root

    contract = game_contract()
    root = prepare_vault_root()
    bound = _bound(host, port)
    with told_in_a_line(root):
        service = IngestService(root, master_key(), firehose_client(), stream, contract)

    class Server(uvicorn.Server):
        """Says where it listens once it does."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                scheme = "https" if tls_cert else "http"
                click.echo(f"taking events at {scheme}://{host}:{bound.getsockname()[1]}/v1/events")

    server = Server(
        uvicorn.Config(
            create_app(service, contract),
            loop="uvloop",
            http="httptools",
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=1000,
            timeout_graceful_shutdown=10,
            ssl_certfile=tls_cert,
            ssl_keyfile=tls_key,
        )
    )
    # uvicorn ends well on these, then raises them anew; but to be told to end is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run(sockets=[bound])


def _bound(host: str, port: int) -> socket.socket:
    """A socket at an address, which does not listen yet."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error}: give another --host or --port"
        ) from error
    return bound


def require_stream(stream: str | None) -> str:
    """The name of the Firehose stream.

    Raises:
        ConfigurationError: there is none.
    """
    if not stream:
        raise ConfigurationError(
            "no Firehose stream is named: give --stream, or set GAMES_FIREHOSE"
        )
    return stream


def firehose_client() -> Any:
    """A client that leaves retries to the delivery, which knows what failed."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=15)
    return boto3.client("firehose", config=config)


@ingest.group()
def key() -> None:
    """Keys with which studios sign their requests."""


@key.command("create")
@click.argument("studio")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def create_key(studio: str, *, as_json: bool) -> None:
    """Make a key for STUDIO; the secret is shown once."""
    if not (studio.isascii() and studio.isidentifier()):
        raise ConfigurationError(f"{studio!r} is no name of a studio: letters, digits, _")
    with opened_vault("keys of studios") as (vault, _):
        made = vault.new_studio_key(studio)
    if as_json:
        click.echo(json.dumps({"key": made.key_id, "secret": made.secret.hex()}))
        return
    click.echo(f"key:    {made.key_id}\nsecret: {made.secret.hex()}")
    click.echo("The secret is not shown again.", err=True)


@key.command("list")
def list_keys() -> None:
    """Show the keys that are valid."""
    with opened_vault("keys of studios") as (vault, _):
        keys = vault.studio_keys()
    for key_id, studio, created_at in keys:
        click.echo(f"{key_id}  {studio}  made {created_at}")


@key.command("revoke")
@click.argument("key_id")
def revoke_key(key_id: str) -> None:
    """Make a key invalid; a running service notices within seconds."""
    with opened_vault("keys of studios") as (vault, _):
        was_valid = vault.revoke_studio_key(key_id)
    if not was_valid:
        raise ConfigurationError(
            f"there is no key {key_id!r}: see `python -m loaders ingest key list`"
        )
    click.echo(f"{key_id} is not valid any more")
