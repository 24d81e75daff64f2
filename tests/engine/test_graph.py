"""Which models follow which tables."""

from __future__ import annotations

import pytest

from loaders.engine import idle_tables
from loaders.feeds import read_feeds
from loaders.games.contract import game_contract
from loaders.graph import graph_of

# name: dbt's name of the source it belongs to
SOURCES = {
    "events": "bronze",
    "orders": "bronze",
    "ledger": "bronze_loaders",
    "scores": "bronze_ml",
}


def manifest(models: dict[str, tuple[str, list[str]]]):
    """{name: (materialization, parents)}, with the sources of SOURCES."""
    children = {f"source.p.{name}": [] for name in SOURCES}
    nodes = {}
    for name, (kept, parents) in models.items():
        unique_id = f"model.p.{name}"
        nodes[unique_id] = {
            "name": name,
            "schema": "gold",
            "alias": name.lower(),
            "resource_type": "model",
            "config": {"materialized": kept},
        }
        children.setdefault(unique_id, [])
        for parent in parents:
            key = f"source.p.{parent}" if parent in SOURCES else f"model.p.{parent}"
            children.setdefault(key, []).append(unique_id)
    nodes["test.p.some"] = {
        "name": "some",
        "resource_type": "test",
        "config": {"materialized": "test"},
    }
    children["model.p." + next(iter(models))].append("test.p.some")
    return {
        "sources": {
            f"source.p.{name}": {
                "source_name": of,
                "schema": "bronze",
                "identifier": name.capitalize(),
            }
            for name, of in SOURCES.items()
        },
        "nodes": nodes,
        "child_map": children,
        "parent_map": {
            child: [parent for parent, those in children.items() if child in those]
            for child in nodes
        },
    }


MODELS = {
    "parsed": ("view", ["events"]),
    "typed": ("incremental", ["parsed"]),
    "shown": ("view", ["typed"]),
    "perMinute": ("stream", ["events"]),
    "summed": ("table", ["perMinute"]),
    "apart": ("incremental", []),
}


def test_what_keeps_rows_follows_a_source_through_views():
    graph = graph_of(manifest(MODELS))
    assert graph.below["source.p.events"] == {"model.p.typed"}


def test_live_models_are_written_by_others_and_followed():
    graph = graph_of(manifest(MODELS))
    assert graph.tables == {
        "source.p.events": "bronze.events",
        "source.p.orders": "bronze.orders",
        "source.p.ledger": "bronze.ledger",
        "source.p.scores": "bronze.scores",
        "model.p.perMinute": "gold.perminute",
    }
    assert graph.below["model.p.perMinute"] == {"model.p.summed"}
    assert "model.p.perMinute" not in graph.names


def test_everything_else_is_built_once_at_the_start():
    names = graph_of(manifest(MODELS)).names.values()
    assert set(names) == {"parsed", "typed", "shown", "summed", "apart"}


def test_what_stands_only_on_tables_that_nobody_writes_is_left_out():
    models = {
        **MODELS,
        "ordered": ("incremental", ["orders"]),
        "both": ("incremental", ["ordered", "typed"]),
    }
    everything = graph_of(manifest(models))
    assert set(everything.names.values()) == {*models} - {"perMinute"}
    graph = graph_of(manifest(models), idle={"bronze.events"})
    # what `both` is built of besides comes along
    assert set(graph.names.values()) == {"ordered", "both", "typed", "parsed"}
    assert graph.below["source.p.orders"] == {"model.p.ordered", "model.p.both"}


@pytest.mark.parametrize("notes", ["ledger", "scores"])
def test_notes_and_scores_alone_wake_no_model_that_waits_for_a_feed(notes):
    models = {
        "events_noted": ("incremental", ["events", notes]),
        "orders_noted": ("incremental", ["orders", notes]),
        "loads": ("table", [notes]),
    }
    graph = graph_of(manifest(models), idle={"bronze.events"})
    assert set(graph.names.values()) == {"orders_noted", "loads"}


def test_the_tables_of_feeds_that_do_not_run_are_idle():
    feeds = read_feeds()
    running = [feeds["stocks_daily_prices"], feeds["stocks_fundamentals"]]
    of_one_table = {
        f"bronze.{feed.table}".lower() for feed in feeds.values() if feed not in running
    }
    of_games = {f"bronze.{event.table}" for event in game_contract().events}
    assert len(of_games) > 1
    assert idle_tables(running) == of_one_table | of_games
    assert idle_tables(list(feeds.values())) == set()
