"""Captions by any image-text-to-text class of Transformers, through its own processor: a clip is pictures of one turn.

The Qwen2-VL classes have a path of their own (captioner.py) that joins frames in time and encodes them once for all
prompts; LLaVA, SmolVLM, Gemma 3, InternVL and the rest come here.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from reelworks.errors import UserError
from reelworks.models.captioner import FAMILIES, Captioner, read_layout, shown
from reelworks.models.clip_captioner import PROMPTS, ClipCaptioner
from reelworks.models.vision_input import DEFAULT_NUM_FRAMES, spread_frames


@dataclass(frozen=True)
class Pictures:
    """What a model is given of one clip."""

    frames: NDArray[np.uint8]
    """(T, H, W, 3)."""
    digest: str
    """sha256 of shape and pixels: what the caption is bound to."""


def pictures_of(frames: NDArray[np.uint8], times_s: Sequence[float] | None, num_frames: int) -> Pictures:
    """`num_frames` pictures of a clip (T, H, W, 3), evenly spread over its time."""
    chosen = np.ascontiguousarray(spread_frames(frames, times_s, num_frames))
    digest = hashlib.sha256(np.asarray(chosen.shape, np.int64).tobytes() + chosen.tobytes()).hexdigest()
    return Pictures(chosen, digest)


class ProcessorCaptioner(ClipCaptioner[Pictures]):
    """A Transformers folder with a processor that turns pictures into text; UserError where it holds no such model."""

    def __init__(
        self,
        path: Path | str,
        device: str | torch.device = "cpu",
        prompts: Mapping[str, str] = PROMPTS,
        max_new_tokens: int = 96,
        batch_size: int = 64,
        num_frames: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        try:
            self.processor = AutoProcessor.from_pretrained(path)
            dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
            model = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype)
        except (OSError, ValueError, ImportError) as error:
            hint = "give a Transformers folder that AutoModelForImageTextToText and AutoProcessor load"
            raise UserError(f"no captioner in {path}: {error}", hint) from error
        if getattr(self.processor, "chat_template", None) is None:
            # Without one nobody knows where a turn's pictures and its question stand.
            raise UserError(f"{path} has no chat template", "choose a model that was tuned to follow instructions")
        self.model = model.eval().to(self.device)
        self.prompts = dict(prompts)
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.num_frames = num_frames or DEFAULT_NUM_FRAMES

    def read(self, frames: NDArray[np.uint8], times_s: Sequence[float] | None = None) -> Pictures:
        """The pictures of one clip (T, H, W, 3), evenly spread over its time."""
        return pictures_of(frames, times_s, self.num_frames)

    def _shape(self, one: Pictures) -> tuple[int, ...]:
        return one.frames.shape

    def _write(self, batch: Sequence[Pictures], prompts: Sequence[str]) -> dict[str, list[str]]:
        return {name: self._answer(batch, self.prompts[name]) for name in prompts}

    def _answer(self, batch: Sequence[Pictures], prompt: str) -> list[str]:
        content = [{"type": "image"}] * self.num_frames + [{"type": "text", "text": prompt}]
        asked = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        images = [[Image.fromarray(frame) for frame in one.frames] for one in batch]
        inputs: Any = self.processor(text=[asked] * len(batch), images=images, return_tensors="pt").to(self.device)
        out = self.model.generate(**inputs, do_sample=False, max_new_tokens=self.max_new_tokens)  # (B, L + new)
        texts = self.processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]


def open_captioner(
    path: Path | str, device: str | torch.device = "cpu", max_new_tokens: int = 96, batch_size: int = 64
) -> ClipCaptioner[Any]:
    """The captioner of a Transformers folder, whatever its class."""
    try:
        family = AutoConfig.from_pretrained(path).model_type
    except (OSError, ValueError) as error:
        hint = "give a Transformers folder that AutoModelForImageTextToText loads"
        raise UserError(f"no captioner in {path}: {error}", hint) from error
    kind = Captioner if family in FAMILIES else ProcessorCaptioner
    return kind(path, device, max_new_tokens=max_new_tokens, batch_size=batch_size)


def frames_digest(path: Path | str) -> Callable[[NDArray[np.uint8]], str]:
    """How the captioner of a Transformers folder ties a caption to a clip (T, H, W, 3); its weights aren't loaded."""
    if AutoConfig.from_pretrained(path).model_type in FAMILIES:
        layout = read_layout(path)
        return lambda frames: shown(frames, layout).digest
    return lambda frames: pictures_of(frames, None, DEFAULT_NUM_FRAMES).digest
