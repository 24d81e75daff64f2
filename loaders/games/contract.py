"""loaders/games/events.yml: what a game event must have, read and checked. Pure."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from loaders.session import ConfigurationError

EVENTS_FILE = Path(__file__).with_name("events.yml")

Type = Literal["string", "integer", "number", "boolean", "timestamp", "uuid"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Version = Annotated[int, Field(ge=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EventField(_Entry):
    """One field of the envelope or of an event's data, as events.yml explains it."""

    name: Name
    type: Type
    description: Text
    required: bool = False
    since: Version = 1
    personal: Literal["vault", "identity"] | None = None
    becomes: Name | None = None
    values: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_identity(self) -> EventField:
        if (self.personal == "identity") != (self.becomes is not None):
            raise ValueError("`becomes` names the pseudonym of an identity, and only of one")
        if self.personal and self.type != "string":
            raise ValueError("personal data are strings")
        return self

    @property
    def column(self) -> str | None:
        """What it is called past the ingest service; None: it does not go there."""
        return None if self.personal == "vault" else self.becomes or self.name


class Event(_Entry):
    """One kind of event."""

    name: Name
    description: Text
    version: Version
    fields: tuple[EventField, ...]
    number: int | None = None
    player: bool = True

    @model_validator(mode="after")
    def _check_versions(self) -> Event:
        for field in self.fields:
            if field.since > self.version:
                raise ValueError(
                    f"{field.name} is there since version {field.since}, but the newest version "
                    f"is {self.version}: raise `version`"
                )
        return self

    @property
    def table(self) -> str:
        """Its bronze table."""
        return f"game_{self.name}"


class Contract(_Entry):
    """All events, and what they have in common."""

    envelope: Annotated[tuple[EventField, ...], Field(min_length=1)]
    stamped: tuple[EventField, ...]
    events: Annotated[tuple[Event, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_numbers(self) -> Contract:
        numbers = [event.number for event in self.events if event.number is not None]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError(f"the numbers of the events are {numbers}, not 1, 2, 3 …")
        return self

    def __getitem__(self, name: str) -> Event:
        return next(event for event in self.events if event.name == name)


UNKNOWN_TABLE = "game_unknown"


@cache
def game_contract() -> Contract:
    """The project's own contract."""
    return read_contract(EVENTS_FILE)


def read_contract(path: Path) -> Contract:
    """The contract in a file.

    Raises:
        ConfigurationError: the file does not say what it must; the message names the place.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{path.name}{where}: no YAML") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path.name}: expected the keys envelope, stamped and events")
    try:
        return Contract(
            **document
            | {part: _named(document.get(part)) for part in ("envelope", "stamped")}
            | {
                "events": [
                    event | {"fields": _named(event.get("fields"))}
                    for event in _named(document.get("events"))
                ]
            }
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise ConfigurationError(
            f"{path.name}: {_place(problem['loc'], document)}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
        ) from error


def _named(entries: Any) -> list[dict[str, Any]]:
    """`{name: {…}}` as `[{name: …}]`; anything else as pydantic will refuse it."""
    if not isinstance(entries, dict):
        return []
    return [{"name": name, **(entry or {})} for name, entry in entries.items()]


def _place(location: tuple[str | int, ...], document: dict[str, Any]) -> str:
    """The path of an error with names in place of positions."""
    part: Any = document
    path = []
    for step in location:
        if isinstance(step, int) and isinstance(part, dict) and step < len(part):
            step = list(part)[step]  # noqa: PLW2901 - the name that stands there
        part = part.get(step) if isinstance(part, dict) else None
        path.append(str(step))
    return ".".join(path) or "as a whole"
