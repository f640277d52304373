"""reelworks.video.configuration: a jump never decodes with parameters of another part of the file."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.stream import VideoStream

from reelworks.errors import VideoError
from reelworks.video.configuration import Configuration
from reelworks.video.encode import encode_video
from reelworks.video.reader import Reader
from tests.video.painted import paint
from tests.video.test_places import noted

FPS, SECONDS = 24, 2
SETS = {"h264": (7, 8), "hevc": (32, 33, 34)}
OPTIONS = {
    "h264": {"g": "12", "bf": "0", "preset": "ultrafast", "x264-params": "scenecut=0:chroma-qp-offset={}"},
    "hevc": {"g": "12", "preset": "ultrafast", "x265-params": "log-level=none:keyint=12:bframes=0:cbqpoffs={}"},
}


def half(codec: str, offset: int) -> list[tuple[bytes, bool]]:
    """(content, whether it is a key frame) of the packets of two seconds; the colours hang on `offset`."""
    noise = np.random.default_rng(offset).integers(0, 60, (FPS * SECONDS, 64, 96, 3), np.uint8)
    options = {name: value.format(offset) for name, value in OPTIONS[codec].items()}
    data = encode_video(paint(FPS * SECONDS, 64, 96) // 2 + noise, FPS, codec, "ts", options=options)
    with av.open(io.BytesIO(data), "r") as file:
        return [(bytes(packet), packet.is_keyframe) for packet in file.demux(video=0) if packet.size]


def without_sets(data: bytes, codec: str) -> bytes:
    units = [unit for unit in data.split(b"\0\0\1") if unit.strip(b"\0")]
    kinds = [unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63 for unit in units]
    return b"".join(
        b"\0\0\1" + unit.rstrip(b"\0") for unit, kind in zip(units, kinds, strict=True) if kind not in SETS[codec]
    )


def stream(codec: str, packets: list[tuple[bytes, bool]]) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as file:
        video = file.add_stream(codec, rate=FPS)
        assert isinstance(video, VideoStream)
        video.width, video.height = 96, 64
        for number, (content, key) in enumerate(packets):
            packet = Packet(content)
            packet.pts = packet.dts = FPS + number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, FPS), video, key
            file.mux(packet)
    return out.getvalue()


def parted(codec: str) -> tuple[bytes, int]:
    """(two recordings one behind the other, each with its parameter sets at its start alone; frames of one)."""
    halves = [half(codec, offset) for offset in (0, 6)]
    packets = []
    for one in halves:
        packets += [one[0], *((without_sets(content, codec), key) for content, key in one[1:])]
    return stream(codec, packets), len(halves[0])


@pytest.mark.parametrize("codec", SETS)
def test_parameter_sets_that_come_once_are_never_jumped_over(codec: str) -> None:
    data, count = parted(codec)
    places = noted(data)
    with Reader(io.BytesIO(data)) as reader:
        walked = reader.frames()
    assert len(walked) == 2 * count
    change = int(walked.pts[count])
    assert len([place for place in places if place.pts < change]) == count // 12
    assert [place.pts for place in places if place.pts >= change] == [change], "the one that has its own"
    with Reader(io.BytesIO(data)) as reader:
        for first in (2 * count - 5, count - 5, 2 * count - 5, count + 3, 3):  # forth, and back over the change
            found = reader.frames(times_s=walked.pts_s[first : first + 4].tolist(), places=places)
            assert np.array_equal(found.frames, walked.frames[first : first + 4])


def test_a_key_frame_with_its_own_parameters_is_jumped_to_wherever_others_stood() -> None:
    data = stream("h264", half("h264", 0) + half("h264", 6))
    places = noted(data)
    assert len(places) == 2 * FPS * SECONDS // 12
    with Reader(io.BytesIO(data)) as reader:
        walked = reader.frames()
        reader.frames(times_s=walked.pts_s[-3:].tolist(), places=places)
        assert reader._jumps.places == places, "no jump went wrong"


def admitted(codec: str, *contents: bytes) -> list[bool]:
    configuration = Configuration(codec, None)
    return [configuration.admit(Packet(content)) for content in contents]


def test_what_a_packet_brings_and_what_it_relies_on() -> None:
    first, other, plain = b"\0\0\1\x68AB\0\0\1\x65", b"\0\0\1\x68AC\0\0\1\x65", b"\0\0\1\x65"
    assert admitted("h264", first, plain, first, plain) == [True] * 4
    assert admitted("h264", first, other, plain, other, first) == [True, True, False, True, False]
    head, heavy, picture = b"\0\0\1\xb3A", b"\0\0\1\xb3B", b"\0\0\1\0"
    assert admitted("mpeg2video", head, heavy, picture, head, picture) == [True, True, False, True, True]
    assert admitted("mpeg4", b"\0\0\1\x20A", b"\0\0\1\xb6", b"\0\0\1\x20B", b"\0\0\1\xb6") == [True, True, True, False]
    tables = [b"\xff\xd8\xff\xdb\0\x43\0" + bytes([fill]) * 64 + b"\xff\xda\0\0" for fill in (1, 2)]
    assert admitted("mjpeg", tables[0], tables[1], b"\xff\xd8\xff\xda\0\0", tables[1]) == [True, True, False, True]
    heads = [b"\x12\0\x0a\1" + bytes([fill]) for fill in (1, 2)]
    assert admitted("av1", heads[0], b"\x12\0\x32\0", heads[1], b"\x12\0\x32\0") == [True, True, True, False]
    many = [b"\0\0\1\x68" + number.to_bytes(2, "big") for number in range(1, 200)]
    assert not any(admitted("h264", *many)[2:]) and not admitted("h264", *many, b"".join(many))[-1]
    codecs = ("h264", "hevc", "mpeg2video", "mpeg4", "mjpeg", "av1", "vp8")
    for broken in (b"", b"\0\0\1", b"\xff", b"\xff\xd8\xff\xdb\xff\xff\0", b"\x12\0\x0a", b"\0\0\1\xb5"):
        assert all(admitted(codec, broken)[0] for codec in codecs)


def test_a_place_is_found_again_and_a_decoder_that_met_damage_is_replaced() -> None:
    data = stream("h264", half("h264", 0))
    places, at = noted(data), len(data) - 188 * 9
    torn = data[:at] + bytes(188) + data[at + 188 :]
    with Reader(io.BytesIO(data)) as reader:
        for _ in range(3):  # with the very same place, while frames of the last jump are alive
            reader.frames(times_s=[places[2].pts / 90_000], places=places)
            assert reader._jumps.places == places
    with Reader(io.BytesIO(torn)) as reader:
        container = reader._stream.container
        with pytest.raises(VideoError):
            reader.frames(places=places)
        reader.frames(times_s=[places[2].pts / 90_000], places=places)
        assert reader._stream.container is not container and reader._jumps.places == places
