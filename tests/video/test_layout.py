"""video/layout.py: the parts of files that opening them reads, against files whose structure the test knows."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from reelworks.video.encode import encode_video
from reelworks.video.layout import plan_opening
from tests.video.long import long_video
from tests.video.painted import paint

KIB = 2**10


def box(kind: bytes, payload_bytes: int, wide: bool = False) -> bytes:
    if wide:
        return struct.pack(">I4sQ", 1, kind, payload_bytes + 16) + bytes(payload_bytes)
    return struct.pack(">I4s", payload_bytes + 8, kind) + bytes(payload_bytes)


def parts(data: bytes) -> list[tuple[int, int]]:
    opening = plan_opening(io.BytesIO(data), len(data))
    return list(opening.parts) if opening is not None else []


def test_an_index_in_front_is_one_part_with_the_first_packets() -> None:
    data = box(b"ftyp", 24) + box(b"moov", 300_000) + box(b"mdat", 900_000)
    assert parts(data) == [(0, 32 + 300_008 + 128 * KIB)]


@pytest.mark.parametrize("wide", [False, True])
def test_an_index_behind_is_found_and_fetched_as_a_whole(wide: bool) -> None:
    data = box(b"ftyp", 24) + box(b"free", 0) + box(b"mdat", 900_000, wide)
    assert parts(data + box(b"moov", 70_000)) == [(0, 192 * KIB), (len(data), len(data) + 70_008)]


def test_a_file_without_a_whole_index_has_no_parts_and_is_not_searched_for_ever() -> None:
    cut = box(b"ftyp", 24) + box(b"mdat", 900_000)[:500_000]
    assert parts(cut) == parts(box(b"ftyp", 24) + box(b"moov", 90_000)[:50_000]) == parts(b"a text") == parts(b"") == []
    many = io.BytesIO(box(b"ftyp", 24) + box(b"free", 8) * 1000 + box(b"moov", 100))
    assert plan_opening(many, len(many.getvalue())) is None


def test_the_cues_of_matroska_are_a_part_where_they_stand_behind_the_pictures() -> None:
    data = long_video("mkv", 2)
    assert parts(data) == [(0, 192 * KIB), (data.rindex(b"\x1c\x53\xbb\x6b"), len(data))]
    small = encode_video(paint(4, 48, 64), 4, "h264", "mkv")
    assert parts(small) == [(0, len(small))]


def test_containers_without_an_index_have_no_parts() -> None:
    assert parts(encode_video(np.zeros((2, 48, 64, 3), np.uint8), 2, "mpeg2video", "ts")) == []


def test_what_stands_shortly_behind_an_index_comes_with_it_and_an_index_in_the_middle_does_not_drag_the_rest() -> None:
    front = box(b"ftyp", 24) + box(b"mdat", 900_000) + box(b"moov", 70_000)
    tailed = front + box(b"free", 1000)
    assert parts(tailed)[1] == (len(front) - 70_008, len(tailed))
    followed = front + box(b"mdat", 900_000)
    assert parts(followed)[1] == (len(front) - 70_008, len(front))


@pytest.mark.parametrize("before", [0, 100_000, 128 * KIB - 40, 180_000, 900_000])
@pytest.mark.parametrize("index", [2_000, 60_000, 70_000, 9 * 2**20])
def test_the_parts_of_an_opening_cost_no_more_than_it_may(before: int, index: int) -> None:
    data = box(b"ftyp", 24) + box(b"free", before) + box(b"moov", index) + box(b"mdat", 900_000)
    opening = plan_opening(io.BytesIO(data), len(data))
    assert opening is not None
    assert opening.max_bytes == index + 8 + 256 * KIB
    covered = sum(stop - start for start, stop in opening.parts)
    assert covered <= opening.max_bytes and opening.max_requests == 3 + index // (8 * 2**20)
    assert opening.ahead(len(data) - 1, opening.max_requests, 0) == 0, "no request is left"
    assert opening.ahead(len(data) - 1, 0, opening.max_bytes) == 0, "no byte is left"
    assert 0 < opening.ahead(len(data) - 1, 1, covered) or covered == opening.max_bytes
