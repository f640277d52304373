"""The step engine: one sampling step of every active request in one forward of the DiT.

Requests of any shape join and leave between steps. What a request becomes depends on itself alone: its noise is keyed
by its seed, and attention stays inside it.

Legend: L tokens, P numbers in a token, E text width.
"""

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from reelworks.diffusion.guidance import guide
from reelworks.diffusion.philox import Purpose, normal, stream
from reelworks.diffusion.samplers import SOLVERS, SamplerState
from reelworks.diffusion.timesteps import schedule, shift_factor
from reelworks.generate.request import GenerationRequest, Limits, Strides, latent_shape, num_tokens, validate
from reelworks.models.dit import DiT, PackedBatch
from reelworks.models.patch import Grid, token_grid, unpatchify
from reelworks.models.rope import latent_times_s, positions


@dataclass(frozen=True)
class Active:
    """A request on its way; everything needed to take it up again elsewhere."""

    request: GenerationRequest
    text: Tensor
    """(M, E) token states of the prompt."""
    shape: Grid
    """Latents (T, H, W)."""
    sampler: SamplerState


@dataclass(frozen=True)
class Event:
    """One request's news after a step."""

    id: str
    finished: int
    """Finished steps of `total`."""
    total: int
    latents: Tensor | None
    """Final latents (C, T, H, W) once done, before that None."""


class StepEngine:
    """Active requests of one DiT."""

    def __init__(self, dit: DiT, limits: Limits, reference_tokens: float, solver: str = "heun") -> None:
        self.dit = dit
        self.limits = limits
        self.reference_tokens = reference_tokens
        self.solve = SOLVERS[solver]
        config = dit.config
        self.strides = Strides(config.temporal_stride, config.spatial_stride, config.patch)
        self.device = dit.out.weight.device
        self.active: dict[str, Active] = {}

    def admit(self, request: GenerationRequest, text: Tensor) -> str:
        """Take a request with its prompt's token states (M, E); returns its id. UserError outside the limits."""
        validate(request, self.limits, self.strides)
        shape = latent_shape(request, self.strides)
        tokens = num_tokens(request, self.strides)
        width = self.dit.config.token_width
        key = stream(request.seed, Purpose.sampling_noise, "", 0)
        noise = normal([key], [tokens * width], self.device)[0].reshape(tokens, width)
        times = schedule(request.steps, shift_factor(tokens, self.reference_tokens))
        state = Active(request, text.to(self.device), shape, SamplerState(noise, tuple(times.tolist())))
        return self.resume(state)

    def resume(self, state: Active) -> str:
        """Take up a request that `evict` gave, here or on another machine."""
        state = replace(state, text=state.text.to(self.device), sampler=state.sampler.to(self.device))
        name = uuid.uuid4().hex
        self.active[name] = state
        return name

    def evict(self, name: str) -> Active:
        """Let a request go and return what `resume` needs."""
        return self.active.pop(name)

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """Ask the model once for every active request; the finished ones leave."""
        if not self.active:
            return []
        events = []
        for name, velocity in self._velocities():
            state = self.active[name]
            state = replace(state, sampler=self.solve(state.sampler, velocity))
            self.active[name] = state
            latents = None
            if state.sampler.done:
                patch = self.dit.config.patch
                latents = unpatchify(state.sampler.x, token_grid(state.shape, patch), patch)
                del self.active[name]
            events.append(Event(name, state.sampler.index, state.request.steps, latents))
        return events

    def _velocities(self) -> Iterator[tuple[str, Tensor]]:
        """The guided velocity (L, P) of each active request, from one packed forward."""
        parts = []  # one entry a video of the pack: name, state, is it the unconditional one
        for name, state in self.active.items():
            parts.append((name, state, False))
            if state.request.guidance != 1:
                parts.append((name, state, True))
        # Equal shapes side by side are one attention call on a CPU.
        parts.sort(key=lambda part: (part[1].shape, part[2], len(part[1].text)))
        with self._precision():
            velocity = self.dit(self._pack([(state, null) for _, state, null in parts]))
        pieces = velocity.split([len(state.sampler.x) for _, state, _ in parts])
        found = {(name, null): piece for (name, _, null), piece in zip(parts, pieces, strict=True)}
        for name, state in list(self.active.items()):
            conditional = found[name, False]
            if state.request.guidance != 1:
                conditional = guide(conditional, found[name, True], state.request.guidance)
            yield name, conditional

    def _pack(self, parts: list[tuple[Active, bool]]) -> PackedBatch:
        config = self.dit.config
        coordinates, texts = [], []
        for state, null in parts:
            times_s = latent_times_s(state.shape[0], state.request.fps, config.temporal_stride)
            grid = token_grid(state.shape, config.patch)
            coordinates.append(positions(grid, config.patch, times_s, config.base_rate))
            texts.append(self.dit.null_text if null else state.text)
        lengths = [len(state.sampler.x) for state, _ in parts]
        timesteps = [state.sampler.timestep for state, _ in parts]
        return PackedBatch(
            tokens=torch.cat([state.sampler.x for state, _ in parts]),
            positions=torch.cat(coordinates).to(self.device),
            video_lengths=lengths,
            segment_lengths=lengths,
            timestep=torch.tensor(timesteps, device=self.device),
            known=torch.zeros(len(parts), dtype=torch.bool, device=self.device),
            video_of_segment=torch.arange(len(parts), device=self.device),
            text=torch.cat(texts),
            text_lengths=[len(text) for text in texts],
        )

    def _precision(self) -> AbstractContextManager[object]:
        """bf16 on a GPU; fp32 on a CPU, where bf16 is slower."""
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()
