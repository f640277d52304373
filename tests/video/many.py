"""Films of so many frames that their index alone has megabytes: the samples of a short one, named again and again."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from reelworks.video.encode import encode_video
from tests.video.painted import paint

FRAMES, FPS, GOP = 48, 24, 12
"""Of the part that is repeated; frame n of the film shows n mod FRAMES."""
_BYTES_A_FRAME = 16
"""Of the index: a size (4), a duration (8) and an offset (4); key frames come on top."""
_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_DURATIONS = {b"mvhd": 16, b"tkhd": 20, b"mdhd": 16}
"""Box -> where its duration stands (ISO/IEC 14496-12 8.2.2, 8.3.2, 8.4.2; version 0)."""
_PICTURES_BYTES = 2**20
"""So much of it is there; the index points into it from the start again, so frames cost nothing beyond their entry."""


def many_frames(index_bytes: int, *, index_first: bool) -> tuple[bytes, int]:
    """An H.264 MP4 whose moov has that many bytes or a few more, and the number of its frames."""
    options = {"preset": "ultrafast", "g": str(GOP), "bf": "0", "crf": "40", "x264-params": "scenecut=0"}
    part = encode_video(paint(FRAMES, 48, 64), FPS, "h264", "mp4", options=options)
    boxes = dict(_boxes(part))
    copies = _PICTURES_BYTES // len(boxes[b"mdat"]) + 1
    count = (index_bytes // _BYTES_A_FRAME // FRAMES + 1) * FRAMES
    front = _box(b"ftyp", boxes[b"ftyp"])
    # The length of the index doesn't depend on where the pictures are.
    length = len(_index(boxes[b"moov"], count, copies, 0))
    start = len(front) + 8 + (length if index_first else 0)
    index, pictures = _index(boxes[b"moov"], count, copies, start), _box(b"mdat", boxes[b"mdat"] * copies)
    return front + (index + pictures if index_first else pictures + index), count


def _index(moov: bytes, count: int, copies: int, start: int) -> bytes:
    sizes = np.frombuffer(moov, ">u4", FRAMES, moov.index(b"stsz") + 16).astype(np.int64)
    offsets = start + np.cumsum(np.tile(sizes, copies)) - np.tile(sizes, copies)
    repeats = count // FRAMES
    tables = {
        b"stsz": _table(np.tile(sizes, repeats), more=0),
        b"stts": _table(np.tile([1, 512], count), entry=2),
        b"stsc": _table(np.array([1, 1, 1]), entry=3),
        b"stco": _table(np.resize(offsets, count)),
        b"stss": _table(np.arange(1, count + 1, GOP)),
    }
    return _box(b"moov", _rebuilt(moov, tables, repeats))


def _rebuilt(data: bytes, tables: dict[bytes, bytes], times: int) -> bytes:
    """The boxes of a box, with these tables, durations multiplied, and without an edit list."""
    made = []
    for kind, content in _boxes(data):
        if kind in _PARENTS:
            content = _rebuilt(content, tables, times)
        elif kind in _DURATIONS:
            at = _DURATIONS[kind]
            (duration,) = struct.unpack_from(">I", content, at)
            content = content[:at] + struct.pack(">I", duration * times) + content[at + 4 :]
        if kind != b"edts":
            made.append(_box(kind, tables.get(kind, content)))
    return b"".join(made)


def _table(values: np.ndarray, entry: int = 1, more: int | None = None) -> bytes:
    """Version and flags, where `more` is given that field, the number of entries, the entries."""
    head = struct.pack(">I", 0) + (b"" if more is None else struct.pack(">I", more))
    return head + struct.pack(">I", len(values) // entry) + values.astype(">u4").tobytes()


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + size]
        at += size


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
