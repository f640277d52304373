"""reelworks.curate.prepare: the whole pipeline on a real bucket and a real Ray, with tiny models."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ray
from PIL import Image
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from ray.exceptions import RayError

from reelworks import storage
from reelworks.curate import pipeline
from reelworks.curate.board import new_board
from reelworks.curate.plan import Plan, make_plan
from reelworks.curate.prepare import prepare
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.snapshot import read_snapshot, resolve_snapshot
from reelworks.errors import UserError
from tests.curate import idle_stages
from tests.curate.conftest import NUM_HOSTILE, NUM_IMAGES, NUM_VIDEOS, commit_inline, recipe_for
from tests.curate.run_log import Log
from tests.models.test_frame_scorer import save_classifier

pytestmark = pytest.mark.usefixtures("ray_cluster")
ROOT = Path(__file__).parents[2]


def stored(prefix: str) -> dict[str, str]:
    """Key below the data set's root -> ETag."""
    return {found.uri.removeprefix(prefix): found.etag for found in storage.list_objects(f"{prefix}/")}


def test_a_run_accounts_for_every_source_and_a_rerun_does_nothing(
    prefix: str, world: str, models: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pictures = {"contact_sheet": 4, "reconstructions": 2}
    scored = {"score_models": {"nice": {"source": str(save_classifier(tmp_path)), "label": "nice"}}}
    recipe, log = recipe_for(prefix, world, models, pictures=pictures, progress_s=0.2, **scored), Log()
    first = prepare(recipe, log)  # type: ignore[arg-type]
    assert first["sources"] == NUM_VIDEOS + NUM_IMAGES + NUM_HOSTILE
    assert first["sources"] == first["with_clips"] + first["no_clips"] + first["quarantined"] + first["changed"]
    snapshot = read_snapshot(prefix, "world@latest")
    assert first["clips"] == snapshot.clips.num_rows == snapshot.manifest["counts"]["clips"] > NUM_VIDEOS
    assert all({"luma", "sharpness", "nice"} <= dict(one).keys() for one in snapshot.clips["scores"].to_pylist())
    assert first["committed"] == 1 and first["nondeterministic"] == 0

    assert f"12/12 sources, {first['clips']} clips" in capsys.readouterr().out
    assert log.values[-1]["sources_done"] == log.values[-1]["index.done"] == 12
    assert log.values[-1]["latents.bytes_written"] > 0 and first["bytes_read"] > first["bytes_written"] > 0
    assert "prepare/report.html" in log.files
    for name in ("prepare/contact_sheet.png", "prepare/reconstructions.png"):
        assert Image.open(io.BytesIO(log.files[name])).width > 300
    assert "psnr_db" in log.files["prepare/reconstructions.json"].decode()

    before = stored(prefix)
    again = prepare(recipe, Log())  # type: ignore[arg-type]
    assert {again[name] for name in ("committed", "decoded_sources", "captioned_clips", "encoded_clips")} == {0}
    assert (again["snapshot"], again["clips"]) == (first["snapshot"], first["clips"])
    assert stored(prefix) == before


def test_a_killed_driver_is_finished_by_another_with_more_actors_to_the_same_bytes(
    prefix: str, world: str, models: dict[str, str], tmp_path: Path
) -> None:
    slow = {"read": {"sources_per_task": 1, "chunks_per_task": 1}}
    stages = {name: {"source": models[name], "chunks_per_call": 1} for name in ("text", "vae")}
    stages["captioner"] = {"source": models["captioner"], "max_new_tokens": 6, "chunks_per_call": 1}
    stages["vae"] |= {"std_range": (0.2, 5.0)}
    file = tmp_path / "recipe.json"
    file.write_text(recipe_for(prefix, world, models, **slow, **stages).model_dump_json())
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.curate.driver", ray.get_runtime_context().gcs_address, str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while driver.poll() is None and not any(key.startswith("/captions/") for key in stored(prefix)):
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    half = without_records(stored(prefix))
    assert any(key.startswith("/captions/") for key in half), "the driver ended before it was killed"
    assert not any(key.startswith("/snapshots/") for key in half)

    two = {name: stage | {"pool": {"min_size": 2, "max_size": 2}} for name, stage in stages.items()}
    resumed = prepare(recipe_for(prefix, world, models, **slow, **two), Log())  # type: ignore[arg-type]
    assert resumed["decoded_sources"] < NUM_VIDEOS + NUM_IMAGES
    after = stored(prefix)
    assert {key: after[key] for key in half} == half

    storage.delete_prefix(f"{prefix}/")
    whole = commit_inline(recipe_for(prefix, world, models), tmp_path / "spool")
    assert whole["snapshot"] == resumed["snapshot"]
    assert without_records(stored(prefix)) == without_records(after)
    assert not any(key.startswith("/runs/") for key in after)


def without_records(keys: dict[str, str]) -> dict[str, str]:
    """All objects but the records of the quarantine, which hold times, and of runs that haven't ended."""
    return {key: etag for key, etag in keys.items() if not key.startswith(("/quarantine/", "/runs/"))}


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline's stages hold frames and sleep, and compute nothing."""
    for name, stage in {
        "list_chunks": idle_stages.list_idle,
        "index_sources": idle_stages.index_idle,
        "decode_chunks": idle_stages.decode_idle,
        "CaptionActor": idle_stages.IdleCaptions,
        "LatentActor": idle_stages.IdleLatents,
        "TextActor": idle_stages.IdleText,
    }.items():
        monkeypatch.setattr(pipeline, name, stage)


def idle_plan(models: dict[str, str], chunk_bytes: int = 11_000_000, **changes: Any) -> Plan:
    read = {"workers": 2, "sources_per_task": 4, "chunks_per_task": 2, "chunk_bytes": chunk_bytes}
    return make_plan(recipe_for("s3://reelworks/idle", "s3://raw/idle/", models, read=read, **changes))


def test_a_small_object_store_does_not_spill(models: dict[str, str], idle: None) -> None:
    """32 chunks of 11 MB of frames through a store of 200 MB, for two encoders at half a second a chunk."""
    plan = idle_plan(models, vae={"source": models["vae"], "pool": {"min_size": 2, "max_size": 2}})
    before = spilled_bytes()
    done = [chunk for chunks in pipeline.finished_chunks(plan, new_board()) for chunk in chunks]
    assert len(done) == idle_stages.CHUNKS
    assert spilled_bytes() == before


def test_a_pool_grows_where_work_waits_for_it(
    models: dict[str, str], idle: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "LatentActor", idle_stages.JoinedLatents)
    vae = {"source": models["vae"], "pool": {"min_size": 1, "max_size": 2}}
    plan = idle_plan(models, chunk_bytes=1, vae=vae, name=str(tmp_path))
    done = [chunk.counts for chunks in pipeline.finished_chunks(plan, new_board()) for chunk in chunks]
    assert len(done) == idle_stages.CHUNKS and len({one["pid"] for one in done}) == 2


def test_a_row_that_kills_its_actor_ends_the_job_after_a_bounded_number_of_starts(
    models: dict[str, str], idle: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "LatentActor", idle_stages.DeadlyLatents)
    starts = tmp_path / "starts"
    plan = idle_plan(models, name=str(starts))
    with pytest.raises(RayError, match="DeadlyLatents"):
        list(pipeline.finished_chunks(plan, new_board()))
    assert len(starts.read_bytes()) == 1 + pipeline.ATTEMPTS


def spilled_bytes() -> int:
    """What the cluster has written from its object store to disk so far."""
    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    return int(get_memory_info_reply(state).store_stats.spilled_bytes_total)


def test_an_empty_prefix_is_refused_before_anything_starts(prefix: str, models: dict[str, str]) -> None:
    with pytest.raises(UserError, match="no objects"):
        prepare(recipe_for(prefix, f"{prefix}-nothing/", models), Log())  # type: ignore[arg-type]


def test_a_snapshot_that_is_not_there_is_named(prefix: str) -> None:
    with pytest.raises(UserError, match="no snapshot world@latest"):
        resolve_snapshot(prefix, "world@latest")


@pytest.mark.parametrize("size", ["laptop", "cluster"])
def test_shipped_recipes_parse(size: str) -> None:
    from reelworks.config import load_recipe

    assert load_recipe(PrepareRecipe, ROOT / f"jobs/recipes/{size}/prepare.yaml").captioner
