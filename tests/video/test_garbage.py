"""Whoever reads the outline of a file meets garbage: an answer or a VideoError, after as many reads as it may cost."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import pytest
from av.video.stream import VideoStream
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks.errors import VideoError
from reelworks.video import ebml
from reelworks.video.checksums import ClusterSums
from reelworks.video.encode import encode_video
from reelworks.video.extent import boxes_run_out, is_short
from reelworks.video.fragments import keep_fragment_heads
from reelworks.video.layout import avi_parts, plan_opening
from reelworks.video.sniff import sniff
from reelworks.video.tracks import VideoTracks
from reelworks.video.turned import picture_in_header
from tests.video.painted import paint
from tests.video.test_layout import box

HEAD_BYTES = 1200
"""Of the files that are changed: their outline stands there, or their index."""

MARKS = [
    b"moov", b"trak", b"tkhd", b"mvhd", b"moof", b"mdat", b"sidx", b"free", b"RIFF", b"AVI ", b"movi", b"filesize\0",
    b"indx\xff\xff\0\0\4\0\0\0\xff\xff\0\0", ebml.SEGMENT, ebml.CLUSTER, ebml.TRACKS, ebml.CRC_32 + b"\x84",
    ebml.SEEK_ID + b"\x84" + ebml.CUES + ebml.SEEK_POSITION, bytes(4), b"\0\0\0\1", b"\0\0\0\x08", b"\xff" * 8,
    b"\x01" + b"\xff" * 7, b"\xec\x80",
]  # fmt: skip
"""What the readers look for, and lengths at the ends of what there is."""


class Remote(io.BytesIO):
    """A file that says how often it was read."""

    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        self.reads += 1
        return super().read(size)

    def expect(self, start: int, stop: int, keep: bool = False) -> None:
        pass


@cache
def wholes() -> list[bytes]:
    """Parts of true files, and an AVI with a list of indexes, which FFmpeg writes from a gigabyte on."""
    pictures = paint(4, 48, 64)
    fragmented = encode_video(pictures, 4, "h264", "mp4", muxer_options={"movflags": "+frag_keyframe+empty_moov"})
    index_first = encode_video(pictures, 4, "h264", "mp4", muxer_options={"movflags": "+faststart"})
    entries = struct.pack("<HBBI16x", 4, 0, 0, 2) + struct.pack("<QII", 900, 100, 1) * 2
    header = b"LIST" + struct.pack("<I", len(entries) + 12) + b"hdrlindx" + struct.pack("<I", len(entries)) + entries
    avi = b"RIFF" + struct.pack("<I", 1000) + b"AVI " + header + b"LIST" + struct.pack("<I", 500) + b"movi" + bytes(500)
    mkv = encode_video(pictures, 4, "h264", "mkv")
    moof = fragmented.index(b"moof") - 4
    return [index_first[:HEAD_BYTES], fragmented[moof : moof + HEAD_BYTES], avi, mkv[:HEAD_BYTES], mkv[-HEAD_BYTES:]]


@st.composite
def garbled(draw: st.DrawFn) -> bytes:
    """Noise or a part of a file, with marks and lengths strewn over it, and its end cut."""
    data = bytearray(draw(st.binary(max_size=64) | st.integers(0, 4).map(lambda which: wholes()[which])))
    for _ in range(draw(st.integers(0, 8))):
        mark = draw(st.sampled_from(MARKS) | st.binary(min_size=1, max_size=8))
        at = draw(st.integers(0, len(data)))
        data[at : at + len(mark) * draw(st.integers(0, 1))] = mark  # in place of what stood there, or before it
    return bytes(data[: draw(st.integers(0, len(data)) | st.just(len(data)))])


def parts(file: Remote, data: bytes) -> None:
    opening = plan_opening(file, len(data))
    for start, stop in opening.parts if opening is not None else ():
        assert 0 <= start <= stop <= max(len(data), HEAD_BYTES * 200)


def indexes(file: Remote, data: bytes) -> None:
    assert len(avi_parts(file, len(data))) <= 2 + len(data) // 16


def shortness(file: Remote, data: bytes) -> None:
    for demuxer in ("avi", "webp_pipe", "matroska", "flv", "jpeg_pipe", "png_pipe", "mov"):
        assert is_short(file, demuxer, data, len(data)) in (True, False)


def picture(file: Remote, data: bytes) -> None:
    context = SimpleNamespace(width=8, height=8, colorspace=0, codec=SimpleNamespace(canonical_name="h264"))
    stream = SimpleNamespace(codec_context=context, id=1, sample_aspect_ratio=None)
    picture_in_header(cast(VideoStream, stream), file, len(data))


def sums(file: Remote, data: bytes) -> None:
    file.seek(3)
    checked = ClusterSums(file, len(data))
    assert file.tell() == 3
    for at in (len(data) // 2, len(data) - 1, 0):
        assert checked.damaged_at(at) in ((True, False) if checked.carried else (False,))
        assert file.tell() == 3


READERS: dict[str, tuple[Callable[[Remote, bytes], Any], int, int]] = {
    "parts": (parts, 40, 0),
    "indexes": (indexes, 40, 0),
    "shortness": (shortness, 20, 0),
    "run out": (lambda file, data: boxes_run_out(file, len(data)), 8, 8),
    "fragments": (lambda file, data: keep_fragment_heads(file, 0, len(data)), 8, 4),
    "picture": (picture, 40, 0),
    "sums": (sums, 30, 1),
    "tracks": (lambda file, _: VideoTracks(file).at(0), 4, 0),
    "sniff": (lambda _, data: sniff(data), 0, 0),
}
"""Name -> the reader, and the reads it may take: in all, and one more for so many bytes, those of the least element."""


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=150, deadline=None)
@given(garbled())
def test_garbage_is_an_answer_or_a_video_error_within_the_reads_it_may_cost(name: str, data: bytes) -> None:
    reader, most, stride = READERS[name]
    file = Remote(data)
    with suppress(VideoError):
        reader(file, data)
    assert file.reads <= most + (len(data) // stride if stride else 0)


def test_lists_of_indexes_inside_each_other_name_each_place_once() -> None:
    claim = b"indx" + struct.pack("<IHBBI", 2**31, 4, 0, 0, 2**32 - 1)
    data = b"RIFF" + struct.pack("<I", 2**20) + b"AVI LIST" + struct.pack("<I", 16_004) + b"hdrl" + claim * 1000
    data += b"LIST" + struct.pack("<I", 4) + b"movi"
    assert 900 < len(avi_parts(Remote(data), len(data))) <= 1000


def test_what_stands_before_the_first_fragment_is_not_walked_to_the_end_of_the_file() -> None:
    file = Remote(box(b"free", 100) * 1000 + box(b"moof", 100))
    keep_fragment_heads(file, 0, len(file.getvalue()))
    assert file.reads <= 20


def test_a_table_of_contents_before_its_segment_is_no_crash() -> None:
    data = wholes()[3][:40] + ebml.SEEK_ID + b"\x84" + ebml.CUES + ebml.SEEK_POSITION + b"\x81\x09" + ebml.SEGMENT
    data = data.replace(ebml.SEGMENT, b"", data.count(ebml.SEGMENT) - 1)
    assert plan_opening(Remote(data), 10**6) is not None
