"""reelworks.video.ebml: lengths of every width, and elements in files and in memory."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks.video.ebml import (
    CLUSTER,
    CRC_32,
    SEGMENT,
    Element,
    elements_in,
    elements_of,
    opened_in,
    segment_in,
    size_at,
)
from tests.video.test_tracks import element


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8), st.data())
def test_a_length_of_any_width_is_read_back_and_a_cut_one_is_none(width: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 2 ** (7 * width) - 2))
    written = (1 << 7 * width | length).to_bytes(width, "big")
    assert size_at(b"\xff" + written + b"\0", 1) == (1 + width, length)
    assert size_at(written[:-1], 0) is None
    assert size_at((2 ** (7 * width + 1) - 1).to_bytes(width, "big"), 0) == (width, None)


def test_a_length_needs_a_bit_that_is_set() -> None:
    assert size_at(bytes(9), 0) is None


def test_elements_follow_each_other_until_one_has_no_length() -> None:
    data = element(CRC_32, b"1234") + element(CLUSTER, bytes(200))
    expected = [Element(CRC_32, 0, 5, 9), Element(CLUSTER, 9, 17, 217)]
    for rest in (b"", CLUSTER + b"\xff", CLUSTER + b"\x40", b"\x08\x81\0", b"\0"):  # the last but one: an id too long
        assert list(elements_of(io.BytesIO(data + rest), 0)) == expected
        assert list(elements_in(data + rest, 0, len(data + rest))) == expected
    assert list(elements_of(io.BytesIO(data[:-1]), 0)) == expected, "one that is cut ends behind the file"
    assert list(elements_in(data, 0, len(data) - 1)) == expected[:1]


def test_masters_are_opened_whatever_their_length_and_the_last_element_may_be_cut() -> None:
    data = (
        SEGMENT + b"\xff" + element(CLUSTER, b"\xe7\x81\x05" + element(CRC_32, bytes(4))) + CLUSTER + b"\xff\xa3\x84ab"
    )
    found = [(one.name, one.start, one.stop) for one in opened_in(data, (SEGMENT, CLUSTER))]
    assert found == [
        (SEGMENT, 0, 34),
        (CLUSTER, 5, 25),
        (b"\xe7", 13, 16),
        (CRC_32, 16, 25),
        (CLUSTER, 25, 34),
        (b"\xa3", 30, 36),
    ]
    assert [one.name for one in opened_in(data, (SEGMENT,))] == [SEGMENT, CLUSTER]  # the second one has no length


@pytest.mark.parametrize(
    ("tail", "segment"),
    [(b"\x85", (7, 12)), (b"\xff", (7, None)), (b"\x01" + b"\xff" * 7, (14, None)), (b"\0", None), (b"", None)],
)
def test_a_segment_may_have_an_unknown_end(tail: bytes, segment: tuple[int, int | None] | None) -> None:
    assert segment_in(b"\xec\x80" + SEGMENT + tail) == segment
    assert segment_in(b"\xec\x80" + tail) is None
