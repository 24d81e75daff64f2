"""python -m loaders vault: what is held of a player, and forgetting it. Every call is audited."""

from __future__ import annotations

import json
import os
import pwd
import re
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from loaders.printable import printable
from loaders.session import ConfigurationError, lakehouse_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from loaders.vault.store import Access, Vault

EXIT_FOUND = 1
# A player_id of the lake that begins with a dash, as one in 64 does.
_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{21}")


class _OfPlayers(click.Command):
    """A command that takes no such player_id for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ids = [arg for arg in args if _DASHED_ID.fullmatch(arg)]
        others = [arg for arg in args if arg not in ids]
        return super().parse_args(ctx, [*others, "--", *ids] if ids else others)


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
    python -m loaders vault quarantine list      events kept apart because personal data are in them
    python -m loaders vault quarantine release EVENT_TYPE --reason …     once events.yml knows them

    PLAYER is a player_id of the lake, or STUDIO/USER_ID as the studio knows them. The vault lies
    under VAULT_ROOT (default ./vault); VAULT_KMS_KEY names the KMS key that protects it.
    """


a_reason = click.option(
    "--reason", required=True, help="Why, for the audit: a ticket, a request. No personal data."
)
_player = click.argument("player")


@vault.command(cls=_OfPlayers)
@_player
@a_reason
def show(player: str, reason: str) -> None:
    """Show the personal data held of PLAYER."""
    with opened_vault(reason) as (store, access):
        for field, value in store.show(_id_of(store, player), access).items():
            click.echo(f"{field}: {printable(value)}")


@vault.command(cls=_OfPlayers)
@_player
@a_reason
@click.option("--vault-only", is_flag=True, help="Leave out the rows of the lake.")
def export(player: str, reason: str, *, vault_only: bool) -> None:
    """Write all that is held of PLAYER as JSON: personal data, and the rows of the lake.

    Each value of the vault comes with the event that said it; the lake under LAKEHOUSE_ROOT is
    table by table, and may be in use.
    """
    from loaders.erasure import held_in_lake
    from loaders.vault.store import NoSuchPlayer

    with opened_vault(reason) as (store, access):
        player_id = _id_of(store, player)
        try:
            held, quarantined = store.export(player_id, access)
        except NoSuchPlayer:  # one who has told nothing of themselves may have played
            if vault_only:
                raise
            held, quarantined = {}, []
    exported = {
        "player_id": player_id,
        "personal_data": held,
        "quarantined": [
            {
                "taken_at": datetime.fromtimestamp(event.taken_at, UTC).isoformat(),
                "found": {"field": event.field, "kind": event.kind},
                "event": json.loads(event.sent),
            }
            for event in quarantined
        ],
    }
    if not vault_only:
        lake = held_in_lake(lakehouse_root(), player_id, partial(click.echo, err=True))
        if not held and not quarantined and not lake:
            raise ConfigurationError(f"neither vault nor lake has anything of player {player_id}")
        exported["lake"] = lake
    click.echo(json.dumps(exported, indent=2, default=_in_json))


def _in_json(value: Any) -> str:
    """Times, dates and decimals of tables as text; bytes too, what is no UTF-8 as its escapes."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


@vault.command(cls=_OfPlayers)
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
    when the command is given again. Exit code 1 when an object is left that has the player, or when
    nobody knows a player: the certificate, which is also kept under VAULT_ROOT/certificates, says
    which and why.
    """
    if not yes:
        told = ", ".join(players)
        click.confirm(f"Destroy the personal data of {told}, for good?", abort=True)
    from loaders.vault.erasing import erase_players

    with opened_vault(reason) as (store, access):
        names = {_id_of(store, player): player for player in players}
        if not vault_only:
            _require_free_lake()
        spark = None if vault_only else _own_spark
        say = partial(click.echo, err=True)
        certificate = erase_players(store, access, list(names), spark, say)
    click.echo(json.dumps(certificate, indent=2))
    nobody = "the vault does not know" if vault_only else "neither vault nor lake know"
    for player_id in certificate["unknown"]:
        say(f"{nobody} {names[player_id]}: it is mistyped, or erased already")
    if certificate["unknown"] or (certificate["lake"] and certificate["lake"]["left"]):
        raise SystemExit(EXIT_FOUND)


def _require_free_lake() -> None:
    from loaders.lock import RootInUseError, require_free

    try:
        require_free(lakehouse_root())
    except RootInUseError as error:
        raise ConfigurationError(str(error)) from error


@contextmanager
def _own_spark() -> Iterator[SparkSession]:
    from loaders.session import get_spark

    spark = get_spark()
    try:
        yield spark
    finally:
        spark.stop()


@vault.command()
def audit() -> None:
    """Show who looked at, exported or erased whom, when, and why; that you looked is noted too."""
    with opened_vault("reads the audit") as (store, access):
        store.note("audit", access, "all entries")
        for entry in store.audit():
            click.echo(json.dumps(entry))


@vault.command()
@a_reason
def rotate(reason: str) -> None:
    """Wrap every key anew, under the key that VAULT_KMS_KEY names; data are not rewritten.

    Stop the ingest service first: it goes on with the key it was started with. Nothing may be left
    in its journal, which is under that key too.
    """
    from loaders.ingest.journal import at_rest
    from loaders.vault.store import vault_root

    with opened_vault(reason) as (store, access), at_rest(vault_root() / "journal"):
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


@vault.group()
def quarantine() -> None:
    """Events that had personal data where their contract declares none: kept sealed, not lost.

    \b
    python -m loaders vault quarantine list
    python -m loaders vault quarantine release level_end --reason "contact is declared now"

    Declare the field in loaders/games/events.yml (as personal, where it is; raise the version),
    start the ingest service anew, then release. Or have the studio not send it.
    """


@quarantine.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def list_quarantine(*, as_json: bool) -> None:
    """Count quarantined events by what was found, and where; opens none."""
    with opened_vault("counts the quarantine") as (store, _):
        groups = store.quarantine_groups()
    if as_json:
        click.echo(json.dumps([asdict(group) for group in groups], indent=2, default=_iso))
        return
    for group in groups:
        click.echo(
            f"{group.studio}: {group.event_type} v{group.event_version}: {group.field}: "
            f"{group.kind}, {group.events:,} events, {_iso(group.first_taken)} to "
            f"{_iso(group.last_taken)}"
        )
    if not groups:
        click.echo("quarantine is empty")


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


@quarantine.command("release")
@click.argument("event_types", metavar="EVENT_TYPE...", nargs=-1, required=True)
@a_reason
@click.option("--stream", envvar="GAMES_FIREHOSE", help="Firehose stream (or GAMES_FIREHOSE).")
def release_quarantine(event_types: tuple[str, ...], reason: str, stream: str | None) -> None:
    """Send quarantined events of each EVENT_TYPE on to Firehose, by events.yml as it is now.

    They keep event_id and the time at which they were taken. What still has personal data where
    the contract declares none stays, and so does what the contract refuses. What was cut short is
    completed when the command is given again.
    """
    from loaders.games.contract import game_contract
    from loaders.games.separation import Separator
    from loaders.ingest.commands import firehose_client, require_stream
    from loaders.ingest.releasing import release
    from loaders.vault.store import Pseudonyms

    stream = require_stream(stream)
    with opened_vault(reason) as (store, access):
        separator = Separator(game_contract(), Pseudonyms(store.pseudonym_key()))
        done = release(store, access, event_types, separator, firehose_client(), stream)
    click.echo(f"{done.released:,} events released, {done.staying.total():,} stay")
    for (event_type, field, why), count in sorted(done.staying.items()):
        click.echo(f"{event_type}: {field}: {why}, {count:,} events")


@contextmanager
def opened_vault(reason: str) -> Iterator[tuple[Vault, Access]]:
    """The vault, and who asks; what can be mended ends in one line."""
    from loaders.vault.envelope import Damaged
    from loaders.vault.master_key import master_key
    from loaders.vault.store import Access, Busy, NoSuchPlayer, Vault, prepare_vault_root

    root, master = prepare_vault_root(), master_key()
    try:
        with told_in_a_line(root), closing(Vault(root, master)) as store:
            yield store, Access(_actor(), reason)
    except (Busy, Damaged, NoSuchPlayer) as error:
        raise ConfigurationError(str(error)) from error


@contextmanager
def told_in_a_line(root: Path) -> Iterator[None]:
    """KMS, or the vault's file under a root, that does not help: a line of what to do."""
    import sqlite3

    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise ConfigurationError(
            f"KMS does not help: {error}: see VAULT_KMS_KEY, and whether it can be reached"
        ) from error
    except sqlite3.Error as error:
        mend = (
            "another process writes to it: give the command again when that is done"
            if getattr(error, "sqlite_errorcode", None)
            in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            else "see whether it is a vault, writable and with room beside it; else restore it"
        )
        raise ConfigurationError(f"cannot use {root / 'vault.db'}: {error}: {mend}") from error


def _actor() -> str:
    """Who asks, by the process's owner: a variable anyone may set is asked of root alone."""
    uid = os.getuid()
    if uid == 0 and (behind := os.environ.get("SUDO_USER")):
        return behind
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # as in a container
        return f"uid {uid}"


def _id_of(store: Vault, player: str) -> str:
    """The pseudonym of STUDIO/USER_ID; anything else is one."""
    from loaders.vault.envelope import pseudonym_of

    studio, slash, user_id = player.partition("/")
    return pseudonym_of(store.pseudonym_key(), studio, user_id) if slash else player
