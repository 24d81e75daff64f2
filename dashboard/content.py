"""What a panel can show: figures, tables, a chart, and the states that it may be in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SPARK = (100, 26)  # width and height of a sparkline, in units of its own


@dataclass(frozen=True, slots=True)
class Link:
    """A cell that leads to another choice; query: what the URL then says, page: of which page."""

    text: str
    query: str
    page: str = ""


Cell = str | Link


@dataclass(frozen=True, slots=True)
class Table:
    """caption: what it lists. numbers: the places of columns of numbers.

    Raises:
        ValueError: a row has not as many cells as there are columns.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numbers: Sequence[int] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.caption}: {len(row)} cells in columns {self.columns}")


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure. verdict: bad or good where it lies outside of what is usual, else empty.

    usual and previous: a value, and by how much this one is above it. side: above or below.
    spark: points of an SVG polyline. query: the choice that it leads to.
    """

    label: str
    value: str
    about: str = ""
    usual: tuple[str, str] | None = None
    previous: tuple[str, str] | None = None
    verdict: str = ""
    side: str = ""
    spark: str = ""
    query: str | None = None
    is_current: bool = False


@dataclass(frozen=True, slots=True)
class Heat:
    """A table with shades: cells are (text, step or None, query)."""

    caption: str
    corner: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, int | None, str]]]]


@dataclass(slots=True)
class Content:
    """What a panel shows. state: ok, empty, stale or error; message: what people are told of it."""

    state: str = "ok"
    message: str = ""
    tiles: Sequence[Tile] = ()
    table: Table | None = None
    heat: Heat | None = None
    chart: Any = None
    chart_label: str = ""
    notes: Sequence[str] = field(default_factory=list)


def spark_points(values: Sequence[float]) -> str:
    """The points of an SVG polyline; empty of fewer than two values."""
    if len(values) < 2:
        return ""
    width, height = SPARK
    low, high = min(values), max(values)
    span = high - low or 1
    step = width / (len(values) - 1)
    return " ".join(
        f"{place * step:.1f},{height - 2 - (value - low) / span * (height - 4):.1f}"
        for place, value in enumerate(values)
    )
