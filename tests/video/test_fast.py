"""decord is used where it is right and faster, nowhere else, and gives the pixels that PyAV gives."""

from __future__ import annotations

import io

import numpy as np
import pytest

from reelworks.video import decode, probe
from reelworks.video.encode import encode_video
from reelworks.video.reader import Reader
from tests.video import painted
from tests.video.painted import paint, read_numbers


def small(codec: str = "hevc", container: str = "mp4", width: int = 64, **more: object) -> bytes:
    return encode_video(paint(40, 64, width), 12, codec, container, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("codec", "container"), [("hevc", "mkv"), ("vp9", "mkv")])
def test_decord_decodes_small_frames_of_its_codecs_exactly_as_pyav(codec: str, container: str) -> None:
    source = small(codec, container)
    frames = decode(source)
    assert frames.decoder == "decord"
    with Reader(io.BytesIO(source)) as reader:
        reference = reader.frames()
    assert reference.decoder == "pyav"
    np.testing.assert_array_equal(frames.frames, reference.frames)
    np.testing.assert_array_equal(frames.pts, reference.pts)
    span = decode(source, span_s=(1.0, 2.0))
    assert (span.decoder, read_numbers(span.frames)) == ("decord", list(range(12, 24)))


def test_decord_keeps_times_of_a_variable_frame_rate() -> None:
    pts = np.cumsum(np.random.default_rng(3).integers(400, 2500, 40))
    source = small("vp9", "mkv", pts=(pts - pts[0]).tolist())
    frames = decode(source)
    assert frames.decoder == "decord"
    assert read_numbers(frames.frames) == list(range(40))
    np.testing.assert_allclose(frames.pts_s, (pts - pts[0]) / 12000, atol=1e-3)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (lambda: small("h264"), "faster for h264"),
        (lambda: small(width=128), "faster at this size"),
        (lambda: small("hevc", "mp4"), "damage would go unseen"),
        (lambda: small("vp9", "webm"), "damage would go unseen"),
        (lambda: small("vp9", "webm", width=48), "width"),
        (lambda: small(container="ts"), "container"),
        (lambda: small(pixel_format="yuv420p10le"), "pixel format"),
        (lambda: painted.edited(small(), keep_movie_ticks=2000), "edit list"),
        (lambda: painted.turned(small(), (0, 1, -1, 0)), "turned"),
        (lambda: small()[:-200], "truncated"),
    ],
)
def test_gate_keeps_decord_away_and_says_why(source, reason: str) -> None:  # type: ignore[no-untyped-def]
    described = probe(source())
    assert described.decoder == "pyav"
    assert reason in described.decoder_reason
