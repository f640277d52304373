"""The fragments of an MP4 whose samples are told piece by piece: opening it reads the head of each of them.

Without a table of all fragments (sidx) FFmpeg goes from one to the next, and each step costs a request. Here they are
made as small as the heads are, and what they bring stays at hand: the next opening in this process costs none.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import BinaryIO

from reelworks.video.boxes import boxes_of
from reelworks.video.layout import Remote
from reelworks.video.source import read_at

_MAX_BOXES = 100_000
"""Top-level boxes that are looked at: fragments of half a second for four hours."""

_MAX_BEFORE = 16
"""Of these before the first fragment: marks of its kind, tables, room that is free."""

_HEAD_BYTES = 4096
"""Of a fragment with some hundred samples; grows with those that are found."""

_KEPT_BYTES = 24 * 2**20
"""Of all heads together: 6,000 of the least length. Opening a file with more reads the rest of them again."""

_REST_BYTES = 64 * 2**10
"""What may follow the last fragment that a table names: a table of another kind (mfra)."""

_TABLE_BYTES = 2**20
"""Of a table of all fragments: 87,000 of them."""

_WHOLE_BOXES = (b"moof", b"styp", b"sidx", b"emsg", b"prft", b"free", b"skip", b"uuid", b"mfra")


def keep_fragment_heads(file: BinaryIO, start: int, file_bytes: int) -> None:
    """Fetch what opening will read of the fragments from `start` (behind moov) on (ISO/IEC 14496-12, 8.8.4, 8.16.3).

    Does nothing where what lies there is no fragment, or a table tells where all of them are.
    """
    if not isinstance(file, Remote):
        return
    begun, held, head_bytes, kept_bytes, fragmented = start, start, _HEAD_BYTES, 0, False
    for number, (kind, _, content, stop) in enumerate(islice(boxes_of(file, file_bytes, start), _MAX_BOXES)):
        if kind not in (*_WHOLE_BOXES, b"mdat") or (kind == b"mdat" and not fragmented):
            return
        if kind == b"sidx" and not fragmented and _table_end(file, content, stop) + _REST_BYTES > file_bytes:
            return
        fragmented = fragmented or kind == b"moof"
        if not fragmented and number == _MAX_BEFORE:
            return
        if kind == b"mdat":
            held = stop
        elif kind == b"moof":  # and the header of the box behind it
            head_bytes = max(head_bytes, -(-(stop + 16 - begun) // 1024) * 1024)
        if fragmented and stop + 16 > held:
            kept_bytes += head_bytes
            if kept_bytes > _KEPT_BYTES:
                return
            file.expect(stop, stop + head_bytes, keep=True)
            begun, held = stop, stop + head_bytes


def _table_end(file: BinaryIO, content: int, stop: int) -> int:
    """Where the last fragment ends that a table of fragments (sidx) names, which lies between two places."""
    data = read_at(file, content, min(stop - content, _TABLE_BYTES))
    wide = data[:1] == b"\1"
    first_at, entries_at = (20, 32) if wide else (16, 24)
    if len(data) < entries_at:
        return 0
    first = struct.unpack_from(">Q" if wide else ">I", data, first_at)[0]
    sizes = [struct.unpack_from(">I", data, entry)[0] & 0x7FFFFFFF for entry in range(entries_at, len(data) - 11, 12)]
    return int(stop + first + sum(sizes))
