"""Key frames of a file that has no index of its own: noted while all of it is decoded, jumped to by later readers.

Such a file may change its decoder's configuration anywhere (FLV), leave out the times of frames (AVI, program streams)
or hold two recordings one behind the other (transport streams), so that a jump alone proves nothing. Who has decoded
all of it knows: a key frame with the place of its packet and the time at which it was shown then. Who jumps there has
to find that very packet, and to have its picture shown at that time; all that follows depends on nothing before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple, cast

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelworks.video.configuration import Configuration

NOTED = ("mpegts", "mpeg", "flv", "avi", "ivf")
"""Containers without an index of key frames by time. (Stills, GIF and APNG are read from the start.)"""

_SHARED = ("mpegts", "mpeg")
"""Those of them whose packets may begin inside one frame and end inside another."""

_BEFORE = 2
"""Their packets to go back by: FFmpeg's parser takes what it meets first for the start of a frame."""

_SOUGHT_PACKETS = 64
"""Packets of the video stream that are looked through for the one jumped to: those that begin before it."""


class Unproven(Exception):
    """What a jump found may not be what a walk from the start gives there."""


class Place(NamedTuple):
    """A key frame of a stream, in its ticks."""

    pts: int
    """When it is shown."""
    stamp: int
    """The time of its packet: of decoding in AVI, where packets have no other, else `pts` again."""
    pos: int
    """A byte of the file from which its packet is read whole."""
    size: int
    """Bytes of its packet."""


def places_array(places: Sequence[Place]) -> np.ndarray:
    """int64 (K, 4)."""
    return np.array(places, np.int64).reshape(-1, len(Place._fields))


def place_before(places: Sequence[Place], target: int) -> Place | None:
    """The last one of `places`, in display order, that is shown at or before a time."""
    at = bisect_right(places, target, key=lambda place: place.pts)
    return places[at - 1] if at else None


class Marks:
    """Marks on the packets of key frames, which the decoder hands on to their frames."""

    def __init__(self, stream: VideoStream, demuxer: str, indexed: bool, configuration: Configuration):
        """`indexed`: the container names all its frames, which a jump in AVI needs."""
        self._demuxer, self._configuration = demuxer, configuration
        # The palette of an AVI may change anywhere.
        palette = stream.codec_context.pix_fmt == "pal8"
        self._possible = (indexed or demuxer != "avi") and not palette
        self._before: deque[int] = deque(maxlen=_BEFORE)  # where the packets before the current one began

    def put(self, packet: Packet, jumped: bool) -> None:
        """Mark a packet that is about to be decoded, where decoding can begin in it.

        `jumped`: the one that is marked already has been jumped to. Raises Unproven where it can't be decoded alone.
        """
        if self._demuxer not in NOTED or not packet.size:
            return
        sure = self._configuration.admit(packet)
        if jumped:
            if packet.opaque is not None and not sure:
                raise Unproven
            return
        pos = packet.pos
        if self._demuxer in _SHARED:
            pos = self._before[0] if self._before else pos
            self._before.extend([] if packet.pos is None else [packet.pos])
        stamp = stamp_of(packet, self._demuxer)
        if packet.is_keyframe and stamp is not None and pos is not None and sure and self._possible:
            packet.opaque = (stamp, pos, packet.size)


def marked_place(pts: int, frame: VideoFrame) -> Place | None:
    """The place of a frame that is shown at a time, where its packet was marked."""
    if frame.opaque is None:
        return None
    stamp, pos, size = cast("tuple[int, int, int]", frame.opaque)
    return Place(pts, stamp, pos, size)


def stamp_of(packet: Packet, demuxer: str) -> int | None:
    """See `Place.stamp`."""
    return packet.dts if demuxer == "avi" else packet.pts


def packets_from(packets: Iterator[Packet], place: Place, demuxer: str) -> Iterator[Packet]:
    """Those of `packets` from the one of a key frame on, which is marked. Raises Unproven where it doesn't come."""
    for packet in islice(packets, _SOUGHT_PACKETS):
        if packet.is_keyframe and (stamp_of(packet, demuxer), packet.size) == (place.stamp, place.size):
            packet.opaque = Place(*place)  # PyAV knows it by its address, and forgets one that is in use twice
            return chain([packet], packets)
    raise Unproven


def frames_from(frames: Iterator[VideoFrame], place: Place) -> Iterator[VideoFrame]:
    """Those of `frames` from the key frame on that was jumped to; what is shown before it lacks its references.

    Raises Unproven where it isn't among the first.
    """
    for before, frame in enumerate(frames):
        if frame.opaque == place:
            yield frame
            yield from frames
            return
        if before == _SOUGHT_PACKETS:
            break
    raise Unproven
