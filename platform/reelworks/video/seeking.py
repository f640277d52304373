"""Where a jump in a file to a time is allowed, and where it pays. What it finds still has to prove itself."""

from __future__ import annotations

from fractions import Fraction

from av.video.stream import VideoStream

from reelworks.video.index import reaches

INDEXED = ("mov", "matroska")
"""Containers with an index of key frames by time."""

SEARCHED = ("mpegts",)
"""Containers whose packets all have times, but that have no index: a time is searched for, by halves.

That finds the right place only where times increase up to the end. In two recordings one behind the other it may find
the second, so it is done only for a caller who has seen all frames of the file.
"""

NUMBERED = ("avi",)
"""Containers with an index of all frames by number, whose times follow from it where all of them can be decoded.

That, too, only a caller knows who has seen them; see `reelworks.video.slots` for the rest of the proof.

What is left is walked through from the start, by all calls together (`reelworks.video.onward`), since no jump could be
proven: FLV may change the decoder's configuration anywhere, in a tag of its own; a frame of a program stream without a
time gets it from all before it; H.264 in AVI doesn't say how far its frames are out of order.
"""

_MARGINS_S = (0, Fraction(1, 4), 2, 10)
"""How far before the time asked for a jump aims, in turn, until a key frame lies before that time."""

_SEARCH_MARGINS_S = (2, 10)
"""The same where each jump costs a search, which ends at any packet."""

_UNSEEN_S = 2
"""Seconds that are walked through rather than jumped over where the index between two times wasn't read yet."""

_SEARCH_S = 10
"""Seconds that are walked through rather than searched over: decoding them costs less than some twenty requests."""


def margins_s(demuxer: str, ordered: bool, ahead_s: Fraction | float) -> tuple[Fraction | int, ...]:
    """The margins of jumps to a time that lies `ahead_s` after the first frame; none where all is walked through.

    `ordered`: the caller knows that the file's times increase up to its end.
    """
    if ahead_s > 0 and (demuxer in INDEXED or (demuxer in NUMBERED and ordered)):
        return _MARGINS_S
    return _SEARCH_MARGINS_S if demuxer in SEARCHED and ordered and ahead_s > _SEARCH_S else ()


def pays(stream: VideoStream, demuxer: str, index_read: bool, ordered: bool, pts: int, target: int) -> bool:
    """True where a key frame lies between the frame at `pts` and `target` (stream ticks), as far as anyone knows."""
    ahead_s = (target - pts) * (stream.time_base or Fraction(1, 1000))
    if demuxer in SEARCHED:
        return ordered and ahead_s > _SEARCH_S
    if demuxer not in INDEXED and not (demuxer in NUMBERED and ordered):
        return False
    # Matroska's index is read by the first jump: before that nobody knows what a walk would fetch for nothing.
    if not (index_read if demuxer == "matroska" else reaches(stream, target)):
        return ahead_s > _UNSEEN_S
    at = stream.index_entries.search_timestamp(target, backward=True)
    return at >= 0 and stream.index_entries[at].timestamp > pts
