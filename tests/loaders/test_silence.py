"""Feeds that fall silent: by the ledger, the outbox and a clock that the test turns."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from loaders.feeds import CloudFilesFeed
from loaders.incidents import told_last
from loaders.silence import silences, watched_feeds
from loaders.status import last_records

T0 = datetime(2026, 1, 31, 18, tzinfo=UTC)
FEED = CloudFilesFeed(
    name="events",
    location="/events",
    table="events",
    description="",
    silent_after_minutes=5,
    silence_topic="alerts",
)


def at(minute: float) -> datetime:
    return T0 + timedelta(minutes=minute)


@dataclass
class Watch:
    """A feed with records at some minutes, looked at each minute; outbox in memory."""

    arrivals: list[float]
    since: datetime = T0
    outbox: list[dict[str, Any]] = field(default_factory=list)

    def look(self, minute: float) -> None:
        now = at(minute)
        of_day = [at(m) for m in self.arrivals if timedelta() <= now - at(m) <= timedelta(days=1)]
        newest = {FEED.name: max(of_day)} if of_day else {}
        known = [
            (
                row["message_id"],
                json.loads(row["attributes"]),
                row["window_start"],
                row["created_at"],
            )
            for row in self.outbox
        ]
        told = told_last(known, ["cohort"])
        self.outbox += silences([FEED], newest, told, self.since, now)

    def watched(self, minutes: int) -> list[tuple[float, str]]:
        """What is told in so many minutes: when, and what."""
        for minute in range(minutes + 1):
            self.look(minute)
        return self.told()

    def told(self) -> list[tuple[float, str]]:
        minute = timedelta(minutes=1)
        return [((row["created_at"] - T0) / minute, said(row)) for row in self.outbox]


def said(row: dict[str, Any]) -> str:
    attributes = json.loads(row["attributes"])
    return ("again " if attributes.get("renotified") == "true" else "") + attributes["state"]


def test_a_silence_is_told_once_again_each_hour_and_when_records_come() -> None:
    watch = Watch([0, 1, 2, 3, 150, 151])
    assert watch.watched(153) == [
        (8, "firing"),
        (68, "again firing"),
        (128, "again firing"),
        (150, "resolved"),
    ]
    of_all = [json.loads(row["attributes"]) for row in watch.outbox]
    assert len({each["alert_id"] for each in of_all}) == 1
    assert len({row["message_id"] for row in watch.outbox}) == 4
    assert {row["topic"] for row in watch.outbox} == {"alerts"}
    begin, *_, end = watch.outbox
    assert begin["body"] == (
        "critical, firing: No records for 5 minutes. feed events since 2026-01-31 18:03:00 UTC; "
        "likely layer: platform."
    )
    assert end["subject"] == "critical, resolved: ingest_gap"
    assert begin["window_start"] == end["window_start"] == at(3)


def test_a_feed_that_flaps_is_told_once_in_the_cool_down() -> None:
    arrivals: list[float] = [0, 10, 20, 30, 40, *range(50, 66)]
    assert Watch(arrivals).watched(80) == [(5, "firing"), (10, "resolved"), (70, "firing")]


def test_what_was_told_survives_a_restart_and_what_nobody_loaded_is_not_missed() -> None:
    watch = Watch([0])
    watch.look(5)
    restarted = Watch([0], at(30), watch.outbox)
    restarted.look(31)
    assert restarted.told() == [(5, "firing")]
    restarted.arrivals.append(32)
    restarted.look(32)
    assert restarted.told() == [(5, "firing"), (32, "resolved")]

    after_a_night = Watch([0], since=at(600))
    after_a_night.look(604)
    assert after_a_night.told() == []
    after_a_night.look(605)
    assert after_a_night.told() == [(605, "firing")]


def test_a_feed_without_records_for_a_day_or_ever_is_let_be() -> None:
    never = Watch([])
    assert never.watched(60) == []
    over = Watch([0])
    over.look(25 * 60)
    assert over.told() == []


def test_feeds_that_name_no_minutes_or_no_topic_are_not_watched() -> None:
    missing: list[dict[str, Any]] = [{"silent_after_minutes": None}, {"silence_topic": ""}]
    without = [FEED.model_copy(update=each) for each in missing]
    assert watched_feeds([FEED, *without]) == [FEED]


def test_only_new_records_break_a_silence(tmp_path: Path) -> None:
    rows = [
        ("a", 1, 3, "q"),
        ("a", 2, 0, "q"),  # a batch without records
        ("a", 3, 4, "replay-1"),  # what had come before
        ("b", -1, 3, "q"),  # too long ago
    ]
    feeds, minutes, received, queries = zip(*rows, strict=True)
    ledger = pa.table(
        {
            "feed": feeds,
            "ingested_at": [at(minute) for minute in minutes],
            "received": received,
            "query_id": queries,
        }
    )
    assert last_records(tmp_path, T0) == {}
    write_deltalake(str(tmp_path / "warehouse" / "bronze.db" / "ledger"), ledger)
    assert last_records(tmp_path, T0) == {"a": at(1)}
