"""One engine a root: who holds it, what others are told, and that no crash leaves it held."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import dbt_multihop
import pytest

from loaders import lock
from loaders.lock import (
    Holder,
    RootInUseError,
    holder,
    locked,
    require_free,
    require_metastore_free,
    take_turn,
)

PROJECT_ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from loaders.lock import locked
with locked(Path(sys.argv[1]), 10000, 8088):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """A process that has the root; ended by the test or after it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_root_that_nobody_has_is_free(tmp_path):
    assert holder(tmp_path) is None
    require_free(tmp_path)


def test_the_holder_is_named_and_free_for_itself(tmp_path):
    with locked(tmp_path, 1, 2):
        assert holder(tmp_path) == Holder(os.getpid(), 1, 2)
        require_free(tmp_path)
    assert holder(tmp_path) is None


def test_another_process_is_told_who_has_the_root_and_what_to_do(tmp_path, other_process):
    with pytest.raises(RootInUseError) as refused:
        require_free(tmp_path)
    said = str(refused.value)
    assert f"pid {other_process.pid}" in said
    assert "http://127.0.0.1:8088/status" in said
    assert "--target engine" in said
    assert "\n" not in said


def test_a_second_engine_is_refused(tmp_path, other_process):
    with pytest.raises(RootInUseError, match=f"pid {other_process.pid}"), locked(tmp_path, 1, 2):
        pytest.fail("two have the root")
    assert holder(tmp_path).pid == other_process.pid


def test_a_port_that_is_not_the_default_is_named(tmp_path):
    with locked(tmp_path, 1, 2):
        from loaders.lock import refusal

        assert "THRIFT_PORT=1 dbt … --target engine" in refusal(tmp_path, holder(tmp_path))


def test_a_killed_holder_leaves_the_root_free(tmp_path, other_process):
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    assert holder(tmp_path) is None
    with locked(tmp_path, 3, 4):
        assert holder(tmp_path) == Holder(os.getpid(), 3, 4)


@pytest.fixture
def leave_behind(tmp_path):
    """Starts a process under a name, as the JVM that a killed engine noted."""
    started = []

    def leave(name):
        program = tmp_path / name
        program.symlink_to(sys.executable)
        process = subprocess.Popen(
            [program, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        process.stdout.readline()  # it has its name by now
        left_behind = Holder(os.getpid(), 1, 2, process.pid)
        (tmp_path / "engine.lock").write_text(json.dumps(asdict(left_behind)))
        return process

    yield leave
    for process in started:
        process.kill()
        process.communicate()


def test_the_jvm_of_a_killed_engine_is_waited_for(tmp_path, leave_behind):
    jvm = leave_behind("java")
    ended = threading.Thread(target=jvm.communicate, args=(b"\n",))
    ended.start()
    with locked(tmp_path, 1, 2) as note_jvm:
        with pytest.raises(ProcessLookupError):
            os.kill(jvm.pid, 0)
        note_jvm(77)
        assert holder(tmp_path).jvm_pid == 77
    ended.join()


def test_make_up_beside_an_engine_names_it_and_starts_nothing(tmp_path, other_process):
    done = subprocess.run(
        [sys.executable, "-m", "demo.up"],
        cwd=PROJECT_ROOT,
        env=os.environ | {"LAKEHOUSE_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(
        f"up: an engine is running on {tmp_path} (pid {other_process.pid}"
    )
    assert len(done.stderr.splitlines()) == 1


def test_a_jvm_that_does_not_end_keeps_the_root(tmp_path, leave_behind, monkeypatch):
    jvm = leave_behind("java")
    monkeypatch.setattr(lock, "_JVM_TIMEOUT_S", 0)
    with pytest.raises(RootInUseError, match=f"kill -9 {jvm.pid}"), locked(tmp_path, 1, 2):
        pass


def test_another_program_by_the_number_of_that_jvm_is_not_waited_for(tmp_path, leave_behind):
    other = leave_behind("other")
    with locked(tmp_path, 1, 2):
        assert other.poll() is None


OPEN_METASTORE = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)  # as Java does for Derby
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_metastore_that_is_kept_open_is_refused_and_the_end_of_one_is_waited_for(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(lock, "_runs_spark", lambda: False)
    require_metastore_free(tmp_path)  # there is none yet
    file = tmp_path / "metastore" / "dbex.lck"
    file.parent.mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", OPEN_METASTORE, file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "held\n"
    monkeypatch.setattr(lock, "_METASTORE_TIMEOUT_S", 0)
    with pytest.raises(RootInUseError, match="is in use by another process: wait for it to end"):
        require_metastore_free(tmp_path)
    monkeypatch.setattr(lock, "_METASTORE_TIMEOUT_S", 60)
    ended = threading.Thread(target=other.communicate, args=("\n",))
    ended.start()
    require_metastore_free(tmp_path)
    ended.join()


def test_one_dbt_at_a_time_writes_the_tables(tmp_path):
    turn = take_turn(tmp_path)
    assert take_turn(tmp_path) is None
    turn.close()
    with take_turn(tmp_path) as again:
        assert again


def test_dbt_through_the_engine_waits_for_a_cycle_and_gives_the_turn_back(
    tmp_path, monkeypatch, capsys
):
    callbacks = []
    monkeypatch.setattr(dbt_multihop, "add_callback_to_manager", callbacks.append)
    turn = take_turn(tmp_path)
    cycle_ends = threading.Timer(0.5, turn.close)
    cycle_ends.start()
    dbt_multihop._wait_for_turn(tmp_path)
    assert turn.closed
    assert "waiting" in capsys.readouterr().err
    assert take_turn(tmp_path) is None
    for name, is_ours in (("MainReportVersion", True), ("CommandCompleted", False)):
        callbacks[0](SimpleNamespace(info=SimpleNamespace(name=name)))
        assert (take_turn(tmp_path) is None) is is_ours
