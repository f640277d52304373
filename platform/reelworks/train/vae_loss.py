"""Loss of the causal VAE. Axes: B batch, C channels, T frames, H rows, W columns; small letters in latent space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from reelworks.config import Section


class VAELossWeights(Section):
    """Weights of the terms of the loss; pixels are in [-1, 1], every term is a mean."""

    l1: float = 1.0
    """Absolute error of pixels."""
    l2: float = 2.0
    """Squared error of pixels: PSNR counts squares, and small objects are the large errors."""
    gradient: float = 1.0
    """Absolute error of differences between neighbouring pixels, at full and half size: edges without weights of a
    perceptual network, which would have to be fetched."""
    motion: float = 0.5
    """Absolute error of differences between consecutive frames."""
    kl: float = 1e-3
    """Divergence of the latents from N(0, 1), a mean over latent values (Kingma & Welling 2014, eq. 10)."""


def vae_loss(output: Tensor, target: Tensor, mean: Tensor, logvar: Tensor, weights: VAELossWeights) -> Tensor:
    """Scalar loss of reconstructions (B, 3, T, H, W) with the latents (B, C, t, h, w) that gave them."""
    error = output - target
    half = F.avg_pool3d(error, (1, 2, 2))
    loss = weights.l1 * error.abs().mean() + weights.l2 * error.square().mean()
    loss = loss + weights.gradient * (spatial_difference(error) + spatial_difference(half)) / 2
    if error.shape[2] > 1:
        loss = loss + weights.motion * error.diff(dim=2).abs().mean()
    return loss + weights.kl * kl_divergence(mean, logvar)


def spatial_difference(error: Tensor) -> Tensor:
    """Mean absolute difference between neighbours in rows and in columns."""
    return error.diff(dim=3).abs().mean() + error.diff(dim=4).abs().mean()


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)), a mean over values."""
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()


def sample_latents(mean: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The reparametrised sample mean + exp(logvar / 2)·ε."""
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + torch.exp(0.5 * logvar) * noise


def psnr(output: Tensor, target: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of pixels in [-1, 1] (peak 2), clamped; with a mask (broadcast), inside it."""
    square = (output.clamp(-1, 1) - target).square()
    error = square.mean() if mask is None else square[mask.expand_as(square)].mean()
    return float(10.0 * torch.log10(4.0 / error.clamp_min(1e-10)))
