"""Erasing players of games in the lake: their rows stay, and are nobody's.

Wherever a player's pseudonym stands another takes its place that means nothing and is told to
nobody: in the objects that were loaded, in rows, and in what is left of older versions. All counts
and sums stay as they were. What each step does is done already when it is run again, so an erasure
that was cut short is completed by the next, with the same replacements.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable

from loaders.batch_settings import suit_batch
from loaders.bronze import LEDGER, append, begun_batches
from loaders.session import ConfigurationError, in_threads
from loaders.sources.object_state import ObjectState
from loaders.sources.objects import LOCAL, ObjectVersion
from loaders.sources.rewriting import Rewriting, open_bucket, rewrite_object
from loaders.traces import Traces, checkpoints, destroy, exchange, traces

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMAS = ("bronze", "silver", "gold", "ops")
_PSEUDONYM = re.compile(r"[A-Za-z0-9_-]{22}")
# How a pseudonym stands in a column: as the whole of it, within a text, within bytes.
_WHOLE, _IN_TEXT, _IN_BYTES = "whole", "in text", "in bytes"
# Objects in hand at a time, whole: Firehose makes them up to 128 MiB.
_OBJECTS = 4


@dataclass(frozen=True, slots=True)
class LakeErasure:
    """What was done in the lake.

    tables: rows changed in each. objects_rewritten, versions_deleted: of what had been loaded.
    left: what could not be rewritten though it has the player, with the reason.
    """

    tables: dict[str, int] = field(default_factory=dict)
    objects_rewritten: int = 0
    versions_deleted: int = 0
    left: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Holder:
    """A Delta table that may have players, with the columns that they stand in."""

    name: str
    folder: Path
    columns: Mapping[str, str]

    @property
    def sql_name(self) -> str:
        """By its folder, so that a table is found that the metastore has lost."""
        return f"delta.`{str(self.folder).replace('`', '``')}`"


def new_pseudonym() -> str:
    """A pseudonym that is nobody's, in the form of vault.envelope.pseudonym_of()."""
    return secrets.token_urlsafe(16)


def require_pseudonyms(players: Iterable[str]) -> None:
    """Raise ConfigurationError for what is no pseudonym: it would be looked for in every text."""
    for player in players:
        if not _PSEUDONYM.fullmatch(player):
            raise ConfigurationError(
                f"{player} is no player_id of the lake: give that, or STUDIO/USER_ID"
            )


def require_settled(root: Path) -> None:
    """Raise ConfigurationError where a loader was cut short.

    Its next start reads objects of the batch again, in the versions that it had planned.
    """
    for checkpoint in sorted((root / "checkpoints").glob("*/")):
        if begun_batches(checkpoint):
            raise ConfigurationError(
                f"feed {checkpoint.name} has a batch that was cut short: complete it first, "
                f"python -m loaders run {checkpoint.name} --once"
            )
    for location in sorted((root / "checkpoints" / "backfills").glob("*/location")):
        feed = location.parent.name
        raise ConfigurationError(
            f"feed {feed} has a backfill that was cut short: complete it first, "
            f"python -m loaders backfill {feed} {location.read_text()}"
        )
    for staged in sorted((root / "checkpoints" / "replays").glob("*/*")):
        raise ConfigurationError(
            f"feed {staged.parent.name} has a replay that was cut short: complete it first, "
            f"python -m loaders quarantine replay {staged.parent.name}"
        )


def holders(root: Path) -> list[Holder]:
    """The Delta tables under LAKEHOUSE_ROOT that may have players; starts no Spark."""
    found = []
    for schema in SCHEMAS:
        for log in sorted((root / "warehouse" / f"{schema}.db").glob("*/_delta_log")):
            if not any(log.glob("*.json")):  # of a table that was cut while it was created
                continue
            types = {
                each.name: str(getattr(each.type, "type", ""))
                for each in DeltaTable(log.parent).schema().fields
            }
            if columns := _columns(schema, log.parent.name, types):
                found.append(Holder(f"{schema}.{log.parent.name}", log.parent, columns))
    return found


def _columns(schema: str, table: str, types: Mapping[str, str]) -> dict[str, str]:
    columns = {
        name: _WHOLE
        for name, kind in types.items()
        if name.endswith("player_id") and kind == "string"
    }
    if schema == "bronze" and table.startswith("game_") and "data" in types:
        columns["data"] = _IN_TEXT
    if schema == "bronze" and table == "quarantine":
        columns["raw"] = _IN_BYTES
    return columns


def known_players(root: Path, players: Iterable[str]) -> set[str]:
    """Those of some pseudonyms that stand in rows of the lake."""
    tables = holders(root)
    return {player for player in players if any(_has_rows(table, [player]) for table in tables)}


def erase_in_lake(
    spark: SparkSession,
    root: Path,
    replacements: Mapping[str, str],
    say: Callable[[str], None] = lambda _: None,
) -> LakeErasure:
    """Put replacements in the place of pseudonyms, wherever they stand, and destroy what they were.

    Nothing else may write to the lake meanwhile, and what a stream has not read of the tables by
    now it cannot read any more.

    Args:
        replacements: pseudonym → what takes its place: new_pseudonym(), the same one until the
            erasure is complete.
        say: is told what is being done.

    Raises:
        ConfigurationError: a loader was cut short, or a word is no pseudonym.
        ClientError: S3 refuses something; no table was touched.
    """
    require_pseudonyms([*replacements, *replacements.values()])
    require_settled(root)
    tables = holders(root)
    say(f"looking through {len(tables)} tables")
    words = list(replacements)
    concerned = [table for table in tables if _has_rows(table, words)]

    objects = sorted({item for table in concerned for item in _objects(table, words)})
    say(f"{len(objects):,} objects were loaded with them")
    done = _rewrite_objects(objects, replacements)
    session = _own_session(spark, concerned)
    _note_versions(session, root, [each.version for each in done.values() if each.version])

    say(f"changing rows of {len(concerned)} tables")
    rows = _update(session, concerned, replacements)
    remnants = _remnants(tables, words)
    say(f"destroying older versions of {len(remnants)} tables")
    in_threads(session, lambda name: _destroy(session, *remnants[name], replacements), remnants)
    return LakeErasure(
        tables=rows,
        objects_rewritten=sum(each.is_changed for each in done.values()),
        versions_deleted=sum(each.deleted for each in done.values()),
        left={uri: each.left for uri, each in done.items() if each.left},
    )


# ---- looking


def held_in_lake(
    root: Path, player: str, say: Callable[[str], None] = lambda _: None
) -> dict[str, list[dict[str, Any]]]:
    """Table → the rows that have a player's pseudonym, of those with any; starts no Spark.

    Raises:
        ConfigurationError: `player` is no pseudonym.
    """
    require_pseudonyms([player])
    tables = holders(root)
    say(f"looking through {len(tables)} tables")
    found = {}
    for table in tables:
        dataset = DeltaTable(table.folder).to_pyarrow_dataset()
        if rows := dataset.to_table(filter=_condition(table, [player])).to_pylist():
            say(f"{table.name}: {len(rows):,} rows")
            found[table.name] = rows
    return found


def _remnants(tables: Iterable[Holder], words: list[str]) -> dict[str, tuple[Holder, Traces]]:
    """The tables that say something of players besides their rows, and where."""
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda each: (each, traces(each.folder, words, each.columns)), tables)
        return {table.name: (table, where) for table, where in found if where}


def _has_rows(table: Holder, words: Iterable[str]) -> bool:
    dataset = DeltaTable(table.folder).to_pyarrow_dataset()
    column = next(iter(table.columns))
    return dataset.head(1, columns=[column], filter=_condition(table, words)).num_rows > 0


def _objects(table: Holder, words: Iterable[str]) -> set[tuple[str, str]]:
    """Bucket and key of the objects that the table's rows of players came from."""
    dataset = DeltaTable(table.folder).to_pyarrow_dataset()
    for place in (("_bucket", "_key"), ("container", "item")):
        if set(place) <= set(dataset.schema.names) and table.name.startswith("bronze."):
            found = dataset.to_table(columns=list(place), filter=_condition(table, words))
            unique = found.group_by(list(place)).aggregate([])
            return {tuple(row.values()) for row in unique.to_pylist()}
    return set()


def _condition(table: Holder, words: Iterable[str]) -> ds.Expression:
    words = list(words)
    return reduce(
        or_,
        (
            pc.field(name).isin(words)
            if how == _WHOLE
            else reduce(or_, (pc.match_substring(pc.field(name), word) for word in words))
            for name, how in table.columns.items()
        ),
    )


# ---- objects


def _rewrite_objects(
    objects: Iterable[tuple[str, str]], replacements: Mapping[str, str]
) -> dict[str, Rewriting]:
    """By where they lie."""
    encoded = {old.encode(): new.encode() for old, new in replacements.items()}
    objects = [(name, key) for name, key in objects if ":" not in name]  # no message of a queue
    buckets = {name: open_bucket(name, ()) for name in {name for name, _ in objects}}

    def rewrite(item: tuple[str, str]) -> Rewriting:
        bucket = buckets[item[0]]
        return Rewriting() if bucket is None else rewrite_object(bucket, item[1], encoded)

    with ThreadPoolExecutor(_OBJECTS) as pool:
        done = pool.map(rewrite, objects)
        return {
            ObjectVersion(*item, "", 0, 0).uri: each
            for item, each in zip(objects, done, strict=True)
        }


def _note_versions(spark: SparkSession, root: Path, versions: list[ObjectVersion]) -> None:
    """Have the books know what was written, so that no loader takes it for news.

    A row of the ledger that counts nothing, in the batch that loaded the object, says so to loaders
    that lost their state; the others have it in that.
    """
    if not versions:
        return
    for path in sorted((root / "checkpoints" / "objects").glob("*.sqlite")):
        state = ObjectState(path)
        for version in versions:
            state.note_rewritten(version)
        state.close()
    from pyspark.sql import functions as F

    written = spark.createDataFrame(
        [(item.bucket, item.key, item.version) for item in versions],
        "container string, item string, written string",
    )
    entries = spark.table(LEDGER).join(F.broadcast(written), ["container", "item"])
    # A file that was written here has kept its time, which is the first part of its version.
    is_ours = F.expr(
        f"container <> '{LOCAL}' or "
        "substring_index(version, '-', 1) = substring_index(written, '-', 1)"
    )
    newest = (
        entries.where(is_ours & (F.col("received") >= 0))
        .groupBy("feed", "container", "item", "written")
        .agg(
            F.max_by(
                F.struct("batch_id", "query_id", "modified_at", "ingested_at"), "batch_id"
            ).alias("at"),
            F.bool_or(F.col("version") == F.col("written")).alias("is_known"),
        )
        .where("not is_known")
    )
    counts = [F.lit(0).cast("bigint").alias(name) for name in _COUNTS]
    positions = [F.lit(None).cast("string").alias(f"{end}_position") for end in ("first", "last")]
    rows = newest.select(
        *("feed", "container", "item", F.col("written").alias("version"), "at.*"),
        *counts,
        *positions,
    )
    rows = spark.createDataFrame(rows.collect(), rows.schema)
    if not rows.isEmpty():
        append(rows, LEDGER)


_COUNTS = ("size_bytes", "received", "kept", "duplicates", "quarantined")


# ---- tables


def _own_session(spark: SparkSession, concerned: Iterable[Holder]) -> SparkSession:
    session = spark.newSession()
    sizes = (file.stat().st_size for each in concerned for file in each.folder.glob("*.parquet"))
    suit_batch(session, sum(sizes))
    # Rows that are only marked as deleted would stay in the file.
    session.conf.set("spark.databricks.delta.update.deletionVectors.persistent", "false")
    return session


def _update(
    spark: SparkSession, tables: Iterable[Holder], replacements: Mapping[str, str]
) -> dict[str, int]:
    """Rows changed in each table."""
    by_name = {table.name: table for table in tables}
    rows: dict[str, int] = {}

    def update(name: str) -> None:
        rows[name] = spark.sql(update_statement(by_name[name], replacements)).first()[0]

    in_threads(spark, update, by_name)
    return dict(sorted(rows.items()))


def update_statement(table: Holder, replacements: Mapping[str, str]) -> str:
    """The statement that exchanges pseudonyms in all columns of a table."""
    changes, conditions = [], []
    for name, how in table.columns.items():
        text = f"`{name}`" if how != _IN_BYTES else f"decode(`{name}`, 'ISO-8859-1')"
        if how == _WHOLE:
            cases = " ".join(f"when '{old}' then '{new}'" for old, new in replacements.items())
            changed = f"case {text} {cases} else {text} end"
            listed = ", ".join(f"'{old}'" for old in replacements)
            conditions.append(f"{text} in ({listed})")
        else:
            changed = text
            for old, new in replacements.items():
                changed = f"replace({changed}, '{old}', '{new}')"
            conditions += [f"contains({text}, '{old}')" for old in replacements]
        if how == _IN_BYTES:  # a character of this charset is a byte
            changed = f"encode({changed}, 'ISO-8859-1')"
        changes.append(f"`{name}` = {changed}")
    return f"update {table.sql_name} set {', '.join(changes)} where {' or '.join(conditions)}"


def _destroy(
    spark: SparkSession, table: Holder, found: Traces, replacements: Mapping[str, str]
) -> None:
    """Destroy what older versions of a table say of players; the last step removes the last trace.

    The commits stay, with other words in them: a stream wants each that comes after what it has
    read, and breaks where one is missing.
    """
    for path in found.old_files:
        destroy(path)
    if found.in_checkpoint:
        _replace_checkpoints(spark, table)
    for path in found.texts:
        exchange(path, replacements)
    _delta_logs(spark).invalidateCache(spark._jsparkSession, _hadoop_path(spark, table))


def _replace_checkpoints(spark: SparkSession, table: Holder) -> None:
    log = _delta_logs(spark).forTable(spark._jsparkSession, str(table.folder))
    none = spark._jvm.scala.Option.empty()
    newest = log.update(False, none, none).version()
    log.checkpoint()
    for path, version in checkpoints(table.folder).items():
        if version < newest:
            destroy(path)


def _delta_logs(spark: SparkSession) -> Any:
    return spark._jvm.org.apache.spark.sql.delta.DeltaLog


def _hadoop_path(spark: SparkSession, table: Holder) -> Any:
    return spark._jvm.org.apache.hadoop.fs.Path(str(table.folder))
