"""Which bronze table a feed's good records go to: one, or one for each kind of event."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from loaders.games.contract import UNKNOWN_TABLE, Contract, game_contract
from loaders.session import in_threads

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from loaders.feeds import Feed

Append = Callable[["DataFrame", str], None]
"""Appends rows to a table of bronze, by its name, once a batch, whenever it is done again."""


class Destination(ABC):
    """Where the good records of a feed go.

    tables: all that there may be, without the schema.
    """

    tables: tuple[str, ...]

    @abstractmethod
    def append(self, rows: DataFrame, append: Append) -> None:
        """Append rows with a bronze table's columns, each to its table; reads them once."""


class OneTable(Destination):
    """All to one table."""

    def __init__(self, table: str) -> None:
        self.tables = (table,)

    def append(self, rows: DataFrame, append: Append) -> None:
        append(rows, f"bronze.{self.tables[0]}")


class GameTables(Destination):
    """Each event to the table of its type; unknown types and versions to one of their own.

    Only tables that get a row are written, some at a time. The appends are no transaction
    together, so each has to be one that may be done again.
    """

    def __init__(self, contract: Contract, record_column: str = "data") -> None:
        self._record_column = record_column
        self._newest = {event.name: event.version for event in contract.events}
        self.tables = (*(event.table for event in contract.events), UNKNOWN_TABLE)

    def table_of(self, data: Column) -> Column:
        """The name of a record's table."""
        from pyspark.sql import functions as F

        envelope = F.from_json(data, "event_type string, event_version bigint")
        newest = F.create_map(*(F.lit(part) for event in self._newest.items() for part in event))
        is_known = envelope["event_version"].between(
            F.lit(1), F.try_element_at(newest, envelope["event_type"])
        )
        return F.when(
            F.coalesce(is_known, F.lit(False)), F.concat(F.lit("game_"), envelope["event_type"])
        ).otherwise(F.lit(UNKNOWN_TABLE))

    def append(self, rows: DataFrame, append: Append) -> None:
        from pyspark.sql import functions as F

        routed = rows.withColumn("_table", self.table_of(F.col(self._record_column))).persist()
        try:
            tables = [row["_table"] for row in routed.select("_table").distinct().collect()]

            def append_to(table: str) -> None:
                mine = routed.where(F.col("_table") == table).drop("_table")
                # Few rows a table: a file each, whatever the tasks were that read them.
                append(mine.coalesce(1), f"bronze.{table}")

            in_threads(rows.sparkSession, append_to, sorted(tables))
        finally:
            routed.unpersist()


def destination_of(feed: Feed) -> Destination:
    """Where a feed's records go, as feeds.yml says."""
    if feed.table_per == "game_event":
        return GameTables(game_contract(), feed.record_column)
    return OneTable(feed.table)
