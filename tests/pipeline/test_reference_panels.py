"""The reference's stored rows (not ours) through bronze, silver and gold: its panels recompute."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from video_lakehouse import append_events, append_records, create_tables
from video_reference import ALPHA_3

from demo.video.simulator import PlayerEvent
from loaders.ip_ranges import AddressRange, country_records

pytestmark = pytest.mark.skipif(
    "QOS_SAMPLES" not in os.environ,
    reason="QOS_SAMPLES names no folder with the reference's stored rows (they are not ours)",
)
ALPHA_2 = {alpha_3: alpha_2 for alpha_2, alpha_3 in ALPHA_3.items()}
LOG_FIELDS = (
    *("requestid", "browserfamily", "osfamily", "isbot", "bytes", "cdn_source", "location"),
    *("logdate", "logtime", "resulttype"),
)


def event_of(row: dict, copy: int) -> PlayerEvent:
    """The event as the SDK sent it; a number keeps the copies of the stored join apart."""
    at_ms = datetime.fromisoformat(row["ts"]).timestamp() * 1000
    event = {
        "MetricType": "BUFFER",
        "TimeStamp": round(at_ms),
        "cdn_tracking_id": row["requestid"],  # stored in lower case: ids are joined exactly here
        "seq": copy,
    } | {
        name: row[name]
        for name in (
            *("user_id", "video_id", "playlist_type", "at", "buffer_type"),
            *("time_millisecond", "connection_type"),
        )
    }
    return PlayerEvent(at_ms, row["user_id"], json.dumps(event).encode())


def log_of(row: dict) -> str:
    """The log row in the reference's own shape."""
    return json.dumps({name: row[name] for name in LOG_FIELDS} | {"requestip": row["ip"]})


def range_of(address: str, origin: str) -> AddressRange:
    network = ip_network(f"{address}/{48 if ':' in address else 24}")
    first, last = network.network_address, network.broadcast_address
    return AddressRange(network.version, int(first), int(last), (ALPHA_2[origin],))


@pytest.fixture(scope="module")
def stored() -> list[dict]:
    path = Path(os.environ["QOS_SAMPLES"]) / "qos_joined_stall_rows.ndjson"
    return [json.loads(line) for line in path.open()]


@pytest.fixture(scope="module")
def panels() -> list[dict]:
    """Those that need no row but the stored ones."""
    path = Path(os.environ["QOS_SAMPLES"]) / "qos_dashboard_panels.json"
    found = [
        each
        for each in json.loads(path.read_text())["panels"]
        if "screenfreezedbuffer" in each["sql"]
    ]
    assert [len(each["rows"]) for each in found] == [3, 12, 32]
    return found


def test_the_stored_panels_of_stalls_recompute_exactly_from_gold(
    spark: Any, dbt: Callable[..., Any], lakehouse: Path, stored: list[dict], panels: list[dict]
) -> None:
    """With two rules of silver set aside, which are not the reference's: the longest wait that is
    believed, and that the same event counts once."""
    copies = Counter()
    events = []
    for row in stored:
        key = json.dumps(row, sort_keys=True)
        events.append(event_of(row, copies[key]))
        copies[key] += 1
    create_tables(spark)
    append_events(spark, events, 0)
    append_records(spark, "cdn_logs", "stored", sorted({log_of(row) for row in stored}), 0)
    places = sorted({(row["ip"], row["origin"]) for row in stored})
    ranges = country_records([range_of(*each) for each in places], date(2020, 1, 1), "stored")
    append_records(spark, "ip_ranges", "stored", [json.dumps(each) for each in ranges], 0)
    longest = max(row["time_millisecond"] for row in stored)
    dbt("seed", "--select", "country_codes", "networks")
    dbt("run", "--select", "+video_activity", "--vars", json.dumps({"longest_wait_ms": longest}))

    spark.sql(
        "select *, time_ms as time_millisecond from gold.video_activity"
    ).createOrReplaceTempView("video_activity")
    for panel in panels:
        found = Counter(tuple(row) for row in spark.sql(panel["sql"]).collect())
        assert found == Counter(map(tuple, panel["rows"])), panel["sql"]


def test_silver_counts_a_stored_event_once_and_does_not_believe_the_longest_wait(
    spark: Any, dbt: Callable[..., Any], lakehouse: Path, stored: list[dict]
) -> None:
    create_tables(spark)
    append_events(spark, [event_of(row, 0) for row in stored], 0)
    dbt("run", "--select", "player_events_parsed", "player_events")
    found = spark.sql("select video_id, time_ms from silver.player_events").collect()
    distinct = {json.dumps(row, sort_keys=True): row for row in stored}.values()
    assert Counter(map(tuple, found)) == Counter(
        (row["video_id"], row["time_millisecond"] if row["time_millisecond"] <= 600_000 else None)
        for row in distinct
    )
