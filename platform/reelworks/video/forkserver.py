"""The worker's end of the process that decoding children are forked from.

It imports what a child needs once, in 0.15 CPU-seconds, so that a child takes 5 ms: a file that kills three of them
costs less than one that is decoded. It opens no source itself.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

from reelworks.video import wire

_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from reelworks.video.worker import main
main(int(sys.argv[2]))
"""

_START_S = 60.0
"""Wall seconds for it to import its libraries on a busy machine."""

_END_S = 5.0
"""Wall seconds for a child that is about to end to be gone."""


class ForkServer:
    """One such process for all threads of this one, started when the first child is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._children: set[int] = set()
        self._owner = os.getpid()

    def fork(self, channel: socket.socket) -> int:
        """The id of a new child that serves on `channel`. Raises RuntimeError where none can be started."""
        with self._lock:
            for _ in range(2):  # a server that was killed meanwhile is replaced
                control = self._running()
                try:
                    wire.send(control, {"fork": True}, descriptor=channel.fileno())
                    pid = int(wire.receive(control)[0]["pid"])
                except (EOFError, ConnectionError):
                    self._drop()
                else:
                    self._children.add(pid)
                    return pid
        raise RuntimeError("The process that decoding children are forked from dies again and again.")

    def reap(self, pid: int, kill: bool = False) -> int | None:
        """The exit status of a child that is about to end (negative: the signal that ended it), or is killed for it.

        None where it lives on, or nobody knows: it was reaped before, or ended with its server.
        """
        with self._lock:
            # The id of a child stays its own until the server has reaped it: no other process is ever killed.
            if self._control is None or self._owner != os.getpid() or pid not in self._children:
                return None
            if kill:
                os.kill(pid, signal.SIGKILL)
            try:
                wire.send(self._control, {"reap": pid, "wait_s": _END_S})
                status = wire.receive(self._control)[0]["status"]
            except (EOFError, ConnectionError):
                self._drop()
                return None
            if status is None:
                return None
            self._children.discard(pid)
            return int(status)

    def stop(self) -> None:
        """End it; children that live on end with it."""
        with self._lock:
            if self._owner == os.getpid():
                self._drop()

    def _running(self) -> socket.socket:
        if self._owner != os.getpid():  # a fork has none: its parent goes on using it
            self._process, self._control, self._children, self._owner = None, None, set(), os.getpid()
        if self._control is None:
            self._start()
        assert self._control is not None
        return self._control

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = [json.dumps([path for path in sys.path if path]), str(theirs.fileno())]
        # No site packages' start-up code, no credentials, one thread for every library that would take more.
        environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _START, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # stderr is ours until a child serves: why none can start must be seen.
            env=environment | {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH") if name in os.environ},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C reaches the worker, which then closes the socket
        )
        theirs.close()
        ours.settimeout(_START_S)
        try:
            wire.receive(ours)
        except (EOFError, TimeoutError) as error:  # no file's fault, and no reason to quarantine one
            ours.close()
            self._process.kill()
            raise RuntimeError(f"No decoding child can start (exit status {self._process.wait()}).") from error
        ours.settimeout(None)
        self._control = ours

    def _drop(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._control = None
        self._children.clear()
