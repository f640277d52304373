"""What is measured on held-out clips: the VAE's reconstructions and the captioner's words.

Axis legend: T frames, H W rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reelworks.curate.clips import ClipSpec, clips_of_source
from reelworks.curate.sources import list_sources, match_shot, read_sidecar
from reelworks.errors import VideoError
from reelworks.evaluate.figures import attribute_proportions, macro
from reelworks.evaluate.pictures import filmstrip, png, stack_rows
from reelworks.shapeworld.clips import random_clips
from reelworks.shapeworld.judge import judge
from reelworks.shapeworld.parse import parse
from reelworks.video.quality import psnr_db

CAPTION_ATTRIBUTES = ("colour", "shape", "motion", "size")
JUDGED_ATTRIBUTES = ("colour", "shape", "motion")


@dataclass(frozen=True)
class HeldOut:
    """One clip that no model was trained on: frames uint8 (T, H, W, 3), fps, and the truth about it, if known."""

    frames: np.ndarray
    fps: float
    truth: dict[str, str] | None


def load_held_out(prefix: str, spec: ClipSpec, num_clips: int) -> list[HeldOut]:
    """The first `num_clips` clips of a prefix in listing order; files that are no video are left out.

    The truth is read from sidecars for evaluation only; nothing that trains sees it.
    """
    found: list[HeldOut] = []
    for source in list_sources([prefix]):
        shots = read_sidecar(source)
        try:
            for row, frames in clips_of_source(source, spec):
                shot = match_shot(shots, row.start_s, row.end_s)
                found.append(HeldOut(frames, row.fps, shot.get("attributes") if shot else None))
        except VideoError:
            continue  # hostile files lie among the good ones; prepare counts them
        if len(found) >= num_clips:
            return found[:num_clips]
    return found


def reconstruct(vae: Any, frames: np.ndarray) -> np.ndarray:
    """Frames uint8 (T, H, W, 3) through the VAE and back; the posterior's mean, no sampling."""
    import torch

    from reelworks.models.vae import to_frames, to_pixels

    with torch.inference_mode():
        pixels = to_pixels(torch.from_numpy(frames)[None]).to(next(vae.parameters()).device)
        return to_frames(vae.decode(vae.encode(pixels)[0]))[0].cpu().numpy()


def measure_vae_on_shapeworld(vae: Any, num_clips: int, seed: int) -> tuple[dict[str, Any], bytes]:
    """PSNR over the frame and inside the moving shape's mask, and what the judge reads from reconstructions.

    The clips are rendered here with a seed that no corpus uses, since only a renderer knows the exact mask.
    Also a PNG of originals above their reconstructions.
    """
    whole, inside, wanted, read = [], [], [], []
    rows: list[Any] = []
    for clip in random_clips(num_clips, seed, "any"):
        copy = reconstruct(vae, clip.frames)
        whole.append(psnr_db(clip.frames, copy))
        inside.append(psnr_db(clip.frames, copy, clip.mask))
        wanted.append(clip.attributes.as_dict())
        read.append(asdict(judge(copy)))
        if len(rows) < 12:
            rows += [filmstrip(clip.frames), filmstrip(copy)]
    proportions = attribute_proportions(wanted, read, JUDGED_ATTRIBUTES)
    figures = {
        "vae_psnr_db": float(np.mean(whole)),
        "vae_psnr_in_shape_db": float(np.mean(inside)),
        "judge_on_vae_reconstructions": {name: p.rate for name, p in proportions.items()},
    }
    return figures, png(stack_rows(rows))


def measure_vae(vae: Any, clips: Sequence[HeldOut]) -> float | None:
    """Mean PSNR in dB of reconstructions of held-out clips; None without clips."""
    values = [psnr_db(clip.frames, reconstruct(vae, clip.frames)) for clip in clips]
    return float(np.mean(values)) if values else None


def measure_captions(captioner: Any, clips: Sequence[HeldOut]) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Accuracy by attribute of freely generated descriptive captions, parsed; and the captions beside the truth."""
    known = [clip for clip in clips if clip.truth is not None and len(clip.frames) > 1]
    captions = captioner.caption([clip.frames for clip in known])
    wanted = [{name: clip.truth[name] for name in CAPTION_ATTRIBUTES} for clip in known if clip.truth]
    proportions = attribute_proportions(wanted, [parse(text) for text in captions], CAPTION_ATTRIBUTES)
    table = [{"caption": text, **truth} for text, truth in zip(captions, wanted, strict=True)]
    return {"macro": macro(proportions), **{name: p.rate for name, p in proportions.items()}}, table
