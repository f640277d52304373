"""Rectified flow (arXiv:2209.03003): x_t = (1 − t)·x₀ + t·ε, v = ε − x₀.

Legend: L tokens, P numbers in a token. `t` broadcasts against the tokens: 0 is data, 1 is noise.
"""

from torch import Tensor


def interpolate(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t for clean tokens (L, P), noise (L, P) and timesteps (L, 1)."""
    return (1 - t) * clean + t * noise


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """The target v = ε − x₀."""
    return noise - clean


def clean_estimate(x: Tensor, v: Tensor, t: Tensor | float) -> Tensor:
    """x̂₀ = x_t − t·v."""
    return x - t * v


def loss(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Σ weight × mean squared error of a token; `weight` (L,) adds up to 1 over a global step, not over a pack."""
    error = (predicted.float() - target.float()).square().mean(dim=1)  # (L,)
    return (error * weight).sum()
