"""Videos from the weights in training, through the generation path that evaluation and the endpoint use."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from reelworks.generate.engine import StepEngine
from reelworks.generate.export import to_mp4
from reelworks.generate.pipeline import VideoPipeline
from reelworks.generate.request import Defaults, Limits
from reelworks.models.dit import DiT, DiTConfig
from reelworks.models.vae import CausalVAE
from reelworks.tracking import Run


@dataclass(frozen=True)
class Preview:
    """What is sampled at each checkpoint."""

    prompts: list[str]
    texts: list[Tensor]
    """(M, E) token states of each prompt."""
    defaults: Defaults
    limits: Limits
    reference_tokens: float
    solver: str


def publish(
    run: Run, preview: Preview, config: DiTConfig, weights: dict[str, Tensor], vae: CausalVAE, step: int
) -> None:
    """Sample the previews with `weights` and log an MP4 each and one contact sheet (a row a prompt) to the run."""
    dit = DiT(config)
    dit.load_state_dict(weights)
    device = next(vae.parameters()).device
    engine = StepEngine(dit.to(device).eval(), preview.limits, preview.reference_tokens, preview.solver)
    pipeline = VideoPipeline(engine, vae, None, preview.defaults)
    requests = [pipeline.request(prompt, seed=seed) for seed, prompt in enumerate(preview.prompts)]
    videos = pipeline.generate_from_states(requests, preview.texts)
    for index, (request, frames) in enumerate(zip(requests, videos, strict=True)):
        run.blob(to_mp4(frames, request.fps), f"previews/step-{step:08d}/{index}.mp4")
    run.blob(contact_sheet(videos), f"previews/step-{step:08d}/contact_sheet.png")
    run.text("\n".join(preview.prompts), f"previews/step-{step:08d}/prompts.txt")


def contact_sheet(videos: list[np.ndarray], num_shown: int = 6) -> bytes:
    """PNG with a row a video: `num_shown` evenly spread frames (T, H, W, 3) side by side, enlarged where small."""
    import io

    from PIL import Image

    rows = []
    for frames in videos:
        shown = frames[np.linspace(0, len(frames) - 1, num_shown).round().astype(int)]
        factor = max(1, 96 // frames.shape[1])
        rows.append(np.concatenate(list(shown.repeat(factor, axis=1).repeat(factor, axis=2)), axis=1))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(padded)).save(buffer, format="PNG")
    return buffer.getvalue()
