"""The worker's end of a decoding child: start it, ask it, notice that it hangs or dies, kill it."""

import atexit
import select
import signal
import socket
import time
from collections.abc import Callable

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video import wire
from reelworks.video.forkserver import ForkServer

_START_S = 60.0
"""Wall seconds for a child to give up its rights on a busy machine."""

_GLANCE_S = 0.5
"""How often a silent child's CPU clock is looked at."""

ReadAt = Callable[[int, int, int, bool], bytes]
"""(offset, count, where the range ends that is being read, or 0, whether the read is bounded) to at least one byte of
the source before its end; to none where a bounded read would cost too much."""

_SERVER = ForkServer()
atexit.register(_SERVER.stop)


class ChildGone(Exception):
    """The child died or was killed; `kind` is `timeout` or `crashed`."""

    def __init__(self, kind: VideoErrorKind, message: str):
        super().__init__(kind, message)
        self.kind = kind
        self.message = message


class DecodingChild:
    """One child process. Not thread-safe: the pool hands it to one caller at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.pid = _SERVER.fork(theirs)
        self._channel = ours
        self.started = False
        self.confined = False

    def ask(
        self,
        message: wire.Message,
        descriptor: int | None = None,
        read_at: ReadAt | None = None,
        stall_s: float = 30.0,
    ) -> tuple[wire.Message, int | None]:
        """Send one request and wait for its answer, reading the source for the child meanwhile.

        Raises ChildGone; VideoError, ValueError as the child met them; what `read_at` raises (the child is killed then,
        since it stands in the middle of a read).
        """
        try:
            if not self.started:
                ready, _, _ = self._wait(_START_S)
                self.confined = bool(ready["ready"])
                self.started = True
            wire.send(self._channel, message, descriptor=descriptor)
            while True:
                answer, _, received = self._wait(stall_s)
                if "read" not in answer:
                    return _checked(answer), received
                assert read_at is not None
                offset, count, until, bounded = (int(number) for number in answer["read"])
                data = read_at(offset, min(count, wire.READ_BYTES), until, bool(bounded))
                wire.send(self._channel, {"ok": True}, data)
        except (EOFError, BrokenPipeError, ConnectionError) as error:
            if not self.started:  # no file's fault, and no reason to quarantine one
                status = _SERVER.reap(self.pid)
                raise RuntimeError(f"A decoding child can't start (exit status {status}).") from error
            raise self._post_mortem() from error

    def stop(self) -> None:
        """Kill the child and take its exit status."""
        self._channel.close()
        _SERVER.reap(self.pid, kill=True)

    def _wait(self, stall_s: float) -> tuple[wire.Message, bytes, int | None]:
        """The next packet. Raises ChildGone(timeout) where the child makes no progress, EOFError where it died."""
        used, since = self._cpu_ticks(), time.monotonic()
        while not select.select([self._channel], [], [], min(_GLANCE_S, stall_s))[0]:
            now = self._cpu_ticks()
            if now != used:
                used, since = now, time.monotonic()
            elif time.monotonic() - since > stall_s:
                raise ChildGone(VideoErrorKind.timeout, f"Decoding made no progress for {stall_s:g} s")
        return wire.receive(self._channel)

    def _cpu_ticks(self) -> int:
        """User and system time of the child, in clock ticks; -1 when it is gone."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            return int(fields[11]) + int(fields[12])
        except (OSError, IndexError):
            return -1

    def _post_mortem(self) -> ChildGone:
        """Why the child is gone, from its exit status."""
        status = _SERVER.reap(self.pid)
        if status is None:
            return ChildGone(VideoErrorKind.crashed, "The decoder closed its connection")
        if status == -signal.SIGXCPU:
            return ChildGone(VideoErrorKind.timeout, "Decoding used up its CPU seconds")
        cause = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return ChildGone(VideoErrorKind.crashed, f"The decoder died ({cause})")


def _checked(answer: wire.Message) -> wire.Message:
    """The answer, or what the child met raised here."""
    if "error" in answer:
        raise wire.unpack_error(answer["error"])
    if "failed" in answer:
        if answer["type"] == "MemoryError":
            raise VideoError(VideoErrorKind.oversize, "Decoding needs more memory than it may have.")
        if answer["type"] == "ValueError":
            raise ValueError(answer["failed"])
        raise VideoError(VideoErrorKind.corrupt, f"The file can't be read: {answer['failed']}.")
    return answer
