"""Captions of clips by any Qwen2-VL class model: greedy, batched by shape, the frames encoded once for all prompts.

Legend: B clips, L tokens of prompt and caption, N patches.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer

from reelworks.errors import UserError
from reelworks.models.clip_captioner import PROMPTS, ClipCaptioner
from reelworks.models.vision_input import VisionInput, VisionLayout, load_layout, spread_frames, vision_input

FAMILIES = ("qwen2_vl", "qwen2_5_vl")
IGNORED = -100  # the label that Transformers' losses leave out


def read_layout(folder: Path | str) -> VisionLayout:
    """How the captioner in a Transformers folder reads frames, without its weights."""
    vision = AutoConfig.from_pretrained(folder).vision_config
    return load_layout(Path(folder), vision.patch_size, vision.temporal_patch_size, vision.spatial_merge_size)


def shown(frames: NDArray[np.uint8], layout: VisionLayout, times_s: Sequence[float] | None = None) -> VisionInput:
    """What a captioner of this layout is given of a clip (T, H, W, 3), with its digest."""
    return vision_input(spread_frames(frames, times_s, layout.num_frames), layout)


class Captioner(ClipCaptioner[VisionInput]):
    """A Transformers folder that turns frames into text; raises UserError where the folder holds no such model."""

    def __init__(
        self,
        path: Path | str,
        device: str | torch.device = "cpu",
        prompts: Mapping[str, str] = PROMPTS,
        max_new_tokens: int = 96,
        batch_size: int = 64,
        dtype: torch.dtype | None = None,
        num_frames: int | None = None,
    ) -> None:
        folder = Path(path)
        try:
            config = AutoConfig.from_pretrained(folder)
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            dtype = dtype or (torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32)
            model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)
        except (OSError, ValueError) as error:
            hint = "give a Transformers folder that AutoModelForImageTextToText and AutoTokenizer load"
            raise UserError(f"no captioner in {folder}: {error}", hint) from error
        if config.model_type not in FAMILIES:
            raise UserError(
                f"{folder} is a {config.model_type}", f"captioners are of the classes {', '.join(FAMILIES)}"
            )
        self.model = model.eval().to(device)
        self.device = torch.device(device)
        self.prompts = dict(prompts)
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        layout = read_layout(folder)
        self.layout = replace(layout, num_frames=num_frames or layout.num_frames)

    def save(self, folder: Path) -> None:
        """Write an ordinary Transformers folder, which this class and the Auto classes load."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        self.layout.save(folder)

    def read(self, frames: NDArray[np.uint8], times_s: Sequence[float] | None = None) -> VisionInput:
        """The patches of one clip (T, H, W, 3), its frames evenly spread over its time."""
        return shown(frames, self.layout, times_s)

    def _shape(self, one: VisionInput) -> tuple[int, ...]:
        return one.grid

    def _write(self, batch: Sequence[VisionInput], prompts: Sequence[str]) -> dict[str, list[str]]:
        """The frames pass the vision tower once for all prompts."""
        vision = self._see(batch)
        return {name: self._answer(batch, vision, name) for name in prompts}

    def _see(self, batch: Sequence[VisionInput]) -> Any:
        patches, grids = vision_tensors(batch)
        return self.model.get_video_features(patches.to(self.device), grids.to(self.device), return_dict=True)

    def _answer(self, batch: Sequence[VisionInput], vision: Any, prompt: str) -> list[str]:
        ids = prompt_ids(self.tokenizer, self.prompts[prompt], batch[0].num_tokens(self.layout.merge_size))
        tokens = torch.tensor([ids] * len(batch), device=self.device)  # (B, L)
        out = self.model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            mm_token_type_ids=self._token_types(tokens),
            video_grid_thw=vision_tensors(batch)[1].to(self.device),
            mm_encoder_outputs={"video": vision},
            do_sample=False,
            max_new_tokens=self.max_new_tokens,
        )  # (B, L + new)
        texts = self.tokenizer.batch_decode(out[:, len(ids) :], skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _token_types(self, tokens: Tensor) -> Tensor:
        return 2 * (tokens == self.model.config.video_token_id).int()  # Transformers' code: 2 = video, 0 = text


def vision_tensors(batch: Sequence[VisionInput]) -> tuple[Tensor, Tensor]:
    """(patches of all clips, (B, 3) grids)."""
    patches = torch.from_numpy(np.concatenate([one.patches for one in batch]))
    return patches, torch.tensor([one.grid for one in batch])


def prompt_ids(tokenizer: Any, prompt: str, num_vision_tokens: int) -> list[int]:
    """Tokens of a turn that shows a video and asks `prompt`, the video's placeholder once for each vision token."""
    content = [{"type": "video"}, {"type": "text", "text": prompt}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    video = tokenizer.convert_tokens_to_ids("<|video_pad|>")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    at = ids.index(video)
    return ids[:at] + [video] * num_vision_tokens + ids[at + 1 :]


def training_batch(
    captioner: Captioner, inputs: Sequence[VisionInput], prompts: Sequence[str], captions: Sequence[str]
) -> dict[str, Tensor]:
    """Keyword arguments of the model's forward, loss on the captions only: one (clip, prompt name, caption) a row."""
    tokenizer = captioner.tokenizer
    rows, labels = [], []
    for one, name, caption in zip(inputs, prompts, captions, strict=True):
        asked = prompt_ids(tokenizer, captioner.prompts[name], one.num_tokens(captioner.layout.merge_size))
        answer = [*tokenizer(caption, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        rows.append(asked + answer)
        labels.append([IGNORED] * len(asked) + answer)
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows])  # (B, L)
    patches, grids = vision_tensors(inputs)
    return {
        "input_ids": tokens,
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
        "labels": torch.tensor([row + [IGNORED] * (longest - len(row)) for row in labels]),
        "mm_token_type_ids": captioner._token_types(tokens),
        "pixel_values_videos": patches,
        "video_grid_thw": grids,
    }


def num_parameters(model: torch.nn.Module) -> int:
    return sum(math.prod(parameter.shape) for parameter in model.parameters())
