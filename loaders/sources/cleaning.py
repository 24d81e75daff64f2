"""Deleting or moving objects some time after they were loaded."""

from __future__ import annotations

import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from loaders.sources.books import Books
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
_RECHECK_MS = 3_600_000  # of what the ledger does not prove loaded

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What becomes of the objects of `source` that were loaded `after_seconds` ago.

    destination: where they are moved to, under their path below the source's folder; None: they
        are deleted.
    books: what must prove that they were loaded; None: having been read in a batch is enough.
    """

    source: Location
    after_seconds: int
    destination: Location | None = None
    books: Books | None = None

    def apply(self, item: ObjectVersion, settings: ClientSettings) -> str:
        """Clean one object up; returns cleaned, gone (it is no longer ours), or why not."""
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
        until_ms = now_ms - self._clean_up.after_seconds * 1000
        due = self._proven(state, state.loaded_before(until_ms, _A_TURN), until_ms)
        if not due:
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            outcomes = list(pool.map(lambda item: self._clean_up.apply(item, self._settings), due))
        done = ("cleaned", "gone")
        state.forget_loaded(
            item for item, outcome in zip(due, outcomes, strict=True) if outcome in done
        )
        failed = [outcome for outcome in outcomes if outcome not in done]
        self._counts.update(cleaned=outcomes.count("cleaned"))
        if failed:
            self._fail(len(failed), failed[0])

    def _proven(
        self, state: ObjectState, due: list[ObjectVersion], until_ms: int
    ) -> list[ObjectVersion]:
        """Those that the ledger proves loaded; the others, which a replay may load, have time."""
        if self._clean_up.books is None or not due:
            return due
        from deltalake.exceptions import DeltaError
        from pyarrow import ArrowException

        try:
            loaded = self._clean_up.books.loaded(due)
        except (ArrowException, DeltaError, OSError) as error:
            self._fail(len(due), f"the ledger cannot be read: {error}")
            return []
        left = [item for item in due if item not in loaded]
        if left:
            state.postpone_loaded(left, until_ms + _RECHECK_MS)
            log.warning("%s objects are not cleaned up: not loaded, as %s", len(left), left[0].uri)
        return [item for item in due if item in loaded]

    def _fail(self, objects: int, why: str) -> None:
        self._counts.update(failed=objects)
        self._paused_until = time.monotonic() + _PAUSE_SECONDS
        log.warning(
            "%s loaded objects could not be cleaned up, tried again in %s s: %s",
            objects,
            _PAUSE_SECONDS,
            why,
        )

    def report(self) -> dict[str, Any]:
        """What was done since the start."""
        return {
            "cleanedObjects": self._counts["cleaned"],
            "cleaningFailures": self._counts["failed"],
        }
