"""reelworks.video.decode: what may be a source, which stream counts, what times mean, what is checked first."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.frame import VideoFrame

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video import Limits, decode, probe
from reelworks.video.encode import encode_video
from tests.video import painted
from tests.video.painted import paint, read_numbers


def several_streams(firsts: list[tuple[int, Disposition]], container: str = "matroska") -> bytes:
    """A file of video streams, each with 6 frames numbered from its own first number on."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        streams = []
        for _, disposition in firsts:
            stream = file.add_stream("mjpeg" if disposition & Disposition.attached_pic else "libx264", rate=12)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if stream.name == "mjpeg" else "yuv420p"
            stream.disposition = disposition
            streams.append(stream)
        for stream, (first, disposition) in zip(streams, firsts, strict=True):
            for picture in paint(1 if disposition & Disposition.attached_pic else 6, 48, 64, first):
                file.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
            file.mux(stream.encode(None))
    return out.getvalue()


def test_path_bytes_and_file_are_the_same_source(tmp_path: Path) -> None:
    data = encode_video(paint(6, 48, 64), 12)
    path = tmp_path / "six.mp4"
    path.write_bytes(data)
    for source in (data, bytearray(data), io.BytesIO(data), path, str(path), path.open("rb")):
        assert read_numbers(decode(source).frames) == list(range(6))
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "nothing.mp4")


def test_span_and_times_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="choose one"):
        decode(encode_video(paint(6, 48, 64), 12), span_s=(0.0, 1.0), times_s=[0.5])


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_times_of_a_file_that_starts_late_are_not_moved_to_zero(container: str) -> None:
    pts = [120_000 + 1000 * n for n in range(24)]
    data = encode_video(paint(24, 48, 64), 12, "h264", container, pts=pts)
    frames = decode(data)
    lead_s = frames.pts_s[0] - 10.0
    assert 0 <= lead_s < 2  # a transport stream adds its own
    np.testing.assert_allclose(frames.pts_s - lead_s, np.array(pts) / 12_000, atol=1e-3)
    part = decode(data, span_s=(frames.pts_s[6] - 0.01, frames.pts_s[12] - 0.01))
    assert read_numbers(part.frames) == list(range(6, 12))


@pytest.mark.parametrize(
    ("firsts", "chosen"),
    [
        ([(10, Disposition.default), (40, Disposition(0))], 10),
        ([(10, Disposition(0)), (40, Disposition.default)], 40),
        ([(10, Disposition(0)), (40, Disposition(0))], 10),
    ],
)
def test_the_default_stream_counts_else_the_first(firsts: list[tuple[int, Disposition]], chosen: int) -> None:
    assert read_numbers(decode(several_streams(firsts)).frames) == list(range(chosen, chosen + 6))


def test_a_cover_picture_is_no_video() -> None:
    data = several_streams([(99, Disposition.attached_pic), (10, Disposition(0))], "mp4")
    assert read_numbers(decode(data).frames) == list(range(10, 16))


@pytest.mark.parametrize("limits", [Limits(max_pixels=119 * 160), Limits(max_frames=59), Limits(max_duration_s=4.9)])
def test_limits_are_held_against_the_header_before_anything_is_decoded(limits: Limits) -> None:
    """The file can't be decoded at all: without the limits it would be called corrupt."""
    undecodable = painted.without_samples(encode_video(paint(60, 120, 160), 12), 0)
    with pytest.raises(VideoError) as caught:
        decode(undecodable)
    assert caught.value.kind is VideoErrorKind.corrupt
    with pytest.raises(VideoError) as caught:
        decode(undecodable, limits=limits)
    assert caught.value.kind is VideoErrorKind.oversize
