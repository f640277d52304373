"""reelworks.models.captioner: one path for a captioner from scratch and for folders of production classes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForImageTextToText,
    AutoTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from reelworks.errors import UserError
from reelworks.models.captioner import Captioner, training_batch
from reelworks.models.small_captioner import CaptionerSize, create_captioner
from reelworks.models.tokenizer import END, PAD, VIDEO, VISION_END, VISION_START, train_tokenizer
from reelworks.train.finetune import FinetuneSpec, finetune

CAPTIONS = ["a red circle moves left", "A large blue square stays still. The camera is fixed."]
SIZE = CaptionerSize(vision_width=32, vision_depth=1, text_width=32, text_depth=1, num_heads=2, vocabulary=300)


def clip(seed: int, height: int = 16, width: int = 16, num_frames: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)


@pytest.fixture
def captioner(tmp_path: Path) -> Captioner:
    create_captioner(tmp_path, SIZE, 4, CAPTIONS, seed=0)
    return Captioner(tmp_path, max_new_tokens=12)


def test_folder_is_an_ordinary_transformers_folder(tmp_path: Path) -> None:
    create_captioner(tmp_path, SIZE, 4, CAPTIONS, seed=0)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert model.config.model_type == "qwen2_vl"
    assert tokenizer.decode(tokenizer(CAPTIONS[1])["input_ids"]) == CAPTIONS[1]
    # Words that no caption held still have tokens.
    assert tokenizer.decode(tokenizer("zèbre 😀")["input_ids"]) == "zèbre 😀"


def test_equal_seeds_make_equal_folders(tmp_path: Path) -> None:
    for name in ("one", "two"):
        create_captioner(tmp_path / name, SIZE, 4, reversed(CAPTIONS) if name == "two" else CAPTIONS, seed=3)
    for file in ("model.safetensors", "tokenizer.json", "config.json", "preprocessor_config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_overfits_two_clips_and_says_the_same_alone_in_any_order_and_after_saving(
    captioner: Captioner, tmp_path: Path
) -> None:
    clips = [clip(0), clip(1, height=24)]
    inputs = [captioner.read(frames) for frames in clips]
    rows = [
        (inputs[i], prompt, CAPTIONS[i if prompt == "short" else 1 - i]) for i in (0, 1) for prompt in captioner.prompts
    ]
    batch = training_batch(captioner, *map(list, zip(*rows, strict=True)))
    spec = FinetuneSpec(steps=150, max_minutes=5, batch=4, learning_rate=1e-2, warmup_steps=10)
    torch.manual_seed(0)
    captioner.max_new_tokens = 48
    finetune(captioner.model.train(), iter(lambda: batch, None), spec, lambda step, values: None)
    captioner.model.eval()
    expected = {"short": CAPTIONS, "descriptive": CAPTIONS[::-1]}
    assert captioner.captions(inputs, ["short", "descriptive"]) == expected
    assert [captioner.caption([one], prompt="short")[0] for one in clips] == CAPTIONS
    assert captioner.caption([clips[1], *clips, clips[1]], prompt="short") == [CAPTIONS[1], *CAPTIONS, CAPTIONS[1]]
    captioner.save(tmp_path / "saved")
    assert Captioner(tmp_path / "saved").caption(clips) == expected["descriptive"]


def test_labels_cover_the_caption_and_its_end_only(captioner: Captioner) -> None:
    batch = training_batch(captioner, [captioner.read(clip(0))] * 2, ["short", "descriptive"], CAPTIONS)
    for labels, ids, caption in zip(batch["labels"], batch["input_ids"], CAPTIONS, strict=True):
        kept = labels[labels != -100]
        assert captioner.tokenizer.decode(kept) == caption + END
        assert torch.equal(ids[labels != -100], kept)


def test_frames_are_given_once_for_all_prompts(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    tower = captioner.model.model.visual
    forward = tower.forward
    monkeypatch.setattr(tower, "forward", lambda *a, **k: seen.append(1) or forward(*a, **k))
    captioner.captions([captioner.read(clip(0))], ["short", "descriptive"])
    assert len(seen) == 1


def test_qwen2_5_folder_with_its_own_layout_captions_by_the_same_path(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(CAPTIONS, 300, (VISION_START, VIDEO, VISION_END))
    special = {name: tokenizer.convert_tokens_to_ids(name) for name in (VIDEO, VISION_START, VISION_END, PAD, END)}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
            "eos_token_id": special[END],
            "bos_token_id": None,
            "pad_token_id": special[PAD],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 7,
            "temporal_patch_size": 2,
            "fullatt_block_indexes": [0],
            "window_size": 28,
        },
        video_token_id=special[VIDEO],
        image_token_id=len(tokenizer),
        vision_start_token_id=special[VISION_START],
        vision_end_token_id=special[VISION_END],
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    captioner = Captioner(tmp_path, max_new_tokens=4, num_frames=4)
    captioner.layout = type(captioner.layout)(7, 2, 2, 28 * 28, 56 * 56, num_frames=4)
    texts = captioner.captions([captioner.read(clip(0, 40, 56))], ["short"])["short"]
    assert isinstance(texts[0], str)


def test_other_folders_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no captioner in"):
        Captioner(tmp_path)
