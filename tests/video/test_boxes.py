"""reelworks.video.boxes: lengths of each kind, from a local file, a remote one, and memory."""

from __future__ import annotations

import io
import struct

import pytest

from reelworks.video.boxes import Box, boxes_in, boxes_of, find_moov
from reelworks.video.extent import boxes_run_out
from tests.video.test_layout import box

FRONT = box(b"ftyp", 24) + box(b"free", 0) + box(b"mdat", 100, wide=True)
FRONT_BOXES = [Box(b"ftyp", 0, 8, 32), Box(b"free", 32, 40, 40), Box(b"mdat", 40, 56, 156)]


class Drips(io.BytesIO):
    """Gives one byte a read, as a remote file gives what is at hand."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(1, -1 if size is None else size))


def boxes(data: bytes, file: type[io.BytesIO] = io.BytesIO) -> list[Box]:
    return list(boxes_of(file(data), len(data)))


@pytest.mark.parametrize("file", [io.BytesIO, Drips])
def test_boxes_follow_each_other_to_the_end_of_the_file_and_one_that_is_cut_ends_behind_it(
    file: type[io.BytesIO],
) -> None:
    data = FRONT + box(b"moov", 50)
    assert boxes(data, file) == [*FRONT_BOXES, Box(b"moov", 156, 164, 214)]
    assert boxes(data[:170], file) == boxes(data, file)
    assert find_moov(file(data), len(data)) == Box(b"moov", 156, 164, 214)
    assert find_moov(file(data[:170]), 170) is None


def test_in_memory_only_whole_boxes_between_the_two_places_count() -> None:
    data = FRONT + box(b"moov", 50)
    assert list(boxes_in(data, 0, len(data))) == boxes(data)
    assert list(boxes_in(data, 32, 213)) == FRONT_BOXES[1:]


@pytest.mark.parametrize("header", [struct.pack(">I4s", size, b"mdat") for size in (0, 1, 7)])
def test_a_box_without_a_length_ends_the_walk_and_is_no_sign_of_a_cut(header: bytes) -> None:
    data = FRONT + header
    assert boxes(data) == FRONT_BOXES == list(boxes_in(data, 0, len(data)))
    wide = FRONT + struct.pack(">I4sQ", 1, b"mdat", 15)
    assert boxes(wide) == FRONT_BOXES
    assert not boxes_run_out(io.BytesIO(data), len(data))


def test_a_file_that_ends_inside_a_box_or_its_header_runs_out() -> None:
    data = FRONT + box(b"moov", 50)
    cut = [length for length in range(len(data) + 1) if boxes_run_out(io.BytesIO(data[:length]), length)]
    whole_or_unsure = {0, 32, 40, 156, len(data)} | set(range(48, 56))  # inside a length of 64 bits
    assert cut == [length for length in range(len(data)) if length not in whole_or_unsure]
