"""reelworks.curate.shots: cuts found to the frame, clips that never cross one."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks import video
from reelworks.curate.shots import ShotSpec, find_shots, find_spans, spans_of
from reelworks.errors import VideoError, VideoErrorKind
from reelworks.shapeworld.corpus import items, make
from reelworks.video.encode import encode_video

TIME_BASE = Fraction(1, 1000)


def test_shots_of_shapeworld_are_cut_to_the_frame() -> None:
    expected, found = [], []
    for item in items(11, 40, 0, 0):
        media, sidecar = make(item).objects.values()
        probe = video.probe(media)
        spans = [
            (item.index, round(s.start_s * probe.fps), round(s.end_s * probe.fps))
            for s in find_spans(media, probe, ShotSpec())
        ]
        shots = json.loads(sidecar)["shots"]
        expected += [(item.index, round(s["start_s"] * probe.fps), round(s["end_s"] * probe.fps)) for s in shots]
        found += spans
    exact = len(set(expected) & set(found)) / len(expected)
    assert exact >= 0.98
    assert len(found) <= 1.02 * len(expected)


@pytest.mark.parametrize("detector", ["content", "adaptive"])
def test_a_hard_cut_is_at_the_first_frame_of_the_new_shot(detector: str) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 90, (32, 48, 3)), rng.integers(150, 255, (32, 48, 3))
    frames = np.stack([first] * 11 + [second] * 9).astype(np.uint8)
    media = encode_video(frames, 12.0, "ffv1", "mkv")
    pts, cuts = find_shots(media, video.probe(media), ShotSpec.model_validate({"detector": detector}))
    assert (len(pts), cuts) == (20, [11])


def test_a_fixed_stride_ignores_the_picture() -> None:
    frames = np.concatenate([np.zeros((15, 16, 16, 3), np.uint8), np.full((15, 16, 16, 3), 255, np.uint8)])
    media = encode_video(frames, 10.0)
    spans = find_spans(media, video.probe(media), ShotSpec(detector="fixed", max_clip_s=1.0))
    assert [span.num_frames for span in spans] == [10, 10, 10]


def test_a_truncated_file_raises_instead_of_giving_the_shots_of_its_beginning() -> None:
    media = encode_video(np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8), 10.0)
    cut = media[: len(media) * 6 // 10]
    with pytest.raises(VideoError) as caught:
        find_spans(cut, video.probe(cut), ShotSpec())
    assert caught.value.kind is VideoErrorKind.truncated


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=80),
    st.sets(st.integers(1, 79), max_size=8),
    st.floats(0.0, 0.4),
    st.floats(0.3, 3.0),
)
def test_spans_cross_no_cut_overlap_nowhere_and_keep_their_lengths(
    steps: list[int], cuts: set[int], min_clip_s: float, max_clip_s: float
) -> None:
    pts = np.cumsum(steps)
    cuts = {cut for cut in cuts if cut < len(pts)}
    spec = ShotSpec(min_clip_s=min_clip_s, max_clip_s=max_clip_s)
    spans = spans_of(pts, TIME_BASE, sorted(cuts), 0.1, spec)
    begins = [0, *sorted(cuts), len(pts)]
    longest_step = max(steps) / 1000 + 0.1
    for span, after in zip(spans, [*spans[1:], None], strict=False):
        first = int(np.flatnonzero(pts == span.first_pts)[0])
        shot = int(np.searchsorted(begins, first, "right"))
        assert first + span.num_frames <= begins[shot]
        assert span.end_s - span.start_s <= max_clip_s + longest_step
        assert span.end_s - span.start_s >= min_clip_s - 2e-6 or len(pts) == 1
        assert after is None or span.end_s <= after.start_s + 1e-9
    if min_clip_s == 0.0:
        assert sum(span.num_frames for span in spans) == len(pts)


def test_an_image_is_a_clip_however_short() -> None:
    assert len(spans_of(np.array([0]), TIME_BASE, [], 0.04, ShotSpec(min_clip_s=1.0))) == 1


def test_no_frames_are_no_clips() -> None:
    assert spans_of(np.empty(0, np.int64), TIME_BASE, [], 0.04, ShotSpec()) == []
