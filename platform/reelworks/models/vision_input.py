"""Frames to the patches that Qwen2-VL class models read: the one adapter that stands in for their video processors.

Transformers' video processors need torchvision; these few functions don't, and a test holds them equal to the
official PIL processor and to an independent reading of the official order.

Legend: T frames, H W rows and columns, N patches, t h w temporal patches, rows and columns of patches.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# CLIP's statistics: the default of the official processors where a folder doesn't say.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# The official processors' files, in the order in which they override one another for video.
PROCESSOR_FILES = ("processor_config.json", "video_preprocessor_config.json", "preprocessor_config.json")
# Spread over a clip of seconds, enough for what moves where; production folders don't name a number.
DEFAULT_NUM_FRAMES = 8


@dataclass(frozen=True)
class VisionLayout:
    """How a model wants its frames; the fields of Transformers' preprocessor_config.json under the same names."""

    patch_size: int
    temporal_patch_size: int
    merge_size: int
    min_pixels: int
    max_pixels: int
    num_frames: int
    """Frames of a clip that the model is given."""
    image_mean: tuple[float, ...] = CLIP_MEAN
    image_std: tuple[float, ...] = CLIP_STD

    def save(self, folder: Path) -> None:
        """Write preprocessor_config.json as the official processors read it."""
        values = {
            "image_processor_type": "Qwen2VLImageProcessor",
            "patch_size": self.patch_size,
            "temporal_patch_size": self.temporal_patch_size,
            "merge_size": self.merge_size,
            "num_frames": self.num_frames,
            "size": {"shortest_edge": self.min_pixels, "longest_edge": self.max_pixels},
            "image_mean": list(self.image_mean),
            "image_std": list(self.image_std),
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(values, indent=2, sort_keys=True))


@dataclass(frozen=True)
class VisionInput:
    """One clip as a model reads it."""

    patches: NDArray[np.float32]
    """(N, 3 · temporal_patch_size · patch_size²)."""
    grid: tuple[int, int, int]
    """(t, h, w); N = t · h · w."""
    digest: str
    """sha256 of grid and patches: what the caption is bound to."""

    def num_tokens(self, merge_size: int) -> int:
        return math.prod(self.grid) // merge_size**2


def load_layout(folder: Path, patch_size: int, temporal_patch_size: int, merge_size: int) -> VisionLayout:
    """The layout of a Transformers folder; patch sizes come from the model's config, which the weights obey."""
    values: dict = {}
    for name in PROCESSOR_FILES:
        file = folder / name
        if file.exists():
            found = json.loads(file.read_text())
            values = values | found.get("image_processor", {}) | found.get("video_processor", {}) | found
            break
    size = values.get("size") or {}
    return VisionLayout(
        patch_size=patch_size,
        temporal_patch_size=temporal_patch_size,
        merge_size=merge_size,
        min_pixels=values.get("min_pixels") or size.get("shortest_edge") or 128 * 28 * 28,
        max_pixels=values.get("max_pixels") or size.get("longest_edge") or 768 * 28 * 28,
        num_frames=values.get("num_frames") or DEFAULT_NUM_FRAMES,
        image_mean=tuple(values.get("image_mean", CLIP_MEAN)),
        image_std=tuple(values.get("image_std", CLIP_STD)),
    )


def spread_frames(frames: NDArray[np.uint8], times_s: Sequence[float] | None, num_frames: int) -> NDArray[np.uint8]:
    """`num_frames` frames, evenly spaced in time from the first to the last: (num_frames, H, W, 3).

    For each wanted time the nearest frame; an image is repeated. `times_s` None: frames are evenly spaced.
    """
    times = np.arange(len(frames), dtype=np.float64) if times_s is None else np.asarray(times_s, np.float64)
    if len(times) != len(frames):
        raise ValueError(f"{len(frames)} frames but {len(times)} times")
    wanted = np.linspace(times[0], times[-1], num_frames)
    return frames[np.abs(times[None, :] - wanted[:, None]).argmin(axis=1)]


def resized_shape(height: int, width: int, layout: VisionLayout) -> tuple[int, int]:
    """(height, width) near the native aspect, multiples of patch × merge, pixels within the layout's limits."""
    factor = layout.patch_size * layout.merge_size
    rows, columns = (max(factor, round(side / factor) * factor) for side in (height, width))
    if rows * columns > layout.max_pixels:
        shrink = math.sqrt(height * width / layout.max_pixels)
        rows, columns = (max(factor, math.floor(side / shrink / factor) * factor) for side in (height, width))
    elif rows * columns < layout.min_pixels:
        grow = math.sqrt(layout.min_pixels / (height * width))
        rows, columns = (math.ceil(side * grow / factor) * factor for side in (height, width))
    return rows, columns


def vision_input(frames: NDArray[np.uint8], layout: VisionLayout) -> VisionInput:
    """(T, H, W, 3) uint8 to patches; the last frame is repeated to fill the last temporal patch."""
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"frames must be uint8 (T, H, W, 3), T ≥ 1, not {frames.dtype} {frames.shape}")
    rows, columns = resized_shape(frames.shape[1], frames.shape[2], layout)
    if frames.shape[1:3] != (rows, columns):
        sized = [Image.fromarray(frame).resize((columns, rows), Image.Resampling.BICUBIC) for frame in frames]
        frames = np.stack([np.asarray(image) for image in sized])  # (T, H, W, 3)
    if missing := -len(frames) % layout.temporal_patch_size:
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    mean, std = np.asarray(layout.image_mean, np.float32), np.asarray(layout.image_std, np.float32)
    pixels: NDArray[np.float32] = (frames.astype(np.float32) * np.float32(1 / 255) - mean) / std
    patches = patchify(pixels, layout)  # (N, C·tp·p·p)
    grid = (len(frames) // layout.temporal_patch_size, rows // layout.patch_size, columns // layout.patch_size)
    digest = hashlib.sha256(np.asarray(grid, np.int64).tobytes() + patches.tobytes()).hexdigest()
    return VisionInput(patches, grid, digest)


def patchify(pixels: NDArray[np.float32], layout: VisionLayout) -> NDArray[np.float32]:
    """(T, H, W, C) to (N, C · tp · p · p): a merge block's patches side by side, blocks by column, row and time."""
    num_frames, height, width, channels = pixels.shape
    p, tp, m = layout.patch_size, layout.temporal_patch_size, layout.merge_size
    blocks = pixels.reshape(num_frames // tp, tp, height // (p * m), m, p, width // (p * m), m, p, channels)
    ordered = blocks.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)  # (t, H/pm, W/pm, m, m, C, tp, p, p)
    return np.ascontiguousarray(ordered).reshape(-1, channels * tp * p * p)
