"""reelworks.curate.clips: frames by time, native aspect, sizes that the VAE divides."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks import storage, video
from reelworks.curate import sources
from reelworks.curate.clips import (
    ClipSpec,
    clip_frames,
    clip_row,
    clips_of_source,
    crop,
    frame_times,
    geometry,
    num_frames,
)
from reelworks.curate.prepare import work_counts
from reelworks.curate.shots import ShotSpec, Span, find_spans
from reelworks.curate.sources import Source, list_sources
from reelworks.errors import VideoError
from reelworks.video.encode import encode_video
from tests.video.long import long_stream
from tests.video.painted import read_numbers


def span(seconds: float, fps: float) -> Span:
    return Span(0.0, seconds, round(seconds * fps), 0, round(seconds * fps) - 1)


@pytest.mark.parametrize(
    ("seconds", "native", "expected"),
    [
        (1.125, 8.0, 9),
        (1.125, 24.0, 9),
        (1.16, 25.0, 9),
        (2.125, 12.0, 17),
        (1.0, 8.0, 5),
        (0.04, 25.0, 1),
        (2.0, 5.0, 9),
    ],
)
def test_a_clip_has_4k_plus_1_frames_at_the_lower_rate(seconds: float, native: float, expected: int) -> None:
    fps, count = num_frames(span(seconds, native), native, ClipSpec(fps=8))
    assert (fps, count) == (min(native, 8), expected)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 400), st.floats(2, 60), st.floats(1, 30))
def test_every_time_lies_inside_the_span_whatever_the_rates(frames: int, native: float, fps: float) -> None:
    one = span(frames / native, native)
    times = frame_times(one, native, ClipSpec(fps=fps))
    assert len(times) % 4 == 1
    assert times[-1] < one.end_s
    # At the native rate no frame is shown twice and none is left out.
    if native <= fps:
        assert np.array_equal(np.floor(times * native), np.arange(len(times)))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 60), st.integers(1, 5000), st.sampled_from([8, 16]))
def test_a_clip_is_scaled_only_over_the_limit_and_cropped_by_less_than_the_patch(
    height: int, width: int, k: int, max_tokens: int, multiple: int
) -> None:
    spec = ClipSpec(max_tokens=max_tokens, multiple_px=multiple)
    size = geometry(height, width, 4 * k + 1, spec)
    if size is None:
        return
    tokens = (k + 1) * (size.height // 8) * (size.width // 8)
    assert tokens <= max_tokens
    assert size.height % multiple == size.width % multiple == 0
    assert 0 <= size.scaled_height - size.height < multiple
    assert 0 <= size.scaled_width - size.width < multiple
    if (k + 1) * (height // multiple * multiple // 8) * (width // multiple * multiple // 8) <= max_tokens:
        assert (size.scaled_height, size.scaled_width) == (height, width)
    assert abs(size.scaled_height * width - size.scaled_width * height) <= max(height, width)


def test_pictures_smaller_than_a_patch_have_no_clip() -> None:
    source = Source("s3://b/k", "e", 1)
    assert clip_row(source, 7, 64, 8.0, Fraction(1, 8), span(1.125, 8), ClipSpec()) is None


def test_the_crop_is_central() -> None:
    frames = np.arange(5 * 7, dtype=np.uint8).reshape(1, 5, 7, 1).repeat(3, -1)
    assert np.array_equal(crop(frames, 3, 5)[0, :, :, 0], frames[0, 1:4, 1:6, 0])


def test_a_source_gives_its_clips_with_exactly_the_frames_of_its_shots(prefix: str) -> None:
    rng = np.random.default_rng(0)
    shots = [rng.integers(low, low + 80, (1, 42, 51, 3)).repeat(count, 0) for low, count in ((0, 27), (170, 40))]
    frames = np.concatenate(shots).astype(np.uint8)
    frames[:, :8, :8] = np.arange(67, dtype=np.uint8)[:, None, None, None] * 3
    storage.create_once(f"{prefix}/a.mkv", encode_video(frames, 24.0, "ffv1", "mkv", "bgr0"))
    source = next(iter(list_sources([f"{prefix}/"])))
    found = list(clips_of_source(source, ClipSpec(fps=8, shots=ShotSpec(min_clip_s=0.5))))
    chosen = [[0, 3, 6, 9, 12, 15, 18, 21, 24], [27 + 3 * k for k in range(13)]]
    for (row, clip), indexes in zip(found, chosen, strict=True):
        assert clip.shape == (len(indexes), 40, 48, 3) == (row.num_frames, row.height, row.width, 3)
        assert np.array_equal(clip, crop(frames[indexes], 40, 48))
        assert row.num_tokens == ((row.num_frames - 1) // 4 + 1) * 5 * 6
        assert (row.native_width, row.native_height, row.native_fps, row.fps) == (51, 42, 24.0, 8.0)
    assert len({row.clip_id for row, _ in found}) == 2


def test_an_unusable_source_raises_a_typed_error(prefix: str) -> None:
    storage.create_once(f"{prefix}/a.mp4", b"not a video at all, only text " * 9)
    with pytest.raises(VideoError):
        list(clips_of_source(next(iter(list_sources([f"{prefix}/"]))), ClipSpec()))


def test_a_large_object_read_by_range_gives_the_same_clips(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 255, (60, 64, 64, 3), dtype=np.uint8)
    storage.create_once(f"{prefix}/a.mp4", encode_video(frames, 12.0))
    source = next(iter(list_sources([f"{prefix}/"])))
    spec = ClipSpec(shots=ShotSpec(detector="fixed", max_clip_s=2.0))
    whole = list(clips_of_source(source, spec))
    monkeypatch.setattr(sources, "WHOLE_OBJECT_BYTES", 1000)
    ranged = list(clips_of_source(source, spec))
    assert [row for row, _ in ranged] == [row for row, _ in whole] and len(whole) == 3
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(ranged, whole, strict=True))


def test_a_late_clip_costs_no_walk_where_the_container_has_no_index(prefix: str) -> None:
    uri, data = f"{prefix}/film.flv", long_stream("h264", "flv", 20, 120, 160)
    storage.create_once(uri, data)
    (source,) = list_sources([f"{prefix}/"])
    spec = ClipSpec(fps=24.0, shots=ShotSpec(detector="fixed", max_clip_s=2.0))
    with storage.open_ranged(uri, etag=source.etag, size=source.size) as opened:
        probe = video.probe(opened)
        spans = find_spans(opened, probe, spec.shots)
        rows = [clip_row(source, probe.height, probe.width, probe.fps, probe.time_base, span, spec) for span in spans]
        walked, pieces = opened.bytes_read, []
        for at in (18, 9, 4):
            (row,) = [row for row in rows[at : at + 1] if row]
            pieces += read_numbers(clip_frames(opened, [row], spans[at : at + 1], spec)[0])[:3]
    assert pieces == [0, 1, 2] * 3
    assert walked > 0.9 * len(data) and opened.bytes_read - walked < 0.6 * len(data)


@pytest.mark.parametrize(
    ("codec", "reason"), [("h264", "pyav is faster for h264"), ("vp9", "single frames are asked for")]
)
def test_clips_are_counted_by_decoder_and_the_reason_for_it(codec: str, reason: str) -> None:
    media, spec = encode_video(np.full((9, 64, 64, 3), 90, np.uint8), 8.0, codec, "mkv"), ClipSpec()
    probe = video.probe(media)
    spans = find_spans(media, probe, spec.shots)
    source = Source("s3://b/a.mkv", "e", len(media))
    rows = [clip_row(source, probe.height, probe.width, probe.fps, probe.time_base, span, spec) for span in spans]
    counted: Counter[tuple[str, str]] = Counter()
    clip_frames(media, [row for row in rows if row], spans, spec, counted)
    assert counted == {("pyav", reason): 1}


def test_the_end_table_says_who_decoded() -> None:
    name = "clips_by_decoder.pyav.width"
    assert work_counts({name: 3.0})[name] == 3
    assert name not in work_counts({})
