"""reelworks.video.onward: the parts of a film that can't be jumped in are read in one walk, by many calls."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest

from reelworks import storage
from reelworks.video import Limits, decode, open_onward, open_video
from reelworks.video.encode import encode_video
from reelworks.video.reader import Reader
from reelworks.video.stream import FrameStream, Timed
from tests.storage.tap import Tap
from tests.video.long import FRAMES, long_stream
from tests.video.painted import paint, read_numbers
from tests.video.stored import stored

FPS, SECONDS = 24, 30


def film(codec: str, container: str, first: int = 0) -> bytes:
    noise = np.random.default_rng(0).integers(0, 60, (FPS, 96, 128, 3), np.uint8)
    frames = np.concatenate([paint(FPS, 96, 128, first + FPS * second) // 2 + noise for second in range(SECONDS)])
    options = {"preset": "ultrafast", "crf": "20"} if codec == "h264" else {}
    return encode_video(frames, FPS, codec, container, options={"g": "12", "bf": "2", **options})


@pytest.mark.parametrize(("codec", "container"), [("h264", "flv"), ("mpeg2video", "mpg"), ("h264", "avi")])
def test_chunks_of_a_film_without_an_index_cost_one_walk(tap: Tap, s3_server: str, codec: str, container: str) -> None:
    data = film(codec, container)
    uri, etag = stored(f"onward.{container}", data)
    walked = decode(data)
    tap.clear()
    for start_s in [*np.arange(0.3, SECONDS - 1, 1.5), 4.0, 3.0]:
        times_s = walked.pts_s[0] + start_s + np.arange(8) / 8
        with open_onward(storage.open_ranged(uri, etag=etag, size=len(data)), (uri, etag)) as reader:
            found = reader.frames(times_s=times_s.tolist())
        shown = np.searchsorted(walked.pts_s, times_s, "right") - 1
        assert found.pts.tolist() == walked.pts[shown].tolist()
        assert np.array_equal(found.frames, walked.frames[shown])
    # One walk, one from the start for each step back, and what FFmpeg looks at first: 2.5 MB of a program stream.
    assert sum(one.body_bytes for one in tap.gets(uri)) < 2.5 * len(data)


def test_another_version_of_an_object_gets_a_reader_of_its_own(s3_server: str) -> None:
    for first in (0, 100):
        data = film("h264", "flv", first)
        uri, etag = stored("versions.flv", data)
        with open_onward(storage.open_ranged(uri, etag=etag, size=len(data)), (uri, etag)) as reader:
            assert read_numbers(reader.frames(times_s=[5.02 + reader.probe.start_s]).frames) == [(first + 120) % 256]


def test_a_reader_that_an_error_passed_is_not_used_again(s3_server: str) -> None:
    data = film("h264", "flv")
    uri, etag = stored("errors.flv", data)
    readers = []
    for bad in (True, False, False):
        try:
            with open_onward(storage.open_ranged(uri, etag=etag, size=len(data)), (uri, etag)) as reader:
                readers.append(reader)
                reader.frames(times_s=[1.0], span_s=(0.0, 1.0) if bad else None)
        except ValueError:
            pass
    assert readers[0] is not readers[1] and readers[1] is readers[2]


def test_a_walk_in_steps_ends_where_it_would_in_one() -> None:
    data = film("h264", "flv")
    walked = decode(data)
    with Reader(io.BytesIO(data)) as reader:
        for first in (100, 500, 300):
            time_s = walked.pts_s[first]
            steps = 1
            while not reader.approach(time_s, False, 0.0):
                steps += 1
            assert steps > 50
            found = reader.frames(times_s=walked.pts_s[first : first + 3].tolist())
            assert found.pts.tolist() == walked.pts[first : first + 3].tolist()
            assert np.array_equal(found.frames, walked.frames[first : first + 3])
        assert reader.approach(1e6, False, 60.0), "there is no frame behind the last one"


def test_a_late_frame_may_lie_farther_than_the_cpu_seconds_of_one_request() -> None:
    repeats = 60
    data = long_stream("h264", "flv", repeats, 240, 320)
    with open_video(data, Limits(cpu_s=0.5, attempts=1)) as reader:
        last_s = reader.probe.start_s + (repeats * FRAMES - 0.9) / FPS
        assert read_numbers(reader.frames(times_s=[last_s]).frames) == [FRAMES - 1]


def test_the_very_time_of_a_frame_needs_no_walk_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    data = film("h264", "flv")
    pts_s = decode(data).pts_s
    starts = []
    begin = FrameStream.from_start

    def counted(stream: FrameStream) -> Iterator[Timed]:
        starts.append(stream)
        return begin(stream)

    monkeypatch.setattr(FrameStream, "from_start", counted)
    with Reader(io.BytesIO(data)) as reader:
        for time_s in pts_s[5:80]:  # milliseconds, which binary fractions fall short of
            assert reader.approach(float(time_s), partial=False, cpu_s=60)
            assert reader.frames(times_s=[float(time_s)]).pts_s[0] == time_s
    assert len(starts) == 1
