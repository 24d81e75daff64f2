"""Finding what a table's folder says of a word, and exchanging it in the log."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from loaders.traces import Traces, checkpoints, destroy, exchange, traces

WORD, OTHER, NEW = "jT7-_aX0Q2v5cD8eFgHiJw", "9" * 22, "A" * 22
KINDS = {
    "text": pa.string(),
    "bytes": pa.binary(),
    "struct": pa.struct([("a", pa.string())]),
    "list": pa.list_(pa.struct([("a", pa.string())])),
    "map": pa.map_(pa.string(), pa.string()),
}
VALUES = {
    "text": "before {} after",
    "bytes": b"\xff{}",
    "struct": {"a": "{}"},
    "list": [{"a": "-"}, {"a": "{}"}],
    "map": [("{}", "-")],
}


def put(value: object, word: str) -> object:
    match value:
        case str():
            return value.replace("{}", word)
        case bytes():
            return value.replace(b"{}", word.encode())
        case dict():
            return {key: put(item, word) for key, item in value.items()}
        case tuple():
            return tuple(put(item, word) for item in value)
    return [put(item, word) for item in value]


def write(folder: Path, kind: str, *words: str, mode: str = "append") -> None:
    values = pa.array([put(VALUES[kind], word) for word in words], KINDS[kind])
    write_deltalake(folder, pa.table({"n": range(len(words)), "column": values}), mode=mode)


def found(folder: Path) -> Traces:
    return traces(folder, [NEW, WORD], ["column", "of later versions"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_is_found_in_files_of_older_versions_and_not_in_rows(
    tmp_path: Path, kind: str
) -> None:
    write(tmp_path, kind, "0" * 22, WORD, OTHER)
    (file,) = tmp_path.glob("*.parquet")
    assert found(tmp_path).old_files == ()
    write(tmp_path, kind, OTHER)
    write(tmp_path, kind, OTHER, mode="overwrite")
    assert found(tmp_path).old_files == (file,)
    file.with_name(f".{file.name}.crc").touch()
    destroy(file)
    assert found(tmp_path).old_files == ()
    assert [*tmp_path.glob(".*")] == []


def test_a_word_is_found_in_the_statistics_of_commits_and_checkpoints(tmp_path: Path) -> None:
    write(tmp_path, "text", WORD)
    first, *_ = (tmp_path / "_delta_log").iterdir()
    assert found(tmp_path) == Traces(texts=(first,))
    DeltaTable(tmp_path).create_checkpoint()
    assert found(tmp_path) == Traces(texts=(first,), in_checkpoint=True)
    write(tmp_path, "text", OTHER, mode="overwrite")
    DeltaTable(tmp_path).create_checkpoint()
    assert sorted(checkpoints(tmp_path).values()) == [0, 1]


def test_a_table_without_the_word_has_no_trace(tmp_path: Path) -> None:
    write(tmp_path, "text", OTHER)
    write(tmp_path, "text", OTHER, mode="overwrite")
    assert not found(tmp_path)


def test_words_in_the_log_are_exchanged_and_its_times_and_all_else_stay(tmp_path: Path) -> None:
    write(tmp_path, "text", WORD, OTHER)
    write(tmp_path, "text", OTHER, mode="overwrite")
    first, second = sorted((tmp_path / "_delta_log").iterdir())
    checksum = first.with_name(f".{first.name}.crc")
    checksum.touch()
    os.utime(first, ns=(1, 1_700_000_000_123_456_789))
    before, history = first.read_text(), DeltaTable(tmp_path).history()
    (text,) = found(tmp_path).texts
    exchange(text, {WORD: NEW})
    assert first.read_text() == before.replace(WORD, NEW) != before
    assert first.stat().st_mtime_ns == 1_700_000_000_123_456_789
    assert sorted((tmp_path / "_delta_log").iterdir()) == [first, second]
    assert DeltaTable(tmp_path).history() == history
