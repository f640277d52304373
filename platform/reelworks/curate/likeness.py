"""The perceptual hash of a clip: a few bits for each of its frames' coarse forms and colours, in exact integers.

Re-encoding moves coarse structure by less than a grey level and scaling not at all, so copies differ in a few bits.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# Frames of a clip that are hashed, in the middle of as many equal parts of its time: cutting a frame more or less off
# the ends hardly moves them, and clips of one scene are told apart by what happens in it.
NUM_FRAMES = 4
# Pixels a side of what is transformed; pHash's choice (Zauner 2010, section 3.2.1).
SIDE = 32
# Lowest frequencies kept: of brightness without the mean, which encoders and players shift; of each colour plane with
# its mean, without which two plain frames of different colours would be equal.
LUMA, CHROMA = 32, 8
COEFFICIENTS = LUMA + 2 * CHROMA
BITS = NUM_FRAMES * 2 * COEFFICIENTS
WORDS = BITS // 64
# A coefficient says "none" (00) unless it exceeds half of the plane's root mean square, and this many grey levels:
# below that its sign is the encoder's noise. Else "more" (10) or "less" (01), so opposite signs count twice.
NOISE_LEVELS = 1
_LOWEST = sorted(((row, column) for row in range(8) for column in range(8)), key=lambda at: (sum(at), at))
_ROWS, _COLUMNS = np.array(_LOWEST).T
# DCT-II rows times 256, the first halved, so that a cosine of amplitude a has the coefficient a in every place.
_BASIS = np.round(256 * np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(SIDE) + 1) / (2 * SIDE))).astype(np.int64)
_BASIS[0] //= 2


def clip_hash(frames: np.ndarray) -> str:
    """Hash of a clip's frames uint8 (T, H, W, 3), as hex of BITS bits; an image repeats its one frame."""
    wanted = (2 * np.arange(NUM_FRAMES) + 1) * len(frames) // (2 * NUM_FRAMES)
    return np.packbits(states(np.stack([spectrum(frames[index]) for index in wanted]))).tobytes().hex()


def spectrum(frame: np.ndarray) -> np.ndarray:
    """What is hashed of a frame uint8 (H, W, 3): its lowest frequencies, int64 (COEFFICIENTS,), 256 a grey level."""
    small = Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BOX).convert("YCbCr")
    planes = np.asarray(small, np.int64).transpose(2, 0, 1) - 128  # (3, SIDE, SIDE)
    # 2^24 a level after both sums; kept at 2^8, so that the squares of all fit 64 bits.
    levels = (_BASIS @ planes @ _BASIS.T >> 16)[:, _ROWS, _COLUMNS]  # (3, 64)
    return np.concatenate([levels[0, 1 : 1 + LUMA], levels[1, :CHROMA], levels[2, :CHROMA]])


def states(spectra: np.ndarray) -> np.ndarray:
    """Two bits for each coefficient of frames int64 (..., COEFFICIENTS): bool (..., 2 * COEFFICIENTS)."""
    planes = np.split(spectra, (LUMA, LUMA + CHROMA), axis=-1)
    return np.concatenate([_three_states(values) for values in planes], axis=-1)


def _three_states(values: np.ndarray) -> np.ndarray:
    squares = values * values
    mean_square = squares.sum(axis=-1, keepdims=True) // values.shape[-1]
    loud = 4 * squares > np.maximum(4 * (256 * NOISE_LEVELS) ** 2, mean_square)
    return np.concatenate([loud & (values > 0), loud & (values < 0)], axis=-1)


def words(hashes: list[str]) -> np.ndarray:
    """Hashes as uint64 (N, WORDS)."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), ">u8").astype(np.uint64).reshape(-1, WORDS)


def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Bits that differ between rows of words (N, WORDS): (N,) int."""
    return np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int64)
