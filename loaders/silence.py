"""Feeds that fell silent: nothing is left to fire an alert, so the engine tells it by the clock.

The messages are as those of gold.alerts (models/gold/qos/alerts.yml), of rule `ingest_gap`. When a
feed had records last stands in the ledger, what was told of it in the outbox.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loaders.bronze import append
from loaders.feeds import Feed
from loaders.incidents import BEGINS, ENDS, FIRING, LASTS, RENOTIFIED, RESOLVED, Key, Told, due
from loaders.outbox import OUTBOX, OUTBOX_COLUMNS, message_id, told_incidents
from loaders.status import SILENT_FOR_GOOD, is_silent, last_records

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RULE = "ingest_gap"
COOL_DOWN = timedelta(minutes=60)


def watched_feeds(feeds: Sequence[Feed]) -> list[Feed]:
    """Those that say when they are silent, and who is to know."""
    return [feed for feed in feeds if feed.silent_after_minutes and feed.silence_topic]


@dataclass
class SilenceWatch:
    """Looks at feeds. watched_since: none is silent by what nobody loaded before then, UTC."""

    spark: SparkSession
    root: Path
    feeds: Sequence[Feed]
    watched_since: datetime
    # What an earlier process told may be open; else the outbox is read only when a feed is silent.
    _may_be_open: bool = field(default=True, init=False)

    def look(self, now: datetime) -> int:
        """Put what is to be told at a time, UTC, into the outbox. One caller at a time.

        Returns: the number of new messages.
        """
        newest = last_records(self.root, now - SILENT_FOR_GOOD)
        is_any_silent = any(
            is_silent(newest.get(feed.name), feed.silent_after_minutes, self.watched_since, now)
            for feed in self.feeds
        )
        if not (is_any_silent or self._may_be_open):
            return 0
        told = told_incidents(self.spark, RULE, ["cohort"], now)
        new = silences(self.feeds, newest, told, self.watched_since, now)
        if new:
            append(self.spark.createDataFrame(new, OUTBOX_COLUMNS), OUTBOX)
        self._may_be_open = bool(new) or any(each.is_open for each in told.values())
        return len(new)


def silences(
    feeds: Sequence[Feed],
    newest: Mapping[str, datetime],
    told: Mapping[Key, Told],
    watched_since: datetime,
    now: datetime,
) -> list[dict[str, Any]]:
    """The messages that are due; `newest`: when each feed had records last, if within a day."""
    found = []
    for feed in feeds:
        last, before = newest.get(feed.name), told.get((feed.name,))
        if before and before.is_open:
            is_firing = last is None or before.window_start is None or last <= before.window_start
        else:
            is_firing = is_silent(last, feed.silent_after_minutes, watched_since, now)
        deed = due(is_firing, before, now, COOL_DOWN)
        # A feed that has had nothing for a day is over with, or somebody knows.
        if deed and last:
            found.append(_message(feed, deed, last, before, now))
    return found


def _message(
    feed: Feed, deed: str, last: datetime, before: Told | None, now: datetime
) -> dict[str, Any]:
    since = last
    alert_id = message_id(RULE, [feed.name, since.isoformat()])
    if before and before.window_start and deed != BEGINS:
        since, alert_id = before.window_start, before.alert_id
    state = RESOLVED if deed == ENDS else FIRING
    shown = f"still {state}" if deed == LASTS else state
    minutes = (now - since) // timedelta(minutes=1)
    said = "Records come again" if deed == ENDS else f"No records for {minutes} minutes"
    attributes = {
        "update_type": "alert",
        "rule": RULE,
        "state": state,
        "severity": "critical",
        "layer": "platform",
        "cohort_kind": "feed",
        "cohort": feed.name,
        "alert_id": alert_id,
    }
    return {
        "message_id": message_id(RULE, [alert_id, state, *([before.message_id] if before else [])]),
        "model": RULE,
        "topic": feed.silence_topic,
        "subject": f"critical, {shown}: {RULE}",
        "body": f"critical, {shown}: {said}. feed {feed.name} since {since:%Y-%m-%d %H:%M:%S} "
        "UTC; likely layer: platform.",
        "attributes": json.dumps(attributes | (RENOTIFIED if deed == LASTS else {})),
        "window_start": since,
        "created_at": now,
    }
