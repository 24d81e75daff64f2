"""Profiles are scored in Spark as in this process, and by SQL as by the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from judging import parts_of
from pyhive import hive
from video_lakehouse import versions

from demo.churn import CHURN, START, write_world
from loaders.ml.dataset import read_dataset
from loaders.ml.definitions import Definition, definition_of
from loaders.ml.expression import sql_of
from loaders.ml.function import call_of
from loaders.ml.monitoring import Spread
from loaders.ml.registry import Registry, Trained, Version
from loaders.ml.scoring import digest_of, profiles_to_score, score
from loaders.ml.tables import ensure_tables, tell_versions
from loaders.ml.training import fit, foretold
from loaders.ports import HOST
from loaders.session import ConfigurationError
from loaders.thrift import serving_sql

BUILT = (
    "players_at_risk",
    "player_churn_calibration",
    "player_churn_drift",
    "player_churn_drift_alerts",
)
KEY = ["profile_date", "game_id", "player_id"]


@pytest.fixture(scope="module")
def tables(spark: Any, shared_lakehouse: Path, world_days: list[dict[str, Any]]) -> Path:
    """The tables of the world, where Spark has its own."""
    write_world(shared_lakehouse, world_days)
    for name in ("silver.game_player_days", "gold.player_profile"):
        schema, _, table = name.partition(".")
        folder = shared_lakehouse / "warehouse" / f"{schema}.db" / table
        spark.sql(f"create table {name} using delta location '{folder}'")
    return shared_lakehouse


@pytest.fixture(scope="module")
def registry(tables: Path) -> Registry:
    return Registry(tables)


@pytest.fixture(scope="module")
def champion(registry: Registry, trained: Trained) -> Version:
    version = registry.record(trained)
    registry.promote(version)
    return registry.version("player_churn", version.number)


@pytest.fixture(scope="module")
def scored(spark: Any, registry: Registry, champion: Version) -> int:
    return score(spark, CHURN, registry)


def newest_profiles(spark: Any) -> pd.DataFrame:
    profiles = spark.table("gold.player_profile").toPandas().astype({"profile_date": "object"})
    first = profiles["profile_date"].max() - pd.Timedelta(days=CHURN.scored_days)
    newest = profiles[profiles["profile_date"] > first]
    return newest.sort_values(KEY, ignore_index=True)


def scores(spark: Any) -> pd.DataFrame:
    found = spark.table("bronze.scores_player_churn").toPandas()
    return found.sort_values(KEY, ignore_index=True)


def test_nothing_is_scored_before_a_version_is_in_use(spark: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no version of player_churn is in use: python"):
        score(spark, CHURN, Registry(tmp_path))


def test_the_newest_profiles_are_scored_as_in_this_process(
    spark: Any, scored: int, trained: Trained, champion: Version
) -> None:
    profiles, found = newest_profiles(spark), scores(spark)
    pd.testing.assert_frame_equal(found[KEY], profiles[KEY])
    np.testing.assert_array_equal(found["score"], foretold(trained.model, CHURN, profiles))
    assert scored == len(profiles)
    assert set(found["model_version"]) == {champion.number}
    assert set(found["_batch_id"]) == {0}


@pytest.fixture
def analyst(spark: Any) -> Iterator[hive.Cursor]:
    """Someone who asks over HiveServer2, as BI tools do."""
    port = spark.sparkContext.getConf().get("spark.hadoop.hive.server2.thrift.port")
    with serving_sql(spark), hive.connect(HOST, int(port), username="analyst") as connection:
        yield connection.cursor()


def test_over_hiveserver2_the_function_of_sql_gives_the_same_scores(
    spark: Any, scored: int, analyst: hive.Cursor
) -> None:
    analyst.execute(f"""
        select {", ".join(KEY)}, {call_of(CHURN)} as score
        from gold.player_profile
        where profile_date >= (select min(profile_date) from bronze.scores_player_churn)
    """)
    found = pd.DataFrame(analyst.fetchall(), columns=[*KEY, "score"])
    found = found.sort_values(KEY, ignore_index=True)
    expected = scores(spark).astype({"profile_date": "str"})
    pd.testing.assert_frame_equal(found[KEY], expected[KEY])
    np.testing.assert_allclose(found["score"], expected["score"], rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def built(dbt: Callable[..., Any], scored: int) -> None:
    """What dbt makes of scores, and its tests."""
    dbt("seed", "--select", "churn_reasons")
    dbt("run", "--select", *BUILT)
    dbt("test", "--select", *BUILT)


def test_the_books_of_feeds_leave_out_what_models_write(
    dbt: Callable[..., Any], built: None
) -> None:
    dbt("test", "--select", "bronze_rows_equal_ledger", "bronze_provenance_is_unique")


def test_a_run_without_new_scores_leaves_every_table_at_its_version(
    spark: Any, dbt: Callable[..., Any], built: None
) -> None:
    def found() -> dict[str, int]:
        at_risk = versions(spark, "gold", ["players_at_risk"])
        return at_risk | versions(spark, "ops", ["player_churn_drift"])

    before = found()
    dbt("run", "--select", *BUILT)
    assert found() == before


def test_dbt_lists_who_is_at_risk(spark: Any, built: None) -> None:
    rows = spark.table("gold.players_at_risk").toPandas().sort_values(KEY, ignore_index=True)
    expected = scores(spark)
    pd.testing.assert_frame_equal(rows[[*KEY, "score"]], expected[[*KEY, "score"]])
    by_decile = rows.groupby(["profile_date", "risk_decile"])["score"].agg(["min", "max"])
    for _, day in by_decile.groupby("profile_date"):
        assert (day["min"].to_numpy()[:-1] >= day["max"].to_numpy()[1:]).all()
    profiles = newest_profiles(spark)
    reasons = {
        "crashes": profiles["crashes_7"] >= 1,
        "payment_failed": profiles["payments_failed_7"] >= 1,
        "levels_too_hard": profiles["level_failure_share_7"] >= 0.5,
        "long_waits": profiles["matchmaking_wait_s_7"] >= 30,
    }
    for reason, has_it in reasons.items():
        said = rows["reasons"].map(
            lambda each, reason=reason: reason in [r["reason"] for r in each]
        )
        assert list(said) == list(has_it), reason
    is_mendable = pd.DataFrame(reasons).any(axis=1)
    assert list(rows["is_savable"]) == list(is_mendable & (profiles["days_since_played"] <= 3))


def test_drift_is_the_stability_index_of_each_day_and_feature(
    spark: Any, built: None, registry: Registry, champion: Version, trained: Trained
) -> None:
    profiles = newest_profiles(spark)
    profiles["score"] = foretold(trained.model, CHURN, profiles)
    spreads, _ = registry.monitoring(champion)
    found = spark.table("ops.player_churn_drift").toPandas()
    days = set(profiles["profile_date"])
    assert set(zip(found["profile_date"], found["feature"], strict=True)) == {
        (day, each.feature) for day in days for each in spreads
    }
    first, last = min(days), max(days)
    for day, feature, index in found[
        found["feature"].isin(["score", "levels_failed_7", "platform", "network"])
        & found["profile_date"].isin([first, last])
    ][["profile_date", "feature", "stability_index"]].itertuples(index=False):
        (spread,) = (each for each in spreads if each.feature == feature)
        values = profiles[profiles["profile_date"] == day][feature].tolist()
        assert index == pytest.approx(stability_index(spread, values)), (day, feature)


def test_calibration_tells_of_the_outcomes_that_are_learned_from(
    spark: Any, built: None, tables: Path, champion: Version
) -> None:
    rows = read_dataset(tables, CHURN).rows
    rows["profile_date"] = rows["profile_date"].dt.date
    known = rows.merge(scores(spark)[[*KEY, "score"]], on=KEY)
    known = known[known["profile_date"] > champion.learned_until.date()]
    expected = {
        day: (len(part), pytest.approx(part["score"].mean()), pytest.approx(part["outcome"].mean()))
        for day, part in known.groupby("profile_date")
    }
    found = {
        row["profile_date"]: (row["profiles"], row["foretold"], row["came"])
        for row in spark.table("ops.player_churn_calibration").collect()
    }
    assert found == expected
    assert len(found) > 7


def stability_index(spread: Spread, values: list[Any]) -> float:
    """Slow and obvious."""
    counts = [0] * len(spread.shares)
    for value in values:
        if pd.isna(value):
            place = 0
        elif spread.edges is not None:
            place = 1 + sum(edge < value for edge in spread.edges)
        elif value in spread.categories:
            place = 1 + spread.categories.index(value)
        else:
            place = len(counts) - 1
        counts[place] += 1
    pairs = [
        (max(count / len(values), 0.0001), max(share, 0.0001))
        for count, share in zip(counts, spread.shares, strict=True)
    ]
    return sum((found - share) * math.log(found / share) for found, share in pairs)


def test_a_profile_is_scored_again_when_it_has_changed_or_another_version_is_in_use(
    spark: Any, scored: int, registry: Registry, trained: Trained, champion: Version
) -> None:
    assert score(spark, CHURN, registry) == 0
    before = scores(spark)
    spark.sql("update gold.player_profile set _batch_id = 2")
    assert score(spark, CHURN, registry) == 0  # it says what it said
    player = before["player_id"].iloc[0]
    changed = "update gold.player_profile set level_failure_share_7 = 0.123"
    spark.sql(f"{changed} where player_id = '{player}'")
    number = score(spark, CHURN, registry)
    after = scores(spark)
    is_new = after["_batch_id"] == 1
    assert number == is_new.sum()
    pd.testing.assert_series_equal(is_new, after["player_id"] == player, check_names=False)
    pd.testing.assert_frame_equal(after[~is_new], before[~is_new])

    parts = parts_of(registry.folder.parent, CHURN)
    other_model = fit(CHURN, parts.train, {"max_iter": 10}, seed=1)
    other = registry.record(replace(trained, model=other_model))
    registry.promote(other)
    assert score(spark, CHURN, registry) == len(after)
    found = scores(spark)
    assert set(found["model_version"]) == {other.number}
    expected = foretold(other_model, CHURN, newest_profiles(spark))
    np.testing.assert_array_equal(found["score"], expected)
    by_sql = spark.newSession().sql(f"select {call_of(CHURN)} as score from gold.player_profile")
    expected = foretold(other_model, CHURN, spark.table("gold.player_profile").toPandas())
    np.testing.assert_allclose(
        np.sort(by_sql.toPandas()["score"]), np.sort(expected), rtol=0, atol=1e-9
    )
    in_use = spark.table("bronze.model_versions").where("is_in_use").collect()
    assert [row["model_version"] for row in in_use] == [other.number]


def test_tables_say_what_the_registry_has(
    spark: Any, scored: int, registry: Registry, trained: Trained
) -> None:
    assert not tell_versions(spark, CHURN, registry)
    row = spark.table("bronze.model_versions").where("model_version = 1").first()
    figures = trained.judgement.figures()
    assert {name: row[name] for name in figures} == figures
    assert row["learned_until"].date() > START
    spreads = spark.table("bronze.model_spreads").where("model_version = 1").collect()
    assert {each["feature"] for each in spreads} == {*CHURN.features, "score"}
    for each in spreads:
        assert sum(each["shares"]) == pytest.approx(1)
        assert (
            len(each["shares"])
            == len(each["categories"] if each["edges"] is None else each["edges"]) + 2
        )
    points = spark.table("bronze.model_curves").where("model_version = 1").collect()
    assert {each["curve"] for each in points} == {"reliability", "gains", "gains_of_baseline"}
    reliability = [each["rows"] for each in points if each["curve"] == "reliability"]
    assert sum(reliability) == trained.judgement.rows


def test_minutes_are_scored_as_far_back_as_their_model_says(
    spark: Any, tables: Path, champion: Version
) -> None:
    minutes = definition_of("point_of_failure")
    assert (minutes.date_type, minutes.scored_days) == ("timestamp", 1)
    numbers = ", ".join(f"null :: double as {name}" for name in minutes.numbers)
    spark.sql(f"""
        create table gold.cohort_minutes using delta as
        select timestamp(minute) as minute, 'e' as edge, 'i' as isp, 'd' as device_type, {numbers}
        from values ('2026-03-01 23:59:00'), ('2026-03-02 00:00:00'), ('2026-03-03 00:00:00')
        as minutes (minute)
    """)
    ensure_tables(spark, minutes)
    found = profiles_to_score(spark, minutes, champion).selectExpr("cast(minute as string)")
    assert [row[0] for row in found.collect()] == ["2026-03-03 00:00:00"]
    longer = replace(minutes, scored_days=1.0001)
    found = profiles_to_score(spark, longer, champion).selectExpr("cast(minute as string)")
    assert {row[0] for row in found.collect()} == {"2026-03-02 00:00:00", "2026-03-03 00:00:00"}
    spark.sql("delete from gold.cohort_minutes")
    assert profiles_to_score(spark, minutes, champion).collect() == []


RANDOM = Definition(
    name="random",
    description="",
    dataset="",
    profile="",
    date="day",
    entity=("who",),
    known_after_days=1,
    scored_days=1,
    numbers=("a", "b", "c", "empty"),
    categories=("kind", "place"),
    baseline=("a",),
)


def random_rows(seed: int, rows: int, kinds: list[str | None]) -> pd.DataFrame:
    """Rows in which values and their absence, and categories, decide of the outcome."""
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": chance.normal(size=rows),
            "b": np.where(chance.random(rows) < 0.3, np.nan, chance.integers(0, 5, rows)),
            "c": np.where(chance.random(rows) < 0.5, np.nan, chance.exponential(size=rows)),
            "empty": np.nan,
            "kind": chance.choice(np.array(kinds, dtype=object), rows),
            "place": chance.choice(np.array([f"o'{n}\\" for n in range(60)], dtype=object), rows),
        }
    )
    chances = (
        frame["a"]
        + frame["b"].fillna(4)
        - 2 * frame["c"].isna()
        + frame["kind"].map({"x": 2, "y": -2}).fillna(1)
        + frame["place"].map(lambda text: len(text) - 4)
    )
    frame["outcome"] = chances + chance.normal(size=rows) > chances.median()
    return frame


def test_a_profile_is_another_one_when_a_value_moves_to_another_column_not_when_it_is_loaded(
    spark: Any,
) -> None:
    rows = [(1.0, None, 1), (None, 1.0, 1), (1.0, None, 2), (None, 1.0, 2)]
    frame = spark.createDataFrame(rows, "a double, b double, _batch_id bigint")
    digests = [row[0] for row in frame.selectExpr(digest_of(frame.columns)).collect()]
    assert digests[:2] == digests[2:]
    assert digests[0] != digests[1]


@pytest.mark.parametrize("parameters", [{"max_iter": 5}, {"max_iter": 60, "max_leaf_nodes": 31}])
def test_the_expression_of_a_model_is_equal_to_it_with_nulls_and_unknown_categories(
    spark: Any, parameters: dict[str, int]
) -> None:
    model = fit(RANDOM, random_rows(1, 3000, ["x", "y", "z", None]), parameters, seed=1)
    rows = random_rows(2, 500, ["x", "y", "z", None, "never seen"])
    rows["empty"] = np.where(rows.index % 2, np.nan, 1)
    known = rows.astype(object).where(rows.notna(), None)
    numbers = ", ".join(f"{name} double" for name in RANDOM.numbers)
    frame = spark.createDataFrame(
        known[list(RANDOM.features)].to_dict("records"), f"{numbers}, kind string, place string"
    )
    found = [row[0] for row in frame.selectExpr(sql_of(model)).collect()]
    np.testing.assert_allclose(found, foretold(model, RANDOM, rows), rtol=0, atol=1e-9)
    assert np.ptp(found) > 0.3
