"""A small project of streaming models (tests/pipeline/live), with this project's macros."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tiny_project import Outcome, TinyProject

from loaders.live import LiveBatch, LiveModel, LiveNotice, live_models, start_live, stop_live

COLUMNS = "ts timestamp, type string, player string, arrived timestamp"
T0 = datetime(2026, 1, 1, tzinfo=UTC)

MODELS = ("active_players", "error_share")

# Compiling depends on the variables alone.
_compiled: dict[tuple, dict[str, LiveModel]] = {}

Event = tuple[datetime | None, str, str, datetime]


def event(seconds: float | None, kind: str = "STREAM", player: str = "p", late: float = 0) -> Event:
    """An event at T0 + seconds, which arrives `late` seconds after it."""
    at = None if seconds is None else T0 + timedelta(seconds=seconds)
    return at, kind, player, (at or T0) + timedelta(seconds=late)


@dataclass
class LiveProject:
    """The project in a folder, and the streams that run of it."""

    spark: Any
    project: TinyProject
    reports: list[LiveBatch] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def create_source(self) -> None:
        """bronze.events, without rows."""
        self.spark.sql(f"create table bronze.events ({COLUMNS}) using delta")

    def deliver(self, events: Iterable[Event]) -> None:
        """One commit to bronze.events."""
        frame = self.spark.createDataFrame(list(events), COLUMNS)
        frame.coalesce(1).write.format("delta").mode("append").saveAsTable("bronze.events")

    def run(self, *arguments: str) -> dict[str, str]:
        """dbt run of the models and of the view; what it says of each model."""
        outcome = self._dbt("run", *arguments)
        return {name: outcome.message[name] for name in MODELS}

    def models(self, **variables: str) -> dict[str, LiveModel]:
        """The streaming models as dbt compiles them."""
        key = (self.project.folder, *variables.items())
        if key not in _compiled:
            self._dbt("compile", "--vars", json.dumps(variables))
            manifest = json.loads((self.project.folder / "target" / "manifest.json").read_text())
            _compiled[key] = {model.name: model for model in live_models(manifest)}
        return _compiled[key]

    def _dbt(self, *arguments: str) -> Outcome:
        outcome = self.project.dbt(*arguments)
        assert outcome.success, outcome.error or outcome.message
        return outcome

    @contextmanager
    def streaming(self, model: LiveModel, report: Callable[[Any], None] | None = None) -> Any:
        """The model's stream while the context lasts; yields a function that waits for it."""

        def note(said: LiveBatch | LiveNotice) -> None:
            if isinstance(said, LiveNotice):
                self.notices.append(str(said))
            else:
                self.reports.append(said)
            if report is not None:
                report(said)

        query = start_live(self.spark, model, note)
        try:
            yield query.processAllAvailable
        finally:
            stop_live(self.spark, model, query)

    def rows(self, query: str) -> set[tuple]:
        """A query's rows; the test fails when one comes twice."""
        rows = [
            tuple(v.astimezone(UTC) if isinstance(v, datetime) else v for v in row)
            for row in self.spark.sql(query).collect()
        ]
        assert len(rows) == len(set(rows)), rows
        return set(rows)

    def version(self, table: str) -> int:
        return self.spark.sql(f"describe history {table} limit 1").first()["version"]


def by_hand(events: Iterable[Event]) -> dict[str, set[tuple]]:
    """What the tables should say, slowly: who streamed in 120 s every 60 s; errors by minute."""
    players: dict[datetime, list[str]] = {}
    kinds: dict[datetime, list[str]] = {}
    for at, kind, player, arrived in events:
        if at is None or at > arrived:
            continue
        minute = at.replace(second=0, microsecond=0)
        kinds.setdefault(minute, []).append(kind.upper())
        if kind == "STREAM":
            for start in (minute - timedelta(minutes=1), minute):
                players.setdefault(start, []).append(player)
    return {
        "active_players": {(at, len(set(who)), len(who)) for at, who in players.items()},
        "error_share": {(at, len(each), each.count("ERROR")) for at, each in kinds.items()},
    }
