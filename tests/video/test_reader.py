"""reelworks.video.reader: single frames by time, in any order, each standing in memory once."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator

import pytest

from reelworks.video.encode import encode_mp4
from reelworks.video.reader import Reader
from tests.video.painted import paint, read_numbers


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader(io.BytesIO(encode_mp4(paint(48, 96, 128), 8))) as opened:
        yield opened


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([3, 4, 9, 40], [3, 4, 9, 40]),
        ([40, 3, 9, 4], [40, 3, 9, 4]),
        ([7, 2, 7, 7, 2, 30], [7, 2, 7, 7, 2, 30]),
        ([-9, -2, 0, 47, 99], [0, 0, 0, 47, 47]),
    ],
)
def test_the_frame_of_each_time_comes_in_the_order_asked_for(
    reader: Reader, numbers: list[int], shown: list[int]
) -> None:
    found = reader.frames(times_s=[(number + 0.3) / 8 for number in numbers], size=(48, 64))
    assert read_numbers(found.frames) == shown
    assert (found.pts_s * 8).round().astype(int).tolist() == shown


def test_frames_of_a_clip_stand_in_memory_once(reader: Reader) -> None:
    times_s = [(number + 0.3) / 8 for number in range(48)]
    tracemalloc.start()
    found = reader.frames(times_s=times_s, size=(480, 640)).frames
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 48 and peak < 1.1 * found.nbytes
