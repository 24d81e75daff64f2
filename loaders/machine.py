"""What a process asks of its machine before it starts Spark.

Standard library only: dbt_guard/dbt_multihop.py loads this file by its path.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class MachineError(Exception):
    """Spark cannot work here; the message says why and how to mend it, in one line."""


def require_writable(root: Path) -> None:
    """Create the root where it is missing; raise MachineError where it cannot be written."""
    try:
        (root / "logs").mkdir(parents=True, exist_ok=True)
        probe = root / "logs" / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process may look too
    except OSError as error:
        raise MachineError(
            f"cannot write to LAKEHOUSE_ROOT {root}: {error.strerror}; "
            "set LAKEHOUSE_ROOT to a folder you may write to"
        ) from error


def require_java() -> None:
    """Raise MachineError where pyspark would find no Java to start, as under cron's short PATH."""
    home = os.environ.get("JAVA_HOME")
    if home and not shutil.which(Path(home) / "bin" / "java"):
        raise MachineError(
            f"JAVA_HOME is {home}, but there is no bin/java: set it to a Java 17 or newer runtime, "
            "or unset it"
        )
    if not home and not shutil.which("java"):
        raise MachineError(
            "no Java found: put the folder of `java` on PATH, or set JAVA_HOME to the runtime "
            "(under cron too, which knows neither)"
        )
