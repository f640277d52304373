"""Convolutions over video that see the past only, and the explicit cache that lets them run in chunks.

Axes: B batch, C channels, T frames, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FrameCache = dict[str, Tensor]
"""Last input frames of each causal convolution, by its name in the network. An empty one stands before the first frame.

It is handed through `forward`, never kept in a module: gradient checkpointing and copies of a model lose hidden state.
"""


class CausalConv3d(nn.Module):
    """Convolution padded with the first frame in time, so that no output sees a later frame."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: tuple[int, int, int], temporal_stride: int = 1
    ) -> None:
        super().__init__()
        frames, rows, columns = kernel
        self.past = frames - 1
        # Frames that the next chunk's first window shares with this chunk.
        self.kept = max(frames - temporal_stride, 0)
        self.cache_key = ""
        self.conv = nn.Conv3d(
            in_channels, out_channels, kernel, stride=(temporal_stride, 1, 1), padding=(0, rows // 2, columns // 2)
        )

    @property
    def bias(self) -> Tensor:
        assert self.conv.bias is not None
        return self.conv.bias

    def forward(self, x: Tensor, cache: FrameCache | None) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T', H, W); T' = (T - 1) / stride + 1 at the start, T / stride in later chunks."""
        if self.past == 0:
            return self.conv(x)
        earlier = cache.get(self.cache_key) if cache is not None else None
        if earlier is None:
            # Repeating the first frame makes an image look like a still video; zeros would be a fourth kind of frame.
            earlier = x[:, :, :1].expand(-1, -1, self.past, -1, -1)
        x = torch.cat([earlier, x], dim=2)
        if cache is not None and self.kept > 0:
            cache[self.cache_key] = x[:, :, -self.kept :].clone()
        return self.conv(x)


def name_caches(network: nn.Module) -> None:
    """Give every causal convolution of `network` its own place in a FrameCache."""
    for name, module in network.named_modules():
        if isinstance(module, CausalConv3d):
            module.cache_key = name


def space_to_depth(x: Tensor, size: int) -> Tensor:
    """(B, C, T, H, W) -> (B, C·size², T, H/size, W/size)."""
    b, c, t, h, w = x.shape
    x = x.reshape(b, c, t, h // size, size, w // size, size)
    return x.permute(0, 1, 4, 6, 2, 3, 5).reshape(b, c * size * size, t, h // size, w // size)


def depth_to_space(x: Tensor, size: int) -> Tensor:
    """(B, C·size², T, H, W) -> (B, C, T, H·size, W·size), the inverse of `space_to_depth`."""
    b, c, t, h, w = x.shape
    x = x.reshape(b, c // (size * size), size, size, t, h, w)
    return x.permute(0, 1, 4, 5, 2, 6, 3).reshape(b, c // (size * size), t, h * size, w * size)


def depth_to_time(x: Tensor) -> Tensor:
    """(B, 2·C, T, H, W) -> (B, C, 2·T, H, W): each frame becomes two consecutive ones."""
    b, c, t, h, w = x.shape
    return x.reshape(b, 2, c // 2, t, h, w).permute(0, 2, 3, 1, 4, 5).reshape(b, c // 2, 2 * t, h, w)
