"""The boxes that an ISO base media file is made of (ISO/IEC 14496-12, 4.2), in a file or in memory."""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from reelworks.video.source import read_at

MIN_BOX_BYTES, _HEADER_BYTES = 8, 16
"""Of a box's header at least and at most: its length, its name, and its length once more where that takes 64 bits."""

_MAX_BEFORE_MOOV = 16
"""Top-level boxes that are looked at on the way to the index; each may cost a request."""


class Box(NamedTuple):
    """Where a box lies; one of a file that is cut ends behind the file."""

    kind: bytes
    start: int
    content: int
    stop: int


def boxes_of(file: BinaryIO, file_bytes: int, at: int = 0) -> Iterator[Box]:
    """The boxes from a place on, one behind the other, each looked at when it is asked for.

    They end with the file, and before one without a length: it goes up to the end of the file, or makes no sense.
    """
    while at < file_bytes and (box := _box_at(read_at(file, at, min(_HEADER_BYTES, file_bytes - at)), at)):
        yield box
        at = box.stop


def boxes_in(data: bytes, at: int, stop: int) -> Iterator[Box]:
    """The same in memory, between two places, as far as they are whole."""
    while (box := _box_at(data[at : min(at + _HEADER_BYTES, stop)], at)) and box.stop <= stop:
        yield box
        at = box.stop


def find_moov(file: BinaryIO, file_bytes: int) -> Box | None:
    """The index of a file (8.2.1), where it is whole."""
    found = (box for box in islice(boxes_of(file, file_bytes), _MAX_BEFORE_MOOV) if box.kind == b"moov")
    box = next(found, None)
    return box if box is not None and box.stop <= file_bytes else None


def _box_at(header: bytes, at: int) -> Box | None:
    """The box at a place by its first bytes; None for none, or one without a length."""
    if len(header) < MIN_BOX_BYTES:
        return None
    size, kind = struct.unpack_from(">I4s", header)
    content = MIN_BOX_BYTES
    if size == 1 and len(header) == _HEADER_BYTES:
        size, content = struct.unpack_from(">Q", header, 8)[0], _HEADER_BYTES
    return Box(kind, at, at + content, at + size) if size >= content else None
