"""A second of a high bitrate: noise, which nothing can press."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reelworks.video.encode import encode_video

FPS, SECONDS, GOP = 24, 1, 6
_OPTIONS = {
    "h264": {"preset": "ultrafast", "g": str(GOP), "bf": "2", "qp": "8", "x264-params": "scenecut=0"},
    "vp9": {"g": str(GOP), "crf": "4", "b": "0"},
}
MBIT_S = {22: (336, 480), 64: (544, 832)}
"""Megabits a second, at least -> (height, width)."""


def heavy_video(
    codec: str,
    container: str,
    muxer_options: Mapping[str, str],
    mbit_s: int,
    start_s: float = 0.0,
    noise: np.ndarray | None = None,
) -> bytes:
    """A key frame every quarter of a second, with B-frames where the codec has them; `noise` (T, H, W, 3) or a second
    of the size that makes the bitrate."""
    if noise is None:
        height, width = MBIT_S[mbit_s]
        height = height * 3 // 4 if codec == "vp9" else height  # it spends more on a pixel
        part = np.random.default_rng(0).integers(0, 256, (GOP, height, width, 3), np.uint8)
        noise = np.tile(part, (FPS * SECONDS // GOP, 1, 1, 1))
    pts = [round((start_s * FPS + n) * 1000) for n in range(len(noise))] if start_s else None
    return encode_video(noise, FPS, codec, container, pts=pts, options=_OPTIONS[codec], muxer_options=muxer_options)
