"""reelworks.video.seeking: a part that was jumped to is the same as one that was walked to, and costs less."""

from __future__ import annotations

import io

import numpy as np
import pytest

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video import decode
from reelworks.video.reader import Reader
from tests.video.long import FPS, FRAMES, long_stream

SECONDS = 60


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_spans_and_times_are_those_of_a_walk_wherever_they_lie(container: str) -> None:
    data = long_stream("h264", container, SECONDS * FPS // FRAMES)
    with Reader(io.BytesIO(data)) as reader:
        walked = reader.frames()
        start_s = reader.probe.start_s
    assert len(walked) == SECONDS * FPS
    draw = np.random.default_rng(1)
    with Reader(io.BytesIO(data)) as reader:
        for first_s in draw.uniform(0, SECONDS, 12):
            span_s = (start_s + first_s, start_s + first_s + 1.3)
            inside = (walked.pts_s >= span_s[0]) & (walked.pts_s < span_s[1])
            found = reader.frames(span_s=span_s)
            assert found.pts.tolist() == walked.pts[inside].tolist()
            assert np.array_equal(found.frames, walked.frames[inside])
        times_s = np.append(start_s + draw.uniform(0, SECONDS, 12), [0, start_s + 2 * SECONDS])
        shown = np.clip(np.searchsorted(walked.pts_s, times_s, "right") - 1, 0, None)
        found = reader.frames(times_s=times_s.tolist())
        assert found.pts.tolist() == walked.pts[shown].tolist()
        assert np.array_equal(found.frames, walked.frames[shown])


def test_two_recordings_one_behind_the_other_are_damage_and_give_the_first_one_until_then() -> None:
    one, other = long_stream("h264", "mpegts", 20), long_stream("hevc", "mpegts", 20)
    part = decode(one + one, span_s=(20.0, 21.0))
    assert np.array_equal(part.frames, decode(one, span_s=(20.0, 21.0)).frames)
    for data in (one + one, one + other):
        with pytest.raises(VideoError) as caught:
            decode(data)
        assert caught.value.kind in (VideoErrorKind.corrupt, VideoErrorKind.resolution_change)
