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
from tests.curate.test_stages import work
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
    # A sidecar is asked for no more than it may have.
    assert all("If-Match" in one.headers for one in tap.gets(world))
    assert all(one.status == (206 if one.path.endswith(".json") else 200) for one in tap.gets(world))

    tap.clear()
    again = prepare(recipe, Log())  # type: ignore[arg-type]
    assert (again["snapshot"], again["decoded_frames"]) == (first["snapshot"], 0)
    # However many sources there are: the manifest, and the table of what is in quarantine. All else is LIST.
    assert [one.path.split("/")[-2] for one in tap.gets()] == ["world", "parts"]
    assert {one.method for one in tap.requests} == {"GET", "HEAD"}

    tap.clear()
    new = storage.create_once(f"{prefix}/raw/new.mp4", encode_video(np.full((9, 32, 32, 3), 90, np.uint8), 8.0))
    both = make_plan(recipe.model_copy(update={"sources": (world, f"{prefix}/raw/")}))
    run_stages(both)
    assert not media_reads(tap, world)
    assert list(media_reads(tap, f"{prefix}/raw/").values()) == [2]

    tap.clear()
    storage.swap(f"{prefix}/raw/new.mp4", new.etag, encode_video(np.full((9, 32, 32, 3), 200, np.uint8), 8.0))
    done = work(run_stages(both))
    assert list(media_reads(tap, f"{prefix}/raw/").values()) == [2] and not media_reads(tap, world)
    assert (done["decoded_sources"], done["scored_clips"], done["captioned_clips"], done["encoded_clips"]) == (
        1,
        1,
        1,
        1,
    )
