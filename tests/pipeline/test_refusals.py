"""A plain dbt, or loader, that cannot work is told so in one line, before it starts Spark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from loaders.lock import require_metastore_free

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def dbt_run(root: Path, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"LAKEHOUSE_ROOT": root, "DBT_TARGET_PATH": tmp_path / "t", "DBT_LOG_PATH": tmp_path}
    own |= environment
    return subprocess.run(
        [Path(sys.executable).with_name("dbt"), "run", "--profiles-dir", "profiles"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **{name: str(path) for name, path in own.items()}},
        capture_output=True,
        text=True,
        check=False,
    )


def said_last(run: subprocess.CompletedProcess[str]) -> str:
    """What dbt ended with, without its clock."""
    assert run.returncode == 2
    assert run.stderr == ""
    assert "Traceback" not in run.stdout
    return run.stdout.strip().rsplit("\n", 1)[-1].strip()


def test_a_metastore_that_another_process_has_open_is_named(spark, root, tmp_path):
    require_metastore_free(root)  # it is the process's own JVM that has it
    assert said_last(dbt_run(root, tmp_path)) == (
        f"the metastore under {root} is in use by another process: "
        "wait for it to end, or use `dbt … --target engine`"
    )


def test_a_root_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    root = tmp_path / "file" / "root"
    assert said_last(dbt_run(root, tmp_path)) == (
        f"cannot write to LAKEHOUSE_ROOT {root}: Not a directory; "
        "set LAKEHOUSE_ROOT to a folder you may write to"
    )


def test_java_that_is_not_found_is_named(tmp_path):
    assert said_last(dbt_run(tmp_path / "root", tmp_path, JAVA_HOME="/nowhere/jdk")) == (
        "JAVA_HOME is /nowhere/jdk, but there is no bin/java: "
        "set it to a Java 17 or newer runtime, or unset it"
    )
    assert not (tmp_path / "root").exists()
