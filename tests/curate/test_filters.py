"""reelworks.curate.filters, selection: thresholds decide over rows alone, in any order, and every drop counts."""

from __future__ import annotations

import io
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image

from reelworks import schema, storage
from reelworks.curate.chunk import Chunk
from reelworks.curate.filters import Bounds, Filters
from reelworks.curate.plan import make_plan
from reelworks.curate.prepare import newest_of
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.selection import Selection, select
from reelworks.curate.snapshot import read_part, read_snapshot
from reelworks.errors import UserError
from reelworks.shapeworld.clips import random_clips
from reelworks.video.encode import encode_video
from tests.curate.conftest import commit_inline, recipe_for, run_stages
from tests.curate.test_stages import WORK, all_clips, work
from tests.models.test_frame_scorer import save_classifier

SCORES = {"luma": 100.0, "motion": 5.0, "still": 0.0, "sharpness": 90.0}


def row(index: int, likeness: int | None = None, **changes: Any) -> dict[str, Any]:
    """A row of schema.CLIP whose clip_id follows from index, with these scores or fields changed."""
    fields: dict[str, Any] = dict.fromkeys(schema.ClipRow._fields[4:], 100)
    fields |= {"source_id": f"s{index % 3}", "source_uri": "s3://b/k", "source_etag": "e", "start_s": 0.0, "end_s": 2.0}
    fields |= {"clip_id": str(uuid.UUID(int=index * 2**120 + index)), "tensors": []}
    fields |= {name: value for name, value in changes.items() if name in schema.CLIP.names}
    scores = SCORES | {name: value for name, value in changes.items() if name not in schema.CLIP.names}
    hashed = None if likeness is None else likeness.to_bytes(48, "big").hex()
    return {"likeness": hashed, "scores": sorted(scores.items()), **fields}


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema.CLIP)


def dropped_tables(root: str, manifest: dict[str, Any]) -> list[pa.Table]:
    return [pq.read_table(io.BytesIO(read_part(root, part))) for part in manifest["dropped"]]


def reasons(chosen: Selection, rows: list[dict[str, Any]]) -> dict[str, str]:
    return {one["clip_id"]: one["reason"] for one in chosen.dropped(table(rows)).to_pylist()}


def test_every_filter_drops_what_is_outside_its_bounds_and_counts_it() -> None:
    rows = [
        row(1), row(2, luma=3.0), row(3, still=0.95), row(4, motion=0.2), row(5, sharpness=2.0), row(6, end_s=0.5),
        row(7, native_height=40), row(8, luma=250.0), row(9, aesthetic=0.1), row(10, aesthetic=0.4),
    ]  # fmt: skip
    filters = Filters(
        luma=Bounds(min=16, max=235),
        still=Bounds(max=0.9),
        motion=Bounds(min=0.5),
        sharpness=Bounds(min=20),
        duration_s=Bounds(min=1),
        side_px=Bounds(min=64),
        models={"aesthetic": Bounds(min=0.4)},
    )
    chosen = select([table(rows)], (), filters)
    assert chosen.kept(table(rows))["clip_id"].to_pylist() == [rows[0]["clip_id"], rows[9]["clip_id"]]
    names = ["luma", "still", "motion", "sharpness", "duration_s", "side_px", "luma", "aesthetic"]
    assert list(reasons(chosen, rows).values()) == names
    numbers = {f"dropped_{name}": names.count(name) for name in names}
    assert chosen.counts() == {"dropped": 8} | numbers and chosen.num_kept == 2
    assert chosen.dropped(table(rows[1:2])).to_pylist()[0]["value"] == 3.0


def test_no_filter_drops_nothing() -> None:
    rows = [row(1, luma=0.0, still=1.0, motion=0.0, sharpness=0.0), row(2, likeness=5), row(3, likeness=5)]
    chosen = select([table(rows)], (), Filters())
    assert (chosen.kept(table(rows)).num_rows, chosen.counts()) == (3, {"dropped": 0})


def test_an_image_is_not_dropped_for_what_only_a_video_has() -> None:
    image = row(1, native_num_frames=1, end_s=0.04) | {"scores": [("luma", 100.0), ("sharpness", 90.0)]}
    filters = Filters(still=Bounds(max=0.5), motion=Bounds(min=1), duration_s=Bounds(min=1))
    assert select([table([image])], (), filters).num_kept == 1


def test_a_selection_is_the_same_for_any_order_and_division_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    rows = [row(i, likeness=int(rng.integers(6)) << 300, luma=float(rng.integers(40))) for i in range(1, 120)]
    rows = [one | {"native_width": int(rng.integers(100, 103))} for one in rows]
    filters = Filters(luma=Bounds(min=10), duplicate_bits=0)
    expected = select([table(rows)], {"s1"}, filters)
    assert expected.reasons["duplicate"] and expected.reasons["luma"]
    every = expected.dropped(table(rows)).sort_by("clip_id")
    for _ in range(3):
        shuffled = [rows[index] for index in rng.permutation(len(rows))]
        parts = [table(shuffled[start : start + 17]) for start in range(0, len(rows), 17)]
        chosen = select(parts, {"s1"}, filters)
        assert (chosen.counts(), chosen.num_kept) == (expected.counts(), expected.num_kept)
        assert pa.concat_tables([chosen.dropped(part) for part in parts]).sort_by("clip_id") == every
        assert sum(chosen.kept(part).num_rows for part in parts) == chosen.num_kept
    assert not set(every["source_id"].to_pylist()) & {"s1"}


def test_a_clip_that_a_threshold_drops_does_not_take_its_copies_along() -> None:
    dark, copy = row(1, likeness=7, native_width=999, luma=1.0), row(2, likeness=7)
    filters = Filters(luma=Bounds(min=10), duplicate_bits=8)
    assert reasons(select([table([dark, copy])], (), filters), [dark, copy]) == {dark["clip_id"]: "luma"}


def test_a_source_that_is_left_out_keeps_nobody_from_staying() -> None:
    better, copy = row(1, likeness=7, native_width=999), row(2, likeness=7)
    chosen = select([table([better, copy])], {"s1"}, Filters(duplicate_bits=8))
    assert chosen.kept(table([better, copy]))["clip_id"].to_pylist() == [copy["clip_id"]]


def test_bounds_that_exclude_everything_are_refused() -> None:
    with pytest.raises(ValueError, match="above max"):
        Bounds(min=3, max=2)


def test_a_changed_threshold_recomputes_exactly_the_chunks_whose_survivors_changed(
    prefix: str, world: str, models: dict[str, str], tmp_path: Path
) -> None:
    def recipe(**filters: Any) -> PrepareRecipe:
        # A chunk_bytes that cuts the longer videos into several chunks.
        return recipe_for(prefix, world, models, filters=filters, read={"chunk_bytes": 1 << 18})

    commit_inline(recipe(), tmp_path / "one")
    whole = read_snapshot(prefix, "world@1")
    luma = sorted(dict(one)["luma"] for one in whole.clips["scores"].to_pylist())
    bound = (luma[1] + luma[2]) / 2
    stricter = recipe(luma={"min": bound})
    assert newest_of(make_plan(stricter), whole.manifest["sources_digest"]) is None
    chunks = run_stages(make_plan(stricter))
    changed = [chunk for chunk in chunks if chunk.passed_over]
    assert sum(len(chunk.passed_over) for chunk in changed) == 2 and len(changed) < len(chunks)
    assert work([chunk for chunk in chunks if not chunk.passed_over]) == dict.fromkeys(WORK, 0)
    done = work(changed)
    survivors = [one for chunk in changed for one in chunk.rows]
    assert done["captioned_clips"] == done["encoded_clips"] == len(survivors)
    assert done["decoded_frames"] == sum(one.num_frames for one in survivors)
    assert (done["decoded_sources"], done["scored_clips"]) == (0, 0)
    assert work(run_stages(make_plan(stricter))) == dict.fromkeys(WORK, 0)
    assert work(run_stages(make_plan(recipe()))) == dict.fromkeys(WORK, 0)


def test_another_threshold_makes_another_snapshot_that_lists_what_it_dropped(
    prefix: str, world: str, models: dict[str, str], tmp_path: Path
) -> None:
    def recipe(**filters: Any) -> PrepareRecipe:
        return recipe_for(prefix, world, models, captioner=None, filters=filters)

    commit_inline(recipe(), tmp_path / "one")
    whole = read_snapshot(prefix, "world@1").clips
    luma = sorted(dict(one)["luma"] for one in whole["scores"].to_pylist())
    bound = (luma[1] + luma[2]) / 2
    counts = commit_inline(recipe(luma={"min": bound}), tmp_path / "two")
    assert (counts["clips"], counts["dropped"], counts["dropped_luma"]) == (whole.num_rows - 2, 2, 2)
    snapshot = read_snapshot(prefix, "world@2")
    (gone,) = dropped_tables(prefix, snapshot.manifest)
    stays = pa.array([dict(one)["luma"] > bound for one in whole["scores"].to_pylist()])
    columns = [name for name in whole.column_names if name != "tensors"]  # some lie in other objects
    assert snapshot.clips.select(columns) == whole.filter(stays).select(columns)
    assert gone["clip_id"].to_pylist() == whole.filter(pc.invert(stays))["clip_id"].to_pylist()
    with pytest.raises(UserError, match="drop all clips"):
        commit_inline(recipe(luma={"min": 256}), tmp_path / "three")


def test_a_score_model_adds_its_score_and_nothing_else_is_computed_again(
    prefix: str, world: str, models: dict[str, str], tmp_path: Path
) -> None:
    from reelworks.models.frame_scorer import LabelScorer

    def recipe(**changes: Any) -> PrepareRecipe:
        return recipe_for(prefix, world, models, captioner=None, **changes)

    commit_inline(recipe(), tmp_path / "one")
    before = read_snapshot(prefix, "world@1").clips.to_pylist()
    folder = save_classifier(tmp_path / "model")
    nice = {"source": str(folder), "label": "nice", "num_frames": 2, "over_frames": "max"}
    done = work(run_stages(make_plan(recipe(score_models={"nice": nice}))))
    assert done.pop("decoded_frames") == sum(one["num_frames"] for one in before)
    assert done == dict.fromkeys(done, 0) | {"scored_clips": len(before)}
    bound = 0.5
    stricter = recipe(score_models={"nice": nice}, filters={"models": {"nice": {"max": bound}}})
    scorer = LabelScorer(folder, "nice")
    expected = {
        clip.clip_id: scorer(frames[[0, -1]]).max() if len(frames) > 1 else scorer(frames).max()
        for clip, frames in all_clips(world)
    }
    stays = {clip_id for clip_id, score in expected.items() if score <= bound}
    counts = commit_inline(stricter, tmp_path / "two")
    assert (counts["clips"], counts["dropped_nice"]) == (len(stays), len(expected) - len(stays))
    for one in read_snapshot(prefix, "world@2").clips.to_pylist():
        assert dict(one["scores"])["nice"] == expected[one["clip_id"]]


def test_a_score_model_is_named_and_told_what_to_score(models: dict[str, str]) -> None:
    def refused(match: str, **changes: Any) -> None:
        with pytest.raises(ValueError, match=match):
            recipe_for("s3://b/data", "s3://b/raw/", models, **changes)

    model = {"source": "x", "label": "nice"}
    refused("absent from score_models", filters={"models": {"nice": {"min": 1}}})
    refused("can't be named luma", score_models={"luma": model})
    refused("can't be named a/b", score_models={"a/b": model})
    refused("needs a label", score_models={"nice": {"source": "x"}})
    refused("takes no label", score_models={"text": model | {"kind": "text_area"}})


def test_every_clip_is_scored_and_only_survivors_of_all_thresholds_reach_the_encoders(
    prefix: str, world: str, models: dict[str, str], tmp_path: Path
) -> None:
    nice = {"source": str(save_classifier(tmp_path / "model")), "label": "nice"}

    def recipe(**filters: Any) -> PrepareRecipe:
        return recipe_for(prefix, world, models, captioner=None, score_models={"nice": nice}, filters=filters)

    found = score_rows(run_stages(make_plan(recipe(luma={"min": 256}))))
    luma, niceness = (sorted(one[name] for one in found.values()) for name in ("luma", "nice"))
    bounds = {"luma": {"min": luma[2]}, "models": {"nice": {"max": niceness[-2]}}}
    counts = commit_inline(recipe(**bounds), tmp_path / "one")
    stays = {one for one, has in found.items() if has["luma"] >= luma[2] and has["nice"] <= niceness[-2]}
    assert set(read_snapshot(prefix, "world@1").clips["clip_id"].to_pylist()) == stays
    assert (counts["scored_clips"], counts["encoded_clips"]) == (0, len(stays))  # the first run scored all of them
    assert (counts["dropped"], counts["dropped_luma"]) == (len(found) - len(stays), 2)


def score_rows(chunks: list[Chunk]) -> dict[str, dict[str, float]]:
    """clip id -> scores; of a run whose thresholds no clip passes."""
    assert work(chunks)["encoded_clips"] == 0 and not any(chunk.rows for chunk in chunks)
    assert work(chunks)["scored_clips"] == 2 * sum(len(chunk.passed_over) for chunk in chunks)  # pixels, the model
    return {clip.row.clip_id: clip.scores for chunk in chunks for clip in chunk.passed_over}


def test_copies_across_the_bucket_stay_once_and_the_largest_stays(
    prefix: str, models: dict[str, str], tmp_path: Path
) -> None:
    frames = [clip.frames for clip in random_clips(3, 5, sizes=[(128, 96)])]
    for index, one in enumerate(frames):
        height, width = one.shape[1] // 2, one.shape[2] // 2
        small = np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in one])
        storage.create_once(f"{prefix}/raw/a{index}-copy.webm", encode_video(one, 8.0, "vp9", "webm"))
        storage.create_once(f"{prefix}/raw/b{index}-small.mp4", encode_video(small, 8.0, options={"crf": "28"}))
        if index:
            storage.create_once(f"{prefix}/raw/c{index}.mkv", encode_video(one, 8.0, "ffv1", "mkv"))
    recipe = recipe_for(
        f"{prefix}/data", f"{prefix}/raw/", models, captioner=None, filters={"duplicate_bits": 20},
        clips={"shots": {"content_threshold": 200}}, vae={"source": models["vae"], "std_range": (0.01, 50)},
    )  # fmt: skip
    counts = commit_inline(recipe, tmp_path / "one")
    assert (counts["clips"], counts["dropped_duplicate"]) == (3, 5)
    snapshot = read_snapshot(f"{prefix}/data", "world@1")
    assert set(snapshot.clips["native_width"].to_pylist()) == {128}
    (gone,) = dropped_tables(f"{prefix}/data", snapshot.manifest)
    assert set(gone["duplicate_of"].to_pylist()) <= set(snapshot.clips["clip_id"].to_pylist())
