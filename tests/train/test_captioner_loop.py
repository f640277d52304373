"""The verbs train_captioner and train_expander for real: Ray Data, two Ray Train workers, the bucket, the registry."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from reelworks import storage, tracking
from reelworks.errors import UserError
from reelworks.models.captioner import Captioner
from reelworks.models.expander import Expander
from reelworks.shapeworld.clips import random_clips
from reelworks.shapeworld.corpus import Item, make
from reelworks.train.captioner_loop import train_captioner
from reelworks.train.captioner_recipe import TrainCaptionerRecipe
from reelworks.train.captioner_worker import clip_batches
from reelworks.train.expander_loop import train_expander
from reelworks.train.expander_recipe import TrainExpanderRecipe
from tests.own_ray import own_ray
from tests.train.snapshots import write_snapshot

TRAINING = {"steps": 4, "max_minutes": 5, "batch": 4, "learning_rate": 1e-3, "muon_learning_rate": 0.02}
WORKERS = {"num_workers": 2, "cpus": 1}


@pytest.fixture(scope="module")
def ray_cluster(mlflow_server: str) -> Iterator[None]:
    """A Ray of our own; workers poll often, as on the local stack."""
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.2"
    with own_ray(6):
        yield


def captioner_recipe(prefix: str, **changes: object) -> TrainCaptionerRecipe:
    size = {"vision_width": 32, "vision_depth": 1, "text_width": 32, "text_depth": 1, "num_heads": 2}
    return TrainCaptionerRecipe.model_validate(
        {
            "name": "test",
            "sources": [f"{prefix}/train/"],
            "held_out": [f"{prefix}/eval/"],
            "held_out_clips": 4,
            "size": size,
            "training": TRAINING,
            "workers": WORKERS,
            "checkpoints": f"{prefix}/checkpoints",
            "registered_name": "test-captioner",
        }
        | changes
    )


def upload(prefix: str) -> None:
    items = [
        *(Item("train", "video", index, 5) for index in range(6)),
        *(Item("eval", "video", i, 5) for i in range(2)),
    ]
    for item in items:
        for name, data in make(item).objects.items():
            storage.create_once(f"{prefix}/{name}", data)


def test_described_video_becomes_a_registered_captioner(prefix: str, ray_cluster: None, tmp_path: Path) -> None:
    upload(prefix)
    with tracking.start_run("test", "train_captioner", {}, {}) as run:
        results = train_captioner(captioner_recipe(prefix), run)
    assert results["steps"] == 4 and results["held_out_clips"] == 4 and results["clips"] > 4
    assert 0 <= results["caption_accuracy.macro"] <= 1
    registered = tracking.resolve_alias("test-captioner", "champion")
    assert (registered.uri, registered.version) == (results["checkpoint"], results["model_version"])
    captioner = Captioner(storage.download_folder(registered.uri, tmp_path / "captioner"), max_new_tokens=4)
    assert len(captioner.caption([next(random_clips(1, 0)).frames])) == 1
    assert [step for step, _ in tracking.history(run.id, "loss")] == [4]
    assert tracking.artifact(run.id, "held_out_captions.json")


def test_captions_of_a_snapshot_become_a_registered_expander(prefix: str, ray_cluster: None, tmp_path: Path) -> None:
    write_snapshot(f"{prefix}/dataset", 12)
    recipe = TrainExpanderRecipe.model_validate(
        {
            "name": "test",
            "dataset": f"{prefix}/dataset",
            "snapshot": "world@latest",
            "size": {"width": 32, "depth": 1, "num_heads": 2},
            "training": TRAINING,
            "held_out_prompts": 4,
            "workers": WORKERS,
            "checkpoints": f"{prefix}/checkpoints",
            "registered_name": "test-expander",
        }
    )
    with tracking.start_run("test", "train_expander", {}, {}) as run:
        results = train_expander(recipe, run)
    assert (results["steps"], results["clips"], results["pairs"]) == (4, 12, 12)
    registered = tracking.resolve_alias("test-expander", "champion")
    assert (registered.uri, registered.version) == (results["checkpoint"], results["model_version"])
    trained = {one.said for one in tracking.trained_on_snapshots() if one.snapshot == results["snapshot"]}
    model = f"model test-expander version {registered.version} at {registered.uri}"
    assert trained == {f"run {run.id} (train_expander, FINISHED)", model}
    folder = storage.download_folder(registered.uri, tmp_path / "expander")
    assert Expander(folder, max_new_tokens=4).expand(["a red circle"], 0)[0]


def test_without_a_descriptive_caption_the_job_says_what_is_missing(prefix: str) -> None:
    with pytest.raises(UserError, match="no sidecar under .* has a descriptive caption"):
        train_captioner(captioner_recipe(prefix), tracking.Run("none"))


class Shard:
    """Stands in for Ray Train's shard of a data set, and counts how often it is read."""

    def __init__(self, num_clips: int) -> None:
        self.num_clips, self.reads = num_clips, 0

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        self.reads += 1
        for index in range(self.num_clips):
            frames = np.full((1, 8, 8, 3), index, np.uint8).tobytes()
            yield {"frames": frames, "height": 8, "width": 8, "short": "", "descriptive": "x", "attributes": "{}"}


def numbers(shard: Shard, size: int, keep: int, num_batches: int) -> list[int]:
    batches = islice(clip_batches(shard, size, keep, np.random.default_rng(0)), num_batches)
    return [int(clip.frames[0, 0, 0, 0]) for batch in batches for clip in batch]


def test_a_small_shard_is_read_once_and_every_clip_comes_once_an_epoch() -> None:
    shard = Shard(6)
    found = numbers(shard, size=4, keep=100, num_batches=6)
    assert shard.reads == 1
    assert found[:6] == list(range(6))
    for epoch in range(1, 4):
        assert sorted(found[6 * epoch : 6 * epoch + 6]) == list(range(6))
    assert found[6:12] != found[12:18]


def test_a_shard_beyond_memory_is_streamed_in_every_epoch() -> None:
    shard = Shard(6)
    assert numbers(shard, size=4, keep=5, num_batches=3) == [*range(6), *range(6)]
    assert shard.reads == 2


def test_an_empty_shard_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(UserError, match="no described clip could be read"):
        numbers(Shard(0), size=4, keep=5, num_batches=1)


def test_a_recipe_says_where_to_begin_exactly_once() -> None:
    for changes in ({"size": None}, {"start": "hf:a/b"}):
        with pytest.raises(ValidationError, match="either start .* or size"):
            captioner_recipe("s3://a/b", **changes)
    with pytest.raises(ValidationError, match="no multiple of 3 workers"):
        captioner_recipe("s3://a/b", workers={"num_workers": 3})
