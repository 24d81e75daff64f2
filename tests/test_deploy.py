"""The container image and the service: what a build here would find, without an engine."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parent.parent
UNIT = PROJECT_ROOT / "deploy" / "multihop.service"


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """(instruction, its text) of the Dockerfile, in order."""
    text = re.sub(r"^\s*#.*\n", "", (PROJECT_ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def test_the_image_copies_what_is_in_the_repository(instructions: list[tuple[str, str]]) -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=PROJECT_ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name, text in instructions:
        if name == "COPY":
            *sources, _ = shlex.split(text)
            for source in sources:
                assert any(f"{file}/".startswith(f"{source}/") for file in tracked), source


def test_the_image_ignores_nothing_that_it_copies(instructions: list[tuple[str, str]]) -> None:
    ignore = (PROJECT_ROOT / ".dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in ignore if line.startswith("!")]
    for name, text in instructions:
        if name == "COPY":
            for source in shlex.split(text)[:-1]:
                assert any(Path(source).match(pattern) for pattern in kept) or any(
                    Path(source).is_relative_to(pattern) for pattern in kept
                ), source


def test_the_image_has_every_folder_that_dbt_reads(instructions: list[tuple[str, str]]) -> None:
    import yaml

    project = yaml.safe_load((PROJECT_ROOT / "dbt_project.yml").read_text())
    read = {
        path
        for key in ("model-paths", "macro-paths", "seed-paths", "test-paths")
        for path in project[key]
    }
    copied = {
        source for name, text in instructions if name == "COPY" for source in text.split()[:-1]
    }
    assert read | {"dbt_project.yml", "profiles", "loaders"} <= copied


def test_the_engine_runs_as_a_user_of_its_own_and_is_looked_after(
    instructions: list[tuple[str, str]],
) -> None:
    said = dict(instructions)
    assert said["USER"] not in {"root", "0"}
    assert "/healthz" in said["HEALTHCHECK"]
    assert said["CMD"] == '["up"]'
    last_user = max(at for at, (name, _) in enumerate(instructions) if name == "USER")
    assert all(name != "RUN" for name, _ in instructions[last_user:])


def test_no_file_names_a_registry() -> None:
    for path in ("Dockerfile", ".dockerignore", "deploy/multihop.service"):
        text = (PROJECT_ROOT / path).read_text()
        assert not re.search(r"https?://(?!127\.0\.0\.1)", text), path
        assert not re.search(r"^FROM [^\s/]+\.[^\s/]+/", text, re.MULTILINE), path


def test_the_service_is_hardened_and_lets_the_engine_finish() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    service = unit["Service"]
    assert service["ExecStart"].endswith("-m loaders up")
    assert service["User"] != "root"
    for setting in ("NoNewPrivileges", "PrivateTmp", "ProtectHome", "RestrictSUIDSGID"):
        assert service[setting] == "yes", setting
    assert service["ProtectSystem"] == "strict"
    assert service["KillMode"] == "mixed"  # the JVM must outlive the signal
    assert int(service["TimeoutStopSec"]) > 30
