"""An incident from its onset to its end, as lines to print."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

# What happens to an incident, in the order in which it should.
STAGES: Mapping[str, str] = {
    "onset": "it begins",
    "first_breach": "first window out of bounds",
    "fired": "the alert fires",
    "notified": "SNS has told it",
    "remediated": "the edge's weight is 0",
    "moved": "traffic is elsewhere",
    "resolved": "the alert is resolved",
}


def timeline(
    title: str,
    moments: Mapping[str, datetime | None],
    details: Mapping[str, str] | None = None,
) -> list[str]:
    """A line for each stage: when, how long after the onset, what, and a detail of it.

    Lines stand in the order of time, so that what came out of turn is seen; stages that have not
    come stand at the end, in their own order.

    Args:
        title: what the incident is, for the first line.
        moments: when each stage came, by its name in STAGES, all with a zone or all without; None,
            or left out: it has not come. `onset` is needed.
        details: more about a stage, by its name, such as the alert's message.

    Raises:
        ValueError: a stage that there is not, or no onset.
    """
    given = details or {}
    if unknown := (moments.keys() | given.keys()) - STAGES.keys():
        raise ValueError(f"no stage {min(unknown)!r}; there are {', '.join(STAGES)}")
    onset = moments.get("onset")
    if onset is None:
        raise ValueError("a time line begins with the onset: give its moment")
    came = {stage: at for stage in STAGES if (at := moments.get(stage)) is not None}
    in_time = sorted(came, key=lambda stage: came[stage])  # stable: ties keep the order of STAGES
    widest = max(map(len, STAGES.values()))

    def line(stage: str) -> str:
        at = came.get(stage)
        clock = f"{at:%H:%M:%S}" if at else "not yet"
        after = _after((at - onset).total_seconds()) if at else ""
        return (
            f"  {clock:<8}  {after:>8}  {STAGES[stage]:<{widest}}  {given.get(stage, '')}".rstrip()
        )

    left = [stage for stage in STAGES if stage not in came]
    return [f"{title}, {onset:%Y-%m-%d}", *map(line, [*in_time, *left])]


def _after(seconds: float) -> str:
    """+4:05 is four minutes and five seconds after the onset, -0:30 half a minute before it."""
    whole = round(abs(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    clock = f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
    return f"{'-' if seconds < 0 and whole else '+'}{clock}"
