"""Times of frames where the container gives them none.

AVI has a slot of equal length for each frame and no presentation times: the n-th shown has the n-th slot. A packet's
slot is its place in decoding order. Behind a jump it is known from the index; which frame is shown in it follows only
where every packet of the file gives one frame, and all that lies before the key frame is shown before it.
"""

from __future__ import annotations

import heapq
from fractions import Fraction
from itertools import pairwise

from av.packet import Packet
from av.video.stream import VideoStream

from reelworks.video.index import Index

_IN_ORDER = frozenset("mjpeg png ffv1 prores dnxhd rawvideo h263 flv1 msmpeg4v2 msmpeg4v3".split())
"""Codecs that show each frame as it comes, and whose key frames refer to nothing before."""

_PICTURES = {
    "mpeg4": (b"\0\0\1\xb6", 4, 6, "IPBS"),  # ISO/IEC 14496-2, 6.2.5: vop_coding_type
    "mpeg1video": (b"\0\0\1\0", 5, 3, " IPBD"),  # ISO/IEC 11172-2, 2.4.2.5: picture_coding_type
    "mpeg2video": (b"\0\0\1\0", 5, 3, " IPBD"),  # ISO/IEC 13818-2, 6.2.3
}
"""Codec -> what a picture starts with, the byte behind it that has its type, by how many bits to shift, the types."""


_CHUNK_BYTES = 8
"""Of a chunk without content: its name and its length."""


class Unproven(Exception):
    """What a jump found may not be what a walk from the start gives there."""


class Slots:
    """Slots of the packets that were decoded, and whose frames haven't been shown yet."""

    def __init__(self, stream: VideoStream, jumped: bool):
        """`jumped`: the first packet is not that of the file, but a key frame."""
        self._context = stream.codec_context
        self._codec = self._context.codec.canonical_name
        self._waiting: list[int] = []
        self._checked = jumped and self._codec in _PICTURES
        self._begun = self._leading = False

    def admit(self, packet: Packet) -> bool:
        """False for a packet that must not be decoded: one shown before the key frame jumped to. Raises Unproven.

        Such pictures refer to what lies before; they have their slots all the same, so the key frame has a later one.
        """
        if not self._checked or not packet.size:
            return True
        kinds = picture_kinds(bytes(packet), self._codec)
        if not self._begun:  # the key frame itself
            if not packet.is_keyframe or kinds[:1] != "I" or "B" in kinds:
                raise Unproven
            self._begun = self._leading = True
            return True
        if not kinds or ("B" in kinds and not self._context.has_b_frames):
            raise Unproven  # the decoder gives each frame at once, and would show these too late
        self._leading = self._leading and kinds[0] == "B"
        if self._leading:
            if kinds.strip("B") or packet.dts is None:
                raise Unproven  # more than one frame in a packet
            heapq.heappushpop(self._waiting, packet.dts)
        return not self._leading

    def add(self, packet: Packet, shown: int) -> None:
        """Note a packet that was decoded and completed so many frames. Raises Unproven."""
        if packet.dts is not None and (self._waiting or packet.is_keyframe):
            heapq.heappush(self._waiting, packet.dts)
        if self._checked and packet.size and len(self._waiting) - shown > int(self._context.has_b_frames):
            raise Unproven  # a packet gave no frame: it refers to what wasn't decoded, or isn't what it seems

    def take(self) -> int | None:
        """The slot of the next frame that is shown; None where the decoder keeps none back, and packets have times."""
        return heapq.heappop(self._waiting) if self._waiting else None


def picture_kinds(packet: bytes, codec: str) -> str:
    """The types of a packet's coded pictures, a letter each: I, P, B, S (with global motion), D."""
    mark, byte, shift, letters = _PICTURES[codec]
    kinds = ""
    at = packet.find(mark)
    while at >= 0 and at + byte < len(packet):
        kind = packet[at + byte] >> shift & 7
        kinds += letters[kind] if kind < len(letters) else " "
        at = packet.find(mark, at + 4)
    return kinds


def slots_are_sure(stream: VideoStream, index: Index) -> bool:
    """Whether a jump in a file that was walked through without an error can be proven, as far as its header tells.

    Every packet gave a frame then, or the walk had missed some. A slot may be empty (a frame that was dropped); a walk
    counts those that lie in the file, a jump those that the index names, so header, index and the room that empty
    chunks take have to agree.
    """
    codec, entries = stream.codec_context.codec.canonical_name, stream.index_entries
    count = len(entries)
    if index.shown != count or not count or entries[count - 1].timestamp + 1 != stream.frames:
        return False
    if codec not in _IN_ORDER and codec not in _PICTURES or stream.codec_context.pix_fmt == "pal8":
        return False  # colours may change anywhere in the file; H.264 doesn't say how far its frames are out of order
    return stream.frames == count or all(
        after.pos - before.pos - before.size >= _CHUNK_BYTES * (after.timestamp - before.timestamp)
        for before, after in pairwise(entries)
    )


def continued_time(stream: VideoStream, pts: int | None, last: int | None) -> int:
    """The time of a frame that may have none of its own: its place in the stream's rate behind the last one.

    A program stream times only the first frame of each of its packets, and the parser may give that time twice.
    """
    rate = stream.guessed_rate or stream.average_rate or Fraction(25)
    step = max(1, round(1 / (rate * (stream.time_base or Fraction(1, 1000)))))
    repeated = last is not None and last - step < (pts or 0) <= last
    if pts is not None and not repeated:
        return pts
    return (stream.start_time or 0) if last is None else last + step
