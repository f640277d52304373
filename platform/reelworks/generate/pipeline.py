"""Checkpoint folders to videos: prompt → text states → latents → pixels → exactly the frames asked.

Legend: M text tokens, E text width, C T H W of latents.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reelworks.errors import UserError
from reelworks.generate.engine import StepEngine
from reelworks.generate.export import fit
from reelworks.generate.request import Defaults, GenerationRequest, Limits, num_tokens, validate
from reelworks.models.checkpoint import EMA_FILE, WEIGHTS_FILE, read_config, read_weights
from reelworks.models.dit import DiT, DiTConfig
from reelworks.models.latent_stats import LatentStats
from reelworks.models.text import TextEncoder
from reelworks.models.vae import CausalVAE, to_frames

PACK_TOKENS = {"cpu": 2_048, "cuda": 131_072}
"""Tokens that a forward may hold before it stops gaining speed and only costs memory."""


class VideoPipeline:
    """A DiT, the VAE whose latents it makes, and the text encoder it listens to."""

    def __init__(
        self, engine: StepEngine, vae: CausalVAE, text_encoder: TextEncoder | None, defaults: Defaults
    ) -> None:
        self.engine = engine
        self.vae = vae
        self.text_encoder = text_encoder
        self.defaults = defaults

    @classmethod
    def load(
        cls, dit_folder: Path, vae_folder: Path, text_folder: Path, device: str = "cpu", ema: bool = True
    ) -> "VideoPipeline":
        """Open three checkpoint folders; `ema` takes the averaged weights. UserError where the VAE is another one."""
        config = read_config(dit_folder, "dit")
        dit = DiT(DiTConfig(**config["architecture"]))
        dit.load_state_dict(read_weights(dit_folder, device, EMA_FILE if ema else WEIGHTS_FILE))
        dit = dit.to(device).eval().requires_grad_(False)
        vae = CausalVAE.load(vae_folder, device)
        if vae.stats != LatentStats.from_dict(config["latent_stats"]):
            hint = f"the DiT was trained on {config['vae']['source']}"
            raise UserError(f"{vae_folder} normalises latents otherwise than {dit_folder} was trained with", hint)
        engine = StepEngine(dit, Limits(**config["limits"]), config["reference_tokens"], config["solver"])
        encoder = TextEncoder(text_folder, config["text_encoder"]["max_tokens"], device)
        return cls(engine, vae, encoder, Defaults(**config["defaults"]))

    @classmethod
    def open(cls, dit_folder: Path, device: str = "cpu") -> "VideoPipeline":
        """Open a DiT's folder with the VAE and the text encoder that its `config.json` names, by URI and digest."""
        from reelworks.resolve import resolve_model

        config = read_config(dit_folder, "dit")
        parts = (config["vae"], config["text_encoder"])
        vae, text = (resolve_model(f"{part['uri']}#{part['digest']}") for part in parts)
        return cls.load(dit_folder, vae.path, text.path, device)

    def request(self, prompt: str, **asked: float | None) -> GenerationRequest:
        """A request for `prompt`; what isn't asked, or is None, takes the checkpoint's defaults. UserError outside
        the limits."""
        given = {name: value for name, value in asked.items() if value is not None}
        request = self.defaults.request(prompt, **given)
        validate(request, self.engine.limits, self.engine.strides)
        return request

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Callable[[int, int], None] | None = None
    ) -> list[NDArray[np.uint8]]:
        """Videos (T, H, W, 3), 1:1, of exactly the size and number of frames asked.

        `progress` gets (finished, all) requests. UserError, before anything is computed, where one is outside the
        limits.
        """
        if self.text_encoder is None:
            raise ValueError("this pipeline has no text encoder; use generate_from_states")
        for request in requests:
            validate(request, self.engine.limits, self.engine.strides)
        texts = self.text_encoder.encode([request.prompt for request in requests])
        return self.generate_from_states(requests, texts, progress)

    def generate_from_states(
        self,
        requests: Sequence[GenerationRequest],
        texts: Sequence[Tensor],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[NDArray[np.uint8]]:
        """As `generate`, with each prompt's token states (M, E) at hand."""
        videos: dict[int, NDArray[np.uint8]] = {}
        places: dict[str, int] = {}
        waiting = list(enumerate(zip(requests, texts, strict=True)))[::-1]
        while waiting or places:
            while waiting and (not places or self.has_room(waiting[-1][1][0])):
                place, (request, text) = waiting.pop()
                places[self.engine.admit(request, text)] = place
            for event in self.engine.step():
                if event.latents is not None:
                    place = places.pop(event.id)
                    videos[place] = self.decode(event.latents, requests[place])
                    if progress is not None:
                        progress(len(videos), len(requests))
        return [videos[place] for place in range(len(requests))]

    @torch.inference_mode()
    def decode(self, latents: Tensor, request: GenerationRequest) -> NDArray[np.uint8]:
        """Final latents (C, T, H, W) of a finished request to its frames (T, H, W, 3)."""
        pixels = self.vae.decode(self.vae.raw_latents(latents[None]))[0]
        return fit(to_frames(pixels).cpu().numpy(), request)

    def has_room(self, request: GenerationRequest) -> bool:
        """Whether a request may join those that are active without costing more memory than it saves time."""
        strides = self.engine.strides
        asked = [request, *(state.request for state in self.engine.active.values())]
        tokens = sum(num_tokens(one, strides) * (1 if one.guidance == 1 else 2) for one in asked)
        return tokens <= PACK_TOKENS[self.engine.device.type]
