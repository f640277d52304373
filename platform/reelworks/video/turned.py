"""How the pictures of an MP4 look by its header alone, where the first frame costs too much to look at it."""

import struct
from typing import BinaryIO

from av.video.stream import VideoStream

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.boxes import boxes_in, find_moov
from reelworks.video.frames import Orientation, Picture, orientation_by
from reelworks.video.source import read_at

_MATRIX_AT = {b"mvhd": (36, 48), b"tkhd": (40, 52)}
"""Where the matrix of a header stands in its versions 0 and 1 (ISO/IEC 14496-12 8.2.2 and 8.3.2)."""
_TRACK_AT = (12, 20)
_ONE = 1 << 16


def picture_in_header(stream: VideoStream, file: BinaryIO, file_bytes: int) -> Picture:
    """What the stream's first frame would tell. Raises VideoError where no header does, as in other containers."""
    context, moov = stream.codec_context, find_moov(file, file_bytes)
    try:
        content = read_at(file, moov.content, moov.stop - moov.content) if moov else b""
        orientation = _orientation_in(content, stream.id)
    except (IndexError, struct.error):  # a header shorter than it has to be
        orientation = None
    if orientation is None or not context.width or not context.height:
        raise VideoError(VideoErrorKind.corrupt, "The header doesn't tell how a frame looks.", 0)
    return Picture(context.width, context.height, context.colorspace, orientation, None)


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
