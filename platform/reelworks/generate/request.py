"""What may be asked of a model, and the shapes that follow from it. Values in, values out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reelworks.errors import UserError

if TYPE_CHECKING:  # the endpoint's ingress validates requests without loading PyTorch
    from reelworks.models.patch import Grid


@dataclass(frozen=True)
class GenerationRequest:
    """One video (or an image: one frame) to make from a prompt."""

    prompt: str
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    seconds: float
    fps: float
    seed: int = 0
    steps: int = 16
    """Intervals of the sampler's schedule."""
    guidance: float = 3.0
    """Guidance scale; 1 is none and costs half."""

    @property
    def num_frames(self) -> int:
        """round(seconds × fps), at least one."""
        return max(1, round(self.seconds * self.fps))


@dataclass(frozen=True)
class Limits:
    """What a checkpoint was trained for; stands in its `config.json`. All bounds are inclusive."""

    min_size_px: int
    """Shorter than this is refused, width and height alike."""
    max_size_px: int
    max_seconds: float
    min_fps: float
    max_fps: float
    max_tokens: int
    """Tokens of one video: width × height × duration together."""
    max_steps: int = 200
    max_guidance: float = 30.0

    def __str__(self) -> str:
        return (
            f"width and height {self.min_size_px}–{self.max_size_px} px, up to {self.max_seconds:g} s, "
            f"{self.min_fps:g}–{self.max_fps:g} fps, up to {self.max_tokens} tokens, 1–{self.max_steps} steps, "
            f"guidance 1–{self.max_guidance:g}"
        )


@dataclass(frozen=True)
class Defaults:
    """What a request gets where it says nothing; stands in the checkpoint's `config.json`."""

    width: int
    height: int
    seconds: float
    fps: float
    steps: int
    guidance: float

    def request(self, prompt: str, **asked: float | int) -> GenerationRequest:
        """A request for `prompt` with the fields in `asked` set and these defaults for the others."""
        return replace(GenerationRequest(prompt=prompt, **vars(self)), **asked)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Strides:
    """How many pixels and frames a token covers."""

    time: int
    """Frames that a latent covers; the first latent covers one."""
    space: int
    """Pixels that a latent covers, along rows and columns."""
    patch: tuple[int, int, int]


def latent_shape(request: GenerationRequest, strides: Strides) -> Grid:
    """Latents (T, H, W) of the smallest video of time × k + 1 frames and whole patches that covers the request."""
    frames = math.ceil((request.num_frames - 1) / strides.time) + 1
    sides = (request.height, request.width)
    patches = strides.patch[1:]
    height, width = (math.ceil(side / (strides.space * p)) * p for side, p in zip(sides, patches, strict=True))
    return math.ceil(frames / strides.patch[0]) * strides.patch[0], height, width


def num_tokens(request: GenerationRequest, strides: Strides) -> int:
    """Tokens that the request generates."""
    return math.prod(latent_shape(request, strides)) // math.prod(strides.patch)


def validate(request: GenerationRequest, limits: Limits, strides: Strides) -> None:
    """UserError naming the limits where the model wasn't trained for the request."""
    bounds = (
        ("width", request.width, limits.min_size_px, limits.max_size_px),
        ("height", request.height, limits.min_size_px, limits.max_size_px),
        ("fps", request.fps, limits.min_fps, limits.max_fps),
        ("steps", request.steps, 1, limits.max_steps),
        ("guidance", request.guidance, 1, limits.max_guidance),
        ("seconds", request.seconds, 0, limits.max_seconds),
    )
    hint = f"This model takes {limits}"
    for name, value, low, high in bounds:
        # Written so that NaN is refused as well.
        if not low <= value <= high:
            raise UserError(f"{name} {value} is outside {low:g}–{high:g}", hint)
    if not 0 <= request.seed < 2**63:
        raise UserError(f"seed {request.seed} is outside 0–{2**63 - 1}", hint)
    if request.seconds == 0:
        raise UserError("seconds must be more than 0", hint)
    tokens = num_tokens(request, strides)
    if tokens > limits.max_tokens:
        size = f"{request.width}x{request.height} for {request.seconds:g} s at {request.fps:g} fps"
        raise UserError(f"{size} is {tokens} tokens, more than {limits.max_tokens}", hint)
