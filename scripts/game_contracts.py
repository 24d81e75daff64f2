"""Writes what follows from loaders/games/events.yml: dbt's sources and silver models of the events,
their documentation and tests, and the table in docs/games.md.

.venv/bin/python scripts/game_contracts.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from loaders.games.contract import (  # noqa: E402
    UNKNOWN_TABLE,
    Contract,
    Event,
    EventField,
    game_contract,
)

SOURCES = ROOT / "models" / "bronze" / "_sources_games.yml"
SILVER = ROOT / "models" / "silver" / "games" / "events"
EVENT_TYPES = ROOT / "macros" / "games" / "game_event_types.sql"
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


def event_types(contract: Contract) -> str:
    """The text of macros/games/game_event_types.sql."""
    names = "".join(f"        '{event.name}',\n" for event in contract.events)
    return _EVENT_TYPES.format(names=names)


_EVENT_TYPES = """\
{{#- Written by scripts/game_contracts.py from loaders/games/events.yml. -#}}
{{%- macro game_event_types() -%}}
    {{{{- return([
{names}    ]) -}}}}
{{%- endmacro -%}}
"""


def columns(contract: Contract, event: Event) -> dict[str, EventField]:
    """The fields of an event's data past the ingest service, by the column they have in silver.

    A field that the envelope has too is called event_<name>.
    """
    taken = {field.column for field in (*contract.envelope, *contract.stamped)}
    return {
        f"event_{field.column}" if field.column in taken else field.column: field
        for field in event.fields
        if field.column
    }


def model(contract: Contract, event: Event) -> str:
    """The text of an event's silver model."""
    fields = [
        f"        {{{_attributes(column, field)}}},\n"
        for column, field in columns(contract, event).items()
    ]
    return _MODEL.format(
        name=event.name,
        fields="".join(fields),
        has_player="" if event.player else ", has_player=false",
    )


def _attributes(column: str, field: EventField) -> str:
    attributes = {"name": field.column, "type": field.type}
    if column != field.column:
        attributes["column"] = column
    texts = [f"'{name}': '{value}'" for name, value in attributes.items()]
    if field.required:
        texts.append(f"'required_from': {field.since}")
    if field.values:
        texts.append(f"'values': {list(field.values)}")
    line = ", ".join(texts)
    return line if len(line) < 88 else ",\n         ".join((", ".join(texts[:-1]), texts[-1]))


_MODEL = """\
{{#- One row per {name} event, however often it was delivered. Written by
    scripts/game_contracts.py from loaders/games/events.yml. -#}}
{{{{
    typed_game_events('{name}', [
{fields}    ]{has_player})
}}}}
"""

# Columns that all events have: before and after those of its data.
_BEFORE = {
    "event_date": "Day by the sender's clock, UTC, so the same in every delivery; for days of play "
    "take happened_on.",
    "game_id": "The game: studio and application, as studio/application.",
    "event_id": "Made once by the sender; MD5 of the record where it did not (missing_event_id).",
    "event_at": "When it happened, UTC: by the sender's clock, put right where that was wrong "
    "(clock_wrong).",
    "happened_on": "Day of event_at, UTC.",
    "player_id": "The player, a pseudonym.",
    "session_id": "The session, unique within the player.",
}
_AFTER = {
    "event_name": "The game's own finer name for the event.",
    "event_version": "Version of the event's contract.",
    "app_version": "Version of the game's build.",
    "platform": "What is played on: android, ios, web or server.",
    "country": "ISO 3166-1 alpha-2 code of the player's country.",
    "server_id": "The game server that sent it.",
    "client_at": "When it happened by the sender's clock, UTC; null where it says none, or none "
    "between 2000 and 2099.",
    "sent_at": "When it was sent, by the same clock.",
    "received_at": "When the ingest service took it, UTC, the first time.",
}
_LAST = {
    "moved_from": "What event_at was before an earlier delivery put a wrong clock right in another "
    "way, UTC; null where it has not moved.",
    "_modified_at": "When the object was written, UTC; of the delivery that counts.",
    "_bucket": "Bucket of the object.",
    "_key": "Key of the object.",
    "_version": "Version of the object.",
    "_ordinal": "Place of the record in the object, from 0.",
    "_batch_id": "Greatest bronze batch of all deliveries.",
}


def documentation(contract: Contract) -> str:
    """The text of the YAML beside the silver models: descriptions and tests."""
    first, *others = contract.events
    texts = [_documented(contract, first, is_first=True)]
    texts += [_documented(contract, event, is_first=False) for event in others]
    return _DOCUMENTATION + "".join(texts)


def _documented(contract: Contract, event: Event, *, is_first: bool) -> str:
    """The entry of one model; the first has the columns of all, the others refer to them."""
    fields = columns(contract, event)

    def shared(columns: dict[str, str]) -> list[str]:
        if is_first:
            return [f"&{name} {_entry(name, text)}" for name, text in columns.items()]
        return [f"*{name}" for name in columns]

    entries = [
        *shared(_BEFORE),
        *(_entry(column, _description(field)) for column, field in fields.items()),
        *shared(_AFTER),
        _entry("flags", _flags(event, fields)),
        *shared(_LAST),
    ]
    return _DOCUMENTED.format(
        name=event.name,
        description=event.description,
        columns="".join(f"      - {entry}\n" for entry in entries),
        sound=_sound(fields),
    )


def _entry(name: str, description: str) -> str:
    return f"{{name: {name}, description: {json.dumps(description)}}}"


def _description(field: EventField) -> str:
    text = field.description.rstrip(".")
    if field.values:
        text += f": {', '.join(field.values)}, or one that came later"
    if field.type == "timestamp":
        text += ", UTC"
    return f"{text}."


def _flags(event: Event, fields: dict[str, EventField]) -> str:
    """What may be wrong with an event, in words."""
    found = ["missing_event_id", "missing_game", *(["missing_player"] if event.player else [])]
    for column, field in fields.items():
        found += [f"new_{column}"] * bool(field.values)
        found += [f"unreadable_{column}"] * (field.type not in ("string", "uuid"))
        found += [f"missing_{column}"] * field.required
    return (
        f"What is wrong with the event: {', '.join([*found, 'missing_timestamp', 'clock_wrong'])}."
    )


def _sound(fields: dict[str, EventField]) -> str:
    """The contract as a condition: what it requires is there, or a flag says why not."""
    conditions = ["event_at is not null"]
    for column, field in fields.items():
        if field.required:
            conditions.append(
                f"({column} is not null or event_version < {field.since} or event_version is null "
                f"or arrays_overlap(flags, array('missing_{column}', 'unreadable_{column}')))"
            )
        if field.values:
            values = ", ".join(f"'{value}'" for value in field.values)
            conditions.append(
                f"({column} is null or {column} in ({values}) "
                f"or array_contains(flags, 'new_{column}'))"
            )
    return "\n              and ".join(conditions)


_DOCUMENTATION = """\
# Written by scripts/game_contracts.py from loaders/games/events.yml.
version: 2

models:
"""
_DOCUMENTED = """\
  - name: game_{name}
    description: "{description} One row per event, however often it was delivered."
    config:
      meta: {{grain: [event_date, game_id, event_id], event: {name}}}
    data_tests:
      - unique_combination_of_columns:
          arguments: {{combination_of_columns: [event_date, game_id, event_id], not_null: true}}
      - expression_is_true:
          arguments:
            expression: >-
              {sound}
    columns:
{columns}"""


def files(contract: Contract) -> dict[Path, str]:
    """Every file that is written as a whole, and its text."""
    models = {
        SILVER / f"game_{event.name}.sql": model(contract, event) for event in contract.events
    }
    return models | {
        SILVER / "_events.yml": documentation(contract),
        SOURCES: sources(contract),
        EVENT_TYPES: event_types(contract),
    }


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
    texts = files(game_contract())
    SILVER.mkdir(exist_ok=True)
    for path in {*SILVER.iterdir()} - texts.keys():
        path.unlink()
    for path, text in texts.items():
        path.write_text(text)
    DOCS.write_text(with_events(DOCS.read_text(), game_contract()))
