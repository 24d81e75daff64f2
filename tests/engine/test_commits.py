"""What is new in a Delta table, by its log alone."""

from __future__ import annotations

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from loaders.commits import NO_VERSION, News, news, standing


def append(path, *numbers):
    write_deltalake(path, pa.table({"number": numbers}), mode="append")


def size_of(path, version):
    table = DeltaTable(path, version=version)
    return sum(pa.table(table.get_add_actions(flatten=True))["size_bytes"].to_pylist())


def test_a_table_that_is_not_there_has_no_news(tmp_path):
    assert news(tmp_path / "none", NO_VERSION) == News(NO_VERSION, 0)
    assert standing(tmp_path / "none") == News(NO_VERSION, 0)


def test_new_rows_are_counted_once(tmp_path):
    append(tmp_path, 1, 2)
    first = news(tmp_path, NO_VERSION)
    assert first == News(0, size_of(tmp_path, 0))
    append(tmp_path, 3)
    append(tmp_path, 4)
    second = news(tmp_path, first.version)
    assert second == News(2, size_of(tmp_path, 2) - first.size_bytes)
    assert news(tmp_path, second.version) == News(2, 0)
    assert standing(tmp_path) == News(2, first.size_bytes + second.size_bytes)


def test_compaction_and_properties_bring_nothing_new(tmp_path):
    append(tmp_path, 1)
    append(tmp_path, 2)
    table = DeltaTable(tmp_path)
    table.optimize.compact()
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 9 days"})
    assert news(tmp_path, 1) == News(3, 0)
