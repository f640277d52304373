"""infra.local.stages and the demo's command line: what runs for whose videos, on recipes that take it."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from infra.local.demo import parse_arguments
from infra.local.stages import Choices, stages
from reelworks.config import Recipe, load_recipe
from reelworks.errors import UserError

ROOT = Path(__file__).parents[2]
MODULES = {
    "shapeworld": "reelworks.shapeworld.upload",
    "train_vae": "reelworks.train.vae_loop",
    "train_captioner": "reelworks.train.captioner_recipe",
    "prepare": "reelworks.curate.recipe",
    "train_expander": "reelworks.train.expander_recipe",
    "train_dit": "reelworks.train.dit_recipe",
    "evaluate": "reelworks.evaluate.loop",
}
CHOICES = {
    "full": Choices(),
    "ci": Choices("ci"),
    "own videos": Choices("ci", 7),
    "one video": Choices("ci", 1),
    "own captions": Choices("ci", 7, own_captions=True),
    "captioner": Choices("ci", 7, captioner="hf:org/name"),
}


def recipe_class(verb: str) -> type[Recipe]:
    module = importlib.import_module(MODULES[verb])
    own = [
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Recipe) and one.__module__ == module.__name__
    ]
    return own[0]


@pytest.mark.parametrize("choices", CHOICES.values(), ids=list(CHOICES))
def test_every_stage_of_every_choice_is_a_recipe_that_parses(choices: Choices) -> None:
    for stage in stages(choices):
        load_recipe(recipe_class(stage.verb), ROOT / f"jobs/recipes/laptop/{stage.verb}.yaml", stage.overrides)


def test_captions_of_ones_own_need_neither_shapeworld_nor_an_expander() -> None:
    names = [stage.name for stage in stages(CHOICES["own captions"])]
    assert names == ["train_vae", "prepare", "prepare_footage", "train_dit", "evaluate"]
    assert "train_expander" in [stage.name for stage in stages(CHOICES["captioner"])]


def test_a_single_own_video_is_trained_and_measured_on() -> None:
    overrides = {stage.name: " ".join(stage.overrides) for stage in stages(CHOICES["one video"])}
    assert "eval/" not in overrides["train_vae"] + overrides["evaluate"]
    assert "s3://raw/videos/eval/" in " ".join(stages(CHOICES["own videos"])[-1].overrides)


def test_a_folder_without_videos_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(UserError, match="holds no videos"):
        parse_arguments(["--videos", str(tmp_path)])
    with pytest.raises(UserError, match="is no folder"):
        parse_arguments(["--videos", str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="VIDEOS=folder"):
        parse_arguments(["--captioner", "hf:org/name"])


def test_sidecars_beside_own_videos_are_captions_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.MP4").write_bytes(b"x")
    choices, _ = parse_arguments(["--videos", str(tmp_path)])
    assert choices.num_own_videos == 1 and not choices.own_captions
    (tmp_path / "a.json").write_text("{}")
    choices, _ = parse_arguments(["--videos", str(tmp_path)])
    assert choices.own_captions
