"""reelworks.curate.shots: cuts found to the frame, clips that never cross one."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks import video
from reelworks.curate import shots
from reelworks.curate.clips import ClipSpec, clip_frames, clip_row
from reelworks.curate.pairing import Source
from reelworks.curate.shots import Shots, ShotSpec, find_shots, find_spans, spans_of
from reelworks.curate.transnet import WINDOW
from reelworks.errors import VideoError, VideoErrorKind
from reelworks.shapeworld.corpus import items, make
from reelworks.video.encode import encode_video
from reelworks.video.frames import Frames
from reelworks.video.places import places_array
from tests.video.painted import paint, read_numbers

TIME_BASE = Fraction(1, 1000)
NO_PLACES = places_array([])


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
    pts, cuts, _ = find_shots(media, video.probe(media), ShotSpec.model_validate({"detector": detector}))
    assert (len(pts), cuts) == (20, [11])


@pytest.mark.parametrize("detector", ["content", "adaptive"])
@pytest.mark.parametrize(("codec", "container"), [("h264", "mp4"), ("mpeg2video", "ts"), ("ffv1", "mkv")])
def test_cuts_are_exact_in_display_order_with_b_frames_and_a_variable_rate(
    detector: str, codec: str, container: str
) -> None:
    rng = np.random.default_rng(0)
    lengths = [2, 7, 5, 12, 2]  # the first and the last shot are shorter than what the adaptive detector looks at
    colours = [(200, 120, 30), (30, 30, 200), (220, 220, 40), (20, 120, 20), (240, 240, 240)]
    frames = np.concatenate([np.full((n, 48, 64, 3), c) for n, c in zip(lengths, colours, strict=True)])
    frames = np.clip(frames + rng.integers(-9, 10, frames.shape), 0, 255).astype(np.uint8)
    ticks = np.cumsum(rng.integers(400, 2500, len(frames)))
    pts = ticks.tolist() if container != "ts" else None
    options = {"bf": "3", "b_strategy": "0"} if codec != "ffv1" else {}
    media = encode_video(frames, 25.0, codec, container, pts=pts, options=options)
    probe = video.probe(media)
    found, cuts, _ = find_shots(media, probe, ShotSpec.model_validate({"detector": detector}))
    assert cuts == np.cumsum(lengths)[:-1].tolist()
    if pts:
        np.testing.assert_allclose(found * float(probe.time_base), ticks / 25_000, atol=0.0011)
        spec = ShotSpec.model_validate({"detector": detector, "min_clip_s": 0.0})
        starts = [span.start_s for span in find_spans(media, probe, spec)]
        np.testing.assert_allclose(starts, ticks[[0, *cuts]] / 25_000, atol=0.0011)


@pytest.mark.parametrize("detector", ["fixed", "content", "adaptive", "transnetv2"])
def test_a_film_costs_the_memory_of_its_timestamps_and_no_frame(detector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shots, "predictor", lambda threads, device: lambda window: np.zeros(WINDOW))
    probe: Any = SimpleNamespace(height=27, width=48, fps=24.0)

    def peak_bytes(batches: int) -> int:
        def stream(source: bytes, size: tuple[int, int]) -> Iterator[Frames]:
            for batch in range(batches):
                pts = np.arange(50) + 50 * batch
                yield Frames(np.full((50, *size, 3), batch % 7, np.uint8), pts, TIME_BASE, "pyav")

        monkeypatch.setattr(video, "iter_frames", stream)
        tracemalloc.start()
        pts, *_ = find_shots(b"", probe, ShotSpec.model_validate({"detector": detector}))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(pts) == 50 * batches
        return peak

    # A frame of 48 x 27 pixels has 3,888 bytes.
    assert peak_bytes(80) - peak_bytes(8) < 72 * 50 * 40 + 50_000


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


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_clips_before_the_end_of_a_truncated_file_are_kept_where_the_recipe_says_so(container: str) -> None:
    media = encode_video(paint(60, 120, 160), 10.0, "h264", container, options={"g": "12", "bf": "2"})
    cut = media[: int(len(media) * 0.7)]
    probe, spec = (
        video.probe(cut),
        ClipSpec(fps=10.0, shots=ShotSpec(detector="fixed", max_clip_s=1.0, keep_truncated=True)),
    )
    spans = find_spans(cut, probe, spec.shots)
    good = sum(span.num_frames for span in spans)
    assert 12 < good < 60
    source = Source(f"s3://raw/cut.{container}", "e", len(cut))
    rows = [clip_row(source, probe.height, probe.width, 10.0, probe.time_base, span, spec) for span in spans]
    clips = clip_frames(cut, [row for row in rows if row], spans, spec)
    numbers = [number for clip in clips for number in read_numbers(clip)]
    assert numbers == sorted(set(numbers)) and numbers[-1] < good and len(numbers) > good / 2


@st.composite
def films(draw: st.DrawFn) -> tuple[np.ndarray, list[int], float, ShotSpec]:
    """(pts in ms, cuts, duration of the last frame in s, spec) of films with a constant or a wild frame rate."""
    count = draw(st.integers(1, 120))
    if draw(st.booleans()):
        steps = [draw(st.integers(1, 120))] * count
    else:
        steps = draw(st.lists(st.one_of(st.integers(1, 120), st.integers(1, 4000)), min_size=count, max_size=count))
    cuts = sorted(cut for cut in draw(st.sets(st.integers(1, 119), max_size=8)) if cut < count)
    max_clip_s = draw(st.floats(0.2, 3.0))
    spec = ShotSpec(min_clip_s=draw(st.floats(0.0, max_clip_s / 2)), max_clip_s=max_clip_s)
    return draw(st.integers(-500, 10**7)) + np.cumsum(steps), cuts, steps[-1] / 1000, spec


@settings(max_examples=300, deadline=None)
@given(films())
def test_no_span_crosses_a_cut_or_overlaps_and_all_keep_the_allowed_lengths(film: tuple) -> None:
    pts, cuts, frame_s, spec = film
    begins = [0, *cuts, len(pts)]
    end = 0
    for span in spans_of(Shots(pts, cuts, NO_PLACES), TIME_BASE, frame_s, spec):
        first = int(np.flatnonzero(pts == span.first_pts)[0])
        assert first >= end
        end = first + span.num_frames
        assert end <= begins[int(np.searchsorted(begins, first, "right"))]
        assert pts[end - 1] == span.last_pts
        after_s = pts[end] / 1000 if end < len(pts) else pts[-1] / 1000 + frame_s
        assert (span.start_s, span.end_s) == pytest.approx((pts[first] / 1000, after_s), abs=1e-6)
        length_s = span.end_s - span.start_s
        assert length_s >= spec.min_clip_s - 2e-6 or len(pts) == 1
        assert length_s <= spec.max_clip_s + 2e-6 or span.num_frames == 1


@settings(max_examples=300, deadline=None)
@given(films())
def test_every_frame_of_a_shot_that_is_long_enough_is_in_a_clip(film: tuple) -> None:
    pts, cuts, frame_s, spec = film
    # Where a frame is shown for longer than a clip may vary, no cutting at frames can keep both limits.
    longest_s = max(np.diff(pts, append=pts[-1] + frame_s * 1000)) / 1000
    spec = ShotSpec(min_clip_s=max(0.0, spec.min_clip_s - 2 * longest_s), max_clip_s=spec.max_clip_s)
    spans = spans_of(Shots(pts, cuts, NO_PLACES), TIME_BASE, frame_s, spec)
    ends_s = np.append(pts[1:], pts[-1] + frame_s * 1000) / 1000
    covered = {int(p) for span in spans for p in pts[(pts >= span.first_pts) & (pts <= span.last_pts)]}
    for first, stop in pairwise([0, *cuts, len(pts)]):
        if ends_s[stop - 1] - pts[first] / 1000 >= spec.min_clip_s:
            assert set(pts[first:stop].tolist()) <= covered


def test_a_limit_that_no_even_cut_can_keep_is_refused_and_names_both() -> None:
    with pytest.raises(ValueError, match="min_clip_s 0.8 is more than half of max_clip_s 1.0"):
        ShotSpec(min_clip_s=0.8, max_clip_s=1.0)


def test_a_piece_that_rounding_made_too_long_is_cut_into_one_more() -> None:
    pts = np.arange(479) * 1000 // 24  # two halves of 9.979 s would do, but frames begin at 9.958 and 10 s
    spans = spans_of(Shots(pts, [], NO_PLACES), TIME_BASE, 1 / 24, ShotSpec(max_clip_s=9.98))
    assert [span.num_frames for span in spans] in ([160, 160, 159], [160, 159, 160])


def test_an_image_is_a_clip_however_short() -> None:
    assert len(spans_of(Shots(np.array([0]), [], NO_PLACES), TIME_BASE, 0.04, ShotSpec(min_clip_s=1.0))) == 1


def test_no_frames_are_no_clips() -> None:
    assert spans_of(Shots(np.empty(0, np.int64), [], NO_PLACES), TIME_BASE, 0.04, ShotSpec()) == []
