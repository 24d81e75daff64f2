"""A dbt plugin: has those who write one root's tables take turns.

What would touch a root that an engine or another process has to itself is refused, in one line, as
is what could not work: no Java, a root that cannot be written. What goes through the engine waits
for its cycle, and the cycle for it.

dbt imports top-level modules named dbt_*; scripts/setup.py puts this folder on the environment's
path. Without it a second process ends in Derby's stack trace, or writes beside the engine.
"""

import importlib.util
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from dbt.flags import get_flags
from dbt.plugins.manager import dbtPlugin
from dbt_common.events.event_manager_client import add_callback_to_manager

# Commands that send no statement.
_HARMLESS = ("parse", "list", "clean", "deps", "debug", "init", "serve")
# Commands that write tables.
_WRITING = ("build", "clone", "retry", "run", "run-operation", "seed", "snapshot")
_PAUSE_S = 0.2


class EngineGuard(dbtPlugin):
    """Ends a command of a session of its own where another process has the root.

    One of the target `engine` waits until no other dbt writes the tables.
    """

    def initialize(self) -> None:
        """Raise where the command has to go through the engine; wait where it has to wait."""
        flags = get_flags()
        target = getattr(flags, "TARGET", None) or os.environ.get("DBT_TARGET", "local")
        # Without either flag it lists the tables first.
        is_offline = flags.WHICH in _HARMLESS or (
            flags.WHICH == "compile" and not (flags.INTROSPECT or flags.POPULATE_CACHE)
        )
        if self.project_name != "multihop" or is_offline:
            return
        root = Path(os.environ.get("LAKEHOUSE_ROOT") or "lakehouse").absolute()
        if target in ("local", "session"):
            machine, lock = _module("machine"), _module("lock")
            machine.require_java()
            machine.require_writable(root)
            lock.require_free(root)
            lock.require_metastore_free(root)
        elif target == "engine" and flags.WHICH in _WRITING and root.is_dir():
            _wait_for_turn(root)


def _wait_for_turn(root: Path) -> None:
    """Have the tables to oneself until the command has ended."""
    take_turn = _module("lock").take_turn
    turn = take_turn(root)
    if turn is None:
        said = "another dbt writes the tables, as a rule a cycle of the engine: waiting for its end"
        print(said, file=sys.stderr)
    while turn is None:
        time.sleep(_PAUSE_S)
        turn = take_turn(root)

    def on_event(event: Any) -> None:
        if event.info.name == "CommandCompleted":
            turn.close()

    add_callback_to_manager(on_event)


def _module(name: str) -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "loaders" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"multihop_{name}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plugins = [EngineGuard]
