"""Blocks of the causal video autoencoder. Axes: B batch, C channels, T frames, H rows, W columns."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reelworks.models.causal_conv import CausalConv3d, FrameCache, depth_to_space, depth_to_time, space_to_depth


class ChannelNorm(nn.Module):
    """Root-mean-square norm over channels at each position (Zhang & Sennrich 2019, eq. 4).

    A group norm would take statistics over time: a frame would see later ones, and chunks would differ from the whole.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        inverse = torch.rsqrt(x.float().square().mean(dim=1, keepdim=True) + 1e-6)  # (B, 1, T, H, W)
        return x * inverse.to(x.dtype) * self.scale


class ResidualBlock(nn.Module):
    """x + time(silu(space(silu(norm(x))))): a 1x3x3 and a 3x1x1 convolution, half the cost of one 3x3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.space = CausalConv3d(channels, channels, (1, 3, 3))
        self.time = CausalConv3d(channels, channels, (3, 1, 1))
        # The block starts as the identity.
        nn.init.zeros_(self.time.conv.weight)
        nn.init.zeros_(self.time.bias)

    def forward(self, x: Tensor, cache: FrameCache | None) -> Tensor:
        """(B, C, T, H, W) -> the same shape."""
        h = self.space(F.silu(self.norm(x)), cache)
        return x + self.time(F.silu(h), cache)


class Downsample(nn.Module):
    """Halve rows and columns, and frames after the first where `temporal`: (B, C, 2k+1, H, W) -> (B, C', k+1, …)."""

    def __init__(self, in_channels: int, out_channels: int, temporal: bool) -> None:
        super().__init__()
        kernel = (3, 1, 1) if temporal else (1, 1, 1)
        self.conv = CausalConv3d(4 * in_channels, out_channels, kernel, temporal_stride=2 if temporal else 1)

    def forward(self, x: Tensor, cache: FrameCache | None) -> Tensor:
        return self.conv(space_to_depth(x, 2), cache)


class Upsample(nn.Module):
    """Double rows and columns, and frames after the first where `temporal`: (B, C, k+1, H, W) -> (B, C', 2k+1, …)."""

    def __init__(self, in_channels: int, out_channels: int, temporal: bool) -> None:
        super().__init__()
        self.temporal = temporal
        self.conv = CausalConv3d(in_channels, out_channels * (8 if temporal else 4), (1, 1, 1))

    def forward(self, x: Tensor, cache: FrameCache | None, first: bool) -> Tensor:
        """`first`: x begins with the first latent, which stands for one frame and so gives one, not two."""
        x = self.conv(x, cache)  # (B, 8·C', T, H, W)
        if self.temporal:
            x = depth_to_time(x)  # (B, 4·C', 2·T, H, W)
            x = x[:, :, 1:] if first else x
        return depth_to_space(x, 2)
