"""Which models stand on which tables, from dbt's manifest. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

# What keeps no rows of its own is never brought up to date: its readers see what is new.
_KEEPS_NO_ROWS = ("view", "ephemeral")
# Live models are written by their own streaming queries.
STREAM = "stream"
# Sources of what is noted of every feed, and of what is foretold of any: they have news whenever
# one of the feeds has.
_OF_ANY_FEED = ("bronze_loaders", "bronze_ml")


@dataclass(frozen=True, slots=True)
class Graph:
    """Tables that others write, and what is built on them, by unique id.

    tables: schema.name, in lower case, of each source and each live model.
    below: of those and of each model, the models that have to follow new rows of it.
    names: of everything that dbt builds: seeds, models, views.
    """

    tables: Mapping[str, str]
    below: Mapping[str, frozenset[str]]
    names: Mapping[str, str]


def graph_of(manifest: Mapping[str, Any], idle: Collection[str] = ()) -> Graph:
    """The graph of a manifest, as manifest.json has it.

    Args:
        idle: tables that nobody writes now, as schema.name in lower case. What stands on them
            alone, or on them and on the notes of any feed, is left out.
    """
    children = manifest["child_map"]
    kept_by = {
        unique_id: node["config"]["materialized"]
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed")
    }
    live = {unique_id for unique_id, kept in kept_by.items() if kept == STREAM}
    built = kept_by.keys() - live

    def reached(
        unique_id: str, neighbours: Mapping[str, Any], through: Collection[str]
    ) -> set[str]:
        found: set[str] = set()
        waiting = list(neighbours.get(unique_id, ()))
        while waiting:
            each = waiting.pop()
            if each in through and each not in found:
                found.add(each)
                waiting += neighbours.get(each, ())
        return found

    def followers(unique_id: str) -> frozenset[str]:
        found = reached(unique_id, children, built)
        return frozenset(each for each in found if kept_by[each] not in _KEEPS_NO_ROWS)

    tables = {
        unique_id: f"{source['schema']}.{source['identifier']}".lower()
        for unique_id, source in manifest["sources"].items()
    } | {
        unique_id: f"{node['schema']}.{node['alias']}".lower()
        for unique_id, node in manifest["nodes"].items()
        if unique_id in live
    }
    if idle:

        def below_all(of: Collection[str]) -> set[str]:
            return set().union(*(reached(each, children, kept_by) for each in of))

        sources = manifest["sources"]
        notes = {each for each in sources if sources[each]["source_name"] in _OF_ANY_FEED}
        waiting = {each for each in sources if tables[each] in idle}
        # notes alone wake no model that waits for a feed
        below = below_all(sources.keys() - waiting - notes) | (
            below_all(notes) - below_all(waiting)
        )
        above = set().union(*(reached(each, manifest["parent_map"], built) for each in below))
        built = (below | above) - live
    return Graph(
        tables=tables,
        below={unique_id: followers(unique_id) for unique_id in (*tables, *built)},
        names={
            unique_id: manifest["nodes"][unique_id]["name"]
            for unique_id in built
            if kept_by[unique_id] != "ephemeral"
        },
    )
