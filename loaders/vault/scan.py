"""Looking for personal data in bronze tables, without Spark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow.compute as pc
from deltalake import DeltaTable

from loaders.games.detection import Finding, findings
from loaders.session import ConfigurationError

# An app_version of four parts looks like an IP address.
_NOT_PERSONAL = Finding("app_version", "ip_address")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a table personal data were found, of what kind, in how many rows."""

    table: str
    path: str
    kind: str
    rows: int


def scan_tables(root: Path, tables: Sequence[str], rows: int) -> list[Place]:
    """What is found in the newest `rows` rows of bronze tables.

    Args:
        root: LAKEHOUSE_ROOT.
        tables: names without the schema; those of games when empty.

    Raises:
        ConfigurationError: a table that is named does not exist.
    """
    bronze = root / "warehouse" / "bronze.db"
    names = list(tables) or sorted(path.name for path in bronze.glob("game_*"))
    found = []
    for name in names:
        folder = bronze / name.lower()
        if not (folder / "_delta_log").is_dir():
            raise ConfigurationError(f"there is no table bronze.{name} under {root}")
        counts = Counter(
            finding for record in _newest(folder, rows) for finding in _findings(record)
        )
        found += [
            Place(name, finding.path, finding.kind, count)
            for finding, count in sorted(counts.items())
        ]
    return found


def _findings(record: str) -> Iterable[Finding]:
    """What is found in one record, each place once."""
    try:
        value = orjson.loads(record)
    except orjson.JSONDecodeError:
        value = record
    return set(findings(value)) - {_NOT_PERSONAL}


def _newest(folder: Path, rows: int) -> Iterator[str]:
    """The records of the newest batches that have together `rows` rows at least."""
    table = DeltaTable(folder)
    dataset = table.to_pyarrow_dataset()
    batches = dataset.to_table(columns=["_batch_id"]).column("_batch_id").value_counts()
    counts = sorted(
        ((item["values"], item["counts"]) for item in batches.to_pylist()), reverse=True
    )
    total, since = 0, None
    for batch_id, count in counts:
        since, total = batch_id, total + count
        if total >= rows:
            break
    if since is None:
        return
    for batch in dataset.to_batches(columns=["data"], filter=pc.field("_batch_id") >= since):
        yield from (record for record in batch.column("data").to_pylist() if record)
