"""reelworks.curate.index: what the index object of a source says."""

from __future__ import annotations

import numpy as np

from reelworks import storage
from reelworks.curate.chunk import Chunk
from reelworks.curate.index import find_index
from reelworks.curate.plan import STAGE_VERSION, make_plan
from reelworks.curate.sources import list_sources
from reelworks.video.encode import encode_video
from tests.curate.conftest import recipe_for

GOLDEN_INDEX = {
    "state": "clips",
    "shots": 2,
    "width": 48,
    "height": 32,
    "fps": 24.0,
    "time_base": "1/1000",
    "chunks": [
        [
            {"start_s": 0.0, "end_s": 1.25, "num_frames": 30, "first_pts": 0, "last_pts": 1208},
            {"start_s": 1.25, "end_s": 3.1246666666666667, "num_frames": 45, "first_pts": 1250, "last_pts": 3083},
        ]
    ],
}


def test_the_index_of_a_fixed_video_changes_only_with_its_stage_version(prefix: str, models: dict[str, str]) -> None:
    rng = np.random.default_rng(0)
    shots = [rng.integers(low, low + 60, (1, 32, 48, 3)).repeat(count, 0) for low, count in ((0, 30), (180, 45))]
    media = encode_video(np.concatenate(shots).astype(np.uint8), 24.0, "ffv1", "mkv")
    storage.create_once(f"{prefix}/raw/a.mkv", media)
    plan = make_plan(recipe_for(f"{prefix}/data", f"{prefix}/raw/", models))
    (source,) = list_sources(plan.recipe.sources)
    assert STAGE_VERSION["index"] == 7
    assert find_index(Chunk(source, []), plan) == GOLDEN_INDEX


def test_the_index_says_where_key_frames_lie_only_where_the_container_does_not(
    prefix: str, models: dict[str, str]
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (48, 32, 48, 3)).astype(np.uint8)
    for name in ("a.avi", "b.mkv"):
        storage.create_once(f"{prefix}/raw/{name}", encode_video(frames, 24.0, "ffv1", name[2:], options={"g": "12"}))
    shots = {"detector": "fixed", "max_clip_s": 0.75, "min_clip_s": 0.25}
    plan = make_plan(recipe_for(f"{prefix}/data", f"{prefix}/raw/", models, clips={"shots": shots}))
    avi, mkv = (find_index(Chunk(source, []), plan)["chunks"] for source in list_sources(plan.recipe.sources))
    assert [span["place"][:2] for run in avi for span in run] == [(0, 0), (12, 12), (24, 24)]
    assert not any("place" in span for run in mkv for span in run)
