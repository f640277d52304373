"""The pool of clips and the windows that training cuts from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks.train.windows import PooledClip, WindowPool, WindowSpec, cut_window, draw_length


def numbered_clip(frames: int, height: int, width: int, mix: int = 0, value: int = 0) -> PooledClip:
    """A clip whose every pixel tells its frame (red), row and column, shifted by a value in blue's column."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width) + value, indexing="ij")
    return PooledClip(np.stack([t, y, x], axis=-1).astype(np.uint8), mix)


def pool_of(*clips: PooledClip, weights: tuple[float, ...] = (1.0,), **spec: object) -> WindowPool:
    pool = WindowPool(WindowSpec.model_validate(spec), list(weights), seed=0)
    for clip in clips:
        pool.add(clip)
    return pool


@given(
    whole=st.tuples(st.integers(1, 20), st.integers(8, 40), st.integers(8, 40)), data=st.data(), seed=st.integers(0, 99)
)
@settings(deadline=None)
def test_a_window_is_a_block_of_consecutive_frames_rows_and_columns(whole, data, seed) -> None:
    size = tuple(data.draw(st.integers(1, side)) for side in whole)
    window = cut_window(numbered_clip(*whole).frames, size, np.random.default_rng(seed))
    assert window.shape == (*size, 3)
    assert (window - window[:1, :1, :1] == numbered_clip(*size).frames).all()


def test_every_batch_costs_about_the_budget_whatever_its_windows() -> None:
    clips = [numbered_clip(17, *size) for size in ((32, 48), (48, 32), (32, 32), (96, 64))]
    pool, rng = pool_of(*clips, batch_tokens=1152, largest_px=48), np.random.default_rng(0)
    for num_frames in (1, 5, 9, 13) * 8:
        n, t, height, width, _ = pool.batch(rng, num_frames, share=0.5).shape
        tokens = n * ((t - 1) // 4 + 1) * (height // 8) * (width // 8)
        assert t == num_frames and max(height, width) <= 48
        assert abs(tokens - 576) <= tokens / n / 2


def test_mixes_are_drawn_by_their_weights_however_many_clips_each_has() -> None:
    many = [numbered_clip(5, 32, 32, mix=0, value=0) for _ in range(30)]
    few = [numbered_clip(5, 32, 32, mix=1, value=100)]
    pool, rng = pool_of(*many, *few, weights=(0.75, 0.25), batch_tokens=32 * 500), np.random.default_rng(0)
    batch = pool.batch(rng, 5, share=1.0)
    assert len(batch) == 500
    assert np.mean(batch[:, 0, 0, 0, 2] >= 100) == pytest.approx(0.25, abs=0.08)


def test_a_full_pool_stays_within_its_bytes_and_keeps_the_newest_clip() -> None:
    pool = pool_of(pool_bytes=1 << 16)
    for value in range(40):
        pool.add(numbered_clip(5, 16, 16, value=value))
        assert pool.num_bytes == sum(clip.frames.nbytes for clip in pool.clips) <= 1 << 16
        assert pool.clips[-1].frames[0, 0, 0, 2] == value
    assert pool.replaced == 40 - len(pool.clips)


def test_a_clip_larger_than_the_pool_is_still_trained_on() -> None:
    pool = pool_of(pool_bytes=1 << 16)
    for _ in range(2):
        pool.add(numbered_clip(20, 64, 64))
    assert len(pool.clips) == 1


def test_short_clips_give_the_longest_windows_they_hold() -> None:
    pool = pool_of(numbered_clip(1, 32, 32), numbered_clip(5, 32, 32))
    assert pool.batch(np.random.default_rng(0), 13, share=1.0).shape[1] == 5


def test_lengths_are_drawn_by_their_shares() -> None:
    spec = WindowSpec(frames={1: 1.0, 9: 3.0})
    rng = np.random.default_rng(0)
    drawn = [draw_length(spec, rng) for _ in range(400)]
    assert drawn.count(9) / 400 == pytest.approx(0.75, abs=0.07) and set(drawn) == {1, 9}
