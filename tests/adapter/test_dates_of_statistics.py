"""Delta answers `max(day)` from statistics, and fails at that in HiveServer2's sessions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loaders.session import ANSWER_BY_STATISTICS, cluster_settings
from loaders.thrift import sql_settings


@pytest.fixture
def as_hiveserver2(spark: Any, tmp_path: Path) -> Any:
    """A session with dates of java.time, as each connection has it, and a view of a table."""
    folder = f"delta.`{tmp_path}/days`"
    spark.sql(f"create table {folder} using delta as select date'2026-01-31' as day")
    session = spark.newSession()
    session.sql(f"create temporary view days as select * from {folder}")
    session.conf.set("spark.sql.datetime.java8API.enabled", "true")
    return session


def test_delta_takes_dates_for_those_of_java_sql(as_hiveserver2: Any) -> None:
    as_hiveserver2.conf.set(ANSWER_BY_STATISTICS, "true")
    # where nothing is raised Delta has mended it: drop ANSWER_BY_STATISTICS
    with pytest.raises(Exception, match=r"cannot be cast to class java\.sql\.Date"):
        as_hiveserver2.sql("select max(day) as day from days").collect()


def test_without_statistics_the_newest_day_is_told(as_hiveserver2: Any) -> None:
    as_hiveserver2.conf.set(ANSWER_BY_STATISTICS, "false")
    (row,) = as_hiveserver2.sql("select cast(max(day) as string) as day from days").collect()
    assert row.day == "2026-01-31"


def test_where_hiveserver2_serves_statistics_are_not_asked() -> None:
    assert sql_settings(10000)[ANSWER_BY_STATISTICS] == "false"
    assert cluster_settings()[ANSWER_BY_STATISTICS] == "false"
