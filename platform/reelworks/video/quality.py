"""How much a copy of frames differs from the original."""

import numpy as np


def psnr_db(original: np.ndarray, copy: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio of uint8 (T, H, W, C) frames in dB, inside `mask` (T, H, W) where one is given.

    10·log10(255² / MSE), the mean over the whole clip; identical frames give 99 dB rather than infinity, so that
    a mean over clips stays finite.
    """
    if original.shape != copy.shape:
        raise ValueError(f"shapes differ: {original.shape} and {copy.shape}")
    squared = (original.astype(np.float64) - copy.astype(np.float64)) ** 2
    if mask is not None:
        if not mask.any():
            raise ValueError("the mask is empty: nothing to measure inside it")
        squared = squared[mask]
    mse = float(squared.mean())
    return 99.0 if mse == 0 else min(99.0, 10 * float(np.log10(255.0**2 / mse)))
