"""Writes the README's table of tables from dbt's manifest, between its two markers.

.venv/bin/dbt parse --profiles-dir profiles
.venv/bin/python scripts/readme_tables.py target/manifest.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN = "<!-- tables: written by scripts/readme_tables.py -->"
END = "<!-- end of tables -->"
LAYERS = ("bronze", "silver", "gold", "ops")


def rows(manifest: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, key and first sentence of every table, view and seed, layer by layer."""
    described = [*manifest["sources"].values(), *manifest["nodes"].values()]
    tables = [
        node
        for node in described
        if node["resource_type"] in ("source", "model", "seed") and not _is_one_of_many(node)
    ]
    tables.sort(key=lambda node: (LAYERS.index(node["schema"]), node["name"].lower()))
    return [
        (
            f"`{node['schema']}.{node['name']}`",
            ", ".join(f"`{column}`" for column in _grain(node)),
            first_sentence(node["description"]),
        )
        for node in tables
    ]


def _is_one_of_many(node: dict[str, Any]) -> bool:
    """Whether it is a table of an event; docs/games.md has those."""
    return not {"feed", "event"}.isdisjoint(node["config"].get("meta", {}))


def _grain(node: dict[str, Any]) -> list[str]:
    return node["config"].get("meta", {}).get("grain") or node.get("meta", {}).get("grain") or []


def first_sentence(text: str) -> str:
    """Up to the first full stop that ends a sentence, on one line."""
    return " ".join(text.split()).split(". ")[0].rstrip(".")


def markdown(manifest: dict[str, Any]) -> str:
    """The table of tables."""
    lines = ["| table | key | what it holds |", "|---|---|---|"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows(manifest)]
    return "\n".join(lines)


def with_tables(readme: str, manifest: dict[str, Any]) -> str:
    """The README with its table of tables made anew.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md lacks a marker: {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{markdown(manifest)}\n\n{END}{after}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/readme_tables.py target/manifest.json")
    built = json.loads(Path(sys.argv[1]).read_text())
    README.write_text(with_tables(README.read_text(), built))
