"""What runs of `prepare` ask of the S3 server, counted on the wire."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from reelworks import storage
from reelworks.curate.plan import make_plan
from reelworks.curate.prepare import prepare
from reelworks.video.encode import encode_video
from tests.curate.conftest import commit_inline, recipe_for, run_stages
from tests.curate.run_log import Log
from tests.storage.tap import Tap


def media_reads(tap: Tap, prefix: str) -> Counter[str]:
    """GETs of each video under a prefix, sidecars apart."""
    return Counter(one.path for one in tap.gets(prefix) if not one.path.endswith(".json"))


def test_reads_are_proportional_to_what_changed(
    tap: Tap, prefix: str, world: str, models: dict[str, str], tmp_path: Path
) -> None:
    recipe = recipe_for(f"{prefix}/data", world, models)
    first = commit_inline(recipe, tmp_path / "spool")
    reads = media_reads(tap, world)
    assert len(reads) == first["sources"]
    assert set(reads.values()) <= {1, 2}, "a small object is read once for its shots and once for its frames"
    assert all("If-Match" in one.headers and one.status == 200 for one in tap.gets(world))

    tap.clear()
    again = prepare(recipe, Log())  # type: ignore[arg-type]
    assert (again["snapshot"], again["decoded_frames"]) == (first["snapshot"], 0)
    # However many sources there are: the manifest, and the table of what is in quarantine. All else is LIST.
    assert [one.path.split("/")[-2] for one in tap.gets()] == ["world", "parts"]
    assert {one.method for one in tap.requests} == {"GET", "HEAD"}

    tap.clear()
    storage.create_once(f"{prefix}/raw/new.mp4", encode_video(np.full((9, 32, 32, 3), 90, np.uint8), 8.0))
    run_stages(make_plan(recipe.model_copy(update={"sources": (world, f"{prefix}/raw/")})))
    assert not media_reads(tap, world)
    assert list(media_reads(tap, f"{prefix}/raw/").values()) == [2]
