import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local import lock, operators, process, stack
from reelworks.errors import UserError


def test_a_server_that_does_not_start_is_reported_with_its_logs_last_lines(tmp_path: Path) -> None:
    broken = process.start(["sh", "-c", "echo first; echo disk on fire; exit 1"], tmp_path / "s3.log", os.environ)
    with pytest.raises(UserError, match=rf"s3 did not start. Its log {tmp_path}/s3.log ends with:\n  first\n  disk on"):
        process.wait_until(lambda: False, broken, "s3")


def test_a_server_that_never_answers_is_reported(tmp_path: Path) -> None:
    silent = process.start(["sleep", "60"], tmp_path / "x.log", os.environ)
    with pytest.raises(UserError, match="did not answer"):
        process.wait_until(lambda: False, silent, "x", seconds=0.2)
    process.stop(silent)


def test_stopping_ends_children_also_those_that_ignore_it(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; sleep 60 & wait; sleep 60"
    parent = process.start(["sh", "-c", f'sh -c "{stubborn}" & exec sleep 60'], tmp_path / "x.log", os.environ)
    while len(process.session_members(parent.pid)) < 3:
        pass
    process.stop(parent, seconds=0.3)
    assert process.session_members(parent.pid) == []


def test_another_process_that_got_the_pid_is_never_stopped() -> None:
    reused = process.Process(os.getpid(), "1", "")
    assert not process.is_running(reused)
    process.stop(reused)


def test_a_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setenv("PORTS", f"mlflow={port}")
        with pytest.raises(UserError, match=f"Port {port} for mlflow is in use"):
            stack.Stack(tmp_path).up(("mlflow",))
    monkeypatch.setenv("PORTS", "mlfow=5000")
    with pytest.raises(UserError, match="the names are .*mlflow"):
        stack.Stack(tmp_path).up(("mlflow",))


def test_too_little_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{tmp_path} has .* GiB free"):
        stack.check_disk(tmp_path, needed=2**60)


def test_ports_are_given_out_once() -> None:
    assert len(set(process.free_ports(50))) == 50


def test_a_second_command_waits_for_the_hosts_lock_and_names_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(lock.HELD, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "infra.local.lock", "test", "sleep", "2"]
    holder = subprocess.Popen(command, env=environment, cwd=stack.FOLDER.parent)
    while not (tmp_path / "reelworks.lock").exists() or not (tmp_path / "reelworks.lock").read_text():
        assert holder.poll() is None
    said: list[str] = []
    with lock.host_lock("make up", say=said.append):
        assert holder.wait() == 0
    assert said == [f"waiting for `make test` (process {holder.pid}, in {stack.FOLDER.parent})"]


def test_a_running_stack_of_another_checkout_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(lock.HELD, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ray = process.start(["sleep", "1"], tmp_path / "ray.log", os.environ)
    lock.announce_stack(tmp_path / "other" / ".stack", ray)
    said: list[str] = []
    with lock.host_lock("make demo", own_stack=tmp_path / "other" / ".stack", say=said.append):
        assert said == []
    with lock.host_lock("make test", say=said.append):
        assert said == [f"waiting for the stack of {tmp_path}/other (`make down` there ends it)"]
        assert not process.is_running(ray)


def test_locks_of_killed_operator_builds_are_removed(tmp_path: Path) -> None:
    (tmp_path / "deepspeed_shm_comm").mkdir()
    (tmp_path / "deepspeed_shm_comm" / "lock").touch()
    (tmp_path / "deepspeed_shm_comm" / "built.so").touch()
    operators.remove_stale_locks(tmp_path)
    assert [path.name for path in tmp_path.glob("**/*") if path.is_file()] == ["built.so"]
