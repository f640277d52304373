"""reelworks.models.frame_scorer: the probability is Transformers' own, and what can't be scored is said at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    pipeline,
)

from reelworks.errors import UserError
from reelworks.models.frame_scorer import LabelScorer, TextAreaScorer
from reelworks.models.tokenizer import train_tokenizer

TOWER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
SIZE = {"height": 32, "width": 32}
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3)).astype(np.uint8)


def save_classifier(folder: Path) -> Path:
    """A tiny classifier with the labels plain and nice."""
    torch.manual_seed(0)
    labels = {0: "plain", 1: "nice"}
    config = ViTConfig(**TOWER, image_size=32, patch_size=8, id2label=labels, initializer_range=0.5)
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size=SIZE).save_pretrained(folder)
    return folder


def save_by_text(folder: Path, family: str) -> Path:
    """A tiny CLIP or SigLIP."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a photo of a cat", "a photo of a dog"], 300, ())
    text = TOWER | {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "eos_token_id": 2, "pad_token_id": 1}
    vision = TOWER | {"image_size": 32, "patch_size": 8}
    if family == "clip":
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
        CLIPImageProcessorPil(size=SIZE, crop_size=SIZE).save_pretrained(folder)
    else:
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
        SiglipImageProcessorPil(size=SIZE).save_pretrained(folder)
    tokenizer.model_max_length = 16
    tokenizer.save_pretrained(folder)
    return folder


def test_a_classifiers_score_is_its_labels_probability(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path)
    reference = pipeline("image-classification", model=str(folder))
    expected = [
        {one["label"]: one["score"] for one in found} for found in reference([Image.fromarray(f) for f in FRAMES])
    ]
    nice, plain = (LabelScorer(folder, label)(FRAMES) for label in ("nice", "plain"))
    np.testing.assert_allclose(nice, [one["nice"] for one in expected], atol=1e-5)
    np.testing.assert_allclose(nice + plain, 1, atol=1e-6)
    assert nice.shape == (3,) and np.ptp(nice) > 1e-3


def test_a_clip_models_score_is_its_texts_share(tmp_path: Path) -> None:
    folder = save_by_text(tmp_path, "clip")
    cat = LabelScorer(folder, "a photo of a cat", ["a photo of a dog"])(FRAMES)
    dog = LabelScorer(folder, "a photo of a dog", ["a photo of a cat"])(FRAMES)
    np.testing.assert_allclose(cat + dog, 1, atol=1e-5)
    with pytest.raises(UserError, match="probability 1"):
        LabelScorer(folder, "a photo of a cat")


def test_a_siglip_models_score_needs_no_other_text(tmp_path: Path) -> None:
    folder = save_by_text(tmp_path, "siglip")
    alone = LabelScorer(folder, "a photo of a cat")(FRAMES)
    beside = LabelScorer(folder, "a photo of a cat", ["a photo of a dog"])(FRAMES)
    np.testing.assert_allclose(alone, beside, atol=1e-6)
    assert ((alone > 0) & (alone < 1)).all()


def test_a_label_that_the_model_lacks_and_a_folder_without_a_model_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose one of plain, nice"):
        LabelScorer(save_classifier(tmp_path / "model"), "ugly")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no score model"):
        LabelScorer(tmp_path / "empty", "nice")


def test_text_over_a_picture_covers_what_it_covers() -> None:
    package = pytest.importorskip("rapidocr_onnxruntime", reason="the extra ocr is not installed")
    plain = Image.fromarray(np.full((240, 426, 3), (30, 90, 140), np.uint8))
    written = plain.copy()
    font = ImageFont.load_default(40)
    ImageDraw.Draw(written).text((40, 180), "BREAKING NEWS", fill=(255, 255, 255), font=font)
    box = ImageDraw.Draw(written).textbbox((40, 180), "BREAKING NEWS", font=font)
    share = (box[2] - box[0]) * (box[3] - box[1]) / (240 * 426)
    scorer = TextAreaScorer(Path(package.__file__).parent / "models")
    none, some = scorer(np.stack([np.asarray(plain), np.asarray(written)]))
    assert none == 0 and share / 2 < some < 2 * share


def test_a_folder_without_a_text_detector_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rapidocr|reelworks\\[ocr\\]"):
        TextAreaScorer(tmp_path)
