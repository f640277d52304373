"""reelworks.models.processor_captioner: classes other than Qwen2-VL, by a tiny LLaVA in an ordinary folder."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from reelworks.errors import UserError
from reelworks.models.captioner import Captioner
from reelworks.models.processor_captioner import ProcessorCaptioner, frames_digest, open_captioner
from reelworks.models.small_captioner import CaptionerSize, create_captioner
from reelworks.models.tokenizer import END, PAD, token_id, train_tokenizer

TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained LLaVA with its processor."""
    path = tmp_path_factory.mktemp("llava")
    tokenizer = train_tokenizer(["a red circle moves left"], 300, ("<image>",))
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.3,
    )
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(
        LlavaConfig(vision_config=vision, text_config=text, image_token_index=token_id(tokenizer, "<image>"))
    )
    model.generation_config.eos_token_id = token_id(tokenizer, END)
    model.generation_config.pad_token_id = token_id(tokenizer, PAD)
    model.save_pretrained(path)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    processor.save_pretrained(path)
    return path


def clip(seed: int, height: int = 16, width: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (9, height, width, 3), dtype=np.uint8)


def test_the_class_decides_the_path(folder: Path, tmp_path: Path) -> None:
    assert isinstance(open_captioner(folder), ProcessorCaptioner)
    size = CaptionerSize(vision_width=32, vision_depth=1, text_width=32, text_depth=1, num_heads=2, vocabulary=300)
    create_captioner(tmp_path, size, 4, ["a red circle"], seed=0)
    assert isinstance(open_captioner(tmp_path), Captioner)


def test_a_captions_digest_can_be_had_without_the_weights(folder: Path, tmp_path: Path) -> None:
    size = CaptionerSize(vision_width=32, vision_depth=1, text_width=32, text_depth=1, num_heads=2, vocabulary=300)
    create_captioner(tmp_path, size, 4, ["a red circle"], seed=0)
    for path in (folder, tmp_path):
        digest, captioner = frames_digest(path), open_captioner(path)
        assert [digest(clip(seed)) for seed in (0, 1)] == [captioner.read(clip(seed)).digest for seed in (0, 1)]


def test_every_clip_gets_its_own_caption_in_any_company(folder: Path) -> None:
    captioner = open_captioner(folder, max_new_tokens=8, batch_size=2)
    clips = [clip(0), clip(1, height=24), clip(2), clip(3)]
    together = captioner.caption(clips)
    assert together == [captioner.caption([one])[0] for one in clips]
    assert len(set(together)) > 1, "the pictures don't reach the model"
    both = captioner.captions([captioner.read(one) for one in clips], ["short", "descriptive"])
    assert both["descriptive"] == together and both["short"] != together


def test_the_digest_is_of_the_frames_that_the_model_sees(folder: Path) -> None:
    captioner = open_captioner(folder)
    frames = clip(0)
    shown = captioner.read(frames)
    assert captioner.read(frames.copy()).digest == shown.digest != captioner.read(frames[::-1]).digest


def test_a_folder_without_a_chat_template_is_refused_before_the_first_clip(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="has no chat template"):
        open_captioner(tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no captioner in"):
        open_captioner(tmp_path)
