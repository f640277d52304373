"""Starting, recognising and stopping the processes of the local stack."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reelworks.errors import UserError

LINES_SHOWN = 15  # of a log, when its process did not start


@dataclass(frozen=True)
class Process:
    """A process that we started: pid, its start time (pids are reused) and its log."""

    pid: int
    started: str
    log: str


def free_ports(count: int) -> list[int]:
    """Free loopback ports, all held open until the last one is found so that none is given twice."""
    sockets = []
    try:
        for _ in range(count):
            held = socket.socket()
            held.bind(("127.0.0.1", 0))
            sockets.append(held)
        return [held.getsockname()[1] for held in sockets]
    finally:
        for held in sockets:
            held.close()


def is_free(port: int) -> bool:
    """Whether nothing listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def check_port_free(port: int, what: str) -> None:
    """UserError if something listens on a port that was asked for."""
    if not is_free(port):
        raise UserError(f"Port {port} for {what} is in use", "Stop what listens there")


def start(command: list[str], log: Path, env: Mapping[str, str]) -> Process:
    """Runs a command in a session of its own, its output in the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=dict(env), start_new_session=True
        )
    return Process(child.pid, start_time(child.pid) or "", str(log))


def start_time(pid: int) -> str | None:
    """Kernel start time of a live process (ticks since boot), None for a dead one or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def is_running(process: Process) -> bool:
    """Whether that very process lives, not another one that got its pid."""
    return start_time(process.pid) == process.started


def wait_until(ready: Callable[[], bool], process: Process, what: str, seconds: float = 60) -> None:
    """Waits for a server; UserError with its log's last lines if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while not ready():
        if not is_running(process):
            raise UserError(f"{what} did not start", tail(process.log))
        if time.monotonic() > deadline:
            raise UserError(f"{what} did not answer within {seconds:.0f} s", tail(process.log))
        time.sleep(0.1)


def tail(log: str | Path) -> str:
    """The log's name and its last lines."""
    path = Path(log)
    lines = path.read_text(errors="replace").splitlines()[-LINES_SHOWN:] if path.is_file() else ["(it is empty)"]
    return f"Its log {log} ends with:\n  " + "\n  ".join(lines)


def session_members(session: int) -> list[int]:
    """Live processes of a session; children stay in it when they make process groups of their own."""
    return [pid for pid in _live() if _session_of(pid) == session]


def carriers(marker: str) -> list[int]:
    """Live processes whose environment holds `marker` (NAME=value), which all descendants of ours inherit."""
    return [pid for pid in _live() if marker.encode() in _environment(pid)]


def stop(process: Process, seconds: float = 10) -> None:
    """Ends a process and its session: TERM to it, then to what it leaves behind; KILL after so many seconds.

    Not TERM to all at once: Ray's head ends its own children in order in 4 s, and waits for them in vain otherwise.
    """
    deadline = time.monotonic() + seconds
    if not is_running(process):
        return
    _signal([process.pid], signal.SIGTERM)
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    end(lambda: session_members(process.pid), deadline - time.monotonic())


def end(members: Callable[[], list[int]], seconds: float = 10) -> None:
    """TERM to the members, then KILL to those that are left after so many seconds."""
    deadline = time.monotonic() + seconds
    _signal(members(), signal.SIGTERM)
    while left := members():
        if time.monotonic() > deadline:
            _signal(left, signal.SIGKILL)
        time.sleep(0.05)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _live() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and start_time(int(entry.name)) is not None:
            yield int(entry.name)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # ended meanwhile, or another user's
        return []
