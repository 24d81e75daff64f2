"""A player asks to be forgotten: erased in vault and lake, and then looked for in every byte."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from demo.steps import step
from loaders.session import ConfigurationError
from loaders.sources.records import BrokenStreamError, decompress
from loaders.vault.commands import opened_vault
from loaders.vault.erasing import erase_players
from loaders.vault.store import prepare_vault_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

# Who has been away longest.
LEAVING = "select player_id from silver.game_players order by last_active_on, player_id limit 1"


def forget_a_player(spark: SparkSession, root: Path) -> str:
    """What was erased and what is left, in words; empty where a player was forgotten before.

    Raises:
        ConfigurationError: something names the player yet, or the vault, a loader or S3 is not
            ready for it.
    """
    folder = prepare_vault_root()
    leaving = spark.sql(LEAVING).collect()
    if not leaving or any((folder / "certificates").glob("*.json")):
        return ""
    player = leaving[0]["player_id"]
    with step("a player asks to be forgotten") as current:
        before = files_that_name(root, player)
        with opened_vault("request of the player") as (vault, access):
            done = erase_players(vault, access, [player], lambda: nullcontext(spark), current.line)
        fields, lake = done["players"][0]["fields"], done["lake"]
        current.outcome = (
            f"{fields} personal values, {sum(lake['tables'].values()):,} rows of "
            f"{len(lake['tables'])} tables, {lake['objects_rewritten']} objects"
        )
    with step("every byte under the root, in search of the player") as current:
        left = files_that_name(root, player)
        current.outcome = f"{len(before)} files named them before, {len(left)} do now"
    if left:
        raise ConfigurationError(f"player {player} is named yet, in {min(left)}")
    return (
        f"A player was forgotten: {player} stood in {len(before)} files and stands in none. "
        f"Certificate: {max((folder / 'certificates').glob('*.json'))}"
    )


def files_that_name(root: Path, word: str) -> set[str]:
    """The files under a folder that have a word in them, by path from it: compressed or not."""
    files = [path for path in root.rglob("*") if path.is_file()]
    sought = word.encode()
    return {
        str(path.relative_to(root))
        for path in files
        if any(sought in said for said in everything_said(path))
    }


def everything_said(path: Path) -> Iterator[bytes]:
    """The bytes of a file as they are, behind its compression, and every text of a parquet file."""
    body = path.read_bytes()
    yield body
    if path.suffix == ".parquet":
        for column in pq.ParquetFile(path).read().columns:
            yield json.dumps(column.to_pylist(), default=_as_text).encode()
    elif body[:2] in (b"\x1f\x8b", b"\x28\xb5"):
        yield b"".join(readable([body]))


def readable(body: Iterable[bytes]) -> Iterator[bytes]:
    """What stands behind a compression, up to where it breaks."""
    with suppress(BrokenStreamError):
        yield from decompress(body)


def _as_text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
