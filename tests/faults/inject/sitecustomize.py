"""Python imports this at its start where its folder is on PYTHONPATH: in a loader under test.

With KILL_AT="step n" the whole loader is killed with SIGKILL, its JVM and its workers too, when
a process of it comes to the step for the n-th time. The loader itself knows nothing of this.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import Any

# Messages of a killed loader come back when this has passed.
VISIBILITY_SECONDS = 5
BETWEEN_TABLES = "between the commits of tables"


def _kill() -> None:
    # A worker has a process group of its own, and dies by itself when its JVM has gone.
    os.killpg(int(os.environ["LOADER_GROUP"]), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


class _Countdown:
    """Kills when the step is reached for the n-th time in this process."""

    def __init__(self, kill_at: str) -> None:
        self.step, number = kill_at.rsplit(maxsplit=1)
        self.left = int(number)
        self.within = ""  # what the process is doing, where that is part of a step's name

    def reach(self, step: str) -> None:
        if self.within + step == self.step:
            self.left -= 1
            if self.left == 0:
                _kill()


_countdown = _Countdown(os.environ.get("KILL_AT", "never 1"))


def _received(inner: Any, self: Any) -> Any:
    messages = inner(self)
    if messages:
        _countdown.reach("messages received")
    return messages


def _acknowledged(inner: Any, self: Any, state: Any) -> None:
    some = bool(state.finished_messages())
    if some:
        _countdown.reach("before the delete of messages")
    inner(self, state)
    if some:
        _countdown.reach("after the delete of messages")


def _planned(kind: str) -> Callable[..., Any]:
    def around(inner: Any, self: Any, start: dict, limit: Any) -> dict:
        end = inner(self, start, limit)
        if end != start:
            _countdown.reach(f"{kind} planned")
        return end

    return around


def _logged(kind: str) -> Callable[..., Any]:
    def around(inner: Any, self: Any, start: dict, end: dict) -> Any:
        _countdown.reach(f"offset of {kind} logged")
        return inner(self, start, end)

    return around


def _half_read(kind: str) -> Callable[..., Any]:
    def around(inner: Any, self: Any, *arguments: Any) -> Iterator[Any]:
        for batch in inner(self, *arguments):
            _countdown.reach(f"{kind} half read")
            yield batch

    return around


def _appended(inner: Any, rows: Any, name: str, **options: Any) -> None:
    table = name.removeprefix("bronze.")
    if not table.startswith("game_"):
        _around(f"{{}} the commit of {table}")(inner, rows, name, **options)
    elif _countdown.step.endswith(BETWEEN_TABLES):
        with _one_table:  # else none is surely committed while another is not
            if _committed["tables"]:
                _countdown.reach(BETWEEN_TABLES)
            inner(rows, name, **options)
            _committed["tables"] += 1
    else:
        _around("{} the commit of a table")(inner, rows, name, **options)


# Of the batch that is being appended.
_one_table, _committed = Lock(), Counter()


def _routed(inner: Any, *arguments: Any) -> None:
    _committed.clear()
    inner(*arguments)


def _around(step: str) -> Callable[..., Any]:
    """The steps before and after a deed; `{}` stands for the word."""

    def around(inner: Any, *arguments: Any, **named: Any) -> Any:
        _countdown.reach(step.format("before"))
        done = inner(*arguments, **named)
        _countdown.reach(step.format("after"))
        return done

    return around


def _replayed(inner: Any, *arguments: Any) -> Any:
    _countdown.within = "replay: "
    _countdown.reach("after its plan stands")
    try:
        return inner(*arguments)
    finally:
        _countdown.within = ""


def _staged(inner: Any, *arguments: Any) -> Any:
    _countdown.reach("replay: before its plan stands")
    return inner(*arguments)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Put `around` about a function or method; it gets the inner one first."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def outer(*arguments: Any, **named: Any) -> Any:
        return around(inner, *arguments, **named)

    setattr(owner, name, outer)


def _patch_bronze(module: Any) -> None:
    _wrap(module, "append", _appended)


def _patch_destinations(module: Any) -> None:
    _wrap(module.GameTables, "append", _routed)


def _patch_discovery(module: Any) -> None:
    module.VISIBILITY_SECONDS = VISIBILITY_SECONDS
    _wrap(module.Notifications, "_receive", _received)
    _wrap(module.Notifications, "acknowledge", _acknowledged)


def _patch_access(module: Any) -> None:
    _wrap(module, "delete_object", _around("{} the delete of a copied object"))


def _patch_state(module: Any) -> None:
    _wrap(module.ObjectState, "forget_loaded", _around("{} moved objects are noted"))


def _patch_replay(module: Any) -> None:
    _wrap(module, "_apply_stage", _staged)
    _wrap(module, "_apply", _replayed)
    _wrap(module, "_delete", _around("{} the delete from quarantine"))
    module.shutil = SimpleNamespace(rmtree=module.shutil.rmtree)
    _wrap(module.shutil, "rmtree", _around("{} its folder goes"))


def _patch_objects(module: Any) -> None:
    _wrap(module.ObjectStreamReader, "latestOffset", _planned("objects"))
    _wrap(module.ObjectStreamReader, "partitions", _logged("objects"))
    _wrap(module.ObjectStreamReader, "read", _half_read("objects"))


def _patch_kinesis(module: Any) -> None:
    _wrap(module.KinesisReader, "latestOffset", _planned("shards"))
    _wrap(module.KinesisReader, "partitions", _logged("shards"))
    _wrap(module.KinesisReader, "read", _half_read("shards"))


_PATCHES = {
    "loaders.bronze": _patch_bronze,
    "loaders.destinations": _patch_destinations,
    "loaders.replay": _patch_replay,
    "loaders.sources.discovery": _patch_discovery,
    "loaders.sources.object_state": _patch_state,
    "loaders.sources.objects": _patch_access,
    "loaders.sources.object_stream": _patch_objects,
    "loaders.sources.kinesis": _patch_kinesis,
}


class _PatchingFinder(MetaPathFinder):
    """Patches a module when it is imported: a worker must not be late for its JVM."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _PATCHES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_patch(module: ModuleType) -> None:
            load(module)
            _PATCHES[name](module)

        spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec


if "KILL_AT" in os.environ:
    sys.meta_path.insert(0, _PatchingFinder())
