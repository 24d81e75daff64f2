"""Conflicts of two writers of one Delta table: the later one has to start again."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

# Delta's error classes, and its exceptions where only their names are left in a message.
_CONFLICT = re.compile(
    r"\bDELTA_(?:CONCURRENT_\w+|METADATA_CHANGED|PROTOCOL_CHANGED)\b"
    r"|\b(?:Concurrent\w+|MetadataChanged|ProtocolChanged)Exception\b"
)


def is_conflict(error: object) -> bool:
    """Whether an error, or its message, says that another writer was first."""
    return bool(_CONFLICT.search(str(error)))


def retry_conflicts(
    deed: Callable[[], Result],
    *,
    attempts: int = 6,
    pause_seconds: float = 0.5,
    sleep: Callable[[float], object] = time.sleep,
) -> Result:
    """Do it again, after a growing and random pause, while another writer was first.

    The deed must read the table anew each time. Its last conflict, and any other error, is raised.
    """
    for attempt in range(1, attempts):
        try:
            return deed()
        except Exception as error:
            if not is_conflict(error):
                raise
        sleep(pause_seconds * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - no secret
    return deed()
