"""What every captioner of clips does alike: clips of one shape in batches, each prompt answered for each clip."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

# A caption's fingerprint contains the prompt: a changed text is a new key here, never an edit of an old one.
PROMPTS: dict[str, str] = {
    "short": "Caption this video briefly.",
    "descriptive": "Describe this video in detail.",
}

Shown = TypeVar("Shown")


class ClipCaptioner(ABC, Generic[Shown]):
    """Turns frames into text; `Shown` is what its model is given of one clip."""

    prompts: Mapping[str, str]
    """Prompt name → its text."""
    batch_size: int
    """Clips of one forward pass at most."""

    @abstractmethod
    def read(self, frames: NDArray[np.uint8], times_s: Sequence[float] | None = None) -> Shown:
        """What the model is given of one clip (T, H, W, 3), its frames evenly spread over its time."""

    @abstractmethod
    def _shape(self, one: Shown) -> tuple[int, ...]:
        """Clips of equal shapes share a batch without padding."""

    @abstractmethod
    def _write(self, batch: Sequence[Shown], prompts: Sequence[str]) -> dict[str, list[str]]:
        """Prompt name → one caption a clip, for clips of one shape."""

    def caption(
        self,
        clips: Sequence[NDArray[np.uint8]],
        times_s: Sequence[Sequence[float]] | None = None,
        prompt: str = "descriptive",
    ) -> list[str]:
        """One caption a clip, for one of the prompts by name."""
        times = [None] * len(clips) if times_s is None else times_s
        inputs = [self.read(frames, at) for frames, at in zip(clips, times, strict=True)]
        return self.captions(inputs, [prompt])[prompt]

    @torch.inference_mode()
    def captions(self, inputs: Sequence[Shown], prompts: Sequence[str]) -> dict[str, list[str]]:
        """Prompt name → one caption a clip, in the order of `inputs`."""
        found = {name: [""] * len(inputs) for name in prompts}
        for group in same_shape([self._shape(one) for one in inputs], self.batch_size):
            for name, texts in self._write([inputs[index] for index in group], prompts).items():
                for index, text in zip(group, texts, strict=True):
                    found[name][index] = text
        return found


def same_shape(shapes: Sequence[tuple[int, ...]], batch_size: int) -> Iterator[list[int]]:
    """Indices in batches of one shape: no padding, so that a caption depends on its neighbours by rounding only."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(index)
    for shape in sorted(groups):
        for start in range(0, len(groups[shape]), batch_size):
            yield groups[shape][start : start + batch_size]
