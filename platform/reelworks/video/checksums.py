"""The checksums that some files carry: CRC-32 elements in the clusters of Matroska (RFC 8794, section 11.3.1).

FFmpeg and others write them into MKV, and FFmpeg checks none. They see every damage, also where a decoder can't.
"""

import zlib
from typing import BinaryIO

from av.packet import Packet

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.sniff import HEAD_BYTES

_SEGMENT = b"\x18\x53\x80\x67"
_CLUSTER = b"\x1f\x43\xb6\x75"
_MARK = b"\xbf\x84"
_MARK_BYTES = 6
_HEADER_BYTES = 12
_PIECE_BYTES = 1 << 20


class ClusterSums:
    """Checks the clusters of one Matroska file as their packets are met; keeps the file's position."""

    def __init__(self, file: BinaryIO | None, file_bytes: int):
        """`file` is None where nothing is to be checked."""
        self._file_bytes = file_bytes
        self._first: int | None = None
        if file is not None:
            self._file = file
            self._first = self._find_first()
        self.carried = self._first is not None
        """True where the first cluster has a checksum; then every other one has to."""
        self._start = self._stop = self._first or 0
        self._bad = False

    def check(self, packet: Packet) -> Packet:
        """The packet. Raises VideoError `corrupt` where what the file has around it isn't what was written."""
        at = packet.pos
        if packet.size and at is not None and self.damaged_at(at):
            raise VideoError(VideoErrorKind.corrupt, f"The checksum of the cluster around byte {at:,} is wrong.")
        return packet

    def damaged_at(self, position: int) -> bool:
        """True where the cluster around a byte of the file isn't what its checksum says."""
        if self._first is None:
            return False
        if self._start <= position < self._stop:
            return self._bad
        if position < self._start:
            self._start = self._stop = self._first
        here = self._file.tell()
        try:
            self._bad = self._walk(position)
        finally:
            self._file.seek(here)
        return self._bad

    def _walk(self, position: int) -> bool:
        """Go on to the cluster around `position` and check it."""
        while True:
            self._start = self._stop
            self._file.seek(self._start)
            header = self._file.read(_HEADER_BYTES)
            size = size_of_element(header)
            if size is None:  # where the next element has to begin there is none
                self._stop = self._file_bytes
                return True
            self._stop += sum(size)
            if self._stop > position:
                break
        if self._stop > self._file_bytes:
            return False  # cut, which is said elsewhere
        return header[:4] != _CLUSTER or not self._is_whole(self._start + size[0], size[1])

    def _is_whole(self, start: int, size: int) -> bool:
        self._file.seek(start)
        mark = self._file.read(_MARK_BYTES)
        if mark[:2] != _MARK:
            return False
        left, found = size - _MARK_BYTES, 0
        while left > 0:
            piece = self._file.read(min(left, _PIECE_BYTES))
            if not piece:
                return False
            found = zlib.crc32(piece, found)
            left -= len(piece)
        return found == int.from_bytes(mark[2:], "little")

    def _find_first(self) -> int | None:
        """Offset of the first cluster, where it has a checksum."""
        here = self._file.tell()
        try:
            self._file.seek(0)
            head = self._file.read(HEAD_BYTES)
            at = head.find(_SEGMENT) + len(_SEGMENT)
            if at < len(_SEGMENT) or at == len(head):
                return None
            at += length_of(head[at])
            while True:
                self._file.seek(at)
                header = self._file.read(_HEADER_BYTES + _MARK_BYTES)
                size = size_of_element(header)
                if size is None:
                    return None
                if header[:4] == _CLUSTER:
                    return at if header[size[0] :].startswith(_MARK) else None
                at += sum(size)
        finally:
            self._file.seek(here)


def length_of(first_byte: int) -> int:
    return 9 - first_byte.bit_length()


def size_of_element(header: bytes) -> tuple[int, int] | None:
    """(bytes of id and size, bytes of content) of an element; None for none, or of unknown size as in live streams."""
    at = length_of(header[0]) if header else 0
    if not 1 <= at <= 4 or at >= len(header) or not header[at]:
        return None
    length = length_of(header[at])
    value = int.from_bytes(header[at : at + length], "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else (at + length, value)
