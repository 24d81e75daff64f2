"""Gold of the video service, against a slow reference: every metric, late rows, nothing twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import cohorts_reference as cohorts
import pytest
import video_reference as reference
from video_lakehouse import GOLD, GOLD_TABLES, Lakehouse, contents, split_sessions, versions

OPS_OF_GAMES = "path:models/ops/ml/player_*"
TIMES = ("minute", "newest_arrival_at")
KEYS = {
    "noc_playback": ("country", "isp", "edge", "device_type", "app_version", "video_id"),
    "noc_cdn": ("edge", "isp", "resulttype"),
}
SKETCHES = ("viewers", "stalled_viewers", "failing_viewers")


def cells(spark: Any, table: str) -> dict[tuple, dict[str, Any]]:
    """The table's other columns by its key; sketches as what they estimate."""
    columns = [
        f"theta_sketch_estimate({name}) as {name}"
        if name in SKETCHES
        else f"unix_millis({name}) as {name.removesuffix('_at')}"
        if name in TIMES
        else name
        for name in spark.table(f"gold.{table}").columns
    ]
    rows = [row.asDict() for row in spark.table(f"gold.{table}").selectExpr(*columns).collect()]
    keyed = {tuple(row.pop(name) for name in ("minute", *KEYS[table])): row for row in rows}
    assert len(keyed) == len(rows)
    return keyed


def counted(row: Mapping[str, Any], cell: reference.Cell) -> dict[str, Any]:
    """What the reference has of a row's columns."""
    return {
        name: sorted(cell.histograms[name].items())
        if name.endswith("_histogram")
        else len(cell.viewers[name])
        if name in SKETCHES
        else cell.concurrent
        if name == "concurrent_plays"
        else cell.counts[name]
        for name in row
        if not name.startswith("_")
    }


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [(entry["bucket"], entry["count"]) for entry in value]
        if name.endswith("_histogram")
        else value
        for name, value in row.items()
        if not name.startswith("_")
    }


def assert_cells(found: dict[tuple, dict[str, Any]], expected: dict[tuple, Any]) -> None:
    assert set(found) == set(expected)
    for key, row in found.items():
        assert shown(row) == counted(row, expected[key]), key


@pytest.fixture(scope="module")
def playback(video: Lakehouse) -> dict[tuple, reference.Cell]:
    return reference.noc_playback(video.service.events, video.service.requests)


def test_every_metric_of_playback_is_that_of_the_slow_reference(
    spark: Any, video: Lakehouse, playback: dict[tuple, reference.Cell]
) -> None:
    found = cells(spark, "noc_playback")
    seen = sum((cell.counts for cell in playback.values()), Counter())
    # a metric that is zero throughout would prove nothing; these have unit tests
    assert {
        name
        for row in found.values()
        for name, value in row.items()
        if isinstance(value, int) and name not in SKETCHES and not name.startswith("_")
        if not seen[name]
    } <= {"start_failures_business", "seeking_ms"}
    assert_cells(found, playback)


def test_every_metric_of_the_cdn_is_that_of_the_slow_reference(
    spark: Any, video: Lakehouse
) -> None:
    expected = reference.noc_cdn(video.service.requests.values())
    assert_cells(cells(spark, "noc_cdn"), expected)


@pytest.fixture(scope="module")
def windows(
    video: Lakehouse, playback: dict[tuple, reference.Cell]
) -> dict[tuple, dict[str, reference.Figure]]:
    return reference.noc_windows(playback, reference.noc_cdn(video.service.requests.values()))


def test_every_figure_of_a_window_is_that_of_the_slow_reference(
    spark: Any, windows: dict[tuple, dict[str, reference.Figure]]
) -> None:
    rows = spark.sql(
        "select unix_millis(window_start), cohort_kind, cohort, metric, value, numerator,"
        " denominator, sample, impacted from gold.noc_windows"
    ).collect()
    found = {tuple(row[:4]): tuple(row[4:]) for row in rows}
    assert len(found) == len(rows)
    expected = {
        (*key, metric): figure for key, some in windows.items() for metric, figure in some.items()
    }
    assert set(found) == set(expected)
    for key, (value, *others) in found.items():
        assert others == list(expected[key][1:]), key
        assert value == pytest.approx(expected[key][0], rel=1e-12), key


def test_the_baseline_is_the_median_of_the_windows_before(
    spark: Any, windows: dict[tuple, dict[str, reference.Figure]]
) -> None:
    expected = reference.noc_baseline(windows)
    rows = spark.sql(
        "select unix_millis(hour), cohort_kind, cohort, metric, baseline, deviation, windows"
        " from gold.noc_baseline where is_cold_start"
    ).collect()
    found = {tuple(row[:4]): tuple(row[4:]) for row in rows}
    assert len(found) == len(rows) == spark.table("gold.noc_baseline").count()
    assert set(found) == set(expected)
    for key, figures in found.items():
        assert figures == pytest.approx(expected[key], rel=1e-12), key


def test_the_comparison_sets_each_window_beside_what_it_is_compared_with(
    spark: Any, video: Lakehouse, windows: dict[tuple, dict[str, reference.Figure]]
) -> None:
    newest = max(int(event.arrived_ms) for event in video.service.events)
    rows = spark.sql(
        "select unix_millis(window_start) as at, cohort_kind, cohort, metric, has_ended, value,"
        " baseline, previous_value, peers_value from gold.noc_compare"
    ).collect()
    assert Counter((row.at, row.cohort_kind, row.cohort, row.metric) for row in rows) == Counter(
        (*key, metric) for key, figures in windows.items() for metric in figures
    )
    ended = {row.at for row in rows if row.has_ended}
    assert ended == {at for at, *_ in windows if at + reference.WINDOW_MS <= newest}
    baseline = reference.noc_baseline(windows)
    for row in rows:
        kind = (row.cohort_kind, row.cohort)
        usual = baseline.get((row.at // reference.HOUR_MS * reference.HOUR_MS, *kind, row.metric))
        before = windows.get((row.at - reference.WINDOW_MS, *kind), {}).get(row.metric)
        assert row.baseline == (usual and pytest.approx(usual[0], rel=1e-12))
        assert row.previous_value == (before and pytest.approx(before[0], rel=1e-12))
    peers = defaultdict(list)
    for (at, kind, cohort), figures in windows.items():
        for metric, figure in figures.items():
            peers[at, kind, metric].append((cohort, figure))
    for row in rows:
        others = [f for name, f in peers[row.at, row.cohort_kind, row.metric] if name != row.cohort]
        if others and others[0][2] is not None:
            expected = sum(f[1] for f in others) / sum(f[2] for f in others)
            assert row.peers_value == pytest.approx(expected, rel=1e-12)
        else:
            assert row.peers_value is None


def test_rules_are_broken_and_alerts_are_those_of_the_slow_reference(
    spark: Any, video: Lakehouse, windows: dict[tuple, dict[str, reference.Figure]]
) -> None:
    rules = reference.read_rules()
    expected = reference.alert_judgements(windows, rules)
    rows = spark.sql(
        "select unix_millis(window_start), rule, breaches from gold.alert_judgements"
    ).collect()
    found = {(at, rule): {each["cohort"] for each in breaches} for at, rule, breaches in rows}
    assert len(found) == len(rows)
    assert found == {key: set(some) for key, some in expected.items()}
    newest = max(int(event.arrived_ms) for event in video.service.events)
    told = spark.sql(
        "select rule, cohort, state, unix_millis(started_at), unix_millis(fired_at), windows"
        " from gold.alerts"
    ).collect()
    alerts = reference.alerts(expected, rules, newest)
    assert Counter(map(tuple, told)) == Counter(alerts)
    assert {"firing", "resolved"} & {state for _, _, state, *_ in alerts}


def test_a_new_rule_is_a_new_row(
    spark: Any,
    dbt: Callable[..., Any],
    video: Lakehouse,
    windows: dict[tuple, dict[str, reference.Figure]],
) -> None:
    rule = {
        "domain": "video",
        "rule": "country_bitrate",
        "metric": "bitrate_bps",
        "cohort_kind": "country",
        "direction": "below",
        "bound": 4e6,
        "reference": "none",
        "factor": 1.0,
        "margin": 0.0,
        "deviations": 0.0,
        "least_sample": 1,
        "least_impacted": 0,
        "fire_after": 2,
        "clear_after": 2,
        "severity": "warning",
        "layer": "isp",
        "explained_by": "none",
        "meaning": "Below four megabits a second",
    }
    before = versions(spark, "gold", ["alert_judgements"])["alert_judgements"]
    rules = spark.table("ops.alert_rules")
    row = spark.createDataFrame([rule], rules.schema)
    row.write.format("delta").mode("append").saveAsTable("ops.alert_rules")
    try:
        # older windows were judged by the rules of their time
        dbt("run", "--select", "alert_judgements", "--full-refresh")
        told = spark.sql(
            "select rule, cohort, state, unix_millis(started_at), unix_millis(fired_at), windows"
            " from gold.alerts where rule = 'country_bitrate'"
        ).collect()
    finally:
        spark.sql("delete from ops.alert_rules where rule = 'country_bitrate'")
        spark.sql(f"restore table gold.alert_judgements to version as of {before}")
    newest = max(int(event.arrived_ms) for event in video.service.events)
    expected = reference.alerts(reference.alert_judgements(windows, [rule]), [rule], newest)
    assert {"firing", "resolved"} & {state for _, _, state, *_ in expected}
    assert Counter(map(tuple, told)) == Counter(expected)


def test_every_event_stands_once_beside_its_request(spark: Any, video: Lakehouse) -> None:
    rows = spark.sql(
        "select user_id, type, unix_millis(event_at) as at, location, isp, resulttype"
        " from gold.video_activity"
    ).collect()
    expected = reference.video_activity(video.service.events, video.service.requests)
    assert Counter(map(tuple, rows)) == expected
    assert sum(row.location is not None for row in rows) > len(rows) / 2


def test_every_sum_of_a_viewers_day_is_that_of_the_slow_reference(
    spark: Any, video: Lakehouse
) -> None:
    expected = reference.viewer_experience(video.service.events)
    rows = [row.asDict() for row in spark.table("gold.viewer_experience").collect()]
    found = {(row["session_date"], row["user_id"]): row for row in rows}
    assert set(found) == set(expected)
    names = {name for counts in expected.values() for name in counts}
    assert names <= set(rows[0])
    for key, row in found.items():
        ours = {name: row[name] or 0 for name in names}
        assert ours == {name: expected[key][name] for name in names}, key


def test_what_is_known_of_a_cohort_is_that_of_the_slow_reference(
    spark: Any, video: Lakehouse
) -> None:
    expected = cohorts.cohort_minutes(video.service.events, video.service.requests)
    table = spark.table("gold.cohort_minutes").selectExpr("*", "unix_millis(minute) as at")
    rows = [row.asDict() for row in table.collect()]
    found = {(row["at"], (row["edge"], row["isp"], row["device_type"])): row for row in rows}
    assert set(found) == set(expected)
    for key, row in expected.items():
        near = {
            name: value if value is None else pytest.approx(value, rel=1e-9)
            for name, value in row.items()
        }
        assert {name: found[key][name] for name in row} == near, key
    for name in next(iter(expected.values())):
        assert len({row[name] for row in expected.values()}) > 1, name


def test_a_late_log_row_rewrites_the_minutes_of_its_request_alone(
    spark: Any, video: Lakehouse
) -> None:
    minutes = {
        event["ms"] // 60_000 * 60_000
        for _, session in split_sessions(video.service.events)
        for event in session
        if reference.ids_of([event]) == [video.late_id]
    }
    before, after = video.versions_before_late, versions(spark, "gold", GOLD_TABLES)
    table = "select *, unix_millis(minute) as at from gold.noc_playback"
    changed = spark.sql(
        f"select distinct at from ({table} minus all"
        f" {table} version as of {before['noc_playback']})"
    ).collect()
    assert len(changed) > 0
    assert {row.at for row in changed} <= minutes
    assert after["noc_playback"] == before["noc_playback"] + 1
    changed = spark.sql(
        "select cdn_tracking_id from (select * from gold.video_activity minus all"
        f" select * from gold.video_activity version as of {before['video_activity']})"
    ).collect()
    assert {row[0] for row in changed} == {video.late_id}
    # no session changed
    assert after["viewer_experience"] == before["viewer_experience"]


def test_a_run_without_news_changes_no_table_of_gold(
    spark: Any, dbt: Callable[..., Any], video: Lakehouse
) -> None:
    before = versions(spark, "gold", GOLD_TABLES)
    dbt("run", *GOLD)
    assert versions(spark, "gold", GOLD_TABLES) == before


def test_an_incremental_gold_equals_a_full_refresh(
    spark: Any, dbt: Callable[..., Any], video: Lakehouse
) -> None:
    dbt("run", *GOLD, "--full-refresh")
    again = contents(spark, "gold", GOLD_TABLES)
    for table in GOLD_TABLES:
        assert video.gold[table], table
        assert again[table] == video.gold[table], table


def test_gold_holds_to_its_tests(spark: Any, dbt: Callable[..., Any], video: Lakehouse) -> None:
    dbt("test", *GOLD)


def test_no_record_is_lost_on_the_way_to_silver(dbt: Callable[..., Any], video: Lakehouse) -> None:
    outcome = dbt("test", "--select", "path:models/silver/qos,test_name:conserves_records")
    results = [each for each in outcome.result.results if each.node.resource_type == "test"]
    assert len(results) == 2


def test_the_other_models_of_video_hold_to_their_unit_tests(
    dbt: Callable[..., Any], video: Lakehouse
) -> None:
    dbt(
        "run",
        "--select",
        "path:models/ops",
        "stocks_daily_prices_parsed",
        "--exclude",
        OPS_OF_GAMES,
    )
    folders = ("silver/qos", "live", "ops")
    unit_tests = [f"path:models/{each},test_type:unit" for each in folders]
    # of games: test_game_server_silences.py and tests/ml/test_scoring.py have them
    of_games = ("live_server_silences", OPS_OF_GAMES)
    dbt("test", "--select", *unit_tests, "--exclude", *of_games)
