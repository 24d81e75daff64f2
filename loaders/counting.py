"""What a batch has of each item, an object or a shard, and what becomes of that: the ledger's rows.

Objects are counted while they are written, so that a batch is read once. A stream's records are
held while they are counted, for only they say which records the batch has of a shard.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

Entry = dict[str, Any]
"""The ledger's columns of an item, but for those that the whole batch shares."""


class Counting(ABC):
    """One batch, as it is counted.

    rows: the received rows; what is written must be taken from these.
    items: what the batch has, as `Kind.known` wants it.
    """

    rows: DataFrame
    items: Sequence[Any]

    @abstractmethod
    def may_keep(self, known: Sequence[tuple]) -> bool:
        """Whether the batch can have a record for the bronze table."""

    @abstractmethod
    def entries(self, known: Sequence[tuple], *, is_written: bool) -> list[Entry]:
        """An entry for each item; is_written: whether this process has written the rows."""

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of what was held for counting."""


class CountedObjects(Counting):
    """Counted while written. Which objects the batch has stands in its offset.

    The source ends each object with a row that counts its records, and Spark hands these rows
    over as a metric of the write.
    """

    def __init__(self, received: DataFrame, offset: Mapping[str, Any]) -> None:
        from pyspark.sql import Observation
        from pyspark.sql import functions as F

        self.items = sorted({tuple(file[:3]) for file in offset["files"]})
        self._received = received
        self._summary = F.when(
            F.col("received").isNotNull(),
            F.struct(
                *("container", "item", "version", "size_bytes", "modified_at"),
                *(F.col("_ingested_at").alias("ingested_at"), "received", "broken"),
            ),
        )
        self._observation = Observation()
        self.rows = received.observe(
            self._observation, F.collect_list(self._summary).alias("summaries")
        )

    def may_keep(self, known: Sequence[tuple]) -> bool:
        return len({row[:3] for row in known}) < len(self.items)

    def entries(self, known: Sequence[tuple], *, is_written: bool) -> list[Entry]:
        loaded, overwrites = loaded_and_overwrites(known)
        summaries = [row.asDict() for row in self._summaries(is_written=is_written)]
        read = sorted({(row["container"], row["item"], row["version"]) for row in summaries})
        if read != self.items:
            raise RuntimeError(f"objects read and planned differ: {set(read) ^ set(self.items)}")
        return [
            object_entry(
                row,
                is_duplicate=(row["container"], row["item"], row["version"]) in loaded,
                is_overwrite=(row["container"], row["item"], row["version"]) in overwrites,
            )
            for row in summaries
        ]

    def _summaries(self, *, is_written: bool) -> list[Row]:
        if is_written:
            return self._observation.get["summaries"]
        return [row[0] for row in self._received.select(self._summary).dropna().collect()]


def loaded_and_overwrites(known: Sequence[tuple]) -> tuple[set[tuple], set[tuple]]:
    """Identities of known objects: those that were loaded, and those with a reason against it."""
    return {row for row in known if len(row) == 3}, {row[:3] for row in known if len(row) > 3}


def object_entry(row: dict[str, Any], *, is_duplicate: bool, is_overwrite: bool) -> Entry:
    """What becomes of an object's records, of which `received` were read and `broken` are bad.

    Of a duplicate none is fresh; of an overwrite, none may be kept.
    """
    received, broken = row["received"], row.pop("broken")
    fresh = 0 if is_duplicate else received
    quarantined = fresh if is_overwrite else min(fresh, broken)
    return row | {
        "duplicates": received - fresh,
        "quarantined": quarantined,
        "kept": fresh - quarantined,
        "first_position": "0" if received else None,
        "last_position": str(received - 1) if received else None,
    }


class CountedShards(Counting):
    """Held, and counted by shard; `without` takes the known records out."""

    def __init__(
        self,
        received: DataFrame,
        without: Callable[[DataFrame, Sequence[tuple]], DataFrame],
    ) -> None:
        self.rows = received.persist()
        self.items = _shards(self.rows)
        self._without = without
        self._entries: list[Entry] | None = None

    def may_keep(self, known: Sequence[tuple]) -> bool:
        return any(entry["kept"] for entry in self.entries(known, is_written=False))

    def entries(self, known: Sequence[tuple], *, is_written: bool) -> list[Entry]:
        if self._entries is None:
            fresh = _shards(self._without(self.rows, known)) if known else self.items
            self._entries = _shard_entries(self.items, fresh)
        return self._entries

    def close(self) -> None:
        self.rows.unpersist()


def _shards(rows: DataFrame) -> list[Row]:
    """One row per shard of the rows: what was counted of it."""
    from pyspark.sql import functions as F

    return (
        rows.groupBy("container", "item")
        .agg(
            F.sum("received").alias("received"),
            F.sum("size_bytes").alias("size_bytes"),
            F.count("data").alias("kept"),
            F.count("error").alias("quarantined"),
            F.max("modified_at").alias("modified_at"),
            F.max("_ingested_at").alias("ingested_at"),
            F.min("position").alias("first_position"),
            F.max("position").alias("last_position"),
        )
        .collect()
    )


def _shard_entries(items: Sequence[Row], fresh: Sequence[Row]) -> list[Entry]:
    """Of what was received, what is not fresh is duplicate; the version is the last position."""
    new = {(row["container"], row["item"]): row.asDict() for row in fresh}
    nothing = dict.fromkeys(("received", "kept", "quarantined"), 0)
    entries = []
    for row in items:
        counted = new.get((row["container"], row["item"]), nothing)
        entries.append(
            row.asDict()
            | {name: counted[name] for name in ("kept", "quarantined")}
            | {
                "version": row["last_position"],
                "duplicates": row["received"] - counted["received"],
            }
        )
    return entries
