"""Which models stand on which tables, from dbt's manifest. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What keeps no rows of its own is never brought up to date: its readers see what is new.
_KEEPS_NO_ROWS = ("view", "ephemeral")
# Live models are written by their own streaming queries.
STREAM = "stream"


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


def graph_of(manifest: Mapping[str, Any]) -> Graph:
    """The graph of a manifest, as manifest.json has it."""
    children = manifest["child_map"]
    kept_by = {
        unique_id: node["config"]["materialized"]
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "seed")
    }
    live = {unique_id for unique_id, kept in kept_by.items() if kept == STREAM}
    built = kept_by.keys() - live

    def followers(unique_id: str) -> frozenset[str]:
        found: set[str] = set()
        waiting = list(children.get(unique_id, ()))
        while waiting:
            child = waiting.pop()
            if child in built and child not in found:
                found.add(child)
                waiting += children.get(child, ())
        return frozenset(child for child in found if kept_by[child] not in _KEEPS_NO_ROWS)

    tables = {
        unique_id: f"{source['schema']}.{source['identifier']}".lower()
        for unique_id, source in manifest["sources"].items()
    } | {
        unique_id: f"{node['schema']}.{node['alias']}".lower()
        for unique_id, node in manifest["nodes"].items()
        if unique_id in live
    }
    return Graph(
        tables=tables,
        below={unique_id: followers(unique_id) for unique_id in (*tables, *built)},
        names={
            unique_id: manifest["nodes"][unique_id]["name"]
            for unique_id in built
            if kept_by[unique_id] != "ephemeral"
        },
    )
