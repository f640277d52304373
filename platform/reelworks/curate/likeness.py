"""The perceptual hash of a clip: a few bits for the coarse forms and colours of moments, in exact integers.

Re-encoding moves coarse structure by less than a grey level and scaling not at all, so copies differ in a few bits.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

# Of a clip, moments in the middle of as many equal parts of its time are hashed: cutting a frame more or less off the
# ends hardly moves them, and clips of one scene are told apart by what happens in it.
MOMENTS = 4
# Of a moment, the mean of the frames shown in it: by single frames, of which a copy at another rate has others, fast
# footage and its copy at half the rate were up to 27 bits apart, now 12. In half a second other clips come too near.
MOMENT_S = 0.25
# Of a frame, added to times before they are cut down to frames: containers round them, and the ends of moments would
# often lie between two frames.
SLACK = 1 / 16
# Pixels a side of what is transformed; pHash's choice (Zauner 2010, section 3.2.1).
SIDE = 32
# Lowest frequencies kept: of brightness without the mean, which encoders and players shift; of each colour plane with
# its mean, without which two plain frames of different colours would be equal.
LUMA, CHROMA = 32, 8
COEFFICIENTS = LUMA + 2 * CHROMA
BITS = MOMENTS * 2 * COEFFICIENTS
WORDS = BITS // 64
# A coefficient says "none" (00) unless it exceeds half of the plane's root mean square, and this many grey levels:
# below that its sign is the encoder's noise. Else "more" (10) or "less" (01), so opposite signs count twice.
NOISE_LEVELS = 1
_LOWEST = sorted(((row, column) for row in range(8) for column in range(8)), key=lambda at: (sum(at), at))
_ROWS, _COLUMNS = np.array(_LOWEST).T
# DCT-II rows times 256, the first halved, so that a cosine of amplitude a has the coefficient a in every place.
_BASIS = np.round(256 * np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(SIDE) + 1) / (2 * SIDE))).astype(np.int64)
_BASIS[0] //= 2


def clip_hash(frames: np.ndarray, fps: float, duration_s: float) -> str:
    """Hash of a clip that shows frames uint8 (T, H, W, 3) at a rate and lasts so long, as hex of BITS bits.

    By time, for copies have other rates, and the last frames of a clip may be missing; an image repeats its one frame.
    """
    middles_s = (2 * np.arange(MOMENTS) + 1) * duration_s / (2 * MOMENTS)
    ends_s = np.maximum(middles_s + np.array([[-MOMENT_S / 2], [MOMENT_S / 2]]), 0)  # (2, MOMENTS)
    first, last = np.minimum((ends_s * fps + SLACK).astype(int), len(frames) - 1)
    spectra = [spectrum(frames[a : b + 1]) for a, b in zip(first, last, strict=True)]
    return np.packbits(states(np.stack(spectra))).tobytes().hex()


def spectrum(frames: np.ndarray) -> np.ndarray:
    """Lowest frequencies of the mean of frames uint8 (T, H, W, 3), 256 a grey level: int64 (COEFFICIENTS,)."""
    small = (Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BOX).convert("YCbCr") for frame in frames)
    planes = np.sum([np.asarray(one, np.int64) - 128 for one in small], axis=0).transpose(2, 0, 1)  # (3, SIDE, SIDE)
    # 2^24 a level and frame after both sums; kept at 2^8, so that the squares of all fit 64 bits.
    levels = (_BASIS @ planes @ _BASIS.T // (len(frames) << 16))[:, _ROWS, _COLUMNS]  # (3, 64)
    return np.concatenate([levels[0, 1 : 1 + LUMA], levels[1, :CHROMA], levels[2, :CHROMA]])


def states(spectra: np.ndarray) -> np.ndarray:
    """Two bits for each coefficient of moments int64 (..., COEFFICIENTS): bool (..., 2 * COEFFICIENTS)."""
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
