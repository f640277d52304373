"""Rotary positions over time, rows and columns (RoFormer, arXiv:2104.09864, applied to each axis).

Legend: L tokens, N heads, K head size. Time is in seconds, so that one video at 8 and at 24 fps has the same positions.
"""

import torch
from torch import Tensor

from reelworks.models.patch import Grid, Patch


def latent_times_s(num_latents: int, fps: float, temporal_stride: int) -> Tensor:
    """Mean time in seconds of the frames that each latent covers: the first covers one frame, later ones `stride`."""
    first_frame = torch.arange(num_latents, dtype=torch.float64) * temporal_stride - (temporal_stride - 1)
    mean_frame = first_frame + (temporal_stride - 1) / 2
    mean_frame[0] = 0.0
    return mean_frame / fps


def positions(grid: Grid, patch: Patch, times_s: Tensor, base_rate: float) -> Tensor:
    """Coordinates (L, 3) of a video's tokens: seconds × `base_rate`, row and column in latents from the centre.

    times_s has one entry a latent frame. Training and sampling both call this function. Rows and columns count from
    the centre so that a central crop leaves the coordinates of what remains unchanged.
    """
    t, h, w = grid
    pt, ph, pw = patch
    time = times_s.double().reshape(t, pt).mean(dim=1) * base_rate
    row = (torch.arange(h, dtype=torch.float64) - (h - 1) / 2) * ph
    column = (torch.arange(w, dtype=torch.float64) - (w - 1) / 2) * pw
    axes = torch.meshgrid(time, row, column, indexing="ij")
    return torch.stack([axis.reshape(-1) for axis in axes], dim=1).float()


def axis_sizes(head_size: int) -> tuple[int, int, int]:
    """Numbers of a head given to time, rows and columns; each even, time takes the rest."""
    side = 2 * (head_size // 6)
    return head_size - 2 * side, side, side


def rotary(coordinates: Tensor, head_size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (L, 1, K/2) for coordinates (L, 3)."""
    angles = []
    for axis, size in enumerate(axis_sizes(head_size)):
        exponent = torch.arange(0, size, 2, device=coordinates.device, dtype=torch.float32) / size
        angles.append(coordinates[:, axis : axis + 1] * theta**-exponent)
    angle = torch.cat(angles, dim=1)[:, None]
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (k, k + K/2) of queries or keys x (L, N, K) by their position's angles."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)
