"""Minutes of cohorts are scored in this process, and once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cohorts import POINT_OF_FAILURE, viewing, write_cohorts

from loaders.ml.dataset import read_dataset
from loaders.ml.scoring import InUse, score_new
from loaders.ml.tables import ensure_tables
from loaders.ml.training import PLAIN, fit, foretold

KEY = ["minute", "edge", "isp", "device_type"]
PROFILE = "gold.cohort_minutes"


@pytest.fixture(scope="module")
def used(spark: Any, shared_lakehouse: Path) -> InUse:
    """A model of some hours, and their minutes where Spark has its tables."""
    write_cohorts(shared_lakehouse, viewing(seed=1, hours=5, ramp_minutes=20))
    folder = shared_lakehouse / "warehouse" / "gold.db" / "cohort_minutes"
    spark.sql(f"create table {PROFILE} using delta location '{folder}'")
    ensure_tables(spark, POINT_OF_FAILURE)
    rows = read_dataset(shared_lakehouse, POINT_OF_FAILURE).rows
    model = fit(POINT_OF_FAILURE, rows, {**PLAIN, "max_iter": 5}, seed=1)
    return InUse(POINT_OF_FAILURE, SimpleNamespace(number=1), model)


def newest_minutes(spark: Any) -> pd.DataFrame:
    minutes = spark.table(PROFILE).toPandas()
    first = minutes["minute"].max() - pd.Timedelta(days=POINT_OF_FAILURE.scored_days)
    return minutes[minutes["minute"] > first].sort_values(KEY, ignore_index=True)


def test_minutes_are_scored_once_and_again_when_they_change(spark: Any, used: InUse) -> None:
    minutes = newest_minutes(spark)
    assert score_new(spark, used) == len(minutes)
    assert score_new(spark, used) == 0
    found = spark.table("bronze.scores_point_of_failure").toPandas()
    found = found.sort_values(KEY, ignore_index=True)
    pd.testing.assert_frame_equal(found[KEY], minutes[KEY])
    np.testing.assert_array_equal(found["score"], foretold(used.model, POINT_OF_FAILURE, minutes))
    newest = minutes["minute"].max()
    spark.sql(f"update {PROFILE} set viewers_5 = viewers_5 + 1 where minute = timestamp'{newest}'")
    assert score_new(spark, used) == (minutes["minute"] == newest).sum()
    again = spark.table("bronze.scores_point_of_failure").where("_batch_id = 1").toPandas()
    assert set(again["minute"]) == {newest}
