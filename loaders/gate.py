"""Lets many pass side by side, or one alone; or one after the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """For the threads of one process. Once somebody wants it alone, nobody else enters."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Be inside, with others; waits while somebody is, or wants to be, alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside alone; waits until all others have left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


class Turns:
    """A lock that is had in the order in which it was asked for.

    Of Python's own, who lets go of it and asks again has it before those who wait.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._asked: deque[object] = deque()

    def __enter__(self) -> None:
        turn = object()
        with self._changed:
            self._asked.append(turn)
            try:
                self._changed.wait_for(lambda: self._asked[0] is turn)
            except BaseException:
                self._asked.remove(turn)
                self._changed.notify_all()
                raise

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._asked.popleft()
            self._changed.notify_all()
