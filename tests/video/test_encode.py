"""What is encoded plays back: size, number, time and colour; the same bytes for the same frames."""

from __future__ import annotations

import os

import numpy as np
import pytest

from reelworks.video import decode, probe
from reelworks.video.encode import encode_mp4, encode_video
from tests.video.painted import paint, read_numbers


@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 47), (47, 48), (480, 854), (8, 8)])
@pytest.mark.parametrize("fps", [8, 23.976, 30])
def test_mp4_keeps_size_count_and_rate(height: int, width: int, fps: float) -> None:
    frames = paint(9, height, width)
    back = decode(encode_mp4(frames, fps))
    assert back.frames.shape == frames.shape
    np.testing.assert_allclose(back.pts_s, np.arange(9) / fps, atol=1e-3)
    assert probe(encode_mp4(frames, fps)).fps == pytest.approx(fps, rel=1e-4)
    if width >= 40:
        assert read_numbers(back.frames) == list(range(9))


def test_mp4_has_its_index_in_front_and_the_same_bytes_each_time() -> None:
    frames = paint(9, 48, 64)
    data = encode_mp4(frames, 8)
    assert data.index(b"moov") < data.index(b"mdat")
    assert data == encode_mp4(frames.copy(), 8)


@pytest.mark.parametrize("codec", ["h264", "mpeg4", "vp9", "mjpeg", "prores", "ffv1", "hevc"])
def test_colours_come_back(codec: str) -> None:
    frames = np.zeros((5, 64, 96, 3), np.uint8)
    for column, colour in enumerate([(230, 30, 30), (30, 200, 40), (30, 60, 220), (240, 220, 40), (200, 50, 200)]):
        frames[:, :, 16 * column : 16 * column + 32] = colour
    back = decode(encode_video(frames, 12, codec, "mov" if codec == "prores" else "mkv")).frames
    inner = np.s_[:, 8:-8, 4::16]
    assert np.abs(back[inner].astype(int) - frames[inner]).mean() < 6


@pytest.mark.parametrize(
    ("frames", "codec", "container", "named"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), "h264", "mp4", "uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), "h264", "mp4", "T >= 1"),
        (np.zeros((1, 8, 8, 3), np.uint8), "h263", "mp4", "h264"),
        (np.zeros((1, 8, 8, 3), np.uint8), "h264", "wmv", "mkv"),
        (np.zeros((1, 48, 48, 3), np.uint8), "av1", "mp4", "64x64"),
    ],
)
def test_what_can_not_be_encoded_is_named(frames: np.ndarray, codec: str, container: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        encode_video(frames, 12, codec, container)


def test_no_encoder_changes_the_priority_of_this_process() -> None:
    before = os.sched_getscheduler(0)
    assert encode_video(paint(2, 64, 64), 24, "av1", "mp4")
    assert os.sched_getscheduler(0) == before
