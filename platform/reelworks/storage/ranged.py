"""An object as a seekable file: what a demuxer reads is fetched, the rest is not."""

from __future__ import annotations

import io
import os
import threading
from bisect import bisect_right, insort
from collections import OrderedDict, deque
from itertools import chain
from typing import Any, NamedTuple

from reelworks.errors import StorageError, StorageErrorKind
from reelworks.storage.objects import get_bytes, head

# A header and the start of an index fit in one request.
READ_AHEAD_BYTES = 64 * 2**10
# Reading on in order fetches a quarter of what was read so far: so much at most is fetched behind the last byte wanted,
# and a range of 8 MiB takes 20 requests. Where the end is known, `expect` takes one.
RUN_SHARE = 4
LARGEST_READ_AHEAD_BYTES = 8 * 2**20
# A demuxer moves between several places of a file: the last windows stay at hand.
WINDOWS_KEPT = 4
# Kept windows that are looked through for a position: they overlap only where two readers fetched the same.
NEIGHBOURS = 3
# Indexes of the sources that a process worked on last: that of an hour-long film has 2 to 5 MB.
SHARED_BYTES = 32 * 2**20


class Window(NamedTuple):
    """Bytes of an object that were fetched in one request."""

    start: int
    data: bytes
    run: int  # bytes that were fetched in order up to the end of this window

    @property
    def stop(self) -> int:
        return self.start + len(self.data)


def _start(window: Window) -> int:
    return window.start


class _Shared:
    """Windows that all readers of a process share, by address and ETag; the source used longest ago goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: OrderedDict[tuple[str, str], list[Window]] = OrderedDict()
        self._bytes = 0

    def of(self, key: tuple[str, str]) -> list[Window]:
        with self._lock:
            if key in self._windows:
                self._windows.move_to_end(key)
            return list(self._windows.get(key, ()))

    def add(self, key: tuple[str, str], window: Window) -> None:
        with self._lock:
            insort(self._windows.setdefault(key, []), window, key=_start)
            self._windows.move_to_end(key)
            self._bytes += len(window.data)
            while self._bytes > SHARED_BYTES:
                _, gone = self._windows.popitem(last=False)
                self._bytes -= sum(len(one.data) for one in gone)


_shared = _Shared()


class RangedFile(io.RawIOBase):
    """Seekable read-only file over ranged GETs that all carry the same ETag; counts what it fetched."""

    def __init__(self, uri: str, etag: str, size: int, read_ahead: int = READ_AHEAD_BYTES):
        super().__init__()
        self.uri, self.etag, self.size = uri, etag, size
        self.requests = 0
        self.bytes_read = 0
        self._read_ahead = read_ahead
        self._recent: deque[Window] = deque(maxlen=WINDOWS_KEPT)
        self._kept = _shared.of((uri, etag))
        self._kept_bytes = sum(len(one.data) for one in self._kept)
        self._keep: list[tuple[int, int]] = []
        self._expected = (0, 0)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"seek to {start + offset} before the start of {self.uri}")
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._rest(size)
        pieces = []
        while wanted > 0:
            piece = self._piece(wanted)
            pieces.append(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read1(self, size: int | None = -1) -> bytes:
        """At least one byte and at most `size`, with at most one request; empty at the end."""
        wanted = self._rest(size)
        return self._piece(wanted) if wanted else b""

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def expect(self, start: int, stop: int, keep: bool = False) -> None:
        """Say that [start, stop) will be read in order: large requests then fetch that and nothing behind it.

        With `keep` it stays at hand, also for other readers of the object in this process (an index); else it
        replaces what was expected before.
        """
        stop = min(stop, self.size)
        if not keep or stop - start > SHARED_BYTES:
            self._expected = (start, stop)
            return
        self._keep.append((start, stop))
        for window in list(self._recent):
            if window.start < stop and start < window.stop:
                self._recent.remove(window)
                self._retain(window)

    def holds(self, position: int) -> bool:
        """Whether the byte at a position is at hand."""
        return self._window_at(position) is not None

    def _rest(self, size: int | None) -> int:
        rest = max(0, self.size - self._position)
        return rest if size is None or size < 0 else min(size, rest)

    def _piece(self, wanted: int) -> bytes:
        """Bytes at the position, at least one and at most `wanted`; one request where no window has them."""
        window = self._window_at(self._position) or self._fetch(wanted)
        offset = self._position - window.start
        piece = window.data[offset : offset + wanted]
        self._position += len(piece)
        return piece

    def _window_at(self, position: int) -> Window | None:
        every = chain(self._kept_before(position), self._recent)
        return next((window for window in every if window.start <= position < window.stop), None)

    def _kept_before(self, position: int) -> list[Window]:
        """Those that start last at or before a position; there may be thousands, which hardly overlap."""
        before = bisect_right(self._kept, position, key=_start)
        return self._kept[max(0, before - NEIGHBOURS) : before]

    def _fetch(self, wanted: int) -> Window:
        """A new window from the position on."""
        at = self._position
        run = max((one.run for one in chain(self._kept_before(at), self._recent) if one.stop == at), default=0)
        keep = next((stop for start, stop in reversed(self._keep) if start <= at < stop), None)
        if keep is not None:
            length = min(keep - at, LARGEST_READ_AHEAD_BYTES)
        elif self._expected[0] <= at < self._expected[1]:
            length = min(self._expected[1] - at, LARGEST_READ_AHEAD_BYTES)
        else:
            ahead = max(2 * self._read_ahead, run // RUN_SHARE) if run else self._read_ahead
            length = min(max(wanted, min(ahead, LARGEST_READ_AHEAD_BYTES)), self.size - at)
        data = get_bytes(self.uri, start=at, length=length, etag=self.etag)
        self.requests += 1
        self.bytes_read += len(data)
        if not data:
            raise StorageError(StorageErrorKind.storage, self.uri, f"no bytes at {at} of {self.size}")
        window = Window(at, data, run + len(data))
        if keep is not None and self._kept_bytes + len(data) <= SHARED_BYTES:
            self._retain(window)
        else:
            self._recent.append(window)
        return window

    def _retain(self, window: Window) -> None:
        self._kept_bytes += len(window.data)
        insort(self._kept, window, key=_start)
        _shared.add((self.uri, self.etag), window)


def open_ranged(
    uri: str, *, etag: str | None = None, size: int | None = None, read_ahead: int = READ_AHEAD_BYTES
) -> RangedFile:
    """An object as a file; a listing's `etag` and `size` save the HEAD request.

    Raises StorageError: `not_found`, or at any later read `changed` once the object is another one.
    """
    if etag is None or size is None:
        info = head(uri)
        if info is None:
            raise StorageError(StorageErrorKind.not_found, uri)
        etag, size = etag or info.etag, info.size
    return RangedFile(uri, etag, size, read_ahead)
