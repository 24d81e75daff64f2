"""Writes what follows from loaders/games/events.yml: dbt sources, and the table in docs/games.md.

.venv/bin/python scripts/game_contracts.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from loaders.games.contract import UNKNOWN_TABLE, Contract, EventField, game_contract  # noqa: E402

SOURCES = ROOT / "models" / "bronze" / "_sources_games.yml"
DOCS = ROOT / "docs" / "games.md"
BEGIN = "<!-- events: written by scripts/game_contracts.py -->"
END = "<!-- end of events -->"

_HEAD = """\
# Written by scripts/game_contracts.py from loaders/games/events.yml.
version: 2

sources:
  - name: bronze_games
    schema: bronze
    description: >
      Events of game servers, without personal data, as the ingest service passed them on: one row
      per JSON record, bytes unchanged, with the place it came from. A table for each type of
      event; written by the feed game_events only, append-only.
    tables:
"""
# The first has the columns, the others take them over.
_FIRST = """\
      - &events
        name: {table}
        description: {description}
        config:
          meta:
            feed: game_events
            grain: [_bucket, _key, _version, _ordinal]
            clustered_by: [_batch_id]
        columns:
          - name: data
            data_type: string
            description: The JSON record exactly as received.
          - name: _bucket
            data_type: string
            description: Bucket of the object.
          - name: _key
            data_type: string
            description: Key of the object.
          - name: _version
            data_type: string
            description: Version id of the object where the bucket keeps versions, else its eTag.
          - name: _ordinal
            data_type: bigint
            description: Place of the record in the object, from 0.
          - name: _modified_at
            data_type: timestamp
            description: When the object was written, UTC.
          - name: _batch_id
            data_type: bigint
            description: Number of the batch that loaded the row, of the feed and not of the table.
          - name: _ingested_at
            data_type: timestamp
            description: When that batch was planned, UTC.
"""
_OTHER = "      - {{<<: *events, name: {table}, description: {description}}}\n"


def sources(contract: Contract) -> str:
    """The text of models/bronze/_sources_games.yml."""
    tables = [(event.table, event.description) for event in contract.events]
    tables.append((UNKNOWN_TABLE, "Events whose type or version the contract does not know."))
    texts = [
        (_OTHER if number else _FIRST).format(table=table, description=f'"{description}"')
        for number, (table, description) in enumerate(tables)
    ]
    return _HEAD + "".join(texts)


def event_table(contract: Contract) -> str:
    """The table of events of docs/games.md."""
    lines = ["| # | event | what it says | fields |", "|---|---|---|---|"]
    lines += [
        f"| {event.number or ''} | `{event.name}` | {event.description} | "
        f"{', '.join(map(_field, event.fields))} |"
        for event in contract.events
    ]
    return "\n".join(lines)


def _field(field: EventField) -> str:
    name = f"**{field.name}**" if field.required else field.name
    marks = [f"since {field.since}"] if field.since > 1 else []
    if field.personal:
        marks.append(f"→ {field.becomes}" if field.becomes else "→ vault")
    return f"{name} ({', '.join(marks)})" if marks else name


def with_events(document: str, contract: Contract) -> str:
    """The page with its table of events made anew.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/games.md lacks a marker: {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{event_table(contract)}\n\n{END}{after}"


if __name__ == "__main__":
    SOURCES.write_text(sources(game_contract()))
    DOCS.write_text(with_events(DOCS.read_text(), game_contract()))
