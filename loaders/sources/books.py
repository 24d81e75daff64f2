"""What the loaders' own books, bronze.ledger and bronze.quarantine, say of objects. No Spark."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loaders.sources.objects import ObjectVersion
from loaders.sources.records import JUDGED_ALONE, MAX_RECORD_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

# All bytes of these stand in quarantine, unless they are more than a record may have.
_KEPT_WHOLE = JUDGED_ALONE | {"overwrite_ignored", "truncated_json"}
_IDENTITY = ("container", "item", "version")


@dataclass(frozen=True, slots=True)
class Books:
    """The books of one feed under a LAKEHOUSE_ROOT."""

    root: Path
    feed: str

    def loaded(self, objects: Sequence[ObjectVersion]) -> set[ObjectVersion]:
        """Those of the objects that nobody needs any more.

        Records of them were kept, or they have none; and what of them is in quarantine stands
        there with all its bytes. A table that is not there proves nothing.

        Raises:
            DeltaError, OSError, pyarrow.ArrowException: the books cannot be read.
        """
        import pyarrow.compute as pc

        kept: Counter[tuple] = Counter()
        received: Counter[tuple] = Counter()
        for row in self._rows("ledger", objects, "kept", "received"):
            identity = tuple(row[name] for name in _IDENTITY)
            kept[identity] += row["kept"]
            received[identity] += row["received"]  # a replay takes back what it receives anew
        size = {"raw_bytes": pc.binary_length(pc.field("raw"))}
        needed = {
            tuple(row[name] for name in _IDENTITY)
            for row in self._rows("quarantine", objects, "reason", **size)
            if row["reason"] not in _KEPT_WHOLE or (row["raw_bytes"] or 0) >= MAX_RECORD_BYTES
        }
        return {
            item
            for item in objects
            if item[:3] in kept
            and (kept[item[:3]] > 0 or received[item[:3]] == 0)
            and item[:3] not in needed
        }

    def _rows(
        self, table: str, objects: Sequence[ObjectVersion], *columns: str, **computed: pa.Expression
    ) -> list[dict[str, Any]]:
        """The feed's rows of these objects' keys."""
        import pyarrow.dataset as ds
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            delta = DeltaTable(str(self.root / "warehouse" / "bronze.db" / table))
        except TableNotFoundError:
            return []
        keys = sorted({item.key for item in objects})
        of_objects = (
            (ds.field("feed") == self.feed)
            # By its bounds whole files are skipped.
            & (ds.field("item") >= keys[0])
            & (ds.field("item") <= keys[-1])
            & ds.field("item").isin(keys)
        )
        names = (*_IDENTITY, *columns)
        wanted = {name: ds.field(name) for name in names} | computed
        return delta.to_pyarrow_dataset().to_table(columns=wanted, filter=of_objects).to_pylist()


def books_of(feed: str) -> Books:
    """The feed's books under the LAKEHOUSE_ROOT of this process."""
    return Books(Path(os.environ.get("LAKEHOUSE_ROOT") or "lakehouse"), feed)
