"""How often a loader looks at the files of its tables."""

from __future__ import annotations

import os
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.compaction import SMALL_FILES, batches_between_looks, looked_at

TABLES = ("a", "b", "c", "d", "e")


def a_session(cores: int) -> Any:
    return SimpleNamespace(sparkContext=SimpleNamespace(defaultParallelism=cores))


@given(st.integers(1, 1000))
def test_few_files_are_added_between_two_looks(cores: int) -> None:
    added = batches_between_looks(cores) * cores
    assert added <= max(SMALL_FILES, cores)


@pytest.mark.parametrize(("cores", "batches"), [(1, 4), (8, 4), (12, 2), (32, 1), (100, 1)])
def test_each_table_is_looked_at_the_more_often_the_more_cores_there_are(
    cores: int, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    looks = [looked_at(a_session(cores), TABLES, batch) for batch in range(7, 7 + 3 * batches)]
    for table in TABLES:
        at = [batch for batch, tables in enumerate(looks) if table in tables]
        assert [later - before for before, later in pairwise(at)] == [batches] * 2


def test_the_cores_of_this_machine_count_as_the_clusters_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 32)
    assert looked_at(a_session(2), TABLES, 1) == TABLES
