"""The models that make videos from prompts, opened once a process: expander, text encoder, DiT, VAE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reelworks.config import fingerprint
from reelworks.errors import UserError
from reelworks.generate.request import GenerationRequest, validate

if TYPE_CHECKING:
    from reelworks.evaluate.generation import Ask
    from reelworks.generate.pipeline import VideoPipeline
    from reelworks.models.expander import Expander


@dataclass(frozen=True)
class Take:
    """One request's outcome: frames uint8 (T, H, W, 3), or why there are none."""

    prompt: str
    frames: np.ndarray | None
    fps: float
    error: str = ""


class Studio:
    """Expands and samples batches of requests; a request outside the model's limits fails alone."""

    def __init__(self, pipeline: VideoPipeline, expander: Expander | None, fingerprint: str):
        self.pipeline = pipeline
        self.expander = expander
        self.fingerprint = fingerprint

    @classmethod
    def open(cls, dit: str, expander: str | None, num_threads: int) -> Studio:
        """Loads by model source, the DiT's own VAE and text encoder included; the GPU where there is one."""
        import torch

        from reelworks.generate.pipeline import VideoPipeline
        from reelworks.models.expander import Expander
        from reelworks.resolve import resolve_model

        torch.set_num_threads(num_threads)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        main = resolve_model(dit)
        pipeline = VideoPipeline.open(main.path, device=device)
        writer = resolve_model(expander) if expander else None
        loaded = Expander(writer.path) if writer else None
        return cls(pipeline, loaded, fingerprint([main.digest, writer.digest if writer else None]))

    def shoot(self, asks: Sequence[Ask], expand: Sequence[bool] | None = None) -> list[Take]:
        """1:1 with the requests, sampled together; `expand` says which prompts are expanded (None: all)."""
        prompts = [
            self._expanded(ask) if expand is None or expand[index] else ask.prompt for index, ask in enumerate(asks)
        ]
        takes: list[Take | None] = [None] * len(asks)
        accepted = []
        for index, (ask, prompt) in enumerate(zip(asks, prompts, strict=True)):
            try:
                accepted.append((index, self._request(ask, prompt)))
            except UserError as error:
                takes[index] = Take(prompt, None, 0.0, str(error))
        videos = self.pipeline.generate([request for _, request in accepted])
        for (index, request), frames in zip(accepted, videos, strict=True):
            takes[index] = Take(request.prompt, frames, request.fps)
        return [take for take in takes if take is not None]

    def _expanded(self, ask: Ask) -> str:
        """One at a time: what a request becomes may not depend on its neighbours."""
        return self.expander.expand([ask.prompt], seed=ask.seed)[0] if self.expander else ask.prompt

    def _request(self, ask: Ask, prompt: str) -> GenerationRequest:
        """Raises UserError naming the model's limits where they don't admit the request."""
        asked = {name: value for name, value in ask.model_dump().items() if name != "prompt" and value is not None}
        request = self.pipeline.defaults.request(prompt, **asked)
        validate(request, self.pipeline.engine.limits, self.pipeline.engine.strides)
        return request
