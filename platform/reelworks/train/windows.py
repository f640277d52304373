"""A bounded pool of clips and the windows cut from it: training reads from here, so decoding never limits it.

Axes: N windows, T frames, H rows, W columns.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from reelworks.config import Section
from reelworks.models.vae import SPATIAL_STRIDE, TEMPORAL_STRIDE


class WindowSpec(Section):
    """What a training batch is made of."""

    frames: dict[int, float] = {1: 0.1, 5: 0.25, 9: 0.4, 13: 0.25}
    """Length of a window in frames (4k+1) -> its share of batches. One length alone blurs all others."""
    largest_px: int = Field(default=48, ge=8, multiple_of=8)
    """Longest side of a window in pixels; larger clips are cropped at random."""
    batch_tokens: int = Field(default=1152, ge=1)
    """Latent positions of a batch over all workers: what a step costs, whatever its windows' length and size
    (1,152 = 16 windows of 9 frames of 32x48 px)."""
    pool_bytes: int = Field(default=256 << 20, ge=1 << 16)
    """Bytes of decoded clips that a worker holds; when they are spent a new clip replaces a random one."""
    first_clips: int = Field(default=96, ge=1)
    """Clips that a worker waits for before its first step."""


@dataclass(frozen=True)
class PooledClip:
    """Frames uint8 (T, H, W, 3) of one clip, and the mix it belongs to."""

    frames: np.ndarray
    mix: int


def draw_length(spec: WindowSpec, rng: np.random.Generator) -> int:
    """Frames of the next batch's windows. Ranks with equal generators draw equal lengths: none waits for the others."""
    shares = np.array(list(spec.frames.values()))
    return int(rng.choice(list(spec.frames), p=shares / shares.sum()))


class WindowPool:
    """Clips by mix, filled by one thread and read by another."""

    def __init__(self, spec: WindowSpec, mix_weights: list[float], seed: int) -> None:
        self.spec = spec
        self.mix_weights = mix_weights
        self.rng = np.random.default_rng(seed)
        self.clips: list[PooledClip] = []
        self.num_bytes = 0
        self.replaced = 0
        self.lock = threading.Lock()

    def add(self, clip: PooledClip) -> None:
        """Take a clip in, in place of random ones where the pool is full."""
        with self.lock:
            while self.clips and self.num_bytes + clip.frames.nbytes > self.spec.pool_bytes:
                index = int(self.rng.integers(len(self.clips)))
                self.clips[index], self.clips[-1] = self.clips[-1], self.clips[index]
                self.num_bytes -= self.clips.pop().frames.nbytes
                self.replaced += 1
            self.clips.append(clip)
            self.num_bytes += clip.frames.nbytes

    def snapshot(self) -> list[PooledClip]:
        """The clips held now."""
        with self.lock:
            return list(self.clips)

    def batch(self, rng: np.random.Generator, num_frames: int, share: float) -> np.ndarray:
        """uint8 (N, T, H, W, 3): windows of one size, that of a clip drawn first; T is `num_frames` or less.

        Clips at least as long, high and wide join it, mixes by their weights; N fills `share` of the batch, at least 1.
        """
        clips, wanted = self.snapshot(), num_frames
        usable = [clip for clip in clips if clip.frames.shape[0] >= wanted]
        if not usable:  # only short clips so far: the longest window that one of them holds
            longest = max(clip.frames.shape[0] for clip in clips)
            wanted, usable = longest, [clip for clip in clips if clip.frames.shape[0] == longest]
        first = usable[self._draw(rng, usable, 1)[0]]
        height, width = (min(side, self.spec.largest_px) for side in first.frames.shape[1:3])
        fitting = [clip for clip in usable if clip.frames.shape[1] >= height and clip.frames.shape[2] >= width]
        tokens = ((wanted - 1) // TEMPORAL_STRIDE + 1) * (height // SPATIAL_STRIDE) * (width // SPATIAL_STRIDE)
        count = max(1, round(share * self.spec.batch_tokens / tokens))
        drawn = self._draw(rng, fitting, count)
        return np.stack([cut_window(fitting[i].frames, (wanted, height, width), rng) for i in drawn])

    def _draw(self, rng: np.random.Generator, clips: list[PooledClip], count: int) -> Any:
        mixes = np.array([clip.mix for clip in clips])
        weights = np.asarray(self.mix_weights)[mixes] / np.bincount(mixes, minlength=len(self.mix_weights))[mixes]
        return rng.choice(len(clips), size=count, p=weights / weights.sum())


def cut_window(frames: np.ndarray, size: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """A random window (T, H, W) of a clip's frames (T', H', W', 3), none of whose sides is shorter."""
    starts = [int(rng.integers(whole - part + 1)) for whole, part in zip(frames.shape, size, strict=False)]
    t, y, x = (slice(start, start + part) for start, part in zip(starts, size, strict=True))
    return frames[t, y, x]
