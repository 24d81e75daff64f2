"""Erasing players, in the vault and in the lake; a certificate says what was done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loaders.session import ConfigurationError, lakehouse_root
from loaders.vault.store import vault_root

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from loaders.erasure import LakeErasure
    from loaders.vault.store import Access, Vault


def erase_players(
    store: Vault,
    access: Access,
    player_ids: Sequence[str],
    spark: Callable[[], AbstractContextManager[SparkSession]] | None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Destroy what is held of players, for good; returns the certificate, which is also kept.

    What was cut short is completed when it is done again.

    Args:
        player_ids: pseudonyms.
        spark: a session for the lake, asked for where there is a table of players; None: the
            vault alone.
        say: is told what is being done.

    Raises:
        ConfigurationError: a word is no pseudonym, a loader was cut short, or S3 does not help.
    """
    from loaders.erasure import require_pseudonyms, require_settled

    if spark:  # what would be refused later is, before anything is destroyed
        require_pseudonyms(player_ids)
        require_settled(lakehouse_root())
    begun = {player_id for player_id in player_ids if store.is_unlinking(player_id)}
    erased = [asdict(store.erase(player_id, access)) for player_id in player_ids]
    strangers = [each["player_id"] for each in erased if not (each["had_key"] or each["fields"])]
    unknown = _unknown([each for each in strangers if each not in begun], in_lake=bool(spark))
    lake = _erase_in_lake(store, player_ids, spark, say) if spark else None
    if lake is not None:
        changed = f"rows {sum(lake.tables.values())}, objects {lake.objects_rewritten}"
        for player_id in player_ids:
            store.note("erase in lake", access, f"{changed}, left {len(lake.left)}", player_id)
    certificate = {
        "reason": access.reason,
        "players": erased,
        "unknown": unknown,
        "lake": lake and asdict(lake),
        "completed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    _keep(certificate)
    return certificate


def _unknown(player_ids: Sequence[str], *, in_lake: bool) -> list[str]:
    """Of players that the vault does not know, those that the lake does not know either."""
    from loaders.erasure import known_players

    known = known_players(lakehouse_root(), player_ids) if in_lake and player_ids else set()
    return [player_id for player_id in player_ids if player_id not in known]


def _erase_in_lake(
    store: Vault,
    player_ids: Sequence[str],
    spark: Callable[[], AbstractContextManager[SparkSession]],
    say: Callable[[str], None],
) -> LakeErasure:
    """All players in one pass."""
    from botocore.exceptions import BotoCoreError, ClientError

    from loaders.erasure import LakeErasure, erase_in_lake, holders, new_pseudonym

    root = lakehouse_root()
    if not holders(root):
        say(f"no tables of players under {root}")
        return LakeErasure()
    replacements = {each: store.unlinking(each, new_pseudonym()) for each in player_ids}
    try:
        with spark() as session:
            done = erase_in_lake(session, root, replacements, say)
    except (BotoCoreError, ClientError) as error:
        raise ConfigurationError(
            f"S3 does not help: {error}: erased in the vault, not yet in the lake; "
            "mend it and give the command again"
        ) from error
    for player_id in player_ids:
        store.forget_unlinking(player_id)
    return done


def _keep(certificate: dict[str, Any]) -> None:
    """In a file of its own under VAULT_ROOT/certificates, for the owner alone."""
    folder = vault_root() / "certificates"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S-%f}.json"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{json.dumps(certificate, indent=2)}\n")
