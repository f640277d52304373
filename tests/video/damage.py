"""Files damaged at fixed places, and what becomes of their frames."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable

import av
import numpy as np

from reelworks.errors import VideoError
from reelworks.video.encode import encode_video

WAYS: dict[str, Callable[[np.random.Generator, bytes], bytes]] = {
    "bit": lambda rng, old: bytes([old[0] ^ 1 << int(rng.integers(8))]),
    "byte": lambda rng, old: bytes([old[0] ^ int(rng.integers(1, 256))]),
    "188 zeros": lambda rng, old: bytes(min(188, len(old))),
    "188 of noise": lambda rng, old: rng.bytes(min(188, len(old))),
    "4 KB of zeros": lambda rng, old: bytes(min(4096, len(old))),
    "4 KB of noise": lambda rng, old: rng.bytes(min(4096, len(old))),
}
"""What stands in the file instead of the bytes from a place on."""

VISIBLE = 8
"""Mean difference, of 255, in a block of 8x8 pixels from which on a frame counts as wrong."""

OPTIONS = {
    "h264": {"g": "8", "bf": "2"},
    "hevc": {"x265-params": "log-level=none:pools=1:crf=24:keyint=8:min-keyint=8:bframes=2"},
    "mjpeg": {}, "prores": {}, "ffv1": {}, "png": {}, "gif": {},
}  # fmt: skip

Decode = Callable[[bytes], tuple[list[tuple[int, np.ndarray]], VideoError | None]]
"""A file to the frames that count as good, each with its timestamp, and why there are no more."""


def footage(count: int = 24, height: int = 144, width: int = 192) -> np.ndarray:
    """uint8 (T, H, W, 3): a camera's pan over a texture with a grain of its own in every frame."""
    rng = np.random.default_rng(0)
    rough = rng.integers(30, 220, (height // 8 + 4, (width + 4 * count) // 8 + 4, 3)).astype(np.float32)
    texture = rough.repeat(8, 0).repeat(8, 1)
    for axis in (0, 1):  # smooth, as a lens makes it
        texture = (texture + np.roll(texture, 2, axis) + np.roll(texture, 4, axis) + np.roll(texture, 6, axis)) / 4
    frames = np.stack([texture[n // 2 : n // 2 + height, 3 * n : 3 * n + width] for n in range(count)])
    return (frames + rng.integers(-4, 5, frames.shape)).clip(0, 255).astype(np.uint8)


def source(codec: str, container: str, count: int = 24) -> bytes:
    """A video with a key frame every 8 frames."""
    return encode_video(footage(count), 24, codec, container, options=OPTIONS.get(codec, {"g": "8"}))


def damaged(data: bytes, way: str, seed: int) -> bytes:
    """The file with one place of its payload changed: anywhere from its first video packet to its last one."""
    with av.open(io.BytesIO(data)) as file:
        whole = [packet for packet in file.demux(video=0) if packet.size and packet.pos is not None]
    packets = [(packet.pos, packet.pos + packet.size) for packet in whole]
    first, stop = packets[0][0], min(len(data), max(end for _, end in packets))
    rng = np.random.default_rng([seed, list(WAYS).index(way)])
    at = int(rng.integers(first, stop))
    new = WAYS[way](rng, data[at:stop])
    return data[:at] + new + data[at + len(new) :]


def fate(data: bytes, reference: list[tuple[int, np.ndarray]], decode: Decode) -> str:
    """`right`: all frames as ever; `typed`: an error, and what came before is right; `late`; `silent`."""
    frames, error = decode(data)
    wrong = any(not _looks_like(one, other) for one, other in zip(frames, reference, strict=False))
    wrong |= len(frames) > len(reference) or (error is None and len(frames) < len(reference))
    if error is None:
        return "silent" if wrong else "right"
    return "late" if wrong else "typed"


def fates(data: bytes, ways: Iterable[str], seeds: int, decode: Decode) -> Counter[str]:
    """How many of the files, damaged in each way at as many places, had which fate."""
    reference, error = decode(data)
    assert error is None and reference
    return Counter(fate(damaged(data, way, seed), reference, decode) for way in ways for seed in range(seeds))


def found(counts: Counter[str]) -> float:
    """Share of the harmed files of which nothing wrong was given out as right."""
    harmed = counts.total() - counts["right"]
    return counts["typed"] / harmed if harmed else 1.0


def _looks_like(one: tuple[int, np.ndarray], other: tuple[int, np.ndarray]) -> bool:
    """Same time, same size, and no block that differs visibly."""
    if one[0] != other[0] or one[1].shape != other[1].shape:
        return False
    off = np.abs(one[1].astype(np.int16) - other[1]).mean(axis=2)
    height, width = (side // 8 * 8 for side in off.shape)
    return bool(off[:height, :width].reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3)).max() < VISIBLE)
