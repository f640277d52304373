"""reelworks.curate.pipeline: what a stage's workers are; the pipeline as a whole runs in test_prepare."""

from __future__ import annotations

from typing import Any

import pytest

from reelworks.curate.index import IndexActor
from reelworks.curate.pipeline import _cutters
from reelworks.curate.plan import Plan
from tests.curate.conftest import recipe_for


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
