"""reelworks.curate.pipeline: what a stage's workers are, and several nodes; as a whole it runs in test_prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reelworks import storage
from reelworks.curate.index import IndexActor
from reelworks.curate.pipeline import _cutters
from reelworks.curate.plan import Plan
from reelworks.curate.prepare import prepare
from tests.curate.conftest import commit_inline, recipe_for
from tests.curate.run_log import Log
from tests.own_ray import own_nodes


def test_nodes_share_the_work_of_four_encoders_and_store_the_bytes_of_one_process(
    prefix: str, world: str, models: dict[str, str], tmp_path: Path
) -> None:
    # Five actors don't fit on a node of three CPUs: both nodes must work.
    pool = {"min_size": 4, "max_size": 4}
    vae = {"source": models["vae"], "std_range": (0.2, 5.0), "pool": pool}
    recipe = recipe_for(prefix, world, models, captioner=None, vae=vae, read={"num_cpus": 0.5, "chunks_per_task": 1})
    with own_nodes(2, num_cpus=3):
        shared = prepare(recipe, Log())  # type: ignore[arg-type]
    assert (shared["committed"], shared["nondeterministic"]) == (1, 0)
    storage.delete_prefix(f"{prefix}/")
    alone = commit_inline(recipe, tmp_path / "spool")
    assert (alone["snapshot"], alone["encoded_clips"]) == (shared["snapshot"], shared["encoded_clips"])


def test_a_gpu_that_no_detector_would_use_is_refused(models: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="content computes on CPUs; leave it out, or choose"):
        recipe_for("s3://b/data", "s3://b/raw/", models, read={"shots_num_gpus": 1})


def test_sources_are_cut_by_tasks_or_by_actors_that_keep_the_detectors_gpu(
    models: dict[str, str],
) -> None:
    def cutters(**changes: Any) -> tuple[Any, dict[str, Any]]:
        recipe = recipe_for("s3://b/data", "s3://b/raw/", models, **changes)
        return _cutters(Plan(recipe, {}, {}), None, {"num_cpus": 1.0})

    cut, workers = cutters()
    assert workers == {"num_cpus": 1.0} and not isinstance(cut, type)
    learned = {"shots": {"detector": "transnetv2"}}
    cut, workers = cutters(clips=learned, read={"shots_num_gpus": 0.5, "num_cpus": 2, "workers": 3})
    assert issubclass(cut, IndexActor)
    assert (workers["num_gpus"], workers["num_cpus"]) == (0.5, 2)
    assert (workers["compute"].min_size, workers["compute"].max_size) == (1, 3)
    assert workers["fn_constructor_kwargs"]["plan"].recipe.read.shots_device == "cuda"
