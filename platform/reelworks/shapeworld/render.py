"""Frames and masks of a clip, antialiased from signed distances.

T frames, H W rows and columns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reelworks.shapeworld.attributes import Shape
from reelworks.shapeworld.world import BackgroundSpec, BarSpec, ClipSpec, ShapeSpec

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Rendered:
    frames: NDArray[np.uint8]
    """(T, H, W, 3) RGB."""
    mask: NDArray[np.bool_]
    """(T, H, W), where the main shape is seen."""


def render_clip(spec: ClipSpec, width: int, height: int, num_frames: int) -> Rendered:
    """The scene from its first moment to its last in `num_frames` frames; one frame is the moment in the middle."""
    moments = np.linspace(0, 1, num_frames) if num_frames > 1 else np.full(1, 0.5)
    return render_moments(spec, width, height, moments)


def render_moments(spec: ClipSpec, width: int, height: int, moments: NDArray[np.floating]) -> Rendered:
    """The scene at moments (T,), 0 the first and 1 the last."""
    time = np.asarray(moments, np.float32)
    y, x = np.meshgrid(np.arange(height) + np.float32(0.5), np.arange(width) + np.float32(0.5), indexing="ij")
    image = _background(spec.background, time, x / width, y / height)  # (T, H, W, 3)
    if spec.second is not None:
        image = _over(image, _coverage(spec.second, time, x, y, width, height), spec.second.rgb)
    cover = _coverage(spec.main, time, x, y, width, height)  # (T, H, W)
    image = _over(image, cover, spec.main.rgb)
    if spec.bar is not None:
        bar = _bar_coverage(spec.bar, x, y, width, height)[None]  # (1, H, W)
        image = _over(image, bar, (spec.bar.grey,) * 3)
        cover = cover * (1 - bar)
    return Rendered(np.clip(np.rint(image), 0, 255).astype(np.uint8), cover >= 0.5)


def _over(image: Floats, cover: Floats, rgb: tuple[float, float, float]) -> Floats:
    return image + cover[..., None] * (np.asarray(rgb, np.float32) - image)


def _background(spec: BackgroundSpec, time: Floats, x: Floats, y: Floats) -> Floats:
    """(T, H, W, 3): the waves travel with the panning camera, the gradient is light that stays with the lens."""
    level = spec.gradient[0] * (x - 0.5) + spec.gradient[1] * (y - 0.5)  # (H, W)
    shifted = x[None] + spec.pan * time[:, None, None]  # (T, H, W)
    waves = sum(
        amplitude * np.sin(2 * np.pi * (across * shifted + down * y[None]) + phase)
        for across, down, phase, amplitude in spec.waves
    )
    grey = np.asarray(spec.grey, np.float32)
    return (grey + (level[None] + waves)[..., None]).astype(np.float32)


def _coverage(spec: ShapeSpec, time: Floats, x: Floats, y: Floats, width: int, height: int) -> Floats:
    """(T, H, W) in [0, 1]: how much of each pixel the shape covers, from its signed distance in pixels."""
    eased = (1 - spec.ease) * time + spec.ease * (0.5 - 0.5 * np.cos(np.pi * time))
    centre_x = (spec.start[0] + (spec.end[0] - spec.start[0]) * eased) * width
    centre_y = (spec.start[1] + (spec.end[1] - spec.start[1]) * eased) * height
    dx, dy = x[None] - centre_x[:, None, None], y[None] - centre_y[:, None, None]
    cosine, sine = np.cos(spec.tilt_rad), np.sin(spec.tilt_rad)
    diameter = spec.diameter * min(width, height)
    distance = signed_distance(spec.shape, cosine * dx + sine * dy, cosine * dy - sine * dx, diameter)
    return np.clip(0.5 - distance, 0, 1).astype(np.float32)


def signed_distance(shape: Shape, dx: Floats, dy: Floats, diameter: float) -> Floats:
    """Distance to the outline, negative inside; exact near edges, an upper bound of it beyond corners."""
    if shape == Shape.circle:
        return np.asarray(np.hypot(dx, dy) - diameter / 2, np.float32)
    if shape == Shape.square:
        return np.asarray(np.maximum(np.abs(dx), np.abs(dy)) - diameter / 2, np.float32)
    # An upright triangle, 1.16 wide and 1.04 high, centred on its bounding box.
    half_width, half_height = 0.58 * diameter, 0.52 * diameter
    slope = float(np.hypot(2 * half_height, half_width))
    side = (np.abs(dx) * 2 * half_height - (dy + half_height) * half_width) / slope
    return np.asarray(np.maximum(side, dy - half_height), np.float32)


def _bar_coverage(spec: BarSpec, x: Floats, y: Floats, width: int, height: int) -> Floats:
    """(H, W) in [0, 1]."""
    offset = x - spec.position * width if spec.vertical else y - spec.position * height
    return np.clip(0.5 - (np.abs(offset) - spec.thickness * min(width, height) / 2), 0, 1).astype(np.float32)
