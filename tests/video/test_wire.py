"""reelworks.video.wire: a hostile child's answer is frames or a typed error, and never reaches beyond its pages."""

from __future__ import annotations

import os
from typing import Any

import pytest

from reelworks.errors import VideoError
from reelworks.video import wire

CLAIMS = [  # (shape, places, bytes that were sent)
    ((1, 2, 2, 3), 0, 12),
    ((1, 2, 2, 3), -1, 12),
    ((1, 2, 2, 3), 2**62, 20),
    ((-1, 1, 1, 3), 1, 21),
    ((-1, -1, 1, 3), 1, 27),
    ((-4, -1, 1, 1), 1, 4),
    ((2**62, 4, 1, 1), 0, 0),
    ((1, 2, 6), 0, 20),
]


@pytest.mark.parametrize(("shape", "num_places", "sent_bytes"), CLAIMS)
def test_pages_that_are_not_as_long_as_they_must_be_are_refused(
    shape: tuple[int, ...], num_places: int, sent_bytes: int
) -> None:
    descriptor = os.memfd_create("frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, sent_bytes)
    message: dict[str, Any] = {"shape": shape, "num_places": num_places, "error": None}
    with pytest.raises(VideoError, match="wrong size"):
        wire.unpack_frames(message | {"time_base": "1/24", "decoder": "pyav"}, descriptor)
    with pytest.raises(OSError):
        os.fstat(descriptor)
