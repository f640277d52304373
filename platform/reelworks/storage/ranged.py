"""An object as a seekable file: what a demuxer reads is fetched, the rest is not."""

from __future__ import annotations

import io
import os
from collections import deque
from typing import Any

from reelworks.errors import StorageError, StorageErrorKind
from reelworks.storage.objects import get_bytes, head

# A header and the start of an index fit in one request; sequential reading doubles it up to the largest.
READ_AHEAD_BYTES = 64 * 2**10
LARGEST_READ_AHEAD_BYTES = 8 * 2**20
# A demuxer moves between the index at the end and the packets at the front: both stay at hand.
WINDOWS_KEPT = 4


class RangedFile(io.RawIOBase):
    """Seekable read-only file over ranged GETs that all carry the same ETag; counts what it fetched."""

    def __init__(self, uri: str, etag: str, size: int, read_ahead: int = READ_AHEAD_BYTES):
        super().__init__()
        self.uri, self.etag, self.size = uri, etag, size
        self.requests = 0
        self.bytes_read = 0
        self._read_ahead = self._window = read_ahead
        self._windows: deque[tuple[int, bytes]] = deque(maxlen=WINDOWS_KEPT)
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
        wanted = self.size - self._position if size is None or size < 0 else size
        wanted = max(0, min(wanted, self.size - self._position))
        pieces = []
        while wanted > 0:
            piece = self._piece(wanted)
            pieces.append(piece)
            self._position += len(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _piece(self, wanted: int) -> bytes:
        """Bytes at the position, at least one and at most `wanted`; one request where no window has them."""
        for start, data in self._windows:
            if start <= self._position < start + len(data):
                offset = self._position - start
                return data[offset : offset + wanted]
        sequential = any(start + len(data) == self._position for start, data in self._windows)
        self._window = min(self._window * 2, LARGEST_READ_AHEAD_BYTES) if sequential else self._read_ahead
        length = min(max(wanted, self._window), self.size - self._position)
        data = get_bytes(self.uri, start=self._position, length=length, etag=self.etag)
        self.requests += 1
        self.bytes_read += len(data)
        if not data:
            raise StorageError(StorageErrorKind.storage, self.uri, f"no bytes at {self._position} of {self.size}")
        self._windows.append((self._position, data))
        return data[:wanted]


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
