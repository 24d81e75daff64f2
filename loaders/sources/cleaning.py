"""Deleting or moving objects some time after they were loaded."""

from __future__ import annotations

import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from loaders.sources.clients import ClientSettings
from loaders.sources.object_state import ObjectState
from loaders.sources.objects import (
    Location,
    ObjectGone,
    ObjectVersion,
    delete_object,
    move_object,
)

OFF, DELETE, MOVE = "OFF", "DELETE", "MOVE"
_AT_ONCE = 8
_A_TURN = 500  # objects between two batches
_PAUSE_SECONDS = 600  # after a failure


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What becomes of the objects of `source` that were loaded `after_seconds` ago.

    destination: where they are moved to, under their path below the source's folder; None: they
        are deleted.
    """

    source: Location
    after_seconds: int
    destination: Location | None = None

    def apply(self, item: ObjectVersion, settings: ClientSettings) -> str:
        """Clean one object up; returns cleaned, gone (its version is no more), or why not."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not item.version or not item.key.startswith(self.source.folder):
            return "gone"  # nothing tells which version was loaded, or it was another location's
        try:
            if self.destination is None:
                delete_object(item, settings)
            else:
                name = item.key.removeprefix(self.source.folder)
                move_object(item, self.destination, name, settings)
        except ObjectGone:
            return "gone"
        except (BotoCoreError, ClientError, OSError) as error:
            return f"{item.uri}: {error}"
        return "cleaned"


class Cleaner:
    """Cleans up some objects a turn. A failure stops no stream: it is logged and tried again."""

    def __init__(self, clean_up: CleanUp, settings: ClientSettings) -> None:
        self._clean_up = clean_up
        self._settings = settings
        self._paused_until = 0.0
        self._counts: Counter[str] = Counter()

    def turn(self, state: ObjectState, now_ms: int) -> None:
        """Clean up what is due: objects whose batch is in the sink, loaded long enough ago."""
        if time.monotonic() < self._paused_until:
            return
        due = state.loaded_before(now_ms - self._clean_up.after_seconds * 1000, _A_TURN)
        if not due:
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            outcomes = list(pool.map(lambda item: self._clean_up.apply(item, self._settings), due))
        done = ("cleaned", "gone")
        state.forget_loaded(
            item for item, outcome in zip(due, outcomes, strict=True) if outcome in done
        )
        failed = [outcome for outcome in outcomes if outcome not in done]
        self._counts.update(cleaned=outcomes.count("cleaned"), failed=len(failed))
        if failed:
            self._paused_until = time.monotonic() + _PAUSE_SECONDS
            logging.getLogger(__name__).warning(
                "%s loaded objects could not be cleaned up, tried again in %s s: %s",
                len(failed),
                _PAUSE_SECONDS,
                failed[0],
            )

    def report(self) -> dict[str, Any]:
        """What was done since the start."""
        return {
            "cleanedObjects": self._counts["cleaned"],
            "cleaningFailures": self._counts["failed"],
        }
