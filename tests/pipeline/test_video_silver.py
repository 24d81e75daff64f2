"""Player events and CDN logs, from bronze to sessions: nothing lost, nothing twice, no address."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from video_lakehouse import (
    SILVER,
    SILVER_TABLES,
    Lakehouse,
    Service,
    contents,
    sessions,
    versions,
)
from video_reference import ALPHA_3

from demo.video import writers
from loaders.feeds import read_feeds
from loaders.run import run_once


@pytest.fixture
def service(video: Lakehouse) -> Service:
    return video.service


def test_an_incremental_silver_equals_a_full_refresh(
    spark: Any, dbt: Callable[..., Any], video: Lakehouse
) -> None:
    # every batch is there yet
    dbt("run", *SILVER, "--full-refresh", "--vars", "{forget_expired: true}")
    again = contents(spark, "silver", SILVER_TABLES)
    for table in SILVER_TABLES:
        assert video.silver[table], table
        assert again[table] == video.silver[table], table


def test_every_event_is_kept_once(spark: Any, service: Service) -> None:
    kept = spark.sql("select event_id from silver.player_events").collect()
    sent = {event.data for event in service.events}
    assert len(service.events) > len(sent)  # some came twice
    assert len(kept) == len({row[0] for row in kept}) == len(sent)


def test_every_request_is_kept_once(spark: Any, service: Service) -> None:
    kept = Counter(row[0] for row in spark.sql("select requestid from silver.cdn_logs").collect())
    assert kept == Counter(service.requests.keys())


def test_requests_are_located_by_the_address_that_is_then_cut(spark: Any, service: Service) -> None:
    query = "select requestid, origin, isp, is_hosting, ip from silver.cdn_logs"
    for row in spark.sql(query).collect():
        viewer = service.requests[row.requestid].viewer
        assert (row.origin, row.isp) == (ALPHA_3[viewer.country], viewer.network.isp)
        assert row.is_hosting == viewer.network.is_hosting
        assert row.ip != viewer.ip


def test_no_file_of_silver_holds_an_address(root: Path, service: Service) -> None:
    import pyarrow.parquet as pq

    addresses = {request.viewer.ip for request in service.requests.values()}
    assert len(addresses) > 10
    found = set()
    for path in (root / "warehouse" / "silver.db" / "cdn_logs").rglob("*.parquet"):
        for column in pq.read_table(path).columns:
            found |= addresses & set(map(str, column.to_pylist()))
    assert found == set()


def test_sessions_are_those_of_the_slow_reference(spark: Any, service: Service) -> None:
    found = spark.sql(
        "select user_id, video_id, plays, is_play, startup_ms, stalls, stalled_ms, played_s,"
        " is_exit_before_start, failure_class, events from silver.playback_sessions"
    ).collect()
    expected = [(*row[:2], *row[3:]) for row in sessions(service.events)]
    assert len(expected) > 20
    assert Counter(map(tuple, found)) == Counter(expected)


def test_sessions_are_as_many_as_there_were(spark: Any, service: Service) -> None:
    """The truth, which no event says: of those that reported at all."""
    (found,) = spark.sql(
        "select sum(stalls) as stalls, count_if(is_attempt) as attempts from"
        " silver.playback_sessions"
    ).collect()
    truth = service.simulator.truth
    assert abs(found.attempts - len(truth)) <= 0.1 * len(truth)


def test_a_run_without_news_changes_no_table(
    spark: Any, dbt: Callable[..., Any], video: Lakehouse
) -> None:
    before = versions(spark, "silver", SILVER_TABLES)
    dbt("run", *SILVER)
    assert versions(spark, "silver", SILVER_TABLES) == before


def test_events_of_the_stream_stand_in_bronze_byte_by_byte_with_type_and_time(
    spark: Any, lakehouse: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYER_EVENTS_STREAM", "video-bronze")
    kinesis = boto3.client("kinesis")
    writers.make_stream(kinesis, "video-bronze")
    some = service.events[:700]
    writers.put_events(kinesis, some, "video-bronze")
    kinesis.put_record(StreamName="video-bronze", PartitionKey="k", Data=b"[1]")
    assert run_once(spark, [read_feeds()["player_events"]], lambda _: None) == {}
    stored = spark.table("bronze.player_events")
    assert stored.columns[:3] == ["type", "ts", "jsonData"]
    found = stored.selectExpr("type", "unix_millis(ts) as ms", "jsonData").collect()
    expected = Counter((None, "", "[1]") for _ in range(1))
    for event in some:
        fields = {name.lower(): value for name, value in json.loads(event.data).items()}
        key = (fields["timestamp"], fields["metrictype"].lower(), event.data.decode())
        expected[key] += 1
    assert Counter((row.ms, row.type, row.jsonData) for row in found) == expected
    detail = spark.sql("describe detail bronze.player_events").first()
    assert detail.clusteringColumns == ["type", "ts"]
