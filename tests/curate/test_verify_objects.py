"""reelworks.curate.verify and its parts: forgeries with right digests from the manifest down are found."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load

from reelworks import schema, storage
from reelworks.curate.commit import content_of
from reelworks.curate.plan import Plan, make_plan
from reelworks.curate.reach import Reach
from reelworks.curate.snapshot import manifest_uri, read_manifest, read_snapshot, read_tables
from reelworks.curate.tensors import pack
from reelworks.curate.verify import verify
from reelworks.errors import UserError
from tests.curate.conftest import commit_inline, recipe_for, upload_world
from tests.curate.forged import damaged, forge, replace, store

Row = dict[str, Any]


@pytest.fixture(scope="module")
def plan(s3_server: str, tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> Plan:
    """A data set of a few good videos, one of them twice, and one file that is none: world@1 with all clips, world@2
    without the darkest one and without copies."""
    base = f"s3://reelworks/forged-{uuid.uuid4().hex}"
    upload_world(f"{base}/raw", num_videos=3, hostile=False)
    video = next(one for one in storage.list_objects(f"{base}/raw/") if one.uri.endswith(".mp4"))
    storage.create_once(f"{base}/raw/train/copy.mp4", storage.get_bytes(video.uri))
    storage.create_once(f"{base}/raw/train/none.mp4", b"no video " * 9)
    folder = tmp_path_factory.mktemp("spool")
    recipe = recipe_for(f"{base}/data", f"{base}/raw/", models)
    commit_inline(recipe, folder / "one")
    lumas = sorted(dict(row["scores"])["luma"] for row in snapshot_rows(recipe.root, "world@1"))
    filters = {"luma": {"min": next(luma for luma in lumas if luma > lumas[0])}, "duplicate_bits": 20}
    filtered = recipe.model_validate(recipe.model_dump() | {"filters": filters})
    done = commit_inline(filtered, folder / "two")
    assert done["dropped_luma"] and done["dropped_duplicate"]
    return make_plan(filtered)


def snapshot_rows(root: str, reference: str) -> list[Row]:
    found: list[Row] = read_snapshot(root, reference).clips.to_pylist()
    return found


def of_one_chunk(rows: list[Row]) -> tuple[Row, Row]:
    """Two clips of one source with different original captions."""
    return next(
        (one, other)
        for one in rows
        for other in rows
        if one["source_id"] == other["source_id"] and one["caption_original"] != other["caption_original"]
    )


def refused(plan: Plan, reference: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        verify(plan.recipe.root, reference)


def test_snapshots_with_and_without_filters_are_right(plan: Plan) -> None:
    for reference in ("world@1", "world@2"):
        assert "are right" in verify(plan.recipe.root, reference)


def strip(rows: list[Row]) -> None:
    rows[0]["tensors"] = []


def lose_a_tail(rows: list[Row]) -> None:
    rows[0]["tensors"] = [one for one in rows[0]["tensors"] if one["name"] != "tail_1"]


def name_twice(rows: list[Row]) -> None:
    rows[0]["tensors"] = [rows[0]["tensors"][0], *rows[0]["tensors"]]


def move_frames(rows: list[Row]) -> None:
    next(one for one in rows[0]["tensors"] if one["name"] == "tail_1")["frame_start"] -= 1


def lose_a_hash(rows: list[Row]) -> None:
    rows[0]["likeness"] = None


def exchange_texts(rows: list[Row]) -> None:
    """Original captions with their embeddings: each still fits the other, but not the clip."""
    one, other = of_one_chunk(rows)
    one["caption_original"], other["caption_original"] = other["caption_original"], one["caption_original"]
    embedded = [next(t for t in row["tensors"] if t["name"] == "text.original") for row in (one, other)]
    one["tensors"] = [t for t in one["tensors"] if t["name"] != "text.original"] + [embedded[1]]
    other["tensors"] = [t for t in other["tensors"] if t["name"] != "text.original"] + [embedded[0]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (strip, "its tensors are others"),
        (lose_a_tail, "its tensors are others"),
        (name_twice, "its tensors are others"),
        (move_frames, "its tensors are others, or of other frames"),
        (lose_a_hash, "its scores are not those"),
        (exchange_texts, "about other clips or texts than those of its chunk"),
    ],
)
def test_rows_that_say_other_things_of_sound_objects_are_found(
    plan: Plan, change: Callable[[list[Row]], None], told: str
) -> None:
    refused(plan, forge(plan, change), told)


def test_captions_that_no_captioner_wrote_are_found(plan: Plan) -> None:
    stages = read_manifest(plan.recipe.root, "world@1")[1]["fingerprints"]
    without = {name: one for name, one in stages.items() if name != "captions"}
    refused(plan, forge(plan, lambda rows: None, fingerprints=without), "no captioner of the snapshot wrote")


def swap_latents(data: bytes) -> bytes:
    """The latents of two clips of one shape, with the header's digests: the object is sound in itself."""
    tensors = load(data)
    names = [name for name in tensors if name.endswith(".latents")]
    one, other = next(
        (a, b)
        for a in names
        for b in names
        if tensors[a].shape == tensors[b].shape and not torch.equal(tensors[a], tensors[b])
    )
    tensors[one], tensors[other] = tensors[other], tensors[one]
    return pack(tensors, {"moments": {}})


@pytest.mark.parametrize(
    ("stage", "change", "told"),
    [
        ("latents", swap_latents, "holds something else"),
        ("latents", lambda data: data + b"\0", "its header speaks of"),
        ("latents", lambda data: data[:-1], "its header speaks of"),
        ("text", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "the bytes of .* changed"),
        ("text", lambda data: b"[]", "is no object of tensors"),
        ("text", lambda data: (2).to_bytes(8, "little") + b"[]", "is no object of tensors"),
    ],
)
def test_objects_that_were_exchanged_are_found(
    plan: Plan, stage: str, change: Callable[[bytes], bytes], told: str
) -> None:
    for uri in {t["uri"] for row in snapshot_rows(plan.recipe.root, "world@1") for t in row["tensors"]}:
        if f"/{stage}/" in uri and (change is not swap_latents or has_two_alike(uri)):
            with damaged(uri, change):
                refused(plan, "world@1", told)
            return
    raise AssertionError("no object fits")


def has_two_alike(uri: str) -> bool:
    try:
        return bool(swap_latents(storage.get_bytes(uri)))
    except StopIteration:
        return False


@pytest.mark.parametrize("stage", ["index", "scores", "captions", "text", "latents"])
def test_an_object_that_is_gone_is_named(plan: Plan, stage: str) -> None:
    reach = Reach(plan.recipe.root)  # world@2 has other objects, where the filters dropped a clip of the chunk
    reach.take_in(read_manifest(plan.recipe.root, "world@1")[1])
    keys = [found.uri.removeprefix(plan.uri("")) for found in storage.list_objects(plan.uri(f"{stage}/"))]
    uri = plan.uri(next(key for key, has in zip(keys, reach.has(keys), strict=True) if has))
    data = storage.get_bytes(uri)
    storage.delete(uri)
    try:
        refused(plan, "world@1", uri)
    finally:
        storage.create_once(uri, data)


def test_another_thresholds_snapshot_is_found_by_the_filters(plan: Plan) -> None:
    root = plan.recipe.root
    about = content_of(read_manifest(root, "world@2")[1])
    strict = about["filters"] | {"luma": {"min": 255.0, "max": None}}
    refused(plan, forge(plan, lambda rows: None, "world@2", filters=strict), "was kept; .* dropped for luma")
    copies = about["filters"] | {"duplicate_bits": None}
    refused(plan, forge(plan, lambda rows: None, "world@2", filters=copies), "dropped for duplicate .* it is kept")


@pytest.mark.parametrize(
    ("reason", "field", "told"),
    [("luma", "value", "was dropped for luma"), ("duplicate", "duplicate_of", "was dropped for duplicate")],
)
def test_a_clip_that_was_dropped_for_something_else_is_found(plan: Plan, reason: str, field: str, told: str) -> None:
    root = plan.recipe.root
    manifest = read_manifest(root, "world@2")[1]
    ((table,), rows) = read_tables(root, manifest["dropped"]), snapshot_rows(root, "world@2")
    dropped = table.to_pylist()
    row = next(one for one in dropped if one["reason"] == reason)
    row[field] = (
        row[field] + 1e-9 if field == "value" else next(r for r in rows if r["clip_id"] != row[field])["clip_id"]
    )
    part = store(plan, "", dropped, schema.DROPPED)
    refused(plan, forge(plan, lambda rows: None, "world@2", dropped=[part]), told)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sources": 1}, "of which"),
        ({"sources": 1, "with_clips": 1}, "with_clips, its tables"),
        ({"dropped_luma": 1, "dropped_duplicate": -1}, "dropped_luma, its tables"),
        ({"quarantined_not_video": -1, "quarantined_corrupt": 1}, "quarantined_.*, its tables"),
        ({"clips": 1}, "clips, its tables"),
    ],
)
def test_counts_that_do_not_add_up_are_found(plan: Plan, change: dict[str, int], told: str) -> None:
    counts = read_manifest(plan.recipe.root, "world@2")[1]["counts"]
    changed = counts | {name: counts.get(name, 0) + more for name, more in change.items()}
    refused(plan, forge(plan, lambda rows: None, "world@2", counts=changed), told)


def test_a_source_in_quarantine_gives_no_clips_and_is_what_it_says(plan: Plan) -> None:
    root = plan.recipe.root
    ((table,), clip) = (
        read_tables(root, [read_manifest(root, "world@2")[1]["quarantine"]]),
        snapshot_rows(root, "world@2")[0],
    )
    good = {"uri": clip["source_uri"], "etag": clip["source_etag"], "source_id": clip["source_id"]}
    for fields, told in ((good, "is in quarantine and gives clips"), ({"etag": "0"}, "in quarantine is not")):
        part = store(plan, "", [row | fields for row in table.to_pylist()], schema.QUARANTINE)
        refused(plan, forge(plan, lambda rows: None, "world@2", quarantine=part), told)


def test_a_manifest_under_another_name_is_found(plan: Plan) -> None:
    root = plan.recipe.root
    storage.create_once(manifest_uri(root, "other", 1), storage.get_bytes(manifest_uri(root, "world", 1)))
    refused(plan, "other@1", "other@1 is a copy of world@1")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[: len(data) // 2], "1.json is no manifest"),
        (lambda data: b"[]", "1.json is no manifest"),
        (lambda data: b'{"parent": null}', "its manifest lacks .*fingerprints"),
    ],
)
def test_a_manifest_that_says_less_is_named(plan: Plan, change: Callable[[bytes], bytes], told: str) -> None:
    uri = manifest_uri(plan.recipe.root, "world", 1)
    with damaged(uri, change):
        refused(plan, "world@1", told)
        refused(plan, "world@2", "1.json is no manifest|its successor says")


def test_a_parts_truncated_table_is_found(plan: Plan) -> None:
    uri = plan.uri(read_manifest(plan.recipe.root, "world@2")[1]["parts"][0]["key"])
    with damaged(uri, lambda data: data[: len(data) // 2]):
        refused(plan, "world@2", "is not what the snapshot committed")


def test_another_chunks_sound_object_in_a_place_is_found(plan: Plan) -> None:
    uris = sorted({t["uri"] for row in snapshot_rows(plan.recipe.root, "world@1") for t in row["tensors"]})
    one, other = [uri for uri in uris if "/latents/" in uri][:2]
    data = storage.get_bytes(one)
    replace(one, storage.get_bytes(other))
    try:
        refused(plan, "world@1", "holds something else")
    finally:
        replace(one, data)
