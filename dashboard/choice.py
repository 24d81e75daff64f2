"""What a page shows: interval, filters, metric, as its URL says. Pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dashboard.metrics import PLAYBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERVALS = {
    "30m": ("30 minutes", timedelta(minutes=30)),
    "1h": ("1 hour", timedelta(hours=1)),
    "3h": ("3 hours", timedelta(hours=3)),
    "6h": ("6 hours", timedelta(hours=6)),
    "24h": ("24 hours", timedelta(hours=24)),
}
LONGEST = timedelta(days=7)
WINDOW = timedelta(minutes=5)
# By name in the URL: the column of noc_playback and what a person calls it.
FILTERS = {
    "country": ("country", "Country"),
    "isp": ("isp", "ISP"),
    "edge": ("edge", "Edge"),
    "device": ("device_type", "Device"),
    "version": ("app_version", "Version"),
    "video": ("video_id", "Video"),
}
LONGEST_VALUE = 200
USUAL_INTERVAL = "1h"
USUAL_METRIC = "concurrent_plays"


class BadChoice(Exception):
    """A URL that asks for what there is not; the message says how to mend it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One page's choice.

    interval: a key of INTERVALS, up to the newest data; or start and end (UTC, whole minutes).
    """

    interval: str = USUAL_INTERVAL
    start: datetime | None = None
    end: datetime | None = None
    country: str | None = None
    isp: str | None = None
    edge: str | None = None
    device: str | None = None
    version: str | None = None
    video: str | None = None
    metric: str = USUAL_METRIC
    viewer: str | None = None
    ticker: str | None = None
    game: str | None = None

    def chosen(self) -> dict[str, str]:
        """The filters that are set, by name."""
        return {name: value for name in FILTERS if (value := getattr(self, name)) is not None}

    def cohort(self, *names: str) -> tuple[str, str] | tuple[None, None]:
        """Kind and name of the cohort in noc_baseline, of filters of these names alone.

        (None, None) where more are set: only of a version on a device is it known what is usual.
        """
        chosen = {name: value for name, value in self.chosen().items() if name in names}
        match list(chosen.items()):
            case []:
                return "all", "all"
            case [(name, value)]:
                return FILTERS[name][0], value
            case [("device", device), ("version", version)]:
                return "app_version, device_type", f"{version}, {device}"
            case _:
                return None, None

    def variables(self, newest_arrival_at: datetime | None) -> dict[str, Any]:
        """What the files of dashboard/sql take by getvariable().

        Args:
            newest_arrival_at: when the newest event arrived: the minute before has ended.
        """
        end = self.end or newest_arrival_at or datetime.now(UTC)
        end = end.replace(second=0, microsecond=0)
        length = INTERVALS[self.interval][1]
        start = self.start or end - length
        kind, cohort = self.cohort(*FILTERS)
        cdn_kind, cdn_cohort = self.cohort("isp", "edge")
        return {
            "from_minute": start,
            "to_minute": end,
            "windows": (end - start) / WINDOW,
            "metric": self.metric,
            "cohort_kind": kind,
            "cohort": cohort,
            "cdn_cohort_kind": cdn_kind,
            "cdn_cohort": cdn_cohort,
            "viewer": self.viewer,
            "ticker": self.ticker,
            **{column: getattr(self, name) for name, (column, _) in FILTERS.items()},
        }

    def query(self, **changes: Any) -> str:
        """The URL's query of this choice with changes; defaults are left out."""
        changed = replace(self, **changes)
        pairs = {}
        for field in fields(changed):
            value = getattr(changed, field.name)
            if value != field.default:
                name = {"start": "from", "end": "to"}.get(field.name, field.name)
                pairs[name] = f"{value:%Y-%m-%dT%H:%M}" if isinstance(value, datetime) else value
        return urlencode(pairs)


def read_choice(query: Mapping[str, str]) -> Choice:
    """The choice that a URL's query names. An empty value is none; other names are left alone.

    Raises:
        BadChoice: an unknown interval or metric, a time that is none, a value that is too long.
    """
    given = {name: value.strip() for name, value in query.items() if value.strip()}
    names = (*FILTERS, "viewer", "ticker", "game")
    for name in names:
        value = given.get(name, "")
        if len(value) > LONGEST_VALUE or not value.isprintable():
            raise BadChoice(f"{name}: a value has at most {LONGEST_VALUE} characters of text")
    interval = given.get("interval", USUAL_INTERVAL)
    if interval not in INTERVALS:
        raise BadChoice(f"interval {interval[:20]!r}: choose one of {', '.join(INTERVALS)}")
    metric = given.get("metric", USUAL_METRIC)
    if metric not in PLAYBACK:
        raise BadChoice(f"metric {metric[:40]!r}: choose one of {', '.join(PLAYBACK)}")
    start, end = _time("from", given), _time("to", given)
    if (start is None) != (end is None):
        raise BadChoice("from and to go together: give both, or neither")
    if start and end and not WINDOW <= end - start <= LONGEST:
        raise BadChoice("from must be five minutes to seven days before to")
    return Choice(interval, start, end, metric=metric, **{name: given.get(name) for name in names})


def _time(name: str, given: Mapping[str, str]) -> datetime | None:
    text = given.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d", text):
        raise BadChoice(f"{name} {text[:40]!r}: write a time as 2026-05-30T18:00, UTC")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise BadChoice(f"{name} {text[:40]!r}: {error}") from None
