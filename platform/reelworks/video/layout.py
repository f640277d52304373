"""Which parts of a remote file opening it reads: header, index and first packets, found by the container's outline."""

import struct
from typing import BinaryIO

from reelworks.errors import VideoError
from reelworks.video.fragments import keep_fragment_heads
from reelworks.video.sniff import HEAD_BYTES, sniff

_MAX_BOXES = 16
"""Top-level boxes that are looked at on the way to the index; each may cost a request."""

_FIRST_PACKETS_BYTES = 128 * 2**10
"""Behind an index: what FFmpeg looks at before it names a stream's rate and size."""

_HEAD_BYTES = 192 * 2**10
"""The same in front of an index that stands at the end."""

_PLAIN_INDEX_BYTES = 48 * 2**10
"""An index that names no samples, as in front of fragments, is shorter; what follows came with the first request."""

_MKV_HEAD_BYTES = 256 * 2**10
"""Matroska has no index of its first packets; with its clock of a millisecond FFmpeg looks at twenty of them."""

_CUES_BYTES = 16 * 2**20
"""Cues stand at the end as a rule, with tags behind them; farther from the end their length isn't known here."""

_SEGMENT = b"\x18\x53\x80\x67"
_CUES_SEEK = b"\x53\xab\x84\x1c\x53\xbb\x6b\x53\xac"


def opening_parts(file: BinaryIO, file_bytes: int) -> list[tuple[int, int]]:
    """(start, stop) of the parts that every opening reads; empty for containers without an index in one place.

    Costs one request, one more where the index stands behind the pictures, and one for each fragment of an MP4 without
    a table of them.
    """
    file.seek(0)
    head = file.read(HEAD_BYTES)
    try:
        demuxer = sniff(head)
    except VideoError:
        return []  # opening it says so properly
    parts: list[tuple[int, int]] = []
    if demuxer == "mov":
        index = _find_moov(file, file_bytes)
        if index and index[0] < _HEAD_BYTES:
            parts = [(0, index[1] + _FIRST_PACKETS_BYTES)]
            if index[1] < _PLAIN_INDEX_BYTES:
                keep_fragment_heads(file, index[1], file_bytes)
        elif index:
            parts = [(0, _HEAD_BYTES), index]
    elif demuxer == "avi":
        parts = [(0, _HEAD_BYTES), *_find_avi_indexes(file, file_bytes)]
    elif demuxer == "matroska":
        parts = [(0, _MKV_HEAD_BYTES)]
        cues = _find_cues(head)
        if cues is not None and _MKV_HEAD_BYTES < cues < file_bytes:
            parts.append((cues, file_bytes if file_bytes - cues <= _CUES_BYTES else cues + _MKV_HEAD_BYTES))
    file.seek(0)
    return [(start, min(stop, file_bytes)) for start, stop in parts]


def _find_moov(file: BinaryIO, file_bytes: int) -> tuple[int, int] | None:
    """(start, stop) of the index of an ISO base media file (ISO/IEC 14496-12, 4.2 and 8.2.1)."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 16:
            return None
        size = struct.unpack_from(">I", header)[0]
        if size == 1:
            size = struct.unpack_from(">Q", header, 8)[0]
        if size < 8 or at + size > file_bytes:
            return None
        if header[4:8] == b"moov":
            return at, at + size
        at += size
    return None


def _find_avi_indexes(file: BinaryIO, file_bytes: int) -> list[tuple[int, int]]:
    """(start, stop) of the indexes: those that an OpenDML header names (AVI M-JPEG DML, 1996, 5.0), else what follows
    the pictures."""
    file.seek(0)
    stop = min(8 + struct.unpack_from("<I", file.read(12), 4)[0], file_bytes)
    at = 12
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(12)
        if len(header) < 12:
            break
        size = struct.unpack_from("<I", header, 4)[0]
        if header[8:] == b"movi":
            index = (at + 8 + size, stop)
            file.seek(0)
            return _opendml_indexes(file.read(min(at, _HEAD_BYTES))) or [index] * (index[0] < stop)
        at += 8 + size + size % 2
    return []


def _opendml_indexes(head: bytes) -> list[tuple[int, int]]:
    """(start, stop) of what the super index of each stream names."""
    parts = []
    at = head.find(b"indx")
    while at >= 0 and at + 32 <= len(head):
        words, _, kind, count = struct.unpack_from("<HBBI", head, at + 8)
        if words == 4 and kind == 0:  # an index of indexes
            for entry in range(at + 32, min(at + 32 + 16 * count, len(head) - 15), 16):
                start, size = struct.unpack_from("<QI", head, entry)
                parts.append((start, start + size))
        at = head.find(b"indx", at + 4)
    return parts


def _find_cues(head: bytes) -> int | None:
    """Offset of the cues as the segment's table of contents (RFC 9559, section 5.1.1) says it."""
    segment, entry = head.find(_SEGMENT) + len(_SEGMENT), head.find(_CUES_SEEK) + len(_CUES_SEEK)
    if segment < len(_SEGMENT) or entry < len(_CUES_SEEK) or entry >= len(head):
        return None
    data_at = segment + 9 - head[segment].bit_length()
    length = head[entry] & 0x7F
    return data_at + int.from_bytes(head[entry + 1 : entry + 1 + length], "big") if length <= 8 else None
