"""What the sampler asks of a model: a step engine that gives frames, and the one over a video pipeline.

PyTorch is imported when a model is opened, not with this module: the ingress never needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from reelworks.generate.request import GenerationRequest
from serving.record import ModelPin

if TYPE_CHECKING:
    from reelworks.generate.pipeline import VideoPipeline


@dataclass(frozen=True)
class News:
    """One request's news after a step."""

    name: str
    share: float
    """Of the steps that are done, in [0, 1]."""
    frames: NDArray[np.uint8] | None
    """(T, H, W, 3) once it is finished."""


class Engine(Protocol):
    """Requests that are sampled together; they join and leave between steps."""

    def has_room(self, request: GenerationRequest) -> bool:
        """Whether the request may join those that are active."""

    def admit(self, request: GenerationRequest) -> str:
        """Takes a request, returns its name. UserError where the model can't serve it."""

    def step(self) -> list[News]:
        """One step of every active request."""

    def evict(self, name: str) -> None:
        """Lets a request go."""


Load = Callable[[ModelPin], Engine]


class PipelineEngine:
    """The generation path of every other part of the platform, a step at a time."""

    def __init__(self, pipeline: VideoPipeline):
        self.pipeline = pipeline
        self._requests: dict[str, GenerationRequest] = {}

    def has_room(self, request: GenerationRequest) -> bool:
        return not self._requests or self.pipeline.has_room(request)

    def admit(self, request: GenerationRequest) -> str:
        assert self.pipeline.text_encoder is not None
        (text,) = self.pipeline.text_encoder.encode([request.prompt])
        name = self.pipeline.engine.admit(request, text)
        self._requests[name] = request
        return name

    def step(self) -> list[News]:
        return [
            News(
                event.id,
                event.finished / event.total,
                None if event.latents is None else self.pipeline.decode(event.latents, self._requests.pop(event.id)),
            )
            for event in self.pipeline.engine.step()
        ]

    def evict(self, name: str) -> None:
        self._requests.pop(name, None)
        self.pipeline.engine.active.pop(name, None)


def open_pipeline(pin: ModelPin, num_threads: int) -> PipelineEngine:
    """The pinned checkpoint with the VAE and the text encoder that it names, on the GPU where there is one.

    Raises UserError or StorageError where the checkpoint is gone or isn't what was pinned.
    """
    import torch

    from reelworks.generate.pipeline import VideoPipeline
    from reelworks.resolve import resolve_model

    if num_threads:
        torch.set_num_threads(num_threads)
    folder = resolve_model(pin.source).path
    return PipelineEngine(VideoPipeline.open(folder, "cuda" if torch.cuda.is_available() else "cpu"))
