"""What the first bytes of a Matroska file say of its video tracks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import cast

import pytest
from av.video.stream import VideoStream

from reelworks.video.layout import FIRST_REQUEST_BYTES
from reelworks.video.tracks import RATE_BYTES, VideoTracks

VIDEO, AUDIO = b"\x01", b"\x02"
CONTENTS = b"\x11\x4d\x9b\x74\x84\x16\x54\xae\x6b"  # a table that names the tracks
UNKNOWN_LENGTH = b"\x01" + b"\xff" * 7
FRAMES_MS = [0, 40, 80, 120, 160, 200, 240, 280, 320]


def element(name: bytes, content: bytes) -> bytes:
    return name + (0x1000_0000 | len(content)).to_bytes(4, "big") + content


def track(kind: bytes, rate: bool = False, number: int = 1, picture: bytes = b"") -> bytes:
    duration = element(b"\x23\xe3\x83", (40_000_000).to_bytes(4, "big"))
    described = element(b"\xd7", bytes([number])) + element(b"\x83", kind) + element(b"\xe0", picture)
    return element(b"\xae", described + duration * rate)


def block(time: int, number: int = 1, frame_bytes: int = 8) -> bytes:
    return element(b"\xa3", bytes([0x80 | number]) + time.to_bytes(2, "big", signed=True) + bytes(1 + frame_bytes))


def film(*parts: bytes, tracks: Sequence[bytes] = (track(VIDEO),), clock: bytes = b"") -> io.BytesIO:
    """`parts` in clusters of unknown length, as in a live stream."""
    clusters = b"".join(b"\x1f\x43\xb6\x75" + UNKNOWN_LENGTH + part for part in parts)
    head = element(b"\x15\x49\xa9\x66", clock) + CONTENTS + element(b"\x16\x54\xae\x6b", b"".join(tracks))
    return io.BytesIO(b"\x18\x53\x80\x67" + UNKNOWN_LENGTH + head + clusters)


def stream(codec: str, told: Fraction | None = None, own: int | None = None) -> VideoStream:
    context = SimpleNamespace(codec=SimpleNamespace(canonical_name=codec), framerate=own)
    return cast(VideoStream, SimpleNamespace(average_rate=told, codec_context=context))


def rate(file: io.BytesIO, codec: str = "vp9", told: Fraction | None = None, own: int | None = None) -> Fraction:
    found = VideoTracks(file).at(0)
    assert found is not None
    return found.rate(stream(codec, told, own))


@pytest.mark.parametrize(
    ("tracks", "place", "stated"),
    [
        ([track(VIDEO, True)], 0, True),
        ([track(AUDIO), track(VIDEO, True)], 0, True),
        ([track(VIDEO)], 0, False),
        ([track(VIDEO), track(AUDIO, True)], 0, False),  # the duration of sounds
        ([track(VIDEO), track(AUDIO), track(VIDEO, True)], 1, True),
    ],
)
def test_a_track_is_found_by_its_place_among_those_of_pictures(tracks: list[bytes], place: int, stated: bool) -> None:
    found = VideoTracks(film(tracks=tracks)).at(place)
    assert found is not None and found.states_rate is stated


@pytest.mark.parametrize("file", [film(tracks=[]), io.BytesIO(), film(tracks=[track(VIDEO)[:-9]])])
def test_a_header_without_tracks_has_none(file: io.BytesIO) -> None:
    assert VideoTracks(file).at(0) is None or VideoTracks(file).at(1) is None


def test_a_stated_rate_goes_before_what_the_frames_say_unless_it_is_a_clock() -> None:
    slow = film(b"".join(block(time) for time in FRAMES_MS), tracks=[track(VIDEO, True)])
    assert rate(slow, told=Fraction(30)) == 30
    assert rate(slow, told=Fraction(1000)) == 25


def test_a_rate_left_out_is_that_of_the_first_frames() -> None:
    blocks = b"".join(block(time) for time in FRAMES_MS)
    sounds = b"".join(block(time, number=2) for time in range(0, 320, 7))
    assert rate(film(blocks), told=Fraction(17)) == 25
    assert rate(film(sounds + blocks, tracks=[track(AUDIO, number=2), track(VIDEO)])) == 25
    clusters = [element(b"\xe7", at.to_bytes(2, "big")) + block(0) + block(-80) for at in range(1000, 2000, 160)]
    assert rate(film(*clusters)) == Fraction(25, 2)  # 1000, 920, 1160, 1080, …
    grouped = b"".join(element(b"\xa0", element(b"\xa1", block(time)[5:])) for time in FRAMES_MS)
    assert rate(film(grouped)) == 25
    assert rate(film(blocks, clock=element(b"\x2a\xd7\xb1", (2_000_000).to_bytes(4, "big")))) == Fraction(25, 2)


def test_what_may_follow_behind_the_last_frames_of_a_codec_with_another_order_is_not_missed() -> None:
    stored = [0, 160, 80, 40, 120, 320, 240, 200, 280, 640, 480, 400]  # 440 and from 520 on are stored behind them
    assert rate(film(b"".join(block(time) for time in stored)), "h264") == 25
    assert rate(film(b"".join(block(time) for time in stored[:5])), "h264") == 0
    assert rate(film(b"".join(block(time) for time in stored[:5])), "h264", own=24) == 24


def test_one_frame_tells_no_rate_and_two_do_where_the_codec_says_nothing() -> None:
    assert rate(film(block(0))) == 0
    assert rate(film(block(0) + block(0))) == 0
    assert rate(film(block(0) + block(50))) == 20
    assert rate(film(block(0) + block(50)), own=24) == 24
    assert rate(film(block(0) + block(50)), own=90_000) == 20


def test_large_frames_are_looked_for_farther_on_but_not_without_an_end() -> None:
    frames = [block(time, frame_bytes=150 * 2**10) for time in FRAMES_MS]
    found = VideoTracks(film(b"".join(frames))).at(0)
    assert found is not None and len(found.times) == -(-RATE_BYTES // len(frames[0]))
    stated = VideoTracks(film(b"".join(frames), tracks=[track(VIDEO, True)])).at(0)
    assert stated is not None and len(stated.times) == -(-FIRST_REQUEST_BYTES // len(frames[0]))


@pytest.mark.parametrize(
    ("picture", "plain"),
    [
        (element(b"\xb0", b"\x40"), True),
        (element(b"\xb0", b"\x40") + element(b"\x76\x70", b""), False),
        (element(b"\x54\xaa", b"\x08"), False),
        (element(b"\x54\xb0", b"\x08"), True),
    ],
)
def test_pictures_are_turned_or_cut_where_the_track_says_so(picture: bytes, plain: bool) -> None:
    found = VideoTracks(film(tracks=[track(VIDEO, picture=picture)])).at(0)
    assert found is not None and found.is_plain is plain
