"""reelworks.video.complaints: which of FFmpeg's messages mean that pixels or packets are lost."""

from __future__ import annotations

import pytest
from av import logging

from reelworks.video.complaints import Listening, about_pixels, about_structure


@pytest.mark.parametrize(
    ("level", "name", "text", "damage"),
    [
        (logging.ERROR, "h264", "error while decoding MB 3 4, bytestream 77\n", True),
        (logging.ERROR, "hevc", "Could not find ref with POC 8\n", False),  # another decoder
        (logging.ERROR, "h264", "SEI type 5 size 900 truncated at 40\n", False),
        (logging.ERROR, "h264", "mmco: unref short failure\n", False),
        (logging.WARNING, "h264", "Increasing reorder buffer to 2\n", False),
        (logging.WARNING, "h264", "Skipping invalid undecodable NALU: 1\n", True),
        (logging.INFO, "h264", "concealing 9 DC, 9 AC, 9 MV errors in P frame\n", False),  # said as an error before
    ],
)
def test_messages_about_pixels_are_told_from_others(level: int, name: str, text: str, damage: bool) -> None:
    assert about_pixels([(level, name, text)], "h264") == (text.strip() if damage else None)


def test_messages_about_a_broken_container_are_told_from_others() -> None:
    name = "matroska,webm"
    broken = "0x00 at pos 7264 (0x1c60) invalid as first byte of an EBML number"
    assert about_structure([(logging.ERROR, name, broken)]) == broken
    assert about_structure([(logging.ERROR, name, "File ended prematurely at pos. 9 (0x9)")]) is None
    assert about_structure([(logging.ERROR, "mov", broken)]) is None


def test_the_same_message_is_heard_each_time_and_none_in_between() -> None:
    for _ in range(2):
        with Listening() as messages:
            logging.log(logging.ERROR, "h264", "top block unavailable")
        assert [text for _, _, text in messages] == ["top block unavailable"]
    logging.log(logging.ERROR, "h264", "unheard")
    assert len(messages) == 1
