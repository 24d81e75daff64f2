"""A dbt plugin: refuses, in one line, what would touch a root that an engine has to itself.

dbt imports top-level modules named dbt_*; scripts/setup.py puts this folder on the environment's
path. Without it a second process ends in Derby's stack trace, or writes beside the engine.
"""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

from dbt.flags import get_flags
from dbt.plugins.manager import dbtPlugin

# Commands that send no statement.
_HARMLESS = ("parse", "list", "clean", "deps", "debug", "init", "serve")


class EngineGuard(dbtPlugin):
    """Ends a command of the target `local` while another process's engine runs."""

    def initialize(self) -> None:
        """Raise where the command has to go through the engine."""
        flags = get_flags()
        target = getattr(flags, "TARGET", None) or os.environ.get("DBT_TARGET", "local")
        # Without either flag it lists the tables first.
        is_offline = flags.WHICH in _HARMLESS or (
            flags.WHICH == "compile" and not (flags.INTROSPECT or flags.POPULATE_CACHE)
        )
        if self.project_name != "multihop" or target != "local" or is_offline:
            return
        root = Path(os.environ.get("LAKEHOUSE_ROOT") or "lakehouse").absolute()
        _lock_module().require_free(root)


def _lock_module() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "loaders" / "lock.py"
    spec = importlib.util.spec_from_file_location("multihop_lock", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plugins = [EngineGuard]
