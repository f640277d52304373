"""reelworks.curate.verify: whatever is exchanged between a manifest and a frame's pixels is found."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reelworks import cli, schema, storage
from reelworks.curate.clips import ClipSpec
from reelworks.curate.commit import content_of, parquet_bytes
from reelworks.curate.plan import Plan, make_plan
from reelworks.curate.redecode import rows_frames
from reelworks.curate.snapshot import manifest_uri, read_manifest, read_snapshot, read_tables
from reelworks.curate.verify import captioner_digest, frame_problems, verify
from reelworks.errors import UserError
from tests.curate.conftest import commit_inline, recipe_for, upload_world
from tests.curate.forged import commit_rows, damaged, forge, store
from tests.models.test_frame_scorer import save_classifier


@pytest.fixture(scope="module")
def plan(s3_server: str, tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> Plan:
    """A data set with one snapshot of a few good videos; tests commit others after it and harm none of its objects."""
    base = f"s3://reelworks/verify-{uuid.uuid4().hex}"
    upload_world(f"{base}/raw", num_videos=3, hostile=False)
    folder = tmp_path_factory.mktemp("spool")
    nice = {"source": str(save_classifier(folder / "model")), "label": "nice"}
    recipe = recipe_for(f"{base}/data", f"{base}/raw/", models, score_models={"nice": nice})
    commit_inline(recipe, folder / "one")
    return make_plan(recipe)


def swap_field(name: str) -> Callable[[list[dict[str, Any]]], None]:
    def change(rows: list[dict[str, Any]]) -> None:
        other = next((row for row in rows if row[name] != rows[0][name]), rows[1])
        rows[0][name], other[name] = other[name], rows[0][name]

    return change


def flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def test_a_sound_snapshot_is_right_down_to_its_frames(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert "are right" in verify(plan.recipe.root, "world@1")
    assert cli.main(["dataset", "verify", "world@1", "--root", plan.recipe.root, "--frames"]) == 0
    clips = read_snapshot(plan.recipe.root, "world@1").clips.num_rows
    assert f"{clips} clips decoded again and their captions' frames equal" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("frames_digest", "captions or their frames are not those"),
        ("caption_original", "about other clips or texts|holds something else"),
        ("start_s", "is no span"),
        ("source_etag", "is not|stands for several sources"),
        ("captioner", None),
    ],
)
def test_fields_swapped_between_two_rows_are_found(plan: Plan, name: str, told: str | None) -> None:
    forged = forge(plan, swap_field(name))
    if told is None:  # equal in all rows: nothing was swapped
        assert "are right" in verify(plan.recipe.root, forged)
        return
    with pytest.raises(UserError, match=told):
        verify(plan.recipe.root, forged)


def test_tensors_swapped_between_two_rows_are_found(plan: Plan) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        latents = [next(t for t in row["tensors"] if t["name"] == "latents") for row in rows]
        one, other = latents[0], next(t for t in latents if t["digest"] != latents[0]["digest"])
        one["digest"], other["digest"] = other["digest"], one["digest"]

    with pytest.raises(UserError, match="holds something else"):
        verify(plan.recipe.root, forge(plan, change))


def test_rows_left_out_are_found_by_the_counts(plan: Plan) -> None:
    with pytest.raises(UserError, match="the manifest counts"):
        verify(plan.recipe.root, forge(plan, lambda rows: rows.pop() and None))


@pytest.mark.parametrize("stage", ["latents", "text", "captions", "scores", "scores.nice", "index", "parts"])
def test_a_changed_byte_in_any_kind_of_object_is_found(plan: Plan, stage: str) -> None:
    uri = next(storage.list_objects(plan.uri(f"{stage}/"))).uri
    if stage == "parts":
        uri = plan.uri(read_manifest(plan.recipe.root, "world@1")[1]["parts"][0]["key"])
    change = flip_last if stage in ("latents", "text", "parts") else exchange
    with damaged(uri, change), pytest.raises(UserError, match="damaged"):
        verify(plan.recipe.root, "world@1")
    assert "are right" in verify(plan.recipe.root, "world@1")


def exchange(data: bytes) -> bytes:
    """A caption's digest, a score, or a span's end, that is another one."""
    if data[:4] == b"PAR1":
        table = pq.read_table(io.BytesIO(data))
        rows = table.to_pylist()
        if "scores" in rows[0]:
            rows[0]["scores"] = [(name, score + 1e-9) for name, score in rows[0]["scores"]]
        else:
            rows[0]["frames_digest"] = "0" * 64
        return parquet_bytes(pa.Table.from_pylist(rows, table.schema))
    return data.replace(b'"last_pts":', b'"last_pts":1')


@pytest.mark.parametrize("stage", ["captions", "scores", "scores.nice", "index"])
@pytest.mark.parametrize("garbage", [b"", b"PAR1 no table PAR1"])
def test_an_object_that_can_not_be_read_is_named(plan: Plan, stage: str, garbage: bytes) -> None:
    uri = next(storage.list_objects(plan.uri(f"{stage}/"))).uri
    with damaged(uri, lambda data: garbage), pytest.raises(UserError, match=f"damaged: {uri}"):
        verify(plan.recipe.root, "world@1")


def test_a_dropped_clip_is_held_against_its_scores_and_none_is_lost(plan: Plan, tmp_path: Path) -> None:
    scores = [dict(row["scores"]) for row in read_snapshot(plan.recipe.root, "world@1").clips.to_pylist()]
    luma = sorted(one["luma"] for one in scores)[2]
    filters = {"luma": {"min": luma}}
    done = commit_inline(
        plan.recipe.model_validate(plan.recipe.model_dump() | {"filters": filters}), tmp_path / "spool"
    )
    assert "are right" in verify(plan.recipe.root, done["snapshot"])
    ref, manifest = read_manifest(plan.recipe.root, done["snapshot"])
    rows = read_snapshot(plan.recipe.root, ref).clips.to_pylist()
    ((table,), about) = read_tables(plan.recipe.root, manifest["dropped"]), content_of(manifest)
    dropped = table.to_pylist()
    for changed, told in (
        ([dropped[0] | {"value": dropped[0]["value"] + 1e-9}, *dropped[1:]], "was dropped for luma"),
        (dropped[1:], "its index gives"),
    ):
        part = store(plan, "", changed, schema.DROPPED)
        counts = about["counts"] | {"dropped": len(changed)}
        forged = commit_rows(plan, rows, about | {"dropped": [part], "counts": counts})
        with pytest.raises(UserError, match=told):
            verify(plan.recipe.root, str(forged))


def test_a_parent_that_was_exchanged_is_found(plan: Plan) -> None:
    newest = forge(plan, lambda rows: rows[0].update(fps=rows[0]["fps"] + 1))
    with (
        damaged(manifest_uri(plan.recipe.root, "world", 1), lambda data: data + b" "),
        pytest.raises(UserError, match="its successor says"),
    ):
        verify(plan.recipe.root, newest)


def test_any_two_captions_that_were_bound_to_each_others_frames_are_found(plan: Plan) -> None:
    snapshot = read_snapshot(plan.recipe.root, "world@1")
    digest, spec = captioner_digest(snapshot.manifest), ClipSpec.model_validate(snapshot.manifest["clips"])
    rows = snapshot.clips.to_pylist()
    mine = [row for row in rows if row["source_id"] == rows[0]["source_id"]]
    others = [row for row in rows if row["frames_digest"] != mine[0]["frames_digest"]]
    assert frame_problems(mine, spec, digest)[0] == []
    for other in others:
        bound_wrong = [{**mine[0], "frames_digest": other["frames_digest"]}, *mine[1:]]
        found, _ = frame_problems(bound_wrong, spec, digest)
        assert len(found) == 1 and found[0].startswith(mine[0]["clip_id"])


def test_clips_whose_source_was_overwritten_are_counted_as_not_checked(plan: Plan) -> None:
    snapshot = read_snapshot(plan.recipe.root, "world@1")
    digest, spec = captioner_digest(snapshot.manifest), ClipSpec.model_validate(snapshot.manifest["clips"])
    gone = [{**snapshot.clips.to_pylist()[0], "source_etag": "0" * 32}]
    found, done = frame_problems(gone, spec, digest)
    assert found == [] and "not checked" in done


def test_frames_of_a_row_are_those_that_were_encoded(plan: Plan) -> None:
    row = read_snapshot(plan.recipe.root, "world@1").clips.to_pylist()[0]
    (frames,) = rows_frames([row], plan.recipe.clips)
    assert frames.dtype == np.uint8 and frames.shape == (row["num_frames"], row["height"], row["width"], 3)


def test_without_a_captioner_there_is_nothing_that_frames_could_be_held_against() -> None:
    with pytest.raises(UserError, match="leave out --frames"):
        captioner_digest({"models": {}})
