"""reelworks.curate.scores: each score moves with what it is named after, and its bytes change only with its version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from reelworks.curate.likeness import clip_hash
from reelworks.curate.plan import SCORER_VERSION, STAGE_VERSION
from reelworks.curate.scores import score_clip
from reelworks.models.frame_scorer import TextAreaScorer

RNG = np.random.default_rng(0)
TEXTURE = RNG.integers(0, 256, (72, 128, 3)).astype(np.uint8)


def moving(step_px: int, num_frames: int = 9) -> np.ndarray:
    """Coarse blocks that move sideways."""
    blocks = TEXTURE[:9, :16].repeat(8, axis=0).repeat(8, axis=1)
    return np.stack([np.roll(blocks, index * step_px, axis=1) for index in range(num_frames)])


def blurred(frames: np.ndarray, radius: float) -> np.ndarray:
    images = [Image.fromarray(frame).filter(ImageFilter.GaussianBlur(radius)) for frame in frames]
    return np.stack([np.asarray(image) for image in images])


GOLDEN_SCORES = {"luma": 133.470833, "motion": 21.197917, "sharpness": 2362.332426, "still": 0.0}
GOLDEN_HASH = "10c02eb22e35c144066126d910c22e2b2a34c0041e61268994c22b2b2a3440101c60068914c1a3222a3440101c620689"


def test_luma_is_low_for_black_and_high_for_white() -> None:
    shape = (5, 32, 48, 3)
    assert score_clip(np.zeros(shape, np.uint8))["luma"] == 0
    assert score_clip(np.full(shape, 255, np.uint8))["luma"] == 255
    assert score_clip(np.full(shape, 20, np.uint8))["luma"] == pytest.approx(20, abs=1)


def test_motion_grows_with_speed_and_a_still_clip_has_none() -> None:
    motions = [score_clip(moving(step))["motion"] for step in (0, 1, 4)]
    assert motions[0] == 0 < motions[1] < motions[2]
    assert [score_clip(moving(step))["still"] for step in (0, 1, 4)] == [1, 0, 0]


def test_still_is_the_share_of_steps_without_a_change_noise_or_not() -> None:
    frames = np.concatenate([moving(4, 5), moving(4, 5)[-1:].repeat(4, axis=0)])
    assert score_clip(frames)["still"] == 0.5
    noise = np.random.default_rng(1).integers(-1, 2, (5, 360, 640, 1))
    grainy = np.clip(np.full((5, 360, 640, 3), 100) + noise, 0, 255).astype(np.uint8)
    assert score_clip(grainy)["still"] == 1


def test_sharpness_falls_with_blur() -> None:
    sharp, soft, softer = (score_clip(blurred(moving(2), radius))["sharpness"] for radius in (0, 2, 4))
    assert sharp > 2 * soft > 4 * softer


def test_an_image_has_neither_motion_nor_stillness() -> None:
    assert set(score_clip(TEXTURE[None])) == {"luma", "sharpness"}


def test_the_scores_of_fixed_frames_change_only_with_their_stage_version() -> None:
    assert STAGE_VERSION["scores"] == 1
    scores = score_clip(moving(3, 5))
    assert {name: round(value, 6) for name, value in scores.items()} == GOLDEN_SCORES
    assert clip_hash(moving(3, 5)) == GOLDEN_HASH


def test_the_text_score_of_a_fixed_frame_changes_only_with_its_version() -> None:
    package = pytest.importorskip("rapidocr_onnxruntime", reason="the extra ocr is not installed")
    assert SCORER_VERSION["text_area"] == 2
    image = Image.new("RGB", (480, 270), (40, 90, 160))
    pen = ImageDraw.Draw(image)
    pen.text((20, 243), "and then it rained", fill=(255, 255, 255), font=ImageFont.load_default(18))
    pen.ellipse((150, 50, 330, 230), outline=(245, 245, 240), width=22)  # the detector alone takes it for text
    found = TextAreaScorer(Path(package.__file__).parent / "models")(np.asarray(image)[None])
    assert found.tolist() == pytest.approx([0.0199], abs=1e-3)
