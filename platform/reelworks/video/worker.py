"""The decoding child: one process without rights that opens one source at a time and answers over a socket.

Children are forked from a server that has imported everything and touches no source.
"""

import gc
import importlib.util
import io
import os
import pkgutil
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from typing import BinaryIO, NoReturn, cast

import av
import numpy as np

from reelworks.errors import VideoError
from reelworks.video import confine, wire
from reelworks.video.frames import Frames
from reelworks.video.limits import Limits
from reelworks.video.reader import Reader

_OPENING_BYTES = 2**30
"""Opening decodes one frame and those that it waits for: six of the largest size by the levels of H.264 and HEVC."""

_DECODING_BYTES, _DECODING_BYTES_PER_PIXEL = 384 * 2**20, 160
"""What decoding needs: an index, decord's queues; twenty frames of three planes of 16 bits, and the scaler's. A file
that eats memory costs the time to fill it, so small frames get little."""

_SHARE_OF_A_STEP = 0.25
"""Of the CPU seconds of one request: after so many a walk to a late frame ends, and goes on in the next one."""


class _RemoteFile(io.RawIOBase):
    """A file whose bytes the worker reads for us."""

    def __init__(self, channel: socket.socket, size: int, bounded: bool):
        """`bounded`: see `reelworks.video.layout.Bounded`."""
        self._channel = channel
        self._size = size
        self._at = 0
        self._expected = (0, 0)
        self.bounded = bounded
        self.withheld = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence] + offset
        return self._at

    def read(self, count: int = -1) -> bytes:
        count = min(self._size - self._at if count < 0 else count, wire.READ_BYTES)
        if count <= 0:
            return b""
        start, stop = self._expected
        until = stop if start <= self._at < stop else 0
        wire.send(self._channel, {"read": [self._at, count, until, int(self.bounded)]})
        message, data, _ = wire.receive(self._channel)
        if not message["ok"]:
            raise OSError("The source can't be read.")
        self.withheld = self.withheld or (self.bounded and not data)
        self._at += len(data)
        return data

    def expect(self, start: int, stop: int, keep: bool = False) -> None:
        """The worker hears of it with the next read inside."""
        self._expected = (start, stop)

    read1 = read


class Child:
    """Answers requests until the worker closes the socket."""

    def __init__(self, channel: socket.socket, memory: confine.MemoryLimit, confined: bool, has_decord: bool):
        self._channel = channel
        self._memory = memory
        self._confined = confined
        self._has_decord = has_decord
        self._reader: Reader | None = None
        self._file: BinaryIO | None = None
        self._batches: Iterator[Frames] | None = None
        self._pages = wire.SharedPages("frames")

    def serve(self) -> None:
        wire.send(self._channel, {"ready": self._confined})
        while True:
            try:
                message, _, descriptor = wire.receive(self._channel)
            except EOFError:
                return
            try:
                self._answer(message, descriptor)
            except VideoError as error:
                wire.send(self._channel, {"error": wire.pack_error(error)})
            except (ValueError, OSError, MemoryError) as error:
                wire.send(self._channel, {"failed": f"{error}", "type": type(error).__name__})

    def _answer(self, message: wire.Message, descriptor: int | None) -> None:
        call = message["call"]
        if call == "open":
            self._open(message, descriptor)
            return
        if call == "close":
            self._close()
            wire.send(self._channel, {"closed": True})
            return
        assert self._reader is not None
        confine.limit_cpu(self._reader.limits.cpu_s)
        span_s = tuple(message["span_s"]) if message.get("span_s") else None
        size = tuple(message["size"]) if message.get("size") else None
        if call == "batches":
            self._batches = self._reader.batches(
                span_s, size, message["interpolation"], message["batch_bytes"], self._allocate
            )
            wire.send(self._channel, {"started": True})
        elif call == "next":
            assert self._batches is not None
            self._send_frames(next(self._batches, None))
        elif call == "approach":
            cpu_s = self._reader.limits.cpu_s * _SHARE_OF_A_STEP
            wire.send(self._channel, {"there": self._reader.approach(message["time_s"], message["partial"], cpu_s)})
        else:
            assert descriptor is not None
            num_times = message["num_times"]
            times_s, places = wire.unpack_wanted(descriptor, num_times or 0)
            frames = self._reader.frames(
                span_s,
                None if num_times is None else times_s,
                size,
                message["partial"],
                message["interpolation"],
                self._allocate,
                places,
            )
            self._send_frames(frames)

    def _open(self, message: wire.Message, descriptor: int | None) -> None:
        self._close()
        limits = Limits(**message["limits"])
        confine.limit_cpu(limits.cpu_s)
        self._memory.set(min(limits.memory_bytes, _OPENING_BYTES))
        if descriptor is None:
            self._file = cast(BinaryIO, _RemoteFile(self._channel, message["size"], message["bounded"]))
        else:
            self._file = os.fdopen(descriptor, "rb", buffering=0)
        use_decord = self._has_decord and not message["cautious"]
        self._reader = Reader(self._file, limits, use_decord)
        self._memory.set(self._room())
        wire.send(self._channel, {"probe": wire.pack_probe(self._reader.probe)})

    def _allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        """Pages for the result; they come on top of the decoder's memory, and have their own limit."""
        # Twice: frames for times out of order are copied once more on the way to their places.
        self._memory.set(self._room() + 2 * int(np.prod(shape, dtype=np.int64)))
        return self._pages.allocate(shape)

    def _room(self) -> int:
        """Address space for decoding the open file."""
        assert self._reader is not None
        probe, limits = self._reader.probe, self._reader.limits
        needed = _DECODING_BYTES + _DECODING_BYTES_PER_PIXEL * probe.stored_width * probe.stored_height
        return min(limits.memory_bytes, needed)

    def _send_frames(self, frames: Frames | None) -> None:
        if frames is None:
            wire.send(self._channel, {"end": True})
            return
        wire.send(self._channel, {"frames": wire.pack_frames(frames, self._pages)}, descriptor=self._pages.descriptor)
        self._pages.release()

    def _close(self) -> None:
        self._batches = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._file is not None:
            self._file.close()
            self._file = None


def main(descriptor: int) -> None:
    """The fork server: import all that decoding needs, then fork a child for each request until the worker is gone."""
    _import_all_of_av()
    has_decord = importlib.util.find_spec("decord") is not None
    if has_decord:
        importlib.import_module("decord")
    gc.freeze()  # a child's collector would write into, and so copy, every page of what was imported
    control = socket.socket(fileno=descriptor)
    wire.send(control, {"ready": True})
    while True:
        try:
            message, _, channel = wire.receive(control)
        except EOFError:
            return
        if channel is None:
            wire.send(control, {"status": _reaped(int(message["reap"]), float(message["wait_s"]))})
            continue
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            control.close()
            _be_a_child(channel, server, has_decord)
        os.close(channel)
        wire.send(control, {"pid": pid})


def _be_a_child(descriptor: int, server: int, has_decord: bool) -> NoReturn:
    """Give up all rights and serve on the socket until the worker is gone."""
    status = 1
    try:
        memory = confine.MemoryLimit()
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sys.stderr.fileno())  # decord warns about every file it doesn't like
        confined = confine.forbid_files_and_network()
        threading.Thread(target=_follow, args=(server,), daemon=True).start()
        Child(socket.socket(fileno=descriptor), memory, confined, has_decord).serve()
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)  # never back into the server's loop


def _reaped(pid: int, wait_s: float) -> int | None:
    """The exit status of a child that is about to end; None where it isn't."""
    deadline = time.monotonic() + wait_s
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)


def _import_all_of_av() -> None:
    """PyAV imports some of its modules when it first meets a kind of stream; by then no file can be opened."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in ("av.__main__", "av.datasets"):
            importlib.import_module(module.name)


def _follow(parent: int) -> None:
    """End this process when server and worker have died, even in the middle of a decode that never returns."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
