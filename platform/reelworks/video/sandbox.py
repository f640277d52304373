"""A source opened in a killable child: the same probe, frames and batches as `Reader`, whatever the file does.

Children are kept and used again, one source at a time; a file that kills or hangs its child meets a fresh one, and
after `Limits.attempts` of them it is a VideoError `timeout` or `crashed`. Errors of storage pass through untouched.
"""

import atexit
import io
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import BinaryIO

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video import wire
from reelworks.video.child import ChildGone, DecodingChild
from reelworks.video.fragments import keep_fragment_heads
from reelworks.video.frames import Frames
from reelworks.video.layout import Metered, Opening, avi_parts, plan_opening
from reelworks.video.limits import Limits
from reelworks.video.places import Place
from reelworks.video.probe import Probe
from reelworks.video.reader import BATCH_BYTES
from reelworks.video.seeking import INDEXED
from reelworks.video.source import size_of

_IDLE_CHILDREN = 2
"""Children kept when nobody uses them: one that walks through a film, one that decodes its clips meanwhile."""


_SMALL_BYTES = 256 * 1024
"""Sources up to this size are always read whole: a range would hardly be smaller."""

Answer = tuple[wire.Message, int | None]


class _Pool:
    """Idle children of this process. A fork has none: its parent goes on using them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[DecodingChild] = []
        self._owner = os.getpid()

    def take(self, fresh: bool = False) -> DecodingChild:
        with self._lock:
            if self._owner != os.getpid():
                self._idle, self._owner = [], os.getpid()
            if self._idle and not fresh:
                return self._idle.pop()
        return DecodingChild()

    def give(self, child: DecodingChild) -> None:
        with self._lock:
            if self._owner == os.getpid() and len(self._idle) < _IDLE_CHILDREN:
                self._idle.append(child)
                return
        child.stop()

    def stop(self) -> None:
        with self._lock:
            children, self._idle = self._idle, []
        if self._owner == os.getpid():
            for child in children:
                child.stop()


_POOL = _Pool()
atexit.register(_POOL.stop)


class SandboxedReader:
    """Probe and frames of one file object, decoded in a child. Raises VideoError; use it as a context manager."""

    def __init__(self, file: BinaryIO, limits: Limits | None = None, whole: bool = False):
        """`whole`: most of the file will be read, so an object that is small enough is fetched at once."""
        self.limits = limits or Limits()
        self._file = file
        self._size = size_of(file)
        self._pages = self._shareable(whole)
        self._opening: Opening | None = None
        self._fragments_at = 0  # where they may begin that are looked for before anything is decoded
        if self._pages is None and isinstance(file, Metered):
            self._plan(file, whole)
        self._child: DecodingChild | None = None
        self._failures = 0
        self.probe: Probe
        try:
            self._retried(lambda child: ({}, None))  # opening fills in the probe
        except BaseException:
            self.close()
            raise

    @property
    def well(self) -> bool:
        """True where the source has cost no child so far."""
        return self._failures == 0 and self._child is not None

    def __enter__(self) -> "SandboxedReader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            try:
                child.ask({"call": "close"}, stall_s=self.limits.stall_s)
                _POOL.give(child)
            except ChildGone:
                child.stop()
        if self._pages is not None:
            os.close(self._pages)
            self._pages = None

    def frames(
        self,
        span_s: tuple[float, float] | None = None,
        times_s: Sequence[float] | None = None,
        size: tuple[int, int] | None = None,
        partial: bool = False,
        interpolation: str = "bicubic",
        places: Sequence[Place] = (),
    ) -> Frames:
        """Decode the whole source, a span or single times; see `decode`, and `Reader.frames` for `places`."""
        message: wire.Message = {"call": "frames", "span_s": span_s, "size": size, "interpolation": interpolation}
        message |= {"partial": partial, "num_times": None if times_s is None else len(times_s)}
        way: wire.Message | None = None
        if times_s is not None and len(times_s) and self.probe.container not in INDEXED:
            way = {"call": "approach", "time_s": float(min(times_s)), "partial": partial}

        def reached(child: DecodingChild) -> Answer:
            # Where a jump can't be proven, one request may walk the whole way; a walk from the start has steps.
            jumps = () if self._failures else places
            while way is not None and not jumps and not self._ask(child, way)[0]["there"]:
                pass
            wanted = wire.pack_wanted(times_s or (), jumps)
            try:
                return self._ask(child, message, wanted)
            finally:
                os.close(wanted)

        return _frames_of(*self._retried(reached))

    def batches(
        self,
        span_s: tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
        interpolation: str = "bicubic",
        batch_bytes: int = BATCH_BYTES,
    ) -> Iterator[Frames]:
        """Frames in display order, a batch at a time; see `Reader.batches`."""
        start: wire.Message = {"call": "batches", "span_s": span_s, "size": size, "interpolation": interpolation}
        start["batch_bytes"] = batch_bytes
        served = 0
        walking: DecodingChild | None = None

        def following(child: DecodingChild) -> Answer:
            nonlocal walking
            if child is not walking:  # the first one, or one that took over: it walks to where the last one died
                self._ask(child, start)
                for _ in range(served):
                    _let_go(self._ask(child, {"call": "next"}))
                walking = child
            return self._ask(child, {"call": "next"})

        while True:
            answer, descriptor = self._retried(following)
            if "end" in answer:
                return
            served += 1
            yield _frames_of(answer, descriptor)

    def _retried(self, action: Callable[[DecodingChild], Answer]) -> Answer:
        """Run `action` on a child that has the source open; once more in a fresh one where the child is lost."""
        while True:
            try:
                if self._child is None:
                    self._child = _POOL.take(fresh=self._failures > 0)
                    self._open(self._child)
                return action(self._child)
            except ChildGone as gone:
                self._drop_child()
                self._failures += 1
                if self._failures >= self.limits.attempts:
                    message = f"{gone.message}, in {self._failures} attempts."
                    raise VideoError(gone.kind, message) from gone
            except (VideoError, ValueError):
                raise  # an answer: the child is well
            except BaseException:  # the child stands in the middle of a request
                self._drop_child()
                raise

    def _open(self, child: DecodingChild) -> None:
        message: wire.Message = {"call": "open", "size": self._size, "limits": asdict(self.limits)}
        message["cautious"] = self._failures > 0  # what hung or crashed may have been decord: then without it
        message["bounded"] = self._opening is not None and not self._failures
        answer, _ = self._ask(child, message, self._pages)
        self.probe = wire.unpack_probe(answer["probe"])

    def _plan(self, file: Metered, whole: bool) -> None:
        """Say what will be read. Opening alone costs no more than it must; of what is read anyway it may read more."""
        self._before = file.requests, file.bytes_read
        opening = plan_opening(self._file, self._size)
        for start, stop in opening.parts if opening is not None else avi_parts(self._file, self._size):
            file.expect(start, stop, keep=True)
        if whole:
            file.expect(0, self._size)
        else:
            self._opening = opening
        self._fragments_at = opening.fragments_at if opening is not None else 0

    def _ask(self, child: DecodingChild, message: wire.Message, descriptor: int | None = None) -> Answer:
        return child.ask(message, descriptor, self._read_at, self.limits.stall_s)

    def _read_at(self, offset: int, count: int, until: int, bounded: bool) -> bytes:
        file = self._file
        file.seek(offset)
        if not isinstance(file, Metered):
            return file.read(count)
        if not bounded and self._fragments_at:
            start, self._fragments_at = self._fragments_at, 0
            keep_fragment_heads(self._file, start, self._size)
            file.seek(offset)
        if bounded and self._opening is not None and not file.holds(offset):
            requests, fetched_bytes = file.requests - self._before[0], file.bytes_read - self._before[1]
            until = offset + self._opening.ahead(offset, requests, fetched_bytes)
            if until == offset:
                return b""
        if until > offset:
            file.expect(offset, until)
        return file.read1(count)

    def _drop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    def _shareable(self, whole: bool) -> int | None:
        """A descriptor that gives the child the file itself; None where it has to ask for ranges."""
        if self._size <= (self.limits.whole_object_bytes if whole else _SMALL_BYTES):
            return wire.pages_of(_read_whole(self._file, self._size))
        if isinstance(self._file, io.BytesIO):
            return wire.pages_of(self._file.getbuffer())
        if isinstance(self._file, (io.BufferedReader, io.FileIO)) and stat.S_ISREG(
            os.fstat(self._file.fileno()).st_mode
        ):
            return os.dup(self._file.fileno())
        return None


def _read_whole(file: BinaryIO, size: int) -> bytes:
    """All bytes. Raises OSError where the file has become shorter meanwhile."""
    pieces = []
    while size > 0:
        piece = file.read(size)
        if not piece:
            raise OSError(f"The source ends {size} bytes early.")
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _frames_of(answer: wire.Message, descriptor: int | None) -> Frames:
    if descriptor is None:
        raise VideoError(VideoErrorKind.crashed, "The decoding child sent no pages.")
    return wire.unpack_frames(answer["frames"], descriptor)


def _let_go(answer: Answer) -> None:
    if answer[1] is not None:
        os.close(answer[1])
