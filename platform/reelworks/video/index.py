"""What a container's own table of samples says about a stream, read without decoding, and held against the limits."""

import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

from av.container import InputContainer
from av.video.stream import VideoStream

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.container import STILL_DEMUXERS
from reelworks.video.layout import Remote
from reelworks.video.limits import Limits


@dataclass(frozen=True)
class Index:
    """What the container's own table of samples says about the stream."""

    shown: int | None
    present: int | None
    hidden: int
    leading: int
    uneven: bool | None

    @property
    def truncated(self) -> bool:
        """True where the index names frames that lie beyond the end of the file."""
        return self.shown is not None and self.present is not None and self.present < self.shown


COMPLETE_INDEX = ("mov", "avi")
"""Containers whose index, where there is one, names every frame (Matroska's names a few key frames only)."""


PLAUSIBLE_FPS = 240
"""A rate above it is that of a clock."""

REORDERED = 4
"""Packets by which decoding order differs from display order in what encoders write."""

_NEAR_S = 2
"""Packets that follow in an index within this time follow in the file; that of a fragmented MP4 may have gaps."""

_CHUNK_BYTES = 16
"""In AVI an entry counts from the chunk's header, and FFmpeg looks at that of the next one."""


def read_index(stream: VideoStream, demuxer: str, file_bytes: int, short: bool) -> Index:
    """Count shown, hidden, leading and present frames from the index. No packet is read."""
    complete = demuxer in COMPLETE_INDEX and stream.frames and not (demuxer == "avi" and short)  # its index is its end
    leading = decodable = hidden = present = 0
    whole, last, steps = True, 0, (sys.maxsize, 0)
    for entry in stream.index_entries if complete else ():  # one at a time: a film has hundreds of thousands
        if not decodable and not entry.is_keyframe:
            leading += 1
            continue
        if decodable:
            steps = min(steps[0], entry.timestamp - last), max(steps[1], entry.timestamp - last)
        decodable, last = decodable + 1, entry.timestamp
        hidden += entry.is_discard
        whole = whole and entry.pos + entry.size <= file_bytes
        present += whole and not entry.is_discard
    if not decodable + leading:
        return Index(1 if demuxer in STILL_DEMUXERS else None, None, 0, 0, None)
    uneven = decodable > 1 and steps[1] - steps[0] > 1  # one unit of rounding is no variable rate
    return Index(decodable - hidden, present, hidden, leading, uneven)


def told_rate(stream: VideoStream) -> Fraction:
    """Frames a second by the container, the stream's own header, or FFmpeg's guess, which may count fields; else 0."""
    return stream.average_rate or own_rate(stream) or stream.guessed_rate or Fraction(0)


def own_rate(stream: VideoStream) -> Fraction:
    """Frames a second by the stream's own header; 0 where that has none, or one of a clock."""
    stated = Fraction(stream.codec_context.framerate or 0)
    return stated if 1 <= stated <= PLAUSIBLE_FPS else Fraction(0)


def reaches(stream: VideoStream, time: int) -> bool:
    """Whether the index, as far as it was read, names the frames about a time (stream ticks).

    That of a fragmented MP4 with a table of its fragments (sidx) is read with each of them, in the order of use.
    """
    entries = stream.index_entries
    last = len(entries) - 1
    if last < 0 or entries[last].timestamp < time:
        return False
    if stream.frames:  # a header that counts them comes with all of them
        return True
    at = entries.search_timestamp(time, backward=True, any_frame=True)
    gap = entries[min(at + 1, last)].timestamp - entries[at].timestamp if at >= 0 else 0
    return at >= 0 and gap * (stream.time_base or Fraction(1, 1000)) <= _NEAR_S


def is_covered(stream: VideoStream) -> bool:
    """Whether the index, as far as it was read, names frames up to the end that the header claims.

    Of a fragmented MP4 without a table of its fragments, FFmpeg takes the last one that it has seen for that end.
    """
    entries = stream.index_entries
    if len(entries) < 2 or stream.duration is None:
        return True
    last = entries[len(entries) - 1].timestamp
    step = last - entries[len(entries) - 2].timestamp
    return stream.duration <= last - entries[0].timestamp + 2 * step


def extent_of(stream: VideoStream, start: int, end: int) -> tuple[int, int] | None:
    """(first byte, end) of what decodes the frames shown from `start` to `end` (stream ticks), None without an index.

    From a key frame before, to some packets behind: a decoder gives a frame after those that it may refer to. An index
    has decoding times, so the key frame found for a time may be shown after it; then the one before counts.
    """
    entries = stream.index_entries
    if not len(entries):
        return None
    last = entries.search_timestamp(end, backward=True, any_frame=True)
    first = entries.search_timestamp(start, backward=True)
    if last < first or first < 0:
        return None
    before = max(0, entries.search_timestamp(entries[first].timestamp - 1, backward=True))
    near = entries[max(first, last - REORDERED) : last + 1 + REORDERED]
    latest = end + _NEAR_S / (stream.time_base or Fraction(1, 1000))
    stop = max(entry.pos + entry.size for entry in near if entry.timestamp <= latest)
    return entries[before].pos, stop + _CHUNK_BYTES


def announce(file: BinaryIO, stream: VideoStream, demuxer: str, start: int, end: int) -> None:
    """Tell a remote file where the frames shown between two timestamps are; only complete indexes know it."""
    if demuxer in COMPLETE_INDEX and isinstance(file, Remote):
        extent = extent_of(stream, start, end)
        if extent:
            file.expect(*extent)


def check_limits(container: InputContainer, stream: VideoStream, index: Index, limits: Limits) -> None:
    """Refuse a file by what its header claims. Raises VideoError `oversize`."""
    pixels = stream.width * stream.height
    if pixels > limits.max_pixels:
        raise _oversize(f"A frame has {stream.width}x{stream.height} pixels", f"{limits.max_pixels:,} pixels")
    if index.shown is not None and index.shown > limits.max_frames:
        raise _oversize(f"The file has {index.shown:,} frames", f"{limits.max_frames:,}")
    duration_s = duration_of(container, stream)
    if duration_s is not None and duration_s > limits.max_duration_s:
        raise _oversize(f"The file is {duration_s:,.0f} s long", f"{limits.max_duration_s:,.0f} s")


def duration_of(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds of the stream, else of the container, else None."""
    if stream.duration is not None and stream.time_base is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    return container.duration / 1_000_000 if container.duration else None


def _oversize(what: str, limit: str) -> VideoError:
    return VideoError(VideoErrorKind.oversize, f"{what}; the limit is {limit}.")
