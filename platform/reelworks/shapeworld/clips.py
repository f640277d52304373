"""Clips drawn at random and rendered in memory: the same world as the corpus, without a bucket."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelworks.shapeworld.attributes import Attributes, Split
from reelworks.shapeworld.captions import describe, short_caption
from reelworks.shapeworld.render import render_clip
from reelworks.shapeworld.world import ClipSpec, sample_attributes, sample_spec

# (width, height) and how often: small landscape, portrait and square frames, a few larger ones.
FRAME_SIZES: tuple[tuple[tuple[int, int], float], ...] = (
    ((32, 32), 0.24),
    ((40, 32), 0.16),
    ((32, 40), 0.16),
    ((48, 32), 0.19),
    ((32, 48), 0.19),
    ((64, 64), 0.03),
    ((64, 48), 0.02),
    ((96, 64), 0.01),
)
NUM_FRAMES = (9, 13, 17)  # 4k + 1 at 8 frames a second: 1.1 to 2.2 s


@dataclass(frozen=True)
class Clip:
    """One rendered clip with its truth; frames (T, H, W, 3) uint8, mask (T, H, W) bool."""

    spec: ClipSpec
    frames: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    caption: str
    descriptive: str

    @property
    def attributes(self) -> Attributes:
        return self.spec.attributes


def random_size(rng: np.random.Generator) -> tuple[int, int]:
    """A (width, height) with the corpus's frequencies."""
    sizes, shares = zip(*FRAME_SIZES, strict=True)
    chosen: tuple[int, int] = sizes[int(rng.choice(len(sizes), p=np.asarray(shares)))]
    return chosen


def random_clips(
    num_clips: int,
    seed: int,
    split: Split = "train",
    *,
    sizes: Sequence[tuple[int, int]] | None = None,
    num_frames: Sequence[int] = NUM_FRAMES,
) -> Iterator[Clip]:
    """`num_clips` clips, the same ones for the same arguments; `sizes` are (width, height), evenly drawn."""
    for index in range(num_clips):
        rng = np.random.default_rng([seed, index])
        width, height = random_size(rng) if sizes is None else sizes[int(rng.integers(len(sizes)))]
        spec = sample_spec(rng, sample_attributes(rng, split), width, height)
        rendered = render_clip(spec, width, height, num_frames[int(rng.integers(len(num_frames)))])
        caption = short_caption(spec.attributes, rng)
        yield Clip(spec, rendered.frames, rendered.mask, caption, describe(spec.attributes))
