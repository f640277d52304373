"""One lock a host: two Ray clusters at once break Ray Train, so whatever starts one waits for its turn.

`python -m infra.local.lock WHAT COMMAND…` runs a command under it. A running stack counts as a holder for everything
but the commands of its own checkout that use it.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local.process import Process, is_running

# Set for the commands that run under the lock, so that `make up` inside `make demo` doesn't wait for its parent.
HELD = "REELWORKS_LOCK_HELD"


def _lock_file() -> Path:
    return Path(tempfile.gettempdir()) / "reelworks.lock"


def _stack_file() -> Path:
    """Which stack runs on this host: its folder and its Ray head."""
    return Path(tempfile.gettempdir()) / "reelworks-stack.json"


@contextmanager
def host_lock(what: str, *, own_stack: Path | None = None, say: Callable[[str], None] = print) -> Iterator[None]:
    """Holds the host's lock; waits, naming the holder, while another command or another stack has it.

    `own_stack`: the stack that this command is going to use, and therefore doesn't wait for.
    """
    if os.environ.get(HELD):
        yield
        return
    path = _lock_file()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(descriptor, own_stack, say)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"what": what, "pid": os.getpid(), "folder": os.getcwd()}).encode(), 0)
        os.environ[HELD] = what
        yield
    finally:
        os.environ.pop(HELD, None)
        os.close(descriptor)


def _acquire(descriptor: int, own_stack: Path | None, say: Callable[[str], None]) -> None:
    told = ""
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _described(os.pread(descriptor, 4096, 0))
        else:
            stack = running_stack()
            if stack is None or stack == own_stack:
                return
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            holder = f"the stack of {stack.parent} (`make down` there ends it)"
        if holder != told:
            say(f"waiting for {holder}")
            told = holder
        time.sleep(1)


def _described(content: bytes) -> str:
    try:
        holder: dict[str, Any] = json.loads(content)
    except ValueError:  # it has just taken the lock and not yet signed it
        return "another command of Reelworks on this host"
    return f"`{holder['what']}` (process {holder['pid']}, in {holder['folder']})"


def announce_stack(folder: Path, ray_head: Process) -> None:
    """Writes down which stack runs on this host."""
    record = {"folder": str(folder), "pid": ray_head.pid, "started": ray_head.started}
    _stack_file().write_text(json.dumps(record))


def running_stack() -> Path | None:
    """The folder of the stack whose Ray head runs on this host, if one does."""
    try:
        record = json.loads(_stack_file().read_text())
    except (OSError, ValueError):
        return None
    running = is_running(Process(record["pid"], record["started"], ""))
    return Path(record["folder"]) if running else None


def main(arguments: list[str]) -> int:
    what, *command = arguments
    own_stack = Path.cwd() / ".stack" if what == "demo" else None
    with host_lock(f"make {what}", own_stack=own_stack):
        return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
