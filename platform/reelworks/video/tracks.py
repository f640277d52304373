"""What the first bytes of a Matroska file say of its video tracks (RFC 9559, section 5.1): how they are to be seen, and
when their first frames are shown.

Where the header leaves out the rate of the frames, FFmpeg takes it from as many as it comes by; here it is taken from
those whose headers lie in the first bytes, so that it is the same however few of these are at hand.
"""

from fractions import Fraction
from itertools import islice
from struct import unpack_from
from typing import BinaryIO

from av.video.stream import VideoStream

from reelworks.video.ebml import (
    BLOCK,
    BLOCK_GROUP,
    CLUSTER,
    DEFAULT_DURATION,
    INFO,
    PIXEL_CROPS,
    PROJECTION,
    SEGMENT,
    SIMPLE_BLOCK,
    TIMESTAMP,
    TIMESTAMP_SCALE,
    TRACK_ENTRY,
    TRACK_NUMBER,
    TRACK_TYPE,
    TRACKS,
    VIDEO,
    elements_in,
    opened_in,
    size_at,
)
from reelworks.video.index import PLAUSIBLE_FPS, REORDERED, own_rate
from reelworks.video.layout import FIRST_REQUEST_BYTES
from reelworks.video.source import read_at

RATE_BYTES = 704 * 2**10
"""Looked at where the first request holds too few frames: two more of an opening's four are enough for them."""

_ENOUGH_STEPS = 8
"""From one frame to the next: fewer tell a rate less exactly than a codec's own header, where it has one."""
_ENOUGH_FRAMES, _MOST_FRAMES = _ENOUGH_STEPS + REORDERED + 1, 64
_MOST_ELEMENTS = 4096
_VIDEO_TYPE = 1
_CLOCK_NS = 1_000_000
_REORDERING = ("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4")
"""Codecs whose frames are stored in another order than they are shown in."""

_MASTERS = frozenset((SEGMENT, INFO, TRACKS, CLUSTER, BLOCK_GROUP))


class VideoTrack:
    """One track, by its entry in the header."""

    def __init__(self, entry: bytes, tick_ns: int):
        inside = {one.name: entry[one.content : one.stop] for one in elements_in(entry, 0, len(entry))}
        self.is_video = _number(inside.get(TRACK_TYPE)) == _VIDEO_TYPE
        self.number = _number(inside.get(TRACK_NUMBER))
        self.states_rate = _number(inside.get(DEFAULT_DURATION)) > 0
        picture = inside.get(VIDEO, b"")
        names = {one.name for one in elements_in(picture, 0, len(picture))}
        self.is_plain = not names & {PROJECTION, *PIXEL_CROPS}
        """Neither turned nor cut at its sides."""
        self.times: list[int] = []
        """When its first frames are shown, in the order in which they are stored, in ticks."""
        self._tick_ns = tick_ns

    def rate(self, stream: VideoStream) -> Fraction:
        """Mean frames a second by the header, else by the first frames, by the codec's own header; else 0."""
        told, own = stream.average_rate, own_rate(stream)
        if self.states_rate and told and told <= PLAUSIBLE_FPS:
            return told
        shown = sorted(set(self.times))
        if stream.codec_context.codec.canonical_name in _REORDERING:  # what is shown between the last may follow them
            shown = shown[:-REORDERED]
        steps = len(shown) - 1
        if steps < _ENOUGH_STEPS and own:
            return own
        return Fraction(steps * 10**9, (shown[-1] - shown[0]) * self._tick_ns) if steps > 0 else Fraction(0)


class VideoTracks:
    """The video tracks of a file in the order of its header."""

    def __init__(self, file: BinaryIO):
        self._tracks = _tracks_in(read_at(file, 0, FIRST_REQUEST_BYTES))
        if any(len(track.times) < _ENOUGH_FRAMES and not track.states_rate for track in self._tracks):
            self._tracks = _tracks_in(read_at(file, 0, RATE_BYTES))

    def at(self, place: int) -> VideoTrack | None:
        """The n-th of them, None where the first bytes don't name so many."""
        return self._tracks[place] if place < len(self._tracks) else None


def _tracks_in(data: bytes) -> list[VideoTrack]:
    tracks: list[VideoTrack] = []
    tick_ns, cluster_at = _CLOCK_NS, 0
    for name, _, content, stop in islice(opened_in(data, _MASTERS), _MOST_ELEMENTS):
        if name == TIMESTAMP_SCALE:
            tick_ns = _number(data[content:stop]) or _CLOCK_NS
        elif name == TRACK_ENTRY:
            track = VideoTrack(data[content:stop], tick_ns)
            tracks += [track] if track.is_video else []
        elif name == TIMESTAMP:
            cluster_at = _number(data[content:stop])
        elif name in (SIMPLE_BLOCK, BLOCK) and (number := size_at(data, content)) is not None:
            at, track_number = number  # behind it stands the time after the cluster's
            for track in tracks if at + 2 <= len(data) else ():
                if track.number == track_number and len(track.times) < _MOST_FRAMES:
                    track.times.append(cluster_at + unpack_from(">h", data, at)[0])
    return tracks


def _number(content: bytes | None) -> int:
    return int.from_bytes((content or b"")[:8], "big")
