"""Which timesteps are trained and sampled."""

import torch
from torch import Tensor

SHIFT_MIN, SHIFT_MAX = 1.0, 12.0
# Below 1 a small clip would be trained on almost no noise; above 12 a large one on almost nothing else.


def shift_factor(tokens: int, reference_tokens: float) -> float:
    """α = clamp(√(generated tokens / reference tokens), 1, 12): more tokens carry more signal at equal noise
    (arXiv:2403.03206, section 5.3.2)."""
    return min(max((tokens / reference_tokens) ** 0.5, SHIFT_MIN), SHIFT_MAX)


def shift(t: Tensor, alpha: Tensor | float) -> Tensor:
    """t' = αt / (1 + (α − 1)t)."""
    return alpha * t / (1 + (alpha - 1) * t)


def logit_normal(normal: Tensor, mean: float, spread: float) -> Tensor:
    """Timesteps in (0, 1) from standard normal numbers (arXiv:2403.03206, equation 19)."""
    return torch.sigmoid(mean + spread * normal)


def schedule(steps: int, alpha: float) -> Tensor:
    """steps + 1 shifted timesteps from 1 (noise) down to 0 (data), in double precision."""
    return shift(torch.linspace(1, 0, steps + 1, dtype=torch.float64), alpha)
