from pathlib import Path
from typing import Any

import pytest

from reelworks.config import load_recipe
from reelworks.data.latents import Example, TensorRef
from reelworks.errors import UserError
from reelworks.models.dit import DiTConfig
from reelworks.train.dit_recipe import TrainDiTRecipe
from reelworks.train.dit_setup import check_examples, limits_of

RECIPES = Path(__file__).resolve().parents[2] / "jobs" / "recipes"
LAPTOP = RECIPES / "laptop" / "train_dit.yaml"


@pytest.mark.parametrize("size", ["laptop", "cluster"])
def test_the_shipped_recipes_are_valid(size: str) -> None:
    recipe = load_recipe(TrainDiTRecipe, RECIPES / size / "train_dit.yaml")
    assert recipe.writes() == (recipe.checkpoints,)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("workers.num_workers=3", "no multiple of workers.num_workers 3"),
        ("architecture.heads=5", "no multiple of 2 x heads"),
        ("text.captions={descriptive: 0.5}", "must add up to 1"),
        ("objective.reference_token=3", "reference_tokens"),
    ],
)
def test_a_contradiction_is_named_before_anything_starts(override: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        load_recipe(TrainDiTRecipe, LAPTOP, [override])


def one(latents: tuple[int, ...] = (4, 1, 2, 2), texts: tuple[int, ...] = (5, 8)) -> Example:
    def ref(shape: tuple[int, ...]) -> TensorRef:
        return TensorRef("s3://b/a", 0, 4, shape, "float32", "")

    return Example("clip-7", 8.0, ref(latents), {"short": ref(texts)} if texts else {})


@pytest.mark.parametrize(
    ("examples", "complaint"),
    [
        ([], "has no clips"),
        ([one(latents=(16, 1, 2, 2))], "clip-7 has 16 latent channels"),
        ([one(texts=())], "clip-7 has no caption"),
        ([one(texts=(5, 384))], "clip-7 are .384. wide"),
    ],
)
def test_a_snapshot_of_other_models_is_refused_by_the_first_clip(examples: list[Example], complaint: str) -> None:
    config = DiTConfig(channels=4, width=24, layers=1, heads=2, text_width=8)
    recipe = load_recipe(TrainDiTRecipe, LAPTOP)
    check_examples([one()], config, recipe)
    with pytest.raises(UserError, match=complaint):
        check_examples(examples, config, recipe)


def test_limits_are_what_the_data_cover_and_images_do_not_count_as_a_frame_rate() -> None:
    def row(width: int, height: int, frames: int, fps: float, tokens: int) -> dict[str, Any]:
        return {"width": width, "height": height, "num_frames": frames, "fps": fps, "num_tokens": tokens}

    config = DiTConfig(channels=4, width=24, layers=1, heads=2, text_width=8, patch=(1, 2, 2))
    found = limits_of([row(64, 32, 17, 8.0, 160), row(32, 48, 9, 6.0, 72), row(16, 16, 1, 1.0, 4)], config)
    assert (found.min_size_px, found.max_size_px, found.max_tokens) == (16, 64, 40)
    assert (found.min_fps, found.max_fps, found.max_seconds) == (6.0, 8.0, 17 / 8)
