"""What a Delta table's folder says of words that are to be nowhere in it; starts no Spark.

A row that was changed stays in the files of older versions, and its values in the statistics that
the log keeps of those, and in the predicate of the statement that changed it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

_LOG = "_delta_log"
_CHECKPOINT = re.compile(r"^(\d{20})\.checkpoint\..*parquet$")


@dataclass(frozen=True, slots=True)
class Traces:
    """Where a word stands besides the rows of the newest version.

    old_files: of data, that the newest version does not have. texts: files of the log, commits and
    checksums. in_checkpoint: whether one of its checkpoints has it.
    """

    old_files: tuple[Path, ...] = ()
    in_checkpoint: bool = False
    texts: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.old_files or self.in_checkpoint or self.texts)


def traces(table: Path, words: Sequence[str], columns: Iterable[str]) -> Traces:
    """Where any of the words stands; of data only columns are looked at that may have them."""
    columns = list(columns)
    texts = (path for path in (table / _LOG).iterdir() if path.suffix in (".json", ".crc"))
    encoded = [word.encode() for word in words]
    return Traces(
        tuple(path for path in _old_files(table) if _parquet_has(path, words, columns)),
        any(_parquet_has(path, words) for path in checkpoints(table)),
        tuple(path for path in texts if _text_has(path, encoded)),
    )


def checkpoints(table: Path) -> dict[Path, int]:
    """The checkpoints of a table's log, with their versions."""
    found = ((path, _CHECKPOINT.match(path.name)) for path in (table / _LOG).iterdir())
    return {path: int(match[1]) for path, match in found if match}


def destroy(path: Path) -> None:
    """Delete a file that Spark wrote, with Hadoop's checksum of it."""
    _checksum(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def exchange(path: Path, replacements: Mapping[str, str]) -> None:
    """Exchange words in a text of the log; its time stays, by which versions are found.

    Readers have the old or the new text, and nothing between.
    """
    stat = path.stat()
    body = path.read_bytes()
    for old, new in replacements.items():
        body = body.replace(old.encode(), new.encode())
    unfinished = path.with_name(f".{path.name}.rewritten")
    unfinished.write_bytes(body)
    unfinished.chmod(stat.st_mode & 0o7777)
    os.utime(unfinished, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    # It is of the old text, and where there is none, none is looked at.
    _checksum(path).unlink(missing_ok=True)
    unfinished.replace(path)


def _checksum(path: Path) -> Path:
    return path.with_name(f".{path.name}.crc")


def _text_has(path: Path, words: Iterable[bytes]) -> bool:
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return False
    return any(word in body for word in words)


def _old_files(table: Path) -> Iterator[Path]:
    """Files of data that the newest version does not have."""
    uris = DeltaTable(table).file_uris()
    current = {Path(unquote(urlparse(uri).path) if "://" in uri else uri) for uri in uris}
    for path in table.rglob("*.parquet"):
        if path not in current and _LOG not in path.relative_to(table).parts:
            yield path


def _parquet_has(path: Path, words: Sequence[str], columns: Iterable[str] | None = None) -> bool:
    with pq.ParquetFile(path) as file:
        known = columns and [name for name in columns if name in file.schema_arrow.names]
        return any(
            _has(column, word)
            for batch in file.iter_batches(columns=known)
            for column in batch
            for word in words
        )


def _has(values: pa.Array, word: str) -> bool:
    """Whether a word stands in any text or bytes of an array, however deep."""
    kind = values.type
    if pa.types.is_struct(kind):
        return any(_has(field, word) for field in values.flatten())
    if pa.types.is_map(kind):
        return _has(values.keys, word) or _has(values.items, word)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _has(values.flatten(), word)
    if pa.types.is_dictionary(kind):
        return _has(values.dictionary, word)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return bool(pc.any(pc.match_substring(values, word)).as_py())
    return False
