"""Whether the header of a Matroska file states the rate of its frames."""

import pytest

from reelworks.video.tracks import states_rates

VIDEO, AUDIO = b"\x01", b"\x02"
CONTENTS = b"\x11\x4d\x9b\x74\x84\x16\x54\xae\x6b"  # a table that names the tracks


def element(name: bytes, content: bytes) -> bytes:
    return name + (0x4000 | len(content)).to_bytes(2, "big") + content


def track(kind: bytes, rate: bool) -> bytes:
    duration = element(b"\x23\xe3\x83", (40_000_000).to_bytes(4, "big"))
    return element(b"\xae", element(b"\xd7", b"\x01") + element(b"\x83", kind) + duration * rate)


def head(*tracks: bytes) -> bytes:
    return CONTENTS + element(b"\x16\x54\xae\x6b", b"".join(tracks)) + element(b"\xec", bytes(9))


@pytest.mark.parametrize(
    ("data", "stated"),
    [
        (head(track(VIDEO, True)), True),
        (head(track(AUDIO, False), track(VIDEO, True)), True),
        (head(track(VIDEO, False)), False),
        (head(track(VIDEO, False), track(AUDIO, True)), False),  # the duration of sounds
        (head(track(VIDEO, True), track(VIDEO, False)), False),
        (head(track(VIDEO, True))[:24], False),
        (CONTENTS, False),
        (b"", False),
    ],
)
def test_only_the_video_tracks_count_and_all_of_them(data: bytes, stated: bool) -> None:
    assert states_rates(data) is stated
