"""Silences of game servers: streamed, built and by hand they are the same; told once each."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loaders.bronze import ensure_tables
from loaders.destinations import destination_of
from loaders.feeds import read_feeds
from loaders.live import LiveModel, live_models, start_live, stop_live
from loaders.run import kind_of_feed

MODEL = "live_server_silences"
T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
# seconds since T0 at which a server is down
DOWN = {"eu-2": range(400, 760), "us-1": range(500, 1400), "ap-1": range(1500, 9999)}
SERVERS = ("eu-1", *DOWN)
MINUTES, COMMITS = 30, 5
STEP, LIMIT = timedelta(minutes=5), timedelta(minutes=2)  # windows are two steps long

Heartbeat = tuple[str, datetime]


def heartbeats() -> list[Heartbeat]:
    """Each 30 s of every server that is up, each at seconds of its own."""
    return [
        (server, T0 + timedelta(seconds=at + 7 * number))
        for number, server in enumerate(SERVERS)
        for at in range(0, 60 * MINUTES, 30)
        if at not in DOWN.get(server, ())
    ]


def commits() -> list[list[Heartbeat]]:
    """As they arrive: up to a minute out of order, some twice."""
    draw = random.Random(7)
    sent = heartbeats()
    sent += draw.sample(sent, 20)
    arrival = {id(each): each[1].timestamp() + draw.uniform(0, 60) for each in sent}
    sent.sort(key=lambda each: arrival[id(each)])
    size = len(sent) // COMMITS + 1
    return [sent[at : at + size] for at in range(0, len(sent), size)]


def deliver(spark: Any, number: int, some: list[Heartbeat]) -> None:
    rows = [
        (
            json.dumps(
                {
                    "studio_id": "north",
                    "application_id": "castles",
                    "server_id": server,
                    "event_timestamp": at.timestamp(),
                    "sent_timestamp": at.timestamp(),
                    "ingest_ts": at.timestamp() + 1,
                }
            ),
            *("b", f"k{number}", "v", ordinal),
            *(T0 + timedelta(hours=1), number, T0),
        )
        for ordinal, (server, at) in enumerate(some)
    ]
    table = "bronze.game_server_heartbeat"
    frame = spark.createDataFrame(rows, spark.table(table).schema)
    frame.coalesce(1).write.format("delta").mode("append").saveAsTable(table)


def by_hand(sent: list[Heartbeat]) -> dict[tuple, tuple]:
    """(window, server) → heartbeats, last one, silent since, seconds, state."""
    windows: dict[datetime, dict[str, set]] = defaultdict(lambda: defaultdict(set))
    for server, at in sent:
        newest = T0 + (at - T0) // STEP * STEP
        for start in (newest, newest - STEP):
            windows[start][server].add(at)
    found = {}
    for start, servers in windows.items():
        end = max(max(times) for times in servers.values())
        for server, times in servers.items():
            seen = sorted(times)
            pauses = [(since, until, "back") for since, until in pairwise(seen)]
            pauses.append((seen[-1], end, "silent"))
            long = [each for each in pauses if each[1] - each[0] > LIMIT]
            since, until, state = long[-1] if long else (None, None, None)
            seconds = int((until - since).total_seconds()) if since and until else None
            found[start, server] = (len(seen), seen[-1], since, seconds, state)
    return found


def rows(spark: Any) -> dict[tuple, tuple]:
    table = [row.asDict() for row in spark.table(f"gold.{MODEL}").collect()]
    as_utc = lambda at: at and at.astimezone(UTC)  # noqa: E731
    assert {row["game_id"] for row in table} == {"north/castles"}
    found = {
        (as_utc(row["window_start"]), row["server_id"]): (
            row["heartbeats"],
            as_utc(row["last_heartbeat_at"]),
            as_utc(row["silent_since"]),
            row["silent_seconds"],
            row["state"],
        )
        for row in table
    }
    assert len(found) == len(table)
    return found


@pytest.fixture(scope="module")
def model(
    spark: Any,
    root: Path,
    shared_lakehouse: Path,
    dbt: Callable[..., Any],
) -> Iterator[LiveModel]:
    feed = read_feeds()["game_events"]
    ensure_tables(spark, destination_of(feed), kind_of_feed(feed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVER_ALERTS_TOPIC", "servers")
        dbt("compile", "--select", f"1+{MODEL}")
        manifest = json.loads((root / "target" / "manifest.json").read_text())
    (found,) = (each for each in live_models(manifest, {}) if each.name == MODEL)
    yield found
    dbt("compile", "--select", f"1+{MODEL}")  # the manifest is others' too


def test_a_stream_knows_each_silence_of_a_server_and_tells_of_it_once(
    spark: Any, dbt: Callable[..., Any], model: LiveModel
) -> None:
    # what there is when a query starts is history, and nobody is told
    history, *news = [[("eu-1", T0 - timedelta(hours=1))], *commits()]
    deliver(spark, 0, history)
    query = start_live(spark, model, lambda _: None)
    try:
        query.processAllAvailable()
        for number, some in enumerate(news, 1):
            deliver(spark, number, some)
            query.processAllAvailable()
    finally:
        stop_live(spark, model, query)

    expected = by_hand([*history, *heartbeats()])
    assert {state for *_, state in expected.values()} == {None, "silent", "back"}
    assert rows(spark) == expected
    outbox = spark.table("bronze.outbox").where(f"model = '{MODEL}'").collect()
    told = [json.loads(row["attributes"]) for row in outbox]
    assert sorted((each["server_id"], each["state"]) for each in told) == [
        ("ap-1", "silent"),
        ("eu-2", "back"),
        ("eu-2", "silent"),
        ("us-1", "silent"),  # longer than the window: nothing says how long
    ]

    (result,) = (
        each
        for each in dbt("build", "--select", f"1+{MODEL}").result.results
        if each.node.name == MODEL
    )
    assert result.message == "OK nothing new"
    assert rows(spark) == expected
