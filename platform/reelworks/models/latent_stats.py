"""Statistics of a VAE's latents: they turn raw latents (as the encoder gives them) into final ones and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class LatentStats:
    """Mean and standard deviation of each channel, for the first latent (one frame) and the later ones (four each)."""

    first_mean: tuple[float, ...]
    first_std: tuple[float, ...]
    later_mean: tuple[float, ...]
    later_std: tuple[float, ...]

    @classmethod
    def identity(cls, channels: int) -> LatentStats:
        zeros, ones = (0.0,) * channels, (1.0,) * channels
        return cls(zeros, ones, zeros, ones)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LatentStats:
        return cls(**{name: tuple(float(v) for v in channel_values) for name, channel_values in values.items()})

    @classmethod
    def measure(cls, latents: list[Tensor]) -> LatentStats:
        """Statistics of raw latents (C, T, h, w) of any shapes; for images alone the later ones equal the first's."""
        first = torch.cat([x[:, :1].flatten(1) for x in latents], dim=1)  # (C, all positions)
        later = torch.cat([x[:, 1:].flatten(1) for x in latents], dim=1)
        later = later if later.shape[1] else first
        return cls(*(tuple(v.tolist()) for part in (first, later) for v in (part.mean(1), part.std(1).clamp_min(1e-4))))

    def final(self, raw: Tensor) -> Tensor:
        """Raw latents (…, C, T, h, w) of a clip from its first frame on -> zero mean and unit deviation."""
        mean, std = self._frames(raw)
        return (raw - mean) / std

    def raw(self, final: Tensor) -> Tensor:
        """The inverse of `final`."""
        mean, std = self._frames(final)
        return final * std + mean

    def _frames(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation, each (C, T, 1, 1)."""
        frames = like.shape[-3]

        def spread(first: tuple[float, ...], later: tuple[float, ...]) -> Tensor:
            columns = torch.tensor([first] + [later] * (frames - 1), dtype=like.dtype, device=like.device)  # (T, C)
            return columns.T[:, :, None, None]

        return spread(self.first_mean, self.later_mean), spread(self.first_std, self.later_std)
