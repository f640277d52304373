"""The checksums that some files carry: CRC-32 elements in the clusters of Matroska (RFC 8794, section 11.3.1).

FFmpeg and others write them into MKV, and FFmpeg checks none. They see every damage, also where a decoder can't.
"""

import zlib
from itertools import islice
from typing import BinaryIO

from av.packet import Packet

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.ebml import CLUSTER, CRC_32, Element, elements_of, segment_in
from reelworks.video.sniff import HEAD_BYTES
from reelworks.video.source import read_at

_MARK = CRC_32 + b"\x84"
_MARK_BYTES = 6
_MAX_ELEMENTS = 4096
"""Before the first cluster: tags, fonts, and what makes room for more."""

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
        for element in elements_of(self._file, self._stop):
            self._start, self._stop = element.start, element.stop
            if self._stop > position:
                break
        else:  # where the next element has to begin there is none
            self._start, self._stop = self._stop, self._file_bytes
            return True
        if self._stop > self._file_bytes:
            return False  # cut, which is said elsewhere
        return element.name != CLUSTER or not self._is_whole(element)

    def _is_whole(self, cluster: Element) -> bool:
        mark = read_at(self._file, cluster.content, _MARK_BYTES)
        if mark[:2] != _MARK:
            return False
        left, found = cluster.stop - cluster.content - _MARK_BYTES, 0
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
            segment = segment_in(read_at(self._file, 0, HEAD_BYTES))
            if segment is None:
                return None
            elements = islice(elements_of(self._file, segment[0]), _MAX_ELEMENTS)
            first = next((one for one in elements if one.name == CLUSTER), None)
            if first is None or read_at(self._file, first.content, len(_MARK)) != _MARK:
                return None
            return first.start
        finally:
            self._file.seek(here)
