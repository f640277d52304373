"""How the pictures of an MP4 or a Matroska file look by its header alone, where the first frame costs too much."""

import re
import struct
from contextlib import suppress
from fractions import Fraction
from typing import BinaryIO

from av.bitstream import BitStreamFilterContext
from av.error import FFmpegError
from av.logging import INFO
from av.video.stream import VideoStream

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.boxes import boxes_in, find_moov
from reelworks.video.complaints import Listening
from reelworks.video.frames import Orientation, Picture, orientation_by
from reelworks.video.source import read_at
from reelworks.video.tracks import VideoTrack

_MATRIX_AT = {b"mvhd": (36, 48), b"tkhd": (40, 52)}
"""Where the matrix of a header stands in its versions 0 and 1 (ISO/IEC 14496-12 8.2.2 and 8.3.2)."""
_TRACK_AT = (12, 20)
_ONE = 1 << 16

_FIELD = re.compile(r" (aspect_ratio_idc|sar_width|sar_height) .*= (\d+)$")
_ASPECTS = (
    (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11),
    (80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1),
)  # fmt: skip
"""Pixel aspects by their number, from 1 on (ITU-T H.264, table E-1; H.265, table E.1)."""
_ASPECT_IN_FRAMES = ("mjpeg", "mpeg1video", "mpeg2video", "mpeg4")
"""Codecs without a header of their own in the container's that would tell it."""


def picture_in_header(stream: VideoStream, file: BinaryIO, file_bytes: int, track: VideoTrack | None = None) -> Picture:
    """What the stream's first frame would tell, by the Matroska `track`, else by an MP4's header.

    Raises VideoError where these don't tell, as in other containers.
    """
    context, pts = stream.codec_context, None
    if track is not None:
        orientation = Orientation() if track.is_plain else None
        pts = min(track.times, default=None)
    else:
        orientation = _orientation_in_moov(file, file_bytes, stream.id)
    aspect_known = stream.sample_aspect_ratio or context.codec.canonical_name not in _ASPECT_IN_FRAMES
    if orientation is None or not context.width or not context.height or not aspect_known:
        raise VideoError(VideoErrorKind.corrupt, "The header doesn't tell how a frame looks.", 0)
    return Picture(context.width, context.height, context.colorspace, orientation, pts)


def aspect_in_parameters(stream: VideoStream) -> Fraction | None:
    """A pixel's width over its height by the header of H.264 or HEVC; None where it doesn't say, or of other codecs."""
    if stream.codec_context.codec.canonical_name not in ("h264", "hevc"):
        return None
    with suppress(FFmpegError), Listening(INFO) as messages:
        BitStreamFilterContext("trace_headers", stream)
    fields = {found[1]: int(found[2]) for _, _, text in messages if (found := _FIELD.search(text.rstrip()))}
    number, width, height = (fields.get(name, 0) for name in ("aspect_ratio_idc", "sar_width", "sar_height"))
    if width and height:
        return Fraction(width, height)
    return Fraction(*_ASPECTS[number - 1]) if 1 <= number <= len(_ASPECTS) else None


def _orientation_in_moov(file: BinaryIO, file_bytes: int, track: int) -> Orientation | None:
    moov = find_moov(file, file_bytes)
    try:
        return _orientation_in(read_at(file, moov.content, moov.stop - moov.content), track) if moov else None
    except (IndexError, struct.error):  # a header shorter than it has to be
        return None


def _orientation_in(moov: bytes, track: int) -> Orientation | None:
    """The track's matrix times the movie's, as FFmpeg multiplies them."""
    movie = (_ONE, 0, 0, _ONE)
    found = None
    for kind, _, start, stop in boxes_in(moov, 0, len(moov)):
        if kind == b"mvhd":
            movie = _matrix(kind, moov[start:stop])
        for inner, _, first, last in boxes_in(moov, start, stop) if kind == b"trak" else ():
            content = moov[first:last]
            if inner == b"tkhd" and struct.unpack_from(">I", content, _TRACK_AT[content[0] == 1])[0] == track:
                found = _matrix(inner, content)
    if found is None:
        return None
    (a, b, c, d), (e, f, g, h) = found, movie
    return orientation_by(a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h)


def _matrix(kind: bytes, content: bytes) -> tuple[int, int, int, int]:
    a, b, _, c, d = struct.unpack_from(">5i", content, _MATRIX_AT[kind][content[0] == 1])
    return a, b, c, d
