"""python -m loaders vault: what is held of a player, and forgetting it. Every call is audited."""

from __future__ import annotations

import getpass
import json
import os
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from loaders.printable import printable
from loaders.session import ConfigurationError, lakehouse_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loaders.erasure import LakeErasure
    from loaders.vault.store import Access, Vault

EXIT_FOUND = 1


@click.group()
def vault() -> None:
    """Personal data of players, apart from the lake.

    \b
    python -m loaders vault show    PLAYER --reason "ticket 17"
    python -m loaders vault export  PLAYER --reason "request of the player"
    python -m loaders vault erase   PLAYER --reason "request of the player"      in the lake too
    python -m loaders vault audit                who looked at whom, and why
    python -m loaders vault rotate  --reason …   wrap all keys anew, under VAULT_KMS_KEY
    python -m loaders vault scan                 look for personal data where there should be none

    PLAYER is a player_id of the lake, or STUDIO/USER_ID as the studio knows them. The vault lies
    under VAULT_ROOT (default ./vault); VAULT_KMS_KEY names the KMS key that protects it.
    """


a_reason = click.option(
    "--reason", required=True, help="Why, for the audit: a ticket, a request. No personal data."
)
_player = click.argument("player")


@vault.command()
@_player
@a_reason
def show(player: str, reason: str) -> None:
    """Show the personal data held of PLAYER."""
    with _opened(reason) as (store, access):
        for field, value in store.show(_id_of(store, player), access).items():
            click.echo(f"{field}: {printable(value)}")


@vault.command()
@_player
@a_reason
def export(player: str, reason: str) -> None:
    """Write what is held of PLAYER as JSON, with the event each value came from."""
    with _opened(reason) as (store, access):
        player_id = _id_of(store, player)
        held = store.export(player_id, access)
    click.echo(json.dumps({"player_id": player_id, "personal_data": held}, indent=2))


@vault.command()
@click.argument("players", metavar="PLAYER...", nargs=-1, required=True)
@a_reason
@click.option("--vault-only", is_flag=True, help="Leave the lake as it is.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(players: tuple[str, ...], reason: str, *, vault_only: bool, yes: bool) -> None:
    """Erase each PLAYER in the vault, and in the lake under LAKEHOUSE_ROOT; prints a certificate.

    There is no way back. The vault's key of a player is destroyed, and with it what the vault
    holds. In the lake, and in the objects that it was loaded from, another pseudonym takes the
    player's place, one that nothing leads to: counts and sums stay as they are. Older versions of
    tables are destroyed, with the time travel to them.

    The root must be free: stop the engine and all loaders first. What was cut short is completed
    when the command is given again. Exit code 1 when an object is left that has the player: the
    certificate, which is also kept under VAULT_ROOT/certificates, says which and why.
    """
    if not yes:
        told = ", ".join(players)
        click.confirm(f"Destroy the personal data of {told}, for good?", abort=True)
    with _opened(reason) as (store, access):
        ids = list(dict.fromkeys(_id_of(store, player) for player in players))
        if not vault_only:
            _require_free_lake(ids)
        certificate = {"reason": reason, "players": [asdict(store.erase(i, access)) for i in ids]}
        lake = None if vault_only else _erase_in_lake(store, ids)
        if lake is not None:
            changed = f"rows {sum(lake.tables.values())}, objects {lake.objects_rewritten}"
            for player_id in ids:
                store.note("erase in lake", access, f"{changed}, left {len(lake.left)}", player_id)
        certificate |= {"lake": lake and asdict(lake), "completed_at": _now()}
    text = json.dumps(certificate, indent=2)
    _keep_certificate(text)
    click.echo(text)
    if lake is not None and lake.left:
        raise SystemExit(EXIT_FOUND)


def _require_free_lake(player_ids: list[str]) -> None:
    """Refuse before anything is destroyed what would be refused later."""
    from loaders.erasure import require_pseudonyms, require_settled
    from loaders.lock import RootInUseError, require_free

    require_pseudonyms(player_ids)
    try:
        require_free(lakehouse_root())
    except RootInUseError as error:
        raise ConfigurationError(str(error)) from error
    require_settled(lakehouse_root())


def _erase_in_lake(store: Vault, player_ids: list[str]) -> LakeErasure:
    """All players in one pass; starts Spark where there is a table."""
    from botocore.exceptions import BotoCoreError, ClientError

    from loaders.erasure import LakeErasure, erase_in_lake, holders, new_pseudonym
    from loaders.session import get_spark

    def say(text: str) -> None:
        click.echo(text, err=True)

    root = lakehouse_root()
    if not holders(root):
        say(f"no tables of players under {root}")
        return LakeErasure()
    replacements = {each: store.unlinking(each, new_pseudonym()) for each in player_ids}
    spark = get_spark()
    try:
        done = erase_in_lake(spark, root, replacements, say)
    except (BotoCoreError, ClientError) as error:
        raise ConfigurationError(
            f"S3 does not help: {error}: erased in the vault, not yet in the lake; "
            "mend it and give the command again"
        ) from error
    finally:
        spark.stop()
    for player_id in player_ids:
        store.forget_unlinking(player_id)
    return done


def _keep_certificate(text: str) -> None:
    """In a file of its own under VAULT_ROOT/certificates, for the owner alone."""
    from loaders.vault.store import vault_root

    folder = vault_root() / "certificates"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S-%f}.json"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@vault.command()
def audit() -> None:
    """Show who looked at, exported or erased whom, when, and why."""
    with _opened("reads the audit") as (store, _):
        for entry in store.audit():
            click.echo(json.dumps(entry))


@vault.command()
@a_reason
def rotate(reason: str) -> None:
    """Wrap every key anew, under the key that VAULT_KMS_KEY names; data are not rewritten."""
    with _opened(reason) as (store, access):
        click.echo(f"{store.rotate(access):,} keys wrapped anew")


@vault.command()
@click.argument("tables", metavar="[TABLE]...", nargs=-1)
@click.option("--rows", default=10_000, show_default=True, help="Newest rows of a table to read.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def scan(tables: tuple[str, ...], rows: int, *, as_json: bool) -> None:
    """Look for personal data in bronze tables (all of games when none is named); starts no Spark.

    Finds e-mail addresses, telephone numbers, IP addresses and fields that are called like
    personal data. Says where, and how often; never what. Exit code 1 when there is something.
    """
    from loaders.vault.scan import scan_tables

    found = scan_tables(lakehouse_root(), tables, rows)
    if as_json:
        click.echo(json.dumps([asdict(place) for place in found], indent=2))
    else:
        for place in found:
            click.echo(f"bronze.{place.table}: {place.path}: {place.kind}, {place.rows:,} rows")
        if not found:
            click.echo("nothing found")
    if found:
        raise SystemExit(EXIT_FOUND)


@contextmanager
def _opened(reason: str) -> Iterator[tuple[Vault, Access]]:
    """The vault, and who asks; what can be mended ends in one line."""
    from botocore.exceptions import BotoCoreError, ClientError

    from loaders.vault.envelope import Damaged
    from loaders.vault.master_key import master_key
    from loaders.vault.store import Access, Busy, NoSuchPlayer, Vault, prepare_vault_root

    store = Vault(prepare_vault_root(), master_key())
    actor = os.environ.get("SUDO_USER") or getpass.getuser()
    try:
        yield store, Access(actor, reason)
    except (BotoCoreError, ClientError) as error:
        raise ConfigurationError(f"KMS does not help: {error}") from error
    except (Busy, Damaged, NoSuchPlayer) as error:
        raise ConfigurationError(str(error)) from error
    finally:
        store.close()


def _id_of(store: Vault, player: str) -> str:
    """The pseudonym of STUDIO/USER_ID; anything else is one."""
    from loaders.vault.envelope import pseudonym_of

    studio, slash, user_id = player.partition("/")
    return pseudonym_of(store.pseudonym_key(), studio, user_id) if slash else player
