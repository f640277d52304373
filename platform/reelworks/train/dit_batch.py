"""From the clips of a pack to what the DiT is trained on. Every draw is a function of (seed, clip id, epoch).

Legend: L tokens of a pack, P numbers in a token, S clips, M text tokens, E text width; C T H W of latents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reelworks.diffusion import flow
from reelworks.diffusion.philox import Purpose, normal, stream, uniform
from reelworks.diffusion.timesteps import logit_normal, shift, shift_factor
from reelworks.models.dit import DiTConfig, PackedBatch
from reelworks.models.patch import patchify, token_grid
from reelworks.models.rope import latent_times_s, positions
from reelworks.train.dit_recipe import Objective, Text

WEIGHT_POWER = {"token": 0.0, "sqrt": -0.5, "clip": -1.0}
"""A token of a clip of n tokens weighs n to this power."""


@dataclass(frozen=True)
class TrainingClip:
    """A clip with its tensors."""

    clip_id: str
    fps: float
    latents: Tensor
    """(C, T, H, W) final latents."""
    text: Tensor
    """(M, E) token states of the chosen caption, or of the null text."""


@dataclass(frozen=True)
class TrainingBatch:
    """A pack with its answers."""

    inputs: PackedBatch
    target: Tensor
    """(L, P) velocities."""
    weight: Tensor
    """(L,) weights that add up to 1 over the packs of a global step."""


def choose_caption(available: Sequence[str], text: Text, seed: int, clip_id: str, epoch: int) -> str | None:
    """Caption kind of a clip in an epoch; None is the null text. Kinds it lacks fall to the first that it has."""
    cpu = torch.device("cpu")
    dropped, chosen = uniform(
        [stream(seed, purpose, clip_id, epoch) for purpose in (Purpose.text_dropout, Purpose.caption)], cpu
    ).tolist()
    present = [kind for kind in text.captions if kind in available]
    if dropped < text.dropout or not present:
        return None
    for kind, share in text.captions.items():
        chosen -= share
        if chosen < 0:
            return kind if kind in present else present[0]
    return present[0]


def total_weight(step_tokens: Sequence[int], weighting: str) -> float:
    """Σ over all tokens of a global step of their weight before normalisation; `step_tokens`: tokens of each clip."""
    return sum(tokens ** (1 + WEIGHT_POWER[weighting]) for tokens in step_tokens)


def build(
    clips: Sequence[TrainingClip],
    config: DiTConfig,
    objective: Objective,
    seed: int,
    epoch: int,
    step_weight: float,
    device: torch.device,
) -> TrainingBatch:
    """One pack; `step_weight` is the `total_weight` of its global step."""
    # Equal shapes side by side are one attention call on a CPU.
    clips = sorted(clips, key=lambda clip: (clip.latents.shape, len(clip.text), clip.clip_id))
    tokens = [patchify(clip.latents, config.patch) for clip in clips]
    lengths = [len(one) for one in tokens]
    noise = normal(_streams(clips, Purpose.noise, seed, epoch), [one.numel() for one in tokens], device)
    gaussian = normal(_streams(clips, Purpose.timestep, seed, epoch), [1] * len(clips), device)
    t = logit_normal(torch.cat(gaussian), objective.timestep_mean, objective.timestep_spread)  # (S,)
    alphas = torch.tensor([shift_factor(length, objective.reference_tokens) for length in lengths], device=device)
    t = shift(t, alphas)  # (S,)
    repeats = torch.tensor(lengths, device=device)
    power = WEIGHT_POWER[objective.weighting]
    weights = torch.tensor([length**power / step_weight for length in lengths], device=device)
    clean = torch.cat(tokens).to(device)  # (L, P)
    epsilon = torch.cat(noise).reshape(clean.shape)  # (L, P)
    inputs = PackedBatch(
        tokens=flow.interpolate(clean, epsilon, t.repeat_interleave(repeats)[:, None]),
        positions=torch.cat([_positions(clip, config) for clip in clips]).to(device),
        video_lengths=lengths,
        segment_lengths=lengths,
        timestep=t,
        known=torch.zeros(len(clips), dtype=torch.bool, device=device),
        video_of_segment=torch.arange(len(clips), device=device),
        text=torch.cat([clip.text for clip in clips]).to(device),
        text_lengths=[len(clip.text) for clip in clips],
    )
    return TrainingBatch(inputs, flow.velocity(clean, epsilon), weights.repeat_interleave(repeats))


def attention_ratio(config: DiTConfig, parameters: Mapping[str, Tensor]) -> float:
    """Cost of attention per token of length over that of the linear layers: 12·layers·D / 6P FLOPs."""
    num_parameters = sum(tensor.numel() for tensor in parameters.values())
    return 12 * config.layers * config.width / (6 * num_parameters)


def _streams(clips: Sequence[TrainingClip], purpose: Purpose, seed: int, epoch: int) -> list[tuple[int, int, int, int]]:
    return [stream(seed, purpose, clip.clip_id, epoch) for clip in clips]


def _positions(clip: TrainingClip, config: DiTConfig) -> Tensor:
    grid = token_grid(tuple(clip.latents.shape), config.patch)
    times_s = latent_times_s(clip.latents.shape[1], clip.fps, config.temporal_stride)
    return positions(grid, config.patch, times_s, config.base_rate)
