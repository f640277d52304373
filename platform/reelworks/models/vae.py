"""Causal video autoencoder: 4x in time, 8x in rows and columns; the first frame alone: an image is a one-frame video.

Axes: B batch, C channels, T frames, H rows, W columns; small letters t, h, w in latent space. Pixels are in [-1, 1].
Structure after Wan 2.1's VAE (arXiv 2503.20314, section 4.1), with space-to-depth in front.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from reelworks.config import Section
from reelworks.errors import UserError
from reelworks.models.causal_conv import CausalConv3d, FrameCache, depth_to_space, name_caches, space_to_depth
from reelworks.models.checkpoint import read_config, read_weights, write_checkpoint
from reelworks.models.latent_stats import LatentStats
from reelworks.models.vae_blocks import ChannelNorm, Downsample, ResidualBlock, Upsample
from reelworks.models.vae_kind import CAUSAL_VAE, refuse_foreign

TEMPORAL_STRIDE = 4
SPATIAL_STRIDE = 8


class VAEConfig(Section):
    """Sizes of a CausalVAE. Raises UserError where they do not give strides 4x8x8."""

    channels: tuple[int, ...] = (32, 64, 128)
    """Width of each level, the finest first."""
    encoder_blocks: tuple[int, ...] = (1, 1, 2)
    """Residual blocks at each level of the encoder."""
    decoder_blocks: tuple[int, ...] = (1, 2, 2)
    """Residual blocks at each level of the decoder, the finest first."""
    temporal: tuple[bool, ...] = (True, True)
    """Whether the step below each level but the coarsest also halves the frames."""
    patch_px: int = 2
    """Side of the pixel blocks that are folded into channels before the first level."""
    latent_channels: int = 8
    """Channels of the latent space; more reconstruct better and are harder to generate."""

    @model_validator(mode="after")
    def _strides_are_4x8x8(self) -> VAEConfig:
        levels = len(self.channels)
        if not len(self.encoder_blocks) == len(self.decoder_blocks) == len(self.temporal) + 1 == levels:
            raise UserError(
                f"VAE with {levels} levels (channels {self.channels}) needs {levels} numbers of encoder and decoder "
                f"blocks and {levels - 1} temporal flags, got {self.encoder_blocks}, {self.decoder_blocks}, "
                f"{self.temporal}",
                "give the lists the same number of levels",
            )
        spatial, temporal = self.patch_px * 2 ** (levels - 1), 2 ** sum(self.temporal)
        if (temporal, spatial) != (TEMPORAL_STRIDE, SPATIAL_STRIDE):
            raise UserError(
                f"VAE strides are {temporal}x{spatial}x{spatial}, expected "
                f"{TEMPORAL_STRIDE}x{SPATIAL_STRIDE}x{SPATIAL_STRIDE}",
                "patch_px times 2^(levels - 1) must be 8, and two of the temporal flags true",
            )
        if min(self.channels) < 1 or self.latent_channels < 1:
            raise UserError(f"VAE widths must be positive, got {self.channels} and {self.latent_channels}")
        return self


class Encoder(nn.Module):
    """Pixels folded by patch -> mean and log-variance of the latents."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.conv_in = CausalConv3d(3 * config.patch_px**2, config.channels[0], (1, 3, 3))
        levels: list[nn.Module] = []
        for i, width in enumerate(config.channels):
            levels += [ResidualBlock(width) for _ in range(config.encoder_blocks[i])]
            if i < len(config.temporal):
                levels.append(Downsample(width, config.channels[i + 1], config.temporal[i]))
        self.levels = nn.ModuleList(levels)
        self.norm = ChannelNorm(config.channels[-1])
        self.conv_out = CausalConv3d(config.channels[-1], 2 * config.latent_channels, (1, 1, 1))
        # Little noise at first: with unit noise the decoder spends hundreds of steps on the mean image.
        with torch.no_grad():
            self.conv_out.bias[config.latent_channels :] = -5.0

    def forward(self, x: Tensor, cache: FrameCache | None) -> Tensor:
        x = self.conv_in(x, cache)  # (B, C0, T, H/p, W/p)
        for level in self.levels:
            x = level(x, cache)
        return self.conv_out(F.silu(self.norm(x)), cache)  # (B, 2C, t, h, w)


class Decoder(nn.Module):
    """Latents -> pixels folded by patch."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.conv_in = CausalConv3d(config.latent_channels, config.channels[-1], (3, 3, 3))
        levels: list[nn.Module] = []
        for i in reversed(range(len(config.channels))):
            levels += [ResidualBlock(config.channels[i]) for _ in range(config.decoder_blocks[i])]
            if i > 0:
                levels.append(Upsample(config.channels[i], config.channels[i - 1], config.temporal[i - 1]))
        self.levels = nn.ModuleList(levels)
        self.norm = ChannelNorm(config.channels[0])
        self.conv_out = CausalConv3d(config.channels[0], 3 * config.patch_px**2, (1, 3, 3))

    def forward(self, x: Tensor, cache: FrameCache | None) -> Tensor:
        first = not cache
        x = self.conv_in(x, cache)  # (B, Cn, t, h, w)
        for level in self.levels:
            x = level(x, cache, first) if isinstance(level, Upsample) else level(x, cache)
        return self.conv_out(F.silu(self.norm(x)), cache)  # (B, 3p², T, H/p, W/p)


class CausalVAE(nn.Module):
    """Encoder and decoder with the statistics of their latents."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.stats = LatentStats.identity(config.latent_channels)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        name_caches(self)

    def encode(self, pixels: Tensor, cache: FrameCache | None = None) -> tuple[Tensor, Tensor]:
        """Pixels (B, 3, 4k+1, 8h, 8w) -> raw latents: mean and log-variance, each (B, C, k+1, h, w).

        With a `cache`, which is filled, the call continues where the cache stops: the first chunk has 4k+1 frames, the
        later ones 4k. Raises UserError for other shapes.
        """
        frames, rows, columns = pixels.shape[2:]
        rest = 0 if cache else 1
        if frames % TEMPORAL_STRIDE != rest or rows % SPATIAL_STRIDE or columns % SPATIAL_STRIDE:
            raise UserError(
                f"the VAE cannot encode {frames} frames of {columns}x{rows} px",
                f"give {TEMPORAL_STRIDE}k+{rest} frames and sides that are multiples of {SPATIAL_STRIDE} px",
            )
        mean, logvar = self.encoder(space_to_depth(pixels, self.config.patch_px), cache).chunk(2, dim=1)
        return mean, logvar.clamp(-20.0, 10.0)

    def decode(self, latents: Tensor, cache: FrameCache | None = None) -> Tensor:
        """Raw latents (B, C, k+1, h, w) -> pixels (B, 3, 4k+1, 8h, 8w), not clamped; later chunks: k -> 4k frames."""
        return depth_to_space(self.decoder(latents, cache), self.config.patch_px)

    @torch.no_grad()
    def encode_chunks(self, pixels: Tensor, chunk_latents: int) -> Tensor:
        """The mean of `encode`, taking `chunk_latents` latents' worth of frames at a time: memory is flat in T."""
        cache: FrameCache = {}
        spans = chunk_spans(pixels.shape[2], chunk_latents)
        return torch.cat([self.encode(pixels[:, :, start:stop], cache)[0] for start, stop in spans], dim=2)

    @torch.no_grad()
    def decode_chunks(self, latents: Tensor, chunk_latents: int) -> Tensor:
        """`decode`, taking `chunk_latents` latents at a time."""
        cache: FrameCache = {}
        return torch.cat([self.decode(part, cache) for part in latents.split(chunk_latents, dim=2)], dim=2)

    def final_latents(self, raw: Tensor) -> Tensor:
        """Raw latents (…, C, t, h, w) -> normalised, as the DiT models them."""
        return self.stats.final(raw)

    def raw_latents(self, final: Tensor) -> Tensor:
        """Normalised latents (…, C, t, h, w) -> raw, as `decode` takes them."""
        return self.stats.raw(final)

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None, **about: Any) -> Path:
        """Write a checkpoint folder; `weights` replaces the network's own (an average), `about` joins config.json."""
        architecture = self.config.model_dump(mode="json")
        about |= {"model": CAUSAL_VAE, "architecture": architecture, "latent_stats": asdict(self.stats)}
        return write_checkpoint(folder, about, weights if weights is not None else self.state_dict())

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> CausalVAE:
        """The frozen network of a checkpoint folder, in evaluation mode. Raises UserError for other checkpoints."""
        config = read_config(folder)
        refuse_foreign(config, str(folder))
        weights = read_weights(folder, device)
        try:
            vae = cls(VAEConfig.model_validate(config["architecture"]))
            vae.stats = LatentStats.from_dict(config["latent_stats"])
            vae.load_state_dict(weights)
        except (ValidationError, KeyError, TypeError, RuntimeError) as error:
            hint = "copy the checkpoint again, or train one with train_vae"
            raise UserError(f"the weights in {folder} don't fit its config.json: {error!s:.300}", hint) from error
        return vae.to(device).eval().requires_grad_(False)


def chunk_spans(frames: int, chunk_latents: int) -> list[tuple[int, int]]:
    """The frames [start, stop) of each temporal chunk: what `chunk_latents` latents cover."""
    step = TEMPORAL_STRIDE * chunk_latents
    starts = [0, *range(step - TEMPORAL_STRIDE + 1, frames, step)]  # the first latent covers one frame
    return list(zip(starts, [*starts[1:], frames], strict=True))


def to_pixels(frames: Tensor) -> Tensor:
    """uint8 frames (…, T, H, W, 3) -> float (…, 3, T, H, W) in [-1, 1]."""
    return frames.movedim(-1, -4).float() / 127.5 - 1.0


def to_frames(pixels: Tensor) -> Tensor:
    """Pixels (…, 3, T, H, W) -> uint8 frames (…, T, H, W, 3)."""
    return ((pixels.float().clamp(-1, 1) + 1.0) * 127.5).round().to(torch.uint8).movedim(-4, -1)
