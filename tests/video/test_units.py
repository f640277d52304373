"""reelworks.video.units: what a unit of H.264 or HEVC can't hold."""

from __future__ import annotations

import pytest

from reelworks.video.units import holds_impossible_bytes, length_bytes

SLICE, HEADER = {"h264": 0x65, "hevc": 0x26}, {"h264": 0x67, "hevc": 0x42}


def packet(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize(
    ("payload", "impossible"),
    [
        (b"\x88\x01\x02\x03", False),
        (b"\x88\x00\x00\x03\x00\x00\x03\x01\x80", False),  # as encoders break up zeros
        (b"\x88\x80\x00\x00\x00\x00", False),  # filled up at its end
        (b"\x88\x80\x00\x00\x03\x00\x00\x03", False),  # CABAC's own filling
        (b"\x88\x00\x00\x00\x17\x80", True),
        (b"\x88\x00\x00\x01\x17\x80", True),
        (b"\x88\x00\x00\x02\x80", True),
    ],
)
def test_zeros_that_no_encoder_writes_are_seen(codec: str, payload: bytes, impossible: bool) -> None:
    whole = bytes([SLICE[codec], 1, 0x99])
    unit = bytes([SLICE[codec]]) + payload
    assert holds_impossible_bytes(packet(whole, unit), codec, 4) is impossible
    assert holds_impossible_bytes(packet(unit, whole), codec, 4) is impossible
    assert not holds_impossible_bytes(packet(bytes([HEADER[codec]]) + payload, whole), codec, 4)  # no pixels in it


def test_length_of_lengths_is_read_from_the_configuration() -> None:
    assert length_bytes("h264", b"\x01\x64\x00\x1f\xff\xe1") == 4
    assert length_bytes("hevc", b"\x01" + bytes(20) + b"\x01\x00") == 2
    assert length_bytes("h264", b"\x00\x00\x00\x01\x67\x64") is None  # start codes
    assert length_bytes("h264", None) is None
    assert length_bytes("vp9", b"\x01" * 30) is None
