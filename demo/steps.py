"""Showing work: a live line on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

console = Console(highlight=False, soft_wrap=True)


class Step:
    """A step under way; set `outcome` to what came of it."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.outcome = "done"
        self._progress = progress
        self._task = progress.add_task(title, total=None)

    def advance(self, done: int, total: int, what: str = "") -> None:
        """Say how far it is: `done` of `total`, now at `what`."""
        self._progress.update(self._task, completed=done, total=total, what=what)

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self._progress.console.print(f"    {text}", style="dim", markup=False)


@contextmanager
def step(title: str) -> Iterator[Step]:
    """Announce a step, show its progress, and say at its end what came of it and how long."""
    started = time.monotonic()
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", style="dim"),
    )
    if not console.is_terminal:
        console.print(f"  {title} ...")
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        current = Step(progress, title)
        current.advance(0, None)
        yield current
    seconds = time.monotonic() - started
    console.print(f"  {title}: {current.outcome} ({seconds:.1f} s)", markup=False)
