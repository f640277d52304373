"""The job against a real S3 server and a real Ray."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reelworks import storage
from reelworks.config import load_recipe
from reelworks.errors import UserError
from reelworks.shapeworld.corpus import Item, items
from reelworks.shapeworld.hostile import REASONS
from reelworks.shapeworld.upload import ShapeworldRecipe, make_corpus, store_batch
from tests.own_ray import own_ray

RECIPES = Path(__file__).parents[2] / "jobs" / "recipes"


class RecordedRun:
    """What a job tells MLflow, kept in a list."""

    def __init__(self) -> None:
        self.steps: list[int | None] = []
        self.pictures: dict[str, bytes] = {}

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        self.steps.append(step)

    def blob(self, data: bytes, name: str) -> None:
        self.pictures[name] = data


@pytest.fixture(scope="module")
def ray_cluster(s3_server: str) -> Iterator[None]:
    """A small Ray of our own, never the one that runs already; its folder's name is short, as its sockets need."""
    with own_ray(2):
        yield


def recipe(prefix: str, **changes: Any) -> ShapeworldRecipe:
    values = {"name": "t", "output": prefix, "train_videos": 4, "eval_videos": 2, "train_images": 2, "batch_size": 3}
    return ShapeworldRecipe.model_validate(values | changes)


def keys(prefix: str) -> dict[str, str]:
    return {found.uri.removeprefix(prefix + "/"): found.etag for found in storage.list_objects(prefix)}


def test_every_object_is_made_once_and_a_rerun_or_a_second_seed_changes_nothing(prefix: str, ray_cluster: None) -> None:
    run = RecordedRun()
    store_batch([Item("train", "video", 1, 0)], prefix)  # an earlier run that was cut off
    first = make_corpus(recipe(prefix), run)  # type: ignore[arg-type]
    made = keys(prefix)
    assert len(made) == 2 * 8 + len(REASONS) + 1
    assert (first["uploaded"], first["present"], first["nondeterministic"]) == (2 * 7 + len(REASONS), 2, 0)
    assert run.steps[-1] == 7 and run.pictures["clips.png"].startswith(b"\x89PNG")
    again = make_corpus(recipe(prefix), RecordedRun())  # type: ignore[arg-type]
    assert (again["uploaded"], again["uploaded_bytes"]) == (0, 0)
    with pytest.raises(UserError, match="holds the corpus"):
        make_corpus(recipe(prefix, seed=9), RecordedRun())  # type: ignore[arg-type]
    assert keys(prefix) == made


def test_two_writers_of_the_same_objects_agree(prefix: str) -> None:
    batch = list(items(seed=0, train_videos=3, eval_videos=0, train_images=0))
    first = store_batch(batch, prefix)
    second = store_batch(batch, prefix)
    assert (first["uploaded"], second["uploaded"], second["present"]) == (6, 0, 6)
    assert second["nondeterministic"] == 0


@pytest.mark.parametrize("place", ["laptop", "cluster"])
def test_shipped_recipes_parse(place: str) -> None:
    loaded = load_recipe(ShapeworldRecipe, RECIPES / place / "shapeworld.yaml")
    assert list(loaded.writes()) == [loaded.output]
