"""Which parts of a remote file opening it reads, found by the container's outline, and what opening it may cost."""

import struct
from dataclasses import dataclass
from typing import BinaryIO, Protocol, runtime_checkable

from reelworks.errors import VideoError
from reelworks.video.boxes import find_moov
from reelworks.video.ebml import CUES, SEEK_ID, SEEK_POSITION, segment_in, size_at
from reelworks.video.sniff import HEAD_BYTES, sniff
from reelworks.video.source import read_at

_MAX_CHUNKS = 16
"""Of an AVI that are looked at on the way to its pictures; each may cost a request."""

_FIRST_PACKETS_BYTES = 128 * 2**10
"""Behind an index: what FFmpeg looks at before it names a stream's rate and size."""

FIRST_REQUEST_BYTES = 192 * 2**10
"""The same with the header in front of it: one request, enough for most files. An index behind the pictures then costs
a request for its start, which says how long it is, and one for the rest."""

_PLAIN_INDEX_BYTES = 48 * 2**10
"""An index that names no samples, as in front of fragments, is shorter; what follows came with the first request."""

_TAIL_BYTES = 64 * 2**10
"""What stands behind an index at the end of a file is fetched with it: FFmpeg looks at the head of every box."""

_CUES_BYTES = 16 * 2**20
"""Cues stand at the end as a rule, with tags behind them; farther from the end their length isn't known here."""

_MAX_BESIDE_INDEX_BYTES, _MAX_REQUESTS = 256 * 2**10, 3
"""What opening an MP4 costs at most, beside the HEAD that a bare address needs."""
_INDEX_BYTES_A_REQUEST = 8 * 2**20
"""A longer index costs further requests."""

_MKV_MAX_BYTES, _MKV_MAX_REQUESTS = 2**20, 4
"""Matroska has no index of its first packets; with its clock of a millisecond FFmpeg looks at up to forty of them."""

_CUES_SEEK = SEEK_ID + b"\x84" + CUES + SEEK_POSITION


@runtime_checkable
class Remote(Protocol):
    """A file whose bytes cost requests: told what will be read, it makes fewer and fetches less."""

    def expect(self, start: int, stop: int, keep: bool = False) -> None:
        """[start, stop) will be read in order; with `keep` again and again."""
        ...

    def read1(self, size: int | None = -1) -> bytes:
        """At most `size` bytes with at most one request."""
        ...


@runtime_checkable
class Metered(Remote, Protocol):
    """A remote file that counts what it has cost so far."""

    requests: int
    bytes_read: int

    def holds(self, position: int) -> bool:
        """Whether the byte at a position is at hand."""
        ...


@runtime_checkable
class Bounded(Protocol):
    """A remote file as a decoding child sees it; while it is `bounded`, it seems to end where its opening has cost what
    it may."""

    bounded: bool
    withheld: bool
    """Something that was asked for lay beyond."""


def withheld(file: BinaryIO) -> bool:
    """True where a file seemed shorter than it is."""
    return isinstance(file, Bounded) and file.withheld


@dataclass(frozen=True)
class Opening:
    """What opening a file reads at any rate, and what it may cost in all."""

    parts: tuple[tuple[int, int], ...]
    """(start, stop) each."""
    max_bytes: int
    max_requests: int
    fragments_at: int = 0
    """Where fragments may begin; 0 where there are none."""

    def ahead(self, position: int, requests: int, fetched_bytes: int) -> int:
        """Bytes to fetch at a position where so much has been spent; 0 where it has to do without them."""
        left, left_requests = self.max_bytes - fetched_bytes, self.max_requests - requests
        if left_requests <= 0 or left <= 0:
            return 0
        stop = next((stop for start, stop in self.parts if start <= position < stop), None)
        if stop is None:
            return left // left_requests
        return stop - position if stop - position <= left else 0


def plan_opening(file: BinaryIO, file_bytes: int) -> Opening | None:
    """What opening costs at most; None for containers without an index, which are read until FFmpeg knows enough.

    Costs one request, and one more where the index stands behind the pictures.
    """
    if isinstance(file, Remote):
        file.expect(0, FIRST_REQUEST_BYTES)
    head = read_at(file, 0, HEAD_BYTES)
    try:
        demuxer = sniff(head)
    except VideoError:
        return None  # opening it says so properly
    opening = None
    if demuxer == "mov":
        opening = _plan_mov(file, file_bytes)
    elif demuxer == "matroska":
        opening = _plan_matroska(head, file_bytes)
    file.seek(0)
    return opening


def _plan_mov(file: BinaryIO, file_bytes: int) -> Opening | None:
    moov = find_moov(file, file_bytes)
    if moov is None:
        return None
    start, stop = moov.start, moov.stop
    parts: tuple[tuple[int, int], ...]
    if start <= _FIRST_PACKETS_BYTES:
        parts = ((0, min(stop + _FIRST_PACKETS_BYTES, file_bytes)),)
    else:
        parts = ((0, FIRST_REQUEST_BYTES), (start, file_bytes if file_bytes - stop <= _TAIL_BYTES else stop))
    requests = _MAX_REQUESTS + (stop - start) // _INDEX_BYTES_A_REQUEST
    fragments_at = stop if stop <= _PLAIN_INDEX_BYTES else 0
    return Opening(parts, stop - start + _MAX_BESIDE_INDEX_BYTES, requests, fragments_at)


def _plan_matroska(head: bytes, file_bytes: int) -> Opening:
    parts: tuple[tuple[int, int], ...] = ((0, min(FIRST_REQUEST_BYTES, file_bytes)),)
    cues = _find_cues(head)
    if cues is not None and FIRST_REQUEST_BYTES < cues < file_bytes:
        stop = file_bytes if file_bytes - cues <= _CUES_BYTES else cues + FIRST_REQUEST_BYTES
        parts += ((cues, min(stop, file_bytes)),)
    return Opening(parts, _MKV_MAX_BYTES, _MKV_MAX_REQUESTS)


def avi_parts(file: BinaryIO, file_bytes: int) -> list[tuple[int, int]]:
    """(start, stop) of an AVI's header and its indexes: those that an OpenDML header names (AVI M-JPEG DML, 1996, 5.0),
    else what follows the pictures. Empty for other containers."""
    head = read_at(file, 0, 12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"AVI ":
        return []
    stop = min(8 + struct.unpack_from("<I", head, 4)[0], file_bytes)
    at = 12
    for _ in range(_MAX_CHUNKS):
        header = read_at(file, at, 12)
        if len(header) < 12:
            break
        size = struct.unpack_from("<I", header, 4)[0]
        if header[8:] == b"movi":
            index = (at + 8 + size, stop)
            indexes = _opendml_indexes(read_at(file, 0, min(at, FIRST_REQUEST_BYTES)))
            return [(0, FIRST_REQUEST_BYTES), *(indexes or [index] * (index[0] < stop))]
        at += 8 + size + size % 2
    return []


def _opendml_indexes(head: bytes) -> list[tuple[int, int]]:
    """(start, stop) of what the super index of each stream names."""
    parts = []
    at = head.find(b"indx")
    while at >= 0 and at + 32 <= len(head):
        chunk_bytes, words, _, kind, count = struct.unpack_from("<IHBBI", head, at + 4)
        behind = at + 4
        if words == 4 and kind == 0:  # an index of indexes
            # Not beyond its chunk: what claims to be one inside another would name the same places again and again.
            behind = max(behind, min(at + 32 + 16 * count, at + 8 + chunk_bytes, len(head)))
            for entry in range(at + 32, behind - 15, 16):
                start, size = struct.unpack_from("<QI", head, entry)
                parts.append((start, start + size))
        at = head.find(b"indx", behind)
    return parts


def _find_cues(head: bytes) -> int | None:
    """Offset of the cues as the segment's table of contents (RFC 9559, section 5.1.1) says it."""
    segment, entry = segment_in(head), head.find(_CUES_SEEK)
    size = size_at(head, entry + len(_CUES_SEEK)) if entry >= 0 else None
    if segment is None or size is None:
        return None
    at, length = size
    return segment[0] + int.from_bytes(head[at : at + length], "big") if length is not None and length <= 8 else None
