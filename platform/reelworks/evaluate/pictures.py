"""Frames as pictures for people: film strips and rows of them, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

# Small clips are enlarged by whole factors to about this height, so that a 32 px frame can be looked at.
TARGET_HEIGHT_PX = 96
GAP_PX = 4


def filmstrip(frames: np.ndarray, num_shown: int = 5) -> np.ndarray:
    """`num_shown` evenly spread frames side by side: uint8 (T, H, W, 3) -> uint8 (H', W', 3)."""
    shown = frames[np.linspace(0, len(frames) - 1, min(num_shown, len(frames))).round().astype(int)]
    factor = max(1, round(TARGET_HEIGHT_PX / frames.shape[1]))
    enlarged = shown.repeat(factor, axis=1).repeat(factor, axis=2)
    gap = np.full((enlarged.shape[1], GAP_PX, 3), 255, np.uint8)
    columns: list[np.ndarray] = []
    for frame in enlarged:
        columns += [frame, gap]
    return np.concatenate(columns[:-1], axis=1)


def stack_rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (H, W, 3) of any widths below each other, on white."""
    width = max(row.shape[1] for row in rows)
    height = sum(row.shape[0] + GAP_PX for row in rows) - GAP_PX
    sheet = np.full((height, width, 3), 255, np.uint8)
    top = 0
    for row in rows:
        sheet[top : top + row.shape[0], : row.shape[1]] = row
        top += row.shape[0] + GAP_PX
    return sheet


def png(picture: np.ndarray) -> bytes:
    """A uint8 (H, W, 3) picture as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
