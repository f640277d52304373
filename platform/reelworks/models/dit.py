"""The diffusion transformer on packed spacetime patches (DiT, arXiv:2212.09748, with cross-attention to text).

Legend: V videos (attention stays inside one), S segments (tokens of one timestep; a video has one or more), L tokens of
all videos, P numbers in a token, D width, N heads, K head size, M text tokens of all videos, E text width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reelworks.models.attention import default_backend, packed_attention
from reelworks.models.patch import Patch
from reelworks.models.rope import rotary, rotate

TIME_FREQUENCIES = 128


@dataclass(frozen=True)
class DiTConfig:
    """Architecture of a DiT: what `config.json` holds under "architecture"."""

    channels: int
    """Channels of a latent."""
    width: int
    layers: int
    heads: int
    text_width: int
    """Width of the text encoder's token states."""
    null_tokens: int = 1
    """Tokens of the null text."""
    text_rank: int = 32
    """Directions in which captions as a whole are told apart, at most `text_width`."""
    patch: Patch = (1, 1, 1)
    mlp_ratio: float = 4.0
    rope_theta: float = 100.0
    base_rate: float = 8.0
    """Temporal coordinates a second."""
    temporal_stride: int = 4
    spatial_stride: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "patch", tuple(self.patch))
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(f"width {self.width} needs an even size for each of {self.heads} heads")

    @property
    def token_width(self) -> int:
        return self.channels * math.prod(self.patch)


@dataclass(frozen=True)
class PackedBatch:
    """Tokens of several videos one after another. Neighbours of equal lengths are the cheapest order on a CPU."""

    tokens: Tensor
    """(L, P) noised tokens; known ones as they are."""
    positions: Tensor
    """(L, 3) coordinates from `rope.positions`."""
    video_lengths: Sequence[int]
    """Tokens of each video; adds up to L."""
    segment_lengths: Sequence[int]
    """Tokens of each segment; segments don't cross videos."""
    timestep: Tensor
    """(S,) timestep of each segment, in [0, 1]."""
    known: Tensor
    """(S,) bool: a segment of clean context (timestep 0, no loss)."""
    video_of_segment: Tensor
    """(S,) index of each segment's video."""
    text: Tensor
    """(M, E) token states of each video's caption."""
    text_lengths: Sequence[int]
    """Text tokens of each video; at least one each."""


class Attention(nn.Module):
    """Multi-head attention with RMS-normalised queries and keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.query_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.key_norm = nn.RMSNorm(width // heads, eps=1e-6)

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        lengths: Sequence[int],
        context_lengths: Sequence[int],
        angles: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """x (L, D) attends to context (M, D); `angles` rotates both where the two are the same tokens."""
        q = self.query_norm(self.query(x).unflatten(-1, (self.heads, -1)))  # (L, N, K)
        k, v = self.key_value(context).unflatten(-1, (2, self.heads, -1)).unbind(1)  # (M, N, K) twice
        k = self.key_norm(k)
        if angles is not None:
            q, k = rotate(q, *angles), rotate(k, *angles)
        backend = default_backend(x.device)
        return self.out(packed_attention(q, k, v.to(q.dtype), lengths, context_lengths, backend).flatten(1))


class Block(nn.Module):
    """Self-attention, cross-attention to text, MLP; each added through something that starts at zero."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        hidden = int(config.width * config.mlp_ratio)
        self.self_attention = Attention(config.width, config.heads)
        self.cross_norm = nn.LayerNorm(config.width)
        self.cross_attention = Attention(config.width, config.heads)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, config.width)
        )
        self.modulation = nn.Linear(config.width, 6 * config.width)

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        owner: Tensor,
        text: Tensor,
        batch: PackedBatch,
        angles: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Tokens x (L, D), condition (S, D) of the segments, `owner` (L,) a token's segment, text (M, D)."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(condition)[owner].chunk(6, dim=1)  # (L, D)
        h = F.layer_norm(x, x.shape[-1:]) * (1 + scale_a) + shift_a  # (L, D)
        x = x + gate_a * self.self_attention(h, h, batch.video_lengths, batch.video_lengths, angles)  # (L, D)
        x = x + self.cross_attention(self.cross_norm(x), text, batch.video_lengths, batch.text_lengths, None)  # (L, D)
        h = F.layer_norm(x, x.shape[-1:]) * (1 + scale_m) + shift_m  # (L, D)
        return x + gate_m * self.mlp(h)  # (L, D)


def timestep_features(t: Tensor) -> Tensor:
    """(S,) in [0, 1] → (S, 2 × frequencies) sines and cosines, with t counted in thousandths as is usual."""
    exponent = torch.arange(TIME_FREQUENCIES, device=t.device, dtype=torch.float32) / TIME_FREQUENCIES
    angle = 1000 * t.float()[:, None] * 10000.0**-exponent
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class DiT(nn.Module):
    """Velocity of packed noised tokens, given timesteps and text."""

    null_text: Tensor
    """(M, E) token states of the empty text, which a model is served with."""
    pooled_mean: Tensor
    pooled_whitening: Tensor
    """(E,) and (E, R): what makes the means of token states white over the captions. "left" and "right" are 5%
    of the variance of MiniLM's means, and 28% once white: motion is learned in a fraction of the steps."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embed = nn.Linear(config.token_width, width)
        self.place = nn.Linear(width // config.heads, width)
        self.known = nn.Parameter(torch.zeros(width))
        self.time = nn.Sequential(nn.Linear(2 * TIME_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.text_norm = nn.LayerNorm(config.text_width)
        self.text = nn.Sequential(nn.Linear(config.text_width, width), nn.SiLU(), nn.Linear(width, width))
        self.text_pooled = nn.Sequential(nn.Linear(config.text_rank, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.out_modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, config.token_width)
        self.register_buffer("null_text", torch.zeros(config.null_tokens, config.text_width))
        self.register_buffer("pooled_mean", torch.zeros(config.text_width))
        self.register_buffer("pooled_whitening", torch.eye(config.text_width, config.text_rank))
        self.initialise()

    def initialise(self) -> None:
        """Xavier matrices, zero biases; zero where a block or the output joins, so that the start is the identity."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for linear in (self.out, self.out_modulation):
            nn.init.zeros_(linear.weight)
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.zeros_(block.modulation.weight)
            nn.init.zeros_(block.cross_attention.out.weight)

    @torch.no_grad()
    def adapt_to_captions(self, captions: Sequence[Tensor]) -> None:
        """Set the statistics of the text from captions' token states (M, E) each; before training."""
        pooled = torch.stack([one.mean(0) for one in captions])  # (V, E)
        self.pooled_mean = pooled.mean(0)
        _, values, directions = torch.linalg.svd(pooled - self.pooled_mean, full_matrices=False)
        rank = min(self.config.text_rank, len(values))
        deviation = values[:rank] / len(pooled) ** 0.5  # (R,)
        # Directions far below the largest are rounding and wording: they are kept small.
        scale = 1 / (deviation + 0.03 * deviation[0] + 1e-6)
        self.pooled_whitening = F.pad(directions[:rank].T * scale, (0, self.config.text_rank - rank))

    def forward(self, batch: PackedBatch) -> Tensor:
        """PackedBatch → velocity (L, P) in fp32; meaningless on known tokens."""
        device = batch.tokens.device
        lengths = torch.tensor(batch.segment_lengths, device=device)
        owner = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)  # (L,)
        condition = self.time(timestep_features(batch.timestep))  # (S, D)
        white = (pool(batch.text, batch.text_lengths) - self.pooled_mean) @ self.pooled_whitening  # (V, R)
        # A prompt unlike any caption would leave the range that was trained.
        condition = condition + self.text_pooled(white.clamp(-4, 4))[batch.video_of_segment]  # (S, D)
        condition = F.silu(condition)  # (S, D)
        text = self.text(self.text_norm(batch.text))  # (M, D)
        angles = rotary(batch.positions, self.config.width // self.config.heads, self.config.rope_theta)  # (L, 1, K/2)
        # Rotary positions are relative; where the frame ends and a clip begins is learned sooner from absolute ones.
        place = self.place(torch.cat(angles, dim=-1).flatten(1))  # (L, D)
        x = self.embed(batch.tokens) + place + self.known * batch.known[owner][:, None]  # (L, D)
        for block in self.blocks:
            x = block(x, condition, owner, text, batch, angles)  # (L, D)
        shift, scale = self.out_modulation(condition)[owner].chunk(2, dim=1)  # (L, D) twice
        return self.out(F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift).float()  # (L, P)


def pool(states: Tensor, lengths: Sequence[int]) -> Tensor:
    """Mean of each video's token states: (M, E) → (V, E)."""
    sizes = torch.tensor(lengths, device=states.device)
    owner = torch.repeat_interleave(torch.arange(len(sizes), device=states.device), sizes)
    total = states.new_zeros(len(sizes), states.shape[1]).index_add(0, owner, states)
    return total / sizes[:, None]


def architecture(config: DiTConfig) -> dict[str, Any]:
    """The JSON form of a configuration; `DiTConfig(**architecture)` reads it back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(config).items()}
