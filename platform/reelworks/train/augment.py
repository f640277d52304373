"""Other views of a described clip of which its captions stay true.

Axis legend: T frames, H W rows and columns.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from pydantic import Field

from reelworks.config import Section
from reelworks.train.described_clips import DescribedClip

SIDES = {"left": "right", "right": "left"}


class AugmentSpec(Section):
    """How far a view may differ from the clip. A few hundred clips are learned by heart without it."""

    crop: float = Field(default=0.1, ge=0, lt=1)
    """Largest share of each side that is cut off."""
    mirror: float = Field(default=0.5, ge=0, le=1)
    """Share of views that are mirrored, the words left and right with them; 0 for footage with writing in it."""
    light: float = Field(default=0.1, ge=0, lt=1)
    """Largest relative change of brightness."""
    grain: float = Field(default=4.0, ge=0)
    """Largest standard deviation of noise, in levels of 0-255."""


def view(clip: DescribedClip, num_frames: int, spec: AugmentSpec, rng: np.random.Generator) -> DescribedClip:
    """One view of a clip: `num_frames` frames, cropped, perhaps mirrored, in other light."""
    frames = lit(cropped(jittered(clip.frames, num_frames, rng), spec.crop, rng), spec, rng)
    if rng.random() >= spec.mirror:
        return replace(clip, frames=frames)
    short, descriptive = mirrored(clip.short), mirrored(clip.descriptive)
    return replace(clip, frames=np.ascontiguousarray(frames[:, :, ::-1]), short=short, descriptive=descriptive)


def mirrored(text: str) -> str:
    """The text with left and right exchanged, in any compound ("leftward") and any case."""

    def other(match: re.Match[str]) -> str:
        word = match.group()
        swapped = SIDES[word.lower()]
        return swapped.capitalize() if word[0].isupper() else swapped

    return re.sub(r"\b(?:left|right)(?=ward|\b)", other, text, flags=re.IGNORECASE)


def lit(frames: np.ndarray, spec: AugmentSpec, rng: np.random.Generator) -> np.ndarray:
    """uint8 frames in brighter or darker light, with grain."""
    lit = frames * np.float32(1 + spec.light * rng.uniform(-1, 1))
    if spec.grain:
        lit += rng.standard_normal(frames.shape, np.float32) * np.float32(spec.grain * rng.random())
    return np.clip(np.rint(lit), 0, 255).astype(np.uint8)


def jittered(frames: np.ndarray, num_frames: int, rng: np.random.Generator) -> np.ndarray:
    """About evenly spread frames, each moved by less than half the distance to its neighbours: order is kept."""
    last = len(frames) - 1
    step = last / max(1, num_frames - 1)
    wanted = np.linspace(0, last, num_frames) + step * rng.uniform(-0.4, 0.4, num_frames)
    return frames[np.clip(np.rint(wanted), 0, last).astype(int)]


def cropped(frames: np.ndarray, largest: float, rng: np.random.Generator) -> np.ndarray:
    """A random rectangle of frames (T, H, W, 3), each side shorter by at most the share `largest`."""
    height, width = frames.shape[1:3]
    rows, columns = (round(side * (1 - largest * rng.random())) for side in (height, width))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    return frames[:, top : top + rows, left : left + columns]
