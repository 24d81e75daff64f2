"""Options of a source: spelled as documented, checked, with errors that name them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20}
_UNITS |= {"g": 1 << 30, "gb": 1 << 30}

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_INTERVAL = re.compile(r"(\d+) *(second|minute|hour|day|week)s?\b", re.IGNORECASE)


def spelled(source: str, options: Mapping[str, str], known: Iterable[str]) -> dict[str, str]:
    """The options under their documented spelling; Spark hands names over in lower case.

    Raises:
        ValueError: an option that the source does not have.
    """
    names = {name.lower(): name for name in known}
    for name in options:
        if name.lower() not in names:
            raise ValueError(f"{source} has no option {name!r}; it has {', '.join(names.values())}")
    return {names[name.lower()]: value for name, value in options.items()}


def flag_option(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    """true or false.

    Raises:
        ValueError: anything else.
    """
    text = options.get(name)
    if text is None:
        return default
    if text.lower() not in ("true", "false"):
        raise ValueError(f"{name} is {text!r}: give true or false")
    return text.lower() == "true"


def positive_option(options: Mapping[str, str], name: str) -> int | None:
    """A whole number of at least 1, or None when the option is not given.

    Raises:
        ValueError: anything else.
    """
    text = options.get(name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name} is {text!r}: give a whole number of at least 1")
    return int(text)


def byte_option(options: Mapping[str, str], name: str) -> int | None:
    """A number of bytes such as 10485760, 10m or 1gb, or None when the option is not given.

    Raises:
        ValueError: anything else.
    """
    text = options.get(name)
    if text is None:
        return None
    digits = text.strip().lower().rstrip("bkmg")
    unit = text.strip().lower()[len(digits) :]
    if not digits.isdecimal() or int(digits) < 1 or unit not in _UNITS:
        raise ValueError(f"{name} is {text!r}: give a number of bytes such as 64m or 1g")
    return int(digits) * _UNITS[unit]


def interval_option(options: Mapping[str, str], name: str) -> int | None:
    """Seconds in an interval such as `1 day` or `2 hours 30 minutes`, or None without the option.

    Raises:
        ValueError: anything else.
    """
    text = options.get(name)
    if text is None:
        return None
    parts = _INTERVAL.findall(text)
    if not parts or _INTERVAL.sub("", text.lower().removeprefix("interval")).strip():
        raise ValueError(
            f"{name} is {text!r}: give an interval of seconds, minutes, hours, days or weeks, "
            "such as 1 day"
        )
    return sum(int(number) * _SECONDS[unit.lower()] for number, unit in parts)


def choice_option(
    options: Mapping[str, str], name: str, choices: Iterable[str], *, default: str
) -> str:
    """One of the choices, spelled as they are.

    Raises:
        ValueError: anything else.
    """
    text = options.get(name)
    if text is None:
        return default
    spellings = {choice.lower(): choice for choice in choices}
    if text.lower() not in spellings:
        raise ValueError(f"{name} is {text!r}: use one of {', '.join(spellings.values())}")
    return spellings[text.lower()]
