"""Live widgets of the video service: as streams, as batches and by hand they say the same."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from video_lakehouse import TRACKING_ID, Lakehouse

from loaders.live import live_models, start_live, stop_live

MODELS = (
    "live_active_users",
    "live_client_errors",
    "live_concurrent_viewers",
    "live_popular_videos",
)
MINUTE = 60_000


def rows(spark: Any, model: str) -> dict[tuple, tuple]:
    """The table's numbers by its key, windows as epoch ms."""
    columns = spark.table(f"gold.{model}").columns
    found = {}
    for row in spark.sql(f"select *, unix_millis(window_start) as at from gold.{model}").collect():
        values = row.asDict()
        key = (values["at"], *(values[name] for name in columns if name == "video_id"))
        assert key not in found
        found[key] = tuple(
            values[name] for name in columns if name not in ("window_start", "video_id")
        )
    return found


@pytest.fixture(scope="module")
def streamed(
    spark: Any, root: Path, dbt: Callable[..., Any], video: Lakehouse
) -> dict[str, dict[tuple, tuple]]:
    """What the models say when they run as streams."""
    for model in MODELS:
        spark.sql(f"drop table if exists gold.{model}")
    # of every live model, as the engine reads them: what they read, views, has to be compiled too
    dbt("compile", "--select", "1+config.materialized:stream")
    manifest = json.loads((root / "target" / "manifest.json").read_text())
    models = [model for model in live_models(manifest) if model.name in MODELS]
    assert [model.name for model in models] == list(MODELS)
    for model in models:
        query = start_live(spark, model, lambda _: None)
        try:
            query.processAllAvailable()
        finally:
            stop_live(spark, model, query)
    return {model: rows(spark, model) for model in MODELS}


def starts(arrived_ms: float, length: int, step: int) -> Iterator[int]:
    """The windows that a moment lies in."""
    newest = int(arrived_ms) // step * step
    yield from range(newest - length + step, newest + step, step)


def by_hand(video: Lakehouse) -> dict[str, dict[tuple, tuple]]:
    active, watching, clients, failing = (defaultdict(set) for _ in range(4))
    views: dict[tuple, int] = defaultdict(int)
    for event in video.service.events:
        fields = {name.lower(): value for name, value in json.loads(event.data).items()}
        user, name, kind = fields["user_id"], fields["video_id"], fields["metrictype"].lower()
        for at in starts(event.arrived_ms, 5 * MINUTE, MINUTE):
            clients[at].add(user)
            tracking_id = fields.get("cdn_tracking_id")
            if kind == "error" and (tracking_id is None or TRACKING_ID.fullmatch(tracking_id)):
                failing[at].add(user)
        if kind == "stream":
            for at in starts(event.arrived_ms, 2 * MINUTE, MINUTE):
                active[at,].add(user)
            for at in starts(event.arrived_ms, MINUTE, MINUTE // 2):
                watching[at, name].add(user)
        if kind == "play" and float(fields.get("at", 0)) < 0.5:
            for at in starts(event.arrived_ms, 2 * MINUTE, MINUTE // 2):
                views[at, name] += 1
    return {
        "live_active_users": {key: (len(users),) for key, users in active.items()},
        "live_client_errors": {
            (at,): (len(users), len(failing[at]), len(failing[at]) / len(users))
            for at, users in clients.items()
        },
        "live_concurrent_viewers": {key: (len(users),) for key, users in watching.items()},
        "live_popular_videos": {key: (count,) for key, count in views.items()},
    }


def test_a_stream_says_what_was_counted_by_hand(
    streamed: dict[str, dict[tuple, tuple]], video: Lakehouse
) -> None:
    for model, expected in by_hand(video).items():
        assert expected
        assert set(streamed[model]) == set(expected), model
        for key, numbers in streamed[model].items():
            # HyperLogLog estimates, of so few as here to the one
            assert numbers == pytest.approx(expected[key], rel=0.05, abs=1e-9), (model, key)


def test_a_batch_finds_the_streams_rows_as_they_should_be(
    dbt: Callable[..., Any], streamed: dict[str, dict[tuple, tuple]]
) -> None:
    outcome = dbt("run", "--select", *MODELS)
    assert {
        each.node.name: each.message for each in outcome.result.results if each.node.name in MODELS
    } == dict.fromkeys(MODELS, "OK nothing new")


def test_updates_are_told_apart_by_their_type(root: Path, streamed: Any) -> None:
    """What an SNS filter policy goes by; the sinks are empty without a topic."""
    manifest = json.loads((root / "target" / "manifest.json").read_text())
    types = {
        node["name"]: node["config"]["sink"]["sns"]["attributes"]["update_type"]
        for node in manifest["nodes"].values()
        if node["name"] in MODELS
    }
    assert types == {
        "live_active_users": "active_users",
        "live_client_errors": "client_errors",
        "live_concurrent_viewers": "concurrent_viewers",
        "live_popular_videos": "recent_views",
    }
