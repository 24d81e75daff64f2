"""scripts/setup.py: what is missing or in the way is said in one line; what is done stays done."""

import ast
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SETUP = PROJECT / "scripts" / "setup.py"
LOCKS = ["requirements.lock", "requirements-aws.lock", "requirements-uv.lock"]


def write_command(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / name
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return command


def write_java(folder: Path, version: str) -> Path:
    return write_command(folder, "java", f"echo 'openjdk version \"{version}\" 2025-01-01' >&2")


@pytest.fixture
def project(tmp_path):
    """A project of its own, in which setup.py cannot reach ours."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(SETUP, tmp_path / "scripts")
    write_java(tmp_path / "bin", "17.0.15")
    return tmp_path


@pytest.fixture
def setup(project, monkeypatch):
    """The module, at home in that project, with the real environment (for its Ivy)."""
    # another test of this process may have set it for its own lakehouse
    monkeypatch.delenv("LAKEHOUSE_ROOT", raising=False)
    spec = importlib.util.spec_from_file_location("setup_under_test", project / "scripts/setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.VENV = PROJECT / ".venv"
    (project / "lakehouse" / "logs").mkdir(parents=True)
    return module


def check(project: Path, *, python=(sys.executable,), **environment: str):
    """Run `setup.py --check` with only the project's bin on PATH."""
    return subprocess.run(
        [*python, project / "scripts" / "setup.py", "--check"],
        env={"PATH": str(project / "bin"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_one_line(done, *words: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


# ---- checks


@pytest.mark.parametrize("version", ["17", "17.0.15", "21.0.8", "25-ea"])
def test_a_machine_with_java_17_or_newer_passes(project, version):
    write_java(project / "bin", version)
    done = check(project)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("version", "major"), [("1.8.0_402", "8"), ("11.0.2", "11")])
def test_java_that_is_too_old_is_named_with_its_version(project, version, major):
    java = write_java(project / "bin", version)
    assert_one_line(check(project), f"Java {major} ({java}) is too old", "install a Java 17")


def test_missing_java_says_how_to_install_one(project):
    (project / "bin" / "java").unlink()
    assert_one_line(check(project), "no Java found", "install a Java 17")


def test_java_that_does_not_run_is_no_java(project):
    write_command(project / "bin", "java", "echo 'Unable to locate a Java Runtime.' >&2; exit 1")
    assert_one_line(check(project), "does not run", "Unable to locate a Java Runtime.")


def test_java_home_without_java_is_named(project):
    done = check(project, JAVA_HOME="/nowhere/jdk")
    assert_one_line(done, "JAVA_HOME is /nowhere/jdk", "unset it")


def test_java_home_comes_before_path(project):
    write_java(project / "bin", "11.0.2")
    write_java(project / "jdk" / "bin", "17.0.15")
    assert check(project, JAVA_HOME=str(project / "jdk")).returncode == 0


def test_a_root_that_cannot_be_written_is_named(project):
    (project / "file").write_text("in the way")
    root = project / "file" / "lakehouse"
    done = check(project, LAKEHOUSE_ROOT=str(root))
    assert_one_line(done, f"cannot write to LAKEHOUSE_ROOT {root}", "set LAKEHOUSE_ROOT")


def test_the_root_is_created(project):
    check(project, LAKEHOUSE_ROOT=str(project / "deep" / "lakehouse"))
    assert (project / "deep" / "lakehouse").is_dir()


PRETEND_36 = """
import runpy, sys
sys.version_info = (3, 6, 15)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
AS_PYTHON_36 = (sys.executable, "-c", PRETEND_36)


def test_python_that_is_too_old_says_so(project):
    assert_one_line(check(project, python=AS_PYTHON_36), "Python 3.6 is too old", "Python 3.11")


def test_an_old_python_hands_over_to_a_newer_one_on_path(project):
    write_command(project / "bin", "python3.12", f'exec {sys.executable} "$@"')
    assert check(project, python=AS_PYTHON_36).returncode == 0


def test_an_old_python_does_not_hand_over_to_one_that_does_not_run(project):
    write_command(project / "bin", "python3.13", "exit 127")
    assert_one_line(check(project, python=AS_PYTHON_36), "Python 3.6 is too old")


def test_an_old_python_can_read_the_script():
    ast.parse(SETUP.read_text(), feature_version=(3, 6))
    assert "from __future__ import annotations" not in SETUP.read_text()  # Python 3.7


def test_make_without_python_says_so(tmp_path):
    done = subprocess.run(
        [shutil.which("make"), "-C", PROJECT, "setup"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == ("setup: no python3 found: install Python 3.11 or newer")


# ---- steps


def test_a_step_is_done_once_and_again_when_its_inputs_change(setup, tmp_path, capsys):
    stamp = tmp_path / "stamp"
    for key, expected in [("a", True), ("a", False), ("b", True), ("b", False)]:
        with setup.step("work", stamp, key) as needed:
            assert needed is expected
    assert capsys.readouterr().out.count("work done") == 2


def test_a_step_that_fails_is_needed_again(setup, tmp_path):
    stamp = tmp_path / "stamp"
    with pytest.raises(ValueError, match="broken"), setup.step("work", stamp, "a"):
        raise ValueError("broken")
    with setup.step("work", stamp, "a") as needed:
        assert needed


def test_a_step_is_needed_when_its_product_is_gone(setup, tmp_path):
    product = tmp_path / "product"
    for _ in range(2):
        with setup.step("work", tmp_path / "stamp", "a", product) as needed:
            assert needed
    product.touch()
    with setup.step("work", tmp_path / "stamp", "a", product) as needed:
        assert not needed


def test_pip_settings_reach_uv_and_the_callers_own_win(setup, tmp_path, monkeypatch):
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://a.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_CERT", "/etc/ours.pem")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/mine.pem")
    environment = setup.uv_environment()
    assert environment["UV_DEFAULT_INDEX"] == "https://a.example/simple"
    assert environment["SSL_CERT_FILE"] == "/etc/mine.pem"


# ---- Delta's jars


CONTENT = b"the jar as it was locked"


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A Maven repository in a folder, with one jar that depends on another that is missing."""
    folder = tmp_path / "mirror" / "org" / "example" / "a" / "1.0"
    folder.mkdir(parents=True)
    (folder / "a-1.0.jar").write_bytes(CONTENT)
    (folder / "a-1.0.pom").write_text(
        "<project><modelVersion>4.0.0</modelVersion>"
        "<groupId>org.example</groupId><artifactId>a</artifactId><version>1.0</version>"
        "<dependencies><dependency><groupId>org.example</groupId><artifactId>missing</artifactId>"
        "<version>1.0</version></dependency></dependencies></project>"
    )
    monkeypatch.setenv("MAVEN_MIRROR", (tmp_path / "mirror").as_uri())
    return folder


def lock_jar(setup, content: bytes) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    (setup.ROOT / "jars.lock").write_text(f"# a comment\norg.example:a:1.0 {sha256} a-1.0.jar\n")


def test_jars_hold_exactly_what_is_locked(setup, mirror):
    lock_jar(setup, CONTENT)
    setup.JARS.mkdir()
    (setup.JARS / "a-0.9.jar").write_text("of an older lock")
    setup.fetch_jars(setup.require_java())
    assert {path.name: path.read_bytes() for path in setup.JARS.iterdir()} == {"a-1.0.jar": CONTENT}


def test_a_jar_that_is_there_is_not_fetched_again(setup, mirror):
    lock_jar(setup, CONTENT)
    setup.fetch_jars(setup.require_java())
    setup.fetch_jars("/no/java/is/needed")


def test_a_jar_other_than_the_locked_one_is_refused(setup, mirror):
    lock_jar(setup, b"something else")
    with pytest.raises(setup.SetupError, match=r"a-1\.0\.jar is not the file that jars\.lock"):
        setup.fetch_jars(setup.require_java())
    assert list(setup.JARS.iterdir()) == []


def test_a_jar_that_was_damaged_is_fetched_again(setup, mirror):
    lock_jar(setup, CONTENT)
    setup.JARS.mkdir()
    (setup.JARS / "a-1.0.jar").write_bytes(CONTENT[:5])
    setup.fetch_jars(setup.require_java())
    assert (setup.JARS / "a-1.0.jar").read_bytes() == CONTENT


def test_a_half_filled_local_maven_cache_does_not_matter(setup, mirror, tmp_path, monkeypatch):
    cached = tmp_path / ".m2" / "repository" / "org" / "example" / "a" / "1.0"
    cached.mkdir(parents=True)
    shutil.copy(mirror / "a-1.0.pom", cached)
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", f"-Duser.home={tmp_path}")
    lock_jar(setup, CONTENT)
    setup.fetch_jars(setup.require_java())
    assert (setup.JARS / "a-1.0.jar").read_bytes() == CONTENT


def test_a_failed_fetch_is_tried_twice_more_and_then_reported(setup, tmp_path):
    calls = tmp_path / "calls"
    java = write_command(tmp_path, "java", f"echo call >> {calls}; echo 'ERROR: no route'; exit 1")
    lock_jar(setup, CONTENT)
    with pytest.raises(setup.SetupError, match="ERROR: no route") as failure:
        setup.fetch_jars(str(java))
    assert calls.read_text() == "call\n" * 3
    assert "\n" not in str(failure.value)
    assert "MAVEN_MIRROR" in str(failure.value)


# ---- lock files


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_version_and_a_hash(lock):
    packages = re.split(r"(?m)^(?=[a-z])", (PROJECT / lock).read_text())[1:]
    assert packages
    assert [
        package for package in packages if not re.match(r"\S+==\S+.*\n\s+--hash=", package)
    ] == []


@pytest.mark.parametrize("lock", [*LOCKS, "jars.lock"])
def test_no_lock_names_a_host(lock):
    assert "://" not in (PROJECT / lock).read_text()


def test_the_locked_jars_fit_the_locked_packages(setup):
    locked = dict(re.findall(r"(?m)^([\w-]+)==(\S+)", (PROJECT / "requirements.lock").read_text()))
    shutil.copy(PROJECT / "jars.lock", setup.ROOT)
    versions = {jar.artifact: jar.version for jar in setup.read_jars_lock()}
    spark = ".".join(locked["pyspark"].split(".")[:2])
    assert versions[f"delta-spark_{spark}_2.13"] == locked["delta-spark"]
    assert versions["delta-storage"] == locked["delta-spark"]


def test_nothing_is_left_to_do_after_setup():
    """The suite runs after `make setup`, so another one has only its checks to do."""
    done = subprocess.run(
        [sys.executable, SETUP],
        env={**os.environ, "MAVEN_MIRROR": "http://127.0.0.1:9", "UV_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert re.fullmatch(r"set up \([\d.]+ s\)\n", done.stdout)
