"""The stages of prepare as plain functions: what each computes, stores, and finds stored."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from reelworks import storage
from reelworks.curate.chunk import Chunk, from_table, to_table
from reelworks.curate.clips import ClipSpec, clips_of_source
from reelworks.curate.plan import SCORER_VERSION, Plan, make_plan, stage_fingerprints
from reelworks.curate.quarantine import list_quarantine
from reelworks.curate.show import show
from reelworks.curate.snapshot import read_snapshot
from reelworks.curate.sources import list_sources
from reelworks.data.latents import example, fetch
from reelworks.errors import UserError
from reelworks.models.captioner import Captioner
from reelworks.models.text import TextEncoder
from reelworks.models.vae import CausalVAE, to_pixels
from reelworks.video.encode import encode_video
from tests.curate.conftest import NUM_HOSTILE, NUM_IMAGES, NUM_VIDEOS, commit_inline, recipe_for, run_stages

WORK = ("decoded_sources", "decoded_frames", "scored_clips", "captioned_clips", "encoded_clips", "embedded_texts")


@pytest.fixture(scope="module")
def root(s3_server: str, tmp_path_factory: pytest.TempPathFactory, world: str, models: dict[str, str]) -> str:
    """A data set with one committed snapshot of the small shapeworld; read only."""
    root = f"s3://reelworks/stages-{tmp_path_factory.mktemp('name').name}"
    commit_inline(recipe_for(root, world, models), tmp_path_factory.mktemp("spool") / "one")
    return root


def work(chunks: list[Chunk]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for chunk in chunks:
        counts.update(chunk.counts)  # type: ignore[arg-type]
    return {name: int(counts[name]) for name in WORK}


def test_sources_add_up_and_hostile_files_are_in_quarantine_with_their_kind(root: str) -> None:
    counts = read_snapshot(root, "world@latest").manifest["counts"]
    assert counts["sources"] == counts["with_clips"] + counts["no_clips"] + counts["quarantined"]
    assert (counts["with_clips"], counts["quarantined"]) == (NUM_VIDEOS + NUM_IMAGES, NUM_HOSTILE)
    kinds = {name: number for name, number in counts.items() if name.startswith("quarantined_")}
    assert kinds == {f"quarantined_{kind}": 1 for kind in ("empty", "no_video_stream", "not_video", "truncated")}
    assert counts["images"] == NUM_IMAGES
    text = list_quarantine(root)
    assert text.startswith(f"{NUM_HOSTILE} sources (") and "hostile-truncated.mp4" in text


def test_stored_tensors_are_what_the_models_make_of_the_clip_alone(
    root: str, world: str, models: dict[str, str]
) -> None:
    vae, text = CausalVAE.load(Path(models["vae"])), TextEncoder(models["text"])
    clips = {row.clip_id: (row, frames) for row, frames in all_clips(world)}
    rows = read_snapshot(root, "world@latest").clips.to_pylist()
    assert {row["clip_id"] for row in rows} == set(clips)
    for row in rows[:6]:
        frames = clips[row["clip_id"]][1]
        for tensor in row["tensors"]:
            (found,) = fetch_one(row, tensor["name"])
            if tensor["name"].startswith("text."):
                expected = text.encode([row[f"caption_{tensor['name'][5:]}"]])[0]
            else:
                part = frames[tensor["frame_start"] : tensor["frame_end"]]
                expected = vae.encode(to_pixels(torch.from_numpy(part))[None])[0][0]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def all_clips(world: str) -> list[tuple]:
    sources = [source for source in list_sources([world]) if "hostile" not in source.uri]
    return [clip for source in sources for clip in clips_of_source(source, ClipSpec())]


def fetch_one(row: dict, name: str) -> list[torch.Tensor]:
    one = dict(row, tensors=[dict(tensor) for tensor in row["tensors"]])
    for tensor in one["tensors"]:
        tensor["name"] = "latents" if tensor["name"] == name else f"text.{tensor['name']}"
    ref = example(one).latents
    return [fetch([ref])[ref]]


def test_captions_are_bound_to_the_frames_that_the_model_saw(root: str, world: str, models: dict[str, str]) -> None:
    captioner = Captioner(models["captioner"], max_new_tokens=6)
    expected = {row.clip_id: captioner.read(frames) for row, frames in all_clips(world)}
    for row in read_snapshot(root, "world@latest").clips.to_pylist():
        seen = expected[row["clip_id"]]
        assert row["frames_digest"] == seen.digest
        assert row["caption_short"] == captioner.captions([seen], ["short"])["short"][0]


def test_original_captions_come_from_the_sidecars_short_ones_only(root: str, world: str) -> None:
    rows = read_snapshot(root, "world@latest").clips.to_pylist()
    short, descriptive = set(), set()
    for source in list_sources([world]):
        if source.sidecar_uri:
            shots = json.loads(storage.get_bytes(source.sidecar_uri))["shots"]
            short |= {shot["caption"] for shot in shots}
            descriptive |= {shot["descriptive"] for shot in shots} - short
    assert {row["caption_original"] for row in rows} <= short
    assert all(row["caption_original"] for row in rows)
    assert not descriptive & {row[f"caption_{kind}"] for row in rows for kind in ("original", "short", "descriptive")}


def test_a_second_run_finds_everything_stored_and_computes_nothing(
    root: str, world: str, models: dict[str, str], tmp_path: Path
) -> None:
    recipe = recipe_for(root, world, models)
    assert work(run_stages(make_plan(recipe))) == dict.fromkeys(WORK, 0)
    first = read_snapshot(root, "world@latest").ref
    again = commit_inline(recipe, tmp_path / "spool")
    assert (again["committed"], again["snapshot"]) == (0, str(first))


def test_another_captioner_recomputes_captions_and_texts_and_no_latents(
    root: str, world: str, models: dict[str, str]
) -> None:
    captioner = {"source": models["other_captioner"], "max_new_tokens": 6}
    done = work(run_stages(make_plan(recipe_for(root, world, models, captioner=captioner))))
    assert (done["decoded_sources"], done["encoded_clips"]) == (0, 0)
    assert done["captioned_clips"] == read_snapshot(root, "world@1").clips.num_rows
    assert done["embedded_texts"] > 0


def test_another_vae_recomputes_latents_and_no_captions(root: str, world: str, models: dict[str, str]) -> None:
    done = work(run_stages(make_plan(recipe_for(root, world, models, vae={"source": models["other_vae"]}))))
    assert (done["decoded_sources"], done["captioned_clips"], done["embedded_texts"]) == (0, 0, 0)
    assert done["encoded_clips"] == read_snapshot(root, "world@1").clips.num_rows


def test_equal_texts_are_embedded_once(prefix: str, world: str, models: dict[str, str]) -> None:
    chunks = run_stages(make_plan(recipe_for(prefix, world, models, captioner=None)))
    distinct = {text for chunk in chunks for text in chunk.originals if text}
    assert work(chunks)["embedded_texts"] == len(distinct)
    assert work(chunks)["captioned_clips"] == 0


def test_a_new_sidecar_changes_texts_and_nothing_else(prefix: str, models: dict[str, str]) -> None:
    media = encode_video(np.full((9, 32, 32, 3), 90, np.uint8), 8.0)
    storage.create_once(f"{prefix}/raw/a.mp4", media)
    recipe = recipe_for(f"{prefix}/data", f"{prefix}/raw/", models)
    assert run_stages(make_plan(recipe))[0].originals == [None]
    shots = {"shots": [{"start_s": 0, "end_s": 1.125, "caption": "grey"}]}
    storage.create_once(f"{prefix}/raw/a.json", json.dumps(shots).encode())
    (chunk,) = run_stages(make_plan(recipe))
    assert chunk.originals == ["grey"]
    texts = {text for found in [chunk.originals, *chunk.captions.values()] for text in found}
    assert work([chunk]) == {**dict.fromkeys(WORK, 0), "embedded_texts": len(texts)}


def test_a_broken_sidecar_costs_the_caption_and_not_the_video(prefix: str, models: dict[str, str]) -> None:
    storage.create_once(f"{prefix}/raw/a.mp4", encode_video(np.full((9, 32, 32, 3), 90, np.uint8), 8.0))
    storage.create_once(f"{prefix}/raw/a.json", b"{")
    (chunk,) = run_stages(make_plan(recipe_for(f"{prefix}/data", f"{prefix}/raw/", models)))
    assert (chunk.state, chunk.originals, chunk.counts["bad_sidecars"]) == ("clips", [None], 1)


def test_an_object_overwritten_after_the_listing_ends_as_changed(prefix: str, models: dict[str, str]) -> None:
    from reelworks.curate.index import index_source

    first = storage.create_once(f"{prefix}/raw/a.mp4", encode_video(np.full((9, 32, 32, 3), 90, np.uint8), 8.0))
    plan = make_plan(recipe_for(f"{prefix}/data", f"{prefix}/raw/", models))
    source = next(iter(list_sources(plan.recipe.sources)))
    storage.swap(source.uri, first.etag, b"another")
    (chunk,) = index_source(Chunk(source, []), plan)
    assert (chunk.state, list(storage.list_objects(plan.uri("index/")))) == ("changed", [])


def test_latents_that_the_statistics_do_not_normalise_are_refused(
    prefix: str, world: str, models: dict[str, str], tmp_path: Path
) -> None:
    vae = {"source": models["vae"], "std_range": (90.0, 100.0)}
    with pytest.raises(UserError, match="standard deviation"):
        commit_inline(recipe_for(prefix, world, models, vae=vae, captioner=None), tmp_path / "spool")
    assert not list(storage.list_objects(f"{prefix}/snapshots/"))


def test_show_tells_what_a_snapshot_holds(root: str) -> None:
    text = show(root, "world@latest")
    assert "caption_descriptives" in text and "quarantined in index         empty 1" in text
    assert "sources = " in text and max(map(len, text.splitlines())) < 200
    assert "duration (s)" in text and "aspect " in text and "words in short captions" in text


def test_fingerprints_pass_changes_on_to_the_stages_that_read_them(models: dict[str, str]) -> None:
    digests = {"captions": "c", "text": "t", "latents": "v"}
    recipe = recipe_for("s3://b/data", "s3://b/raw/", models)
    before = stage_fingerprints(recipe, digests)

    def changed(**values: object) -> set[str]:
        after = stage_fingerprints(recipe_for("s3://b/data", "s3://b/raw/", models, **values), digests)
        return {stage for stage in before if before[stage] != after[stage]}

    assert changed(snapshot="other", progress_s=1.0, read={"workers": 9}) == set()
    assert changed(clips={"shots": {"detector": "adaptive"}}) == {"index", "scores", "captions", "text", "latents"}
    assert changed(clips={"shots": {"transnet_threshold": 0.3, "transnet_threads": 2}}) == set()
    learned = {"clips": {"shots": {"detector": "transnetv2"}}}
    indexes = {
        stage_fingerprints(recipe_for("s3://b/data", "s3://b/raw/", models, **learned, read=read), digests)["index"]
        for read in ({}, {"shots_num_gpus": 1}, {"shots_num_gpus": 0.5, "workers": 2})
    }
    assert len(indexes) == 2  # by device, not by how much of it
    assert changed(clips={"fps": 4}) == {"scores", "captions", "text", "latents"}
    assert changed(filters={"luma": {"min": 9}, "duplicate_bits": 20}) == set()
    assert changed(captioner={"source": models["captioner"], "max_new_tokens": 7}) == {"captions", "text"}
    assert changed(vae={"source": models["vae"], "pool": {"max_size": 4}}) == set()
    assert changed(vae={"source": models["vae"], "pool": {"threads": 2}}) == {"latents"}
    assert stage_fingerprints(recipe, digests | {"latents": "w"})["captions"] == before["captions"]
    scored = recipe_for("s3://b/data", "s3://b/raw/", models, score_models={"nice": {"source": "x", "label": "nice"}})
    after = stage_fingerprints(scored, digests | {"scores.nice": "n"})
    assert before.items() <= after.items() and after.keys() - before.keys() == {"scores.nice"}
    assert stage_fingerprints(scored, digests | {"scores.nice": "m"})["scores.nice"] != after["scores.nice"]


def test_a_new_reading_of_text_makes_its_scores_again_and_no_other_models(
    models: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorers = {"nice": {"source": "x", "label": "nice"}, "text": {"source": "y", "kind": "text_area"}}
    recipe = recipe_for("s3://b/data", "s3://b/raw/", models, score_models=scorers)
    digests = {"captions": "c", "text": "t", "latents": "v", "scores.nice": "n", "scores.text": "o"}
    before = stage_fingerprints(recipe, digests)
    monkeypatch.setitem(SCORER_VERSION, "text_area", SCORER_VERSION["text_area"] + 1)
    after = stage_fingerprints(recipe, digests)
    assert {stage for stage in before if before[stage] != after[stage]} == {"scores.text"}


def test_chunks_survive_the_way_through_a_block(world: str, models: dict[str, str], prefix: str) -> None:
    plan: Plan = make_plan(recipe_for(prefix, world, models))
    chunks = run_stages(plan)
    again = from_table(to_table(chunks))
    assert [vars(chunk) for chunk in again] == [vars(chunk) for chunk in chunks]


def test_nothing_is_committed_where_no_source_is_usable(prefix: str, models: dict[str, str], tmp_path: Path) -> None:
    storage.create_once(f"{prefix}/raw/a.mp4", b"no video " * 9)
    with pytest.raises(UserError, match="no source gave a clip"):
        commit_inline(recipe_for(f"{prefix}/data", f"{prefix}/raw/", models), tmp_path / "spool")
    assert not list(storage.list_objects(f"{prefix}/data/snapshots/"))


def test_shared_batches_change_rounding_and_never_what_is_bound_to_what(
    root: str, world: str, models: dict[str, str]
) -> None:
    chunks = run_stages(make_plan(recipe_for(root, world, models, deterministic=False)))
    alone = {row["clip_id"]: row for row in read_snapshot(root, "world@1").clips.to_pylist()}
    distinct = set()
    for chunk in chunks:
        for i, clip_id in enumerate(chunk.clip_ids):
            row = alone[clip_id]
            assert chunk.frames_digests[i] == row["frames_digest"]
            distinct |= {text for texts in chunk.captions.values() for text in texts} | set(chunk.originals)
            for tensor in chunk.tensors[i]:
                (found,) = fetch_one({**row, "tensors": [tensor]}, tensor["name"])
                text = tensor["name"].removeprefix("text.")
                if tensor["name"] != text and (text == "original" or chunk.captions[text][i] == row[f"caption_{text}"]):
                    torch.testing.assert_close(found, fetch_one(row, tensor["name"])[0], atol=1e-4, rtol=1e-3)
    assert work(chunks)["embedded_texts"] == len(distinct)
