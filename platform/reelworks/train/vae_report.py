"""What is measured and shown of a trained VAE: statistics of its latents, PSNR, originals beside reconstructions."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image

from reelworks.models.latent_stats import LatentStats
from reelworks.models.vae import CausalVAE, to_frames, to_pixels
from reelworks.video.quality import psnr_db


@torch.no_grad()
def measure_stats(vae: CausalVAE, clips: Iterable[np.ndarray]) -> LatentStats:
    """Statistics of the raw latents of clips uint8 (T, H, W, 3)."""
    device = next(vae.parameters()).device
    return LatentStats.measure(
        [vae.encode(to_pixels(torch.from_numpy(clip)).to(device)[None])[0][0].float().cpu() for clip in clips]
    )


@torch.no_grad()
def reconstruct(vae: CausalVAE, frames: np.ndarray) -> tuple[np.ndarray, float]:
    """Frames uint8 (T, H, W, 3) through the latents' mean and back, and the PSNR in dB of what comes out."""
    pixels = to_pixels(torch.from_numpy(frames)).to(next(vae.parameters()).device)[None]
    copy = to_frames(vae.decode(vae.encode(pixels)[0])[0]).cpu().numpy()
    return copy, psnr_db(frames, copy)


def contact_sheet(pairs: Sequence[tuple[np.ndarray, np.ndarray]], frames_each: int = 4, height_px: int = 96) -> bytes:
    """PNG: a row for each (original, reconstruction), `frames_each` frames of one, then the same of the other."""
    rows = [np.concatenate([_strip(clip, frames_each, height_px) for clip in pair], axis=1) for pair in pairs]
    width = max(row.shape[1] for row in rows)
    sheet = np.full((sum(row.shape[0] + 4 for row in rows), width, 3), 255, np.uint8)
    top = 0
    for row in rows:
        sheet[top : top + row.shape[0], : row.shape[1]] = row
        top += row.shape[0] + 4
    data = io.BytesIO()
    Image.fromarray(sheet).save(data, "PNG")
    return data.getvalue()


def _strip(frames: np.ndarray, count: int, height_px: int) -> np.ndarray:
    """Evenly spread frames side by side, scaled to one height without smoothing: pixels are to be seen."""
    chosen = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]  # (count, H, W, 3)
    width_px = round(height_px * chosen.shape[2] / chosen.shape[1])
    size = (width_px, height_px)
    images = [np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.NEAREST)) for frame in chosen]
    gap = np.full((height_px, 8, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, gap[:, :1])] + [gap], axis=1)
