"""The elements that a Matroska file is made of (RFC 8794), in a file or in memory.

An element is an id, the length of its content, and its content. A length has one to eight bytes: as many as its first
bit that is set says.
"""

from collections.abc import Container, Iterator
from typing import BinaryIO, NamedTuple

from reelworks.video.source import read_at

# Ids of RFC 9559, section 5, and of RFC 8794, section 11.3.1.
SEGMENT = b"\x18\x53\x80\x67"
SEEK_ID = b"\x53\xab"
SEEK_POSITION = b"\x53\xac"
INFO = b"\x15\x49\xa9\x66"
TIMESTAMP_SCALE = b"\x2a\xd7\xb1"
TRACKS = b"\x16\x54\xae\x6b"
TRACK_ENTRY = b"\xae"
TRACK_NUMBER = b"\xd7"
TRACK_TYPE = b"\x83"
DEFAULT_DURATION = b"\x23\xe3\x83"
VIDEO = b"\xe0"
PIXEL_CROPS = (b"\x54\xaa", b"\x54\xbb", b"\x54\xcc", b"\x54\xdd")
PROJECTION = b"\x76\x70"
CLUSTER = b"\x1f\x43\xb6\x75"
TIMESTAMP = b"\xe7"
SIMPLE_BLOCK = b"\xa3"
BLOCK_GROUP = b"\xa0"
BLOCK = b"\xa1"
CUES = b"\x1c\x53\xbb\x6b"
CRC_32 = b"\xbf"

_LONGEST_ID, _HEADER_BYTES = 4, 12


class Element(NamedTuple):
    """Where an element lies; one of a file that is cut ends behind the file."""

    name: bytes
    start: int
    content: int
    stop: int


def elements_of(file: BinaryIO, at: int) -> Iterator[Element]:
    """The elements from a place on, one behind the other, each looked at when it is asked for.

    They end with the file, before what is none, and before one of unknown length as in live streams.
    """
    while element := _element_at(read_at(file, at, _HEADER_BYTES), at):
        yield element
        at = element.stop


def elements_in(data: bytes, at: int, stop: int) -> Iterator[Element]:
    """The same in memory, between two places, as far as they are whole."""
    while (element := _element_at(data[at : min(at + _HEADER_BYTES, stop)], at)) and element.stop <= stop:
        yield element
        at = element.stop


def opened_in(data: bytes, masters: Container[bytes]) -> Iterator[Element]:
    """All elements from the start of a file on, in one row: behind a master comes what it holds, whose length may be
    unknown. The last one may be cut, and ends behind the data."""
    at = 0
    while (width := _width(data, at)) <= _LONGEST_ID and (size := size_at(data, at + width)) is not None:
        name, (content, length) = data[at : at + width], size
        if length is None and name not in masters:
            return
        element = Element(name, at, content, len(data) if length is None else content + length)
        yield element
        at = content if name in masters else element.stop


def segment_in(head: bytes) -> tuple[int, int | None] | None:
    """(content, stop) of the segment that begins in the first bytes of a file; `stop` is None where it is unknown."""
    at = head.find(SEGMENT)
    if at < 0 or (size := size_at(head, at + len(SEGMENT))) is None:
        return None
    content, length = size
    return content, None if length is None else content + length


def size_at(data: bytes, at: int) -> tuple[int, int | None] | None:
    """(where it ends, what it says) of the length at a place, None for none; it says None, all ones, for unknown."""
    width = _width(data, at)
    if width > 8 or at + width > len(data):
        return None
    unknown = (1 << 7 * width) - 1
    length = int.from_bytes(data[at : at + width], "big") & unknown
    return at + width, None if length == unknown else length


def _element_at(header: bytes, at: int) -> Element | None:
    """The element at a place by its first bytes; None for none, or one of unknown length."""
    width = _width(header, 0)
    size = size_at(header, width) if width <= _LONGEST_ID else None
    if size is None or size[1] is None:
        return None
    content = at + size[0]
    return Element(header[:width], at, content, content + size[1])


def _width(data: bytes, at: int) -> int:
    """Bytes of the id or the length at a place by its first one; 9 where there is none."""
    return 9 - data[at].bit_length() if at < len(data) else 9
