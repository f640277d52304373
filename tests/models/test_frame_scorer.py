"""reelworks.models.frame_scorer: the probability is Transformers' own, and what can't be scored is said at once."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    SiglipConfig,
    SiglipForImageClassification,
    SiglipImageProcessorPil,
    SiglipModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
    pipeline,
)

from reelworks.errors import UserError
from reelworks.models.frame_scorer import LabelScorer, TextAreaScorer, upright
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
    """A tiny CLIP or SigLIP, which is also the class of SigLIP 2 at a fixed size."""
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


def test_a_siglip_models_score_is_that_of_the_class_on_lower_case_with_no_token_masked(tmp_path: Path) -> None:
    folder = save_by_text(tmp_path, "siglip")
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(
        images=[Image.fromarray(frame) for frame in FRAMES], return_tensors="pt"
    )
    ids = AutoTokenizer.from_pretrained(folder)(["a photo of a cat"], padding="max_length", max_length=16)["input_ids"]
    with torch.inference_mode():
        logits = AutoModel.from_pretrained(folder)(input_ids=torch.tensor(ids), **pixels).logits_per_image[:, 0]
    found = LabelScorer(folder, "A photo of a CAT")(FRAMES)
    np.testing.assert_allclose(found, torch.sigmoid(logits), atol=1e-6)


def test_a_classifier_on_top_of_a_class_that_reads_text_is_asked_by_label(tmp_path: Path) -> None:
    """Its text half isn't in the folder: asked by text it would answer from random weights."""
    torch.manual_seed(0)
    vision = TOWER | {"image_size": 32, "patch_size": 8}
    config = SiglipConfig(vision_config=vision, id2label={0: "safe", 1: "unsafe"}, num_labels=2)
    SiglipForImageClassification(config).save_pretrained(tmp_path)
    SiglipImageProcessorPil(size=SIZE).save_pretrained(tmp_path)
    safe, unsafe = (LabelScorer(tmp_path, label)(FRAMES) for label in ("safe", "unsafe"))
    np.testing.assert_allclose(safe + unsafe, 1, atol=1e-6)


def test_a_folder_that_lacks_weights_is_refused_and_not_filled_at_random(tmp_path: Path) -> None:
    config = ViTConfig(**TOWER, image_size=32, patch_size=8, id2label={0: "plain", 1: "nice"})
    ViTModel(config).save_pretrained(tmp_path)
    ViTImageProcessorPil(size=SIZE).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="lacks weights of a ViTForImageClassification: classifier"):
        LabelScorer(tmp_path, "nice")


def test_a_label_that_the_model_lacks_and_a_folder_without_a_model_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose one of plain, nice"):
        LabelScorer(save_classifier(tmp_path / "model"), "ugly")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no score model"):
        LabelScorer(tmp_path / "empty", "nice")


def picture(height: int, width: int) -> Image.Image:
    """A scene of coloured forms before a sky, with sensor noise."""
    rng = np.random.default_rng(0)
    sky = np.linspace(60, 200, height)[:, None, None] * np.array([0.5, 0.7, 1.0])
    image = Image.fromarray(np.broadcast_to(sky, (height, width, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for form in (pen.ellipse, pen.rectangle, pen.ellipse, pen.rectangle):
        x, y, side = rng.integers(0, width // 2), rng.integers(0, height // 2), rng.integers(height // 6, height // 3)
        form((x, y, x + side, y + side), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return Image.fromarray(np.clip(np.asarray(image) + rng.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def text_area() -> TextAreaScorer:
    package = pytest.importorskip("rapidocr_onnxruntime", reason="the extra ocr is not installed")
    return TextAreaScorer(Path(package.__file__).parent / "models")


@pytest.mark.parametrize(
    ("size", "text_px", "place", "text", "fill"),
    [
        ((240, 426), 40, (40, 180), "BREAKING NEWS", (255, 255, 255)),
        ((240, 426), 14, (60, 215), "I never said that she stole my money.", (255, 255, 255)),  # a subtitle
        ((480, 270), 24, (10, 20), "@someone_2024", (255, 220, 60)),  # a watermark on a portrait
        ((96, 160), 20, (12, 60), "THE END", (10, 10, 10)),
        ((720, 1280), 90, (200, 300), "Chapter Four", (240, 240, 240)),
    ],
)
def test_text_over_a_picture_covers_what_it_covers(
    text_area: TextAreaScorer, size: tuple[int, int], text_px: int, place: tuple[int, int], text: str, fill: tuple
) -> None:
    written, font = picture(*size), ImageFont.load_default(text_px)
    ImageDraw.Draw(written).text(place, text, fill=fill, font=font)
    left, top, right, bottom = ImageDraw.Draw(written).textbbox(place, text, font=font)
    share = (right - left) * (bottom - top) / (size[0] * size[1])
    (some,) = text_area(np.asarray(written)[None])
    assert share / 2 < some < 2 * share


def test_a_picture_without_anything_has_no_text(text_area: TextAreaScorer) -> None:
    assert text_area(np.full((1, 240, 426, 3), (30, 90, 140), np.uint8)).tolist() == [0]


def look_alike(form: str) -> Image.Image:
    """A scene without text that the detector alone takes for text: a ring, a bird with its wings spread, a window."""
    sky = np.broadcast_to(np.linspace(90, 200, 270)[:, None, None] * np.array([0.3, 0.6, 1.0]), (270, 480, 3))
    image = Image.fromarray(sky.astype(np.uint8))
    pen, white = ImageDraw.Draw(image), (245, 245, 240)
    if form == "ring":
        pen.ellipse((150, 50, 330, 230), outline=white, width=22)
    elif form == "bird":
        wings = [(160, 120), (225, 128), (240, 60), (255, 128), (320, 110), (258, 150), (246, 215), (230, 150)]
        pen.polygon(wings, fill=white)
    else:
        pen.rectangle((180, 60, 300, 210), outline=white, width=10)
        pen.line((240, 30, 240, 240), fill=white, width=10)
        pen.line((180, 135, 300, 135), fill=white, width=10)
    return image


@pytest.mark.parametrize("form", ["ring", "bird", "window"])
def test_what_only_looks_like_text_scores_nothing_and_text_beside_it_does(text_area: TextAreaScorer, form: str) -> None:
    image = look_alike(form)
    boxes, _ = text_area.detector(np.asarray(image)[..., ::-1].copy())
    assert len(boxes)  # or this picture would prove nothing
    assert text_area(np.asarray(image)[None]).tolist() == [0]
    ImageDraw.Draw(image).text((20, 245), "I never said so.", fill=(255, 255, 255), font=ImageFont.load_default(20))
    frame = np.asarray(image)
    (some,) = text_area(frame[None])
    assert 0.01 < some < 0.05
    assert text_area(np.stack([frame, 255 - frame, frame]))[[0, 2]].tolist() == [some, some]


def test_a_line_of_text_is_read_level_however_it_lies(text_area: TextAreaScorer) -> None:
    image = Image.new("RGB", (300, 300), (30, 60, 90))
    ImageDraw.Draw(image).text((40, 130), "UPRIGHT 42", fill=(255, 255, 255), font=ImageFont.load_default(36))
    box = np.array([[30, 125], [270, 125], [270, 175], [30, 175]], np.float32)
    level = upright(np.asarray(image), box)
    np.testing.assert_array_equal(level, np.asarray(image)[125:175, 30:270])
    (along,) = text_area(np.asarray(image)[None])
    (down,) = text_area(np.asarray(image.rotate(270))[None])  # np.rot90 turns it back
    assert along > 0.05 and down == pytest.approx(along, rel=0.2)


def test_a_missing_text_package_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime.ch_ppocr_det", None)
    with pytest.raises(UserError, match=r"package is missing.*pip install 'reelworks\[ocr\]'"):
        TextAreaScorer(tmp_path)


def test_a_folder_without_a_text_detector_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rapidocr|reelworks\\[ocr\\]"):
        TextAreaScorer(tmp_path)
