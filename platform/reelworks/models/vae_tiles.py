"""Encoding of clips of any length and frame size in passes of bounded size: time in chunks, frames in tiles.

Axes: B clips, C channels, T frames, H W rows and columns; small letters t, h, w in latent space.

Tiles are exact: the encoder mixes positions by its 3x3 convolutions alone (norms are over channels, at each position),
so a tile that is seen with a halo as wide as they reach gives what the whole frame gives there, up to the rounding of
sums that another size of tensor is computed with. Nothing is blended: a network of which that isn't true is refused
(vae_kind.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from reelworks.models.causal_conv import FrameCache
from reelworks.models.vae import SPATIAL_STRIDE, TEMPORAL_STRIDE, CausalVAE, VAEConfig, chunk_spans, to_pixels


class Cut(NamedTuple):
    """A part of one side of a frame, in latents: [start, stop) is kept of what [seen_start, seen_stop) encodes to."""

    start: int
    stop: int
    seen_start: int
    seen_stop: int

    @property
    def pixels(self) -> slice:
        """The pixels that are seen."""
        return slice(self.seen_start * SPATIAL_STRIDE, self.seen_stop * SPATIAL_STRIDE)

    @property
    def kept(self) -> slice:
        """What is kept of the latents of the part that is seen."""
        return slice(self.start - self.seen_start, self.stop - self.seen_start)

    @property
    def place(self) -> slice:
        """Where that lies in the latents of the whole side."""
        return slice(self.start, self.stop)


def halo_latents(config: VAEConfig) -> int:
    """How far around a latent the encoder looks, in latents: one step of each 3x3 convolution, at its own stride."""
    steps = [1 + config.encoder_blocks[0], *config.encoder_blocks[1:]]  # the convolution that opens the first level
    reach_px = sum(count * config.patch_px * 2**level for level, count in enumerate(steps))
    return -(-reach_px // SPATIAL_STRIDE)


def tiles(rows: int, columns: int, halo: int, most: int) -> list[tuple[Cut, Cut]]:
    """Even tiles (rows, columns) of a frame of rows x columns latents: one where it has at most `most` latents.

    Else the longer side of the tile is cut once more until a tile, its halo included, has no more, or keeps one latent.
    """
    sides, parts = (rows, columns), [1, 1]
    while True:
        cuts = [_cut(side, number, halo) for side, number in zip(sides, parts, strict=True)]
        seen_rows, seen_columns = (max(cut.seen_stop - cut.seen_start for cut in line) for line in cuts)
        kept = [max(cut.stop - cut.start for cut in line) for line in cuts]
        if seen_rows * seen_columns <= most or max(kept) == 1:
            return [(row, column) for row in cuts[0] for column in cuts[1]]
        parts[kept.index(max(kept))] += 1


def _cut(side: int, parts: int, halo: int) -> list[Cut]:
    edges = [side * index // parts for index in range(parts + 1)]
    return [Cut(start, stop, max(0, start - halo), min(side, stop + halo)) for start, stop in pairwise(edges)]


def clips_a_pass(shape: Sequence[int], chunk_latents: int, pass_pixels: int) -> int:
    """How many clips of frames (T, H, W, 3) fit into a pass, at least one."""
    frames, height, width = shape[:3]
    return max(1, pass_pixels // (min(frames, TEMPORAL_STRIDE * chunk_latents) * height * width))


@torch.no_grad()
def encode_frames(vae: CausalVAE, clips: Sequence[np.ndarray], chunk_latents: int, pass_pixels: int) -> Tensor:
    """The means (B, C, k+1, h, w) of clips of one shape, frames uint8 (4k+1, 8h, 8w, 3); on the CPU.

    A pass takes at most `chunk_latents` latents' worth of frames and, over all clips, `pass_pixels` pixels. A shorter
    stretch of time costs nothing, a tile computes its halo twice: so frames are tiled only where one latent's worth of
    whole ones is too much, and a pass exceeds its pixels only where one latent and its halo do. Tile after tile, each
    through all frames: the cache of one tile stands in memory. Raises UserError for other shapes.
    """
    frames, height, width = clips[0].shape[:3]
    device = next(vae.parameters()).device
    fitting = pass_pixels // (len(clips) * TEMPORAL_STRIDE * height * width)
    chunk_latents = max(1, min(chunk_latents, fitting))
    most = pass_pixels // (len(clips) * min(frames, TEMPORAL_STRIDE * chunk_latents)) // SPATIAL_STRIDE**2
    size = height // SPATIAL_STRIDE, width // SPATIAL_STRIDE
    latents: Tensor | None = None
    for row, column in tiles(*size, halo_latents(vae.config), most):
        cache: FrameCache = {}
        first = 0
        for start, stop in chunk_spans(frames, chunk_latents):
            seen = np.stack([clip[start:stop, row.pixels, column.pixels] for clip in clips])  # (B, T, H, W, 3)
            mean = vae.encode(to_pixels(torch.from_numpy(seen).to(device)), cache)[0]  # (B, C, t, h, w)
            if latents is None:
                num_latents = (frames - 1) // TEMPORAL_STRIDE + 1
                latents = torch.empty(*mean.shape[:2], num_latents, *size, dtype=mean.dtype)
            last = first + mean.shape[2]
            latents[:, :, first:last, row.place, column.place] = mean[..., row.kept, column.kept].cpu()
            first = last
    assert latents is not None
    return latents
