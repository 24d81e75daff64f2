"""Incidents: told when they begin, again after a cool-down while they last, and when they are over.

What was told stands in the outbox, and nowhere else. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

FIRING, RESOLVED = "firing", "resolved"
# What may be due: the first message, another one, the last one.
BEGINS, LASTS, ENDS = "begins", "lasts", "ends"
# What a model says of each incident that has an end.
STATED = ("alert_id", "state")
# The attribute of a message that tells again of what lasts.
RENOTIFIED = {"renotified": "true"}
# Values of attributes that make an incident, such as a rule and a cohort.
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What was told last of an incident. Times UTC.

    firing_told_at: when it was told last that it fires; None: never was.
    window_start: of what it was told.
    """

    message_id: str
    attributes: Mapping[str, str]
    window_start: datetime | None
    firing_told_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether its end is still to be told."""
        return self.attributes.get("state") == FIRING

    @property
    def alert_id(self) -> str:
        """Of the alert that was told."""
        return self.attributes.get("alert_id", "")


def told_last(
    messages: Iterable[tuple[str, Mapping[str, str], datetime | None, datetime]],
    by: Sequence[str],
) -> dict[Key, Told]:
    """What was told last of each incident.

    Args:
        messages: id, attributes, start of the window and time of each, in the order of their time.
        by: the attributes that make an incident.
    """
    found: dict[Key, Told] = {}
    for identity, attributes, window_start, at in messages:
        key = tuple(attributes.get(name, "") for name in by)
        before = found.get(key)
        fires = attributes.get("state", FIRING) == FIRING
        firing_told_at = at if fires else before and before.firing_told_at
        found[key] = Told(identity, attributes, window_start, firing_told_at)
    return found


def due(is_firing: bool, told: Told | None, now: datetime, cool_down: timedelta) -> str | None:
    """What is to be told of an incident: BEGINS, LASTS, ENDS or nothing.

    That it fires is told once in a cool-down, even if it was over in between; that it is over is
    told where the last word was that it fires.
    """
    is_open = told is not None and told.is_open
    if not is_firing:
        return ENDS if is_open else None
    if told and told.firing_told_at and now - told.firing_told_at < cool_down:
        return None
    return LASTS if is_open else BEGINS
