"""What a Delta table's log on disk has that was not there before; asks no Spark.

Looking is one `stat` a table while nothing is new, however many versions the table has.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NO_VERSION = -1
_COMMIT = re.compile(r"^(\d{20})\.json$")


@dataclass(frozen=True, slots=True)
class News:
    """The newest version, and the size in bytes of the files that brought rows."""

    version: int
    size_bytes: int


def standing(table: Path) -> News:
    """The newest version, and the size of all data files on disk, for a first look."""
    log = table / "_delta_log"
    if not log.is_dir():
        return News(NO_VERSION, 0)
    commits = (_COMMIT.match(path.name) for path in log.iterdir())
    version = max((int(commit[1]) for commit in commits if commit), default=NO_VERSION)
    return News(version, sum(file.stat().st_size for file in table.rglob("*.parquet")))


def news(table: Path, since: int) -> News:
    """What was committed after version `since`: compaction and the like have no bytes in it."""
    version, size = since, 0
    while (commit := table / "_delta_log" / f"{version + 1:020}.json").exists():
        version += 1
        with commit.open() as lines:
            for line in lines:
                added = json.loads(line).get("add")
                if added and added["dataChange"]:
                    size += added["size"]
    return News(version, size)
