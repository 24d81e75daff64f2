"""Renews the lock files from requirements*.in: python scripts/lock.py [--upgrade].

What is locked stays as it is unless a requirement asks for something else; --upgrade takes
the newest of everything that the requirements allow. No file names where things come from.
"""

import re
import sys
import tempfile
from pathlib import Path

from setup import (
    ROOT,
    VENV,
    Jar,
    SetupError,
    ivy_retrieve,
    require_java,
    run,
    sha256_of,
    uv_environment,
)

HEADER = "# Renewed by `make lock`.\n"
JARS_HEADER = "# Delta's jars: group:artifact:version sha256 file. Renewed by `make lock`.\n"
DELTA_GROUPS = ("io.delta", "io.unitycatalog")  # pyspark brings whatever else they need


def lock_packages(name: str, options: list[str]) -> None:
    """Resolve NAME.in into NAME.lock, for every platform and Python from 3.11 on."""
    target = ROOT / f"{name}.lock"
    command = [
        *(str(VENV / "bin" / "uv"), "pip", "compile", "--universal", "--python-version", "3.11"),
        *("--generate-hashes", "--no-header", "--no-emit-index-url", "--no-emit-find-links"),
        *(*options, f"{name}.in", "--output-file", str(target)),
    ]
    run(f"locking {name}.in", command, uv_environment())
    target.write_text(HEADER + target.read_text().removeprefix(HEADER))


def lock_jars() -> None:
    """Resolve Delta's jars for the locked pyspark and delta-spark."""
    locked = dict(re.findall(r"(?m)^([\w-]+)==(\S+)", (ROOT / "requirements.lock").read_text()))
    spark = ".".join(locked["pyspark"].split(".")[:2])
    delta = Jar("io.delta", f"delta-spark_{spark}_2.13", locked["delta-spark"], "", "")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        ivy_retrieve(require_java(), [delta], work, transitive=True)
        lines = [
            f"{group}:{artifact}:{version} {sha256_of(path)} {artifact}-{version}.jar\n"
            for path in sorted(work.glob("*.jar"))
            for group, artifact, version in [path.stem.split("!")]
            if group in DELTA_GROUPS
        ]
    (ROOT / "jars.lock").write_text(JARS_HEADER + "".join(lines))


def main(options: list[str]) -> int:
    """Renew every lock file; return the exit code."""
    try:
        for name in ("requirements", "requirements-aws", "requirements-uv"):
            lock_packages(name, options)
        lock_jars()
    except SetupError as error:
        print(f"lock: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
