"""What panels ask with, and what several of them answer alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dashboard.choice import FILTERS, Choice
from dashboard.content import Content, Link
from dashboard.metrics import PLAYBACK
from dashboard.schemes import SCHEMES, Scheme

if TYPE_CHECKING:
    from datetime import datetime

    from dashboard.content import Cell
    from dashboard.lakehouse import Lakehouse, Row


class Question:
    """What a panel asks with: the lakehouse, the choice, and the scheme to draw in."""

    def __init__(self, lakehouse: Lakehouse, choice: Choice, scheme: str = "light") -> None:
        self.choice = choice
        self.scheme: Scheme = SCHEMES[scheme]
        self._lakehouse = lakehouse
        self._scheme_name = scheme

    def instead(self, choice: Choice) -> Question:
        """The same with another choice."""
        return Question(self._lakehouse, choice, self._scheme_name)

    def newest(self) -> datetime | None:
        """When the newest player event arrived; None where there is none.

        Raises:
            MissingTable: gold.noc_playback is not there.
        """
        return self._lakehouse.ask("newest", {})[0]["newest_arrival_at"]

    def of_interval(self, query: str) -> list[Row]:
        """The rows of a query over the chosen interval."""
        return self._lakehouse.ask(query, self.variables())

    def variables(self) -> dict[str, Any]:
        """What getvariable() gives."""
        return self.choice.variables(self.newest())

    def of_last_days(self, query: str, days: int) -> list[Row]:
        """The rows of a query of games over the chosen interval, else over the newest days."""
        newest = self._lakehouse.ask("game_newest", {})[0]["newest_arrival_at"]
        choice = self.choice
        if newest and choice.start is None:
            end = newest.replace(second=0, microsecond=0)
            choice = replace(choice, start=end - timedelta(days=days), end=end)
        variables = choice.variables(newest) | {"game": choice.game}
        return self._lakehouse.ask(query, variables)

    def of_choice(self, query: str) -> list[Row]:
        """The rows of a query that asks for no interval."""
        choice = self.choice
        return self._lakehouse.ask(
            query, {"video_id": choice.video, "ticker": choice.ticker, "game": choice.game}
        )


def nothing_of(question: Question) -> Content:
    """What to say where a query has no rows."""
    chosen = question.choice.chosen()
    if chosen:
        what = ", ".join(f"{FILTERS[name][1]} {value}" for name, value in chosen.items())
        return Content("empty", f"Nothing in this interval of {what}.")
    return Content("empty", "Nothing in this interval.")


def cohort_link(question: Question, kind: str, cohort: str, metric: str | None = None) -> Cell:
    """A cell that leads to the choice of a cohort, and of a metric if it is one of playback."""
    name = next((name for name, (column, _) in FILTERS.items() if column == kind), None)
    changes: dict[str, Any] = {"metric": metric} if metric in PLAYBACK else {}
    if kind == "app_version, device_type":
        version, _, device = cohort.partition(", ")
        return Link(cohort, question.choice.query(version=version, device=device, **changes))
    if name is None:
        return Link("all viewers", question.choice.query(**changes)) if changes else "all viewers"
    return Link(cohort, question.choice.query(**{name: cohort}, **changes))
