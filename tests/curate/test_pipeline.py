"""reelworks.curate.pipeline on several nodes."""

from __future__ import annotations

from pathlib import Path

from reelworks import storage
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
