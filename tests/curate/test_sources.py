"""reelworks.curate.sources: what is a source, and which JSON belongs to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks import storage
from reelworks.curate.listing import listed_sources
from reelworks.curate.plan import make_plan
from reelworks.curate.prepare import newest_of
from reelworks.curate.quarantine import list_quarantine
from reelworks.curate.snapshot import read_snapshot
from reelworks.curate.sources import (
    MAX_SIDECAR_BYTES,
    Source,
    list_sources,
    match_shot,
    open_source,
    pair_sidecars,
    read_sidecar,
)
from reelworks.errors import StorageError, StorageErrorKind
from reelworks.storage import ObjectInfo
from reelworks.video.encode import encode_video
from tests.curate.conftest import commit_inline, recipe_for, run_stages


def info(key: str) -> ObjectInfo:
    return ObjectInfo(f"s3://b/{key}", "b", key, f"etag-{key}", 1, 0.0)


def paired(keys: list[str]) -> dict[str, str | None]:
    return {s.uri[7:]: s.sidecar_uri and s.sidecar_uri[7:] for s in pair_sidecars(map(info, sorted(keys)))}


def test_sidecars_are_found_under_both_names_and_are_no_sources() -> None:
    keys = ["v/a.json", "v/a.mp4", "v/b.mp4", "v/b.mp4.json", "v/c.mov", "v/c2.mov", "v/c2.mov.json", "v/", "v/d"]
    assert paired(keys) == {
        "v/a.mp4": "v/a.json",
        "v/b.mp4": "v/b.mp4.json",
        "v/c.mov": None,
        "v/c2.mov": "v/c2.mov.json",
        "v/d": None,
    }


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.text("ab.-1", min_size=1, max_size=6), st.sampled_from(["none", "short", "long"]), max_size=12)
)
def test_streamed_pairing_equals_pairing_with_everything_in_memory(names: dict[str, str]) -> None:
    keys = {f"{name}.mp4" for name in names}
    keys |= {f"{name}.json" for name, kind in names.items() if kind == "short"}
    keys |= {f"{name}.mp4.json" for name, kind in names.items() if kind == "long"}
    expected = {
        key: next((s for s in (f"{key}.json", f"{key[:-4]}.json") if s in keys), None)
        for key in keys
        if not key.endswith(".json")
    }
    assert paired(sorted(keys)) == expected


def test_overlapping_prefixes_list_an_object_once(prefix: str) -> None:
    for name in ("a.mp4", "a.json", "more/b.mp4"):
        storage.create_once(f"{prefix}/{name}", name.encode())
    found = list(list_sources([f"{prefix}/more/", f"{prefix}/", f"{prefix}/"]))
    assert [source.uri.removeprefix(prefix) for source in found] == ["/a.mp4", "/more/b.mp4"]
    assert found[0].size == 5 and found[0].sidecar_uri == f"{prefix}/a.json"


def test_an_object_overwritten_since_its_listing_is_not_read(prefix: str) -> None:
    first = storage.create_once(f"{prefix}/a.mp4", b"one")
    source = next(iter(list_sources([f"{prefix}/"])))
    storage.swap(f"{prefix}/a.mp4", first.etag, b"two")
    with pytest.raises(StorageError) as caught:
        open_source(source)
    assert caught.value.kind is StorageErrorKind.changed


BROKEN = {
    "empty": "",
    "a list": "[]",
    "no JSON": "not json",
    "no shots": '{"shots": 3}',
    "no time": '{"shots": [{"start_s": "x", "end_s": 1}]}',
    "a time beyond numbers": '{"shots": [{"start_s": 1%s, "end_s": 1}]}' % ("0" * 400),
    "half of a surrogate pair": '{"shots": [{"start_s": 0, "end_s": 1, "caption": "\\ud800"}]}',
    "nested without end": "[" * 100_000,
    "too long": '{"shots": []}' + " " * MAX_SIDECAR_BYTES,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_sidecar_is_a_value_error(prefix: str, name: str) -> None:
    text = BROKEN[name]
    stored = storage.create_once(f"{prefix}/a.json", text.encode())
    with pytest.raises(ValueError, match="sidecar"):
        read_sidecar(Source(f"{prefix}/a.mp4", "e", 1, f"{prefix}/a.json", stored.etag))


def test_sidecar_shots_are_read_with_their_times(prefix: str) -> None:
    text = json.dumps({"shots": [{"start_s": 0, "end_s": 2, "caption": "x"}]}).encode()
    stored = storage.create_once(f"{prefix}/a.json", text)
    shots = read_sidecar(Source(f"{prefix}/a.mp4", "e", 1, f"{prefix}/a.json", stored.etag))
    assert shots == [{"start_s": 0.0, "end_s": 2.0, "caption": "x"}]


def test_a_caption_belongs_to_a_clip_only_from_an_overlap_of_four_fifths_on() -> None:
    shots = [{"start_s": 0.0, "end_s": 2.0}, {"start_s": 2.0, "end_s": 4.0}]
    assert match_shot(shots, 2.0, 4.0) is shots[1]
    assert match_shot(shots, 2.0, 3.6) is shots[1]
    assert match_shot(shots, 2.0, 3.5) is None
    assert match_shot(shots, 1.0, 3.0) is None
    assert match_shot([], 0.0, 1.0) is None


def test_one_changed_row_of_a_manifest_recomputes_exactly_its_clips(
    prefix: str, models: dict[str, str], tmp_path: Path
) -> None:
    for shade in (30, 90, 150):
        media = encode_video(np.full((9, 32, 32, 3), shade, np.uint8), 8.0)
        storage.create_once(f"{prefix}/raw/{shade}.mp4", media)
    rows = [{"uri": f"{prefix}/raw/{shade}.mp4", "caption": f"shade {shade}"} for shade in (30, 90, 150)]
    rows += [{"uri": f"{prefix}/raw/missing.mp4"}, {"uri": 7}]
    manifest = f"{prefix}/m.jsonl"
    storage.create_once(manifest, "\n".join(map(json.dumps, rows)).encode())
    recipe = recipe_for(f"{prefix}/data", manifest, models)
    first = commit_inline(recipe, tmp_path / "first")
    assert (first["sources"], first["with_clips"], first["quarantined"], first["clips"]) == (5, 3, 2, 3)
    assert (first["quarantined_missing_object"], first["quarantined_malformed_row"]) == (1, 1)
    assert {r["caption_original"] for r in read_snapshot(recipe.root, "world@1").clips.to_pylist()} == {
        "shade 30",
        "shade 90",
        "shade 150",
    }
    assert "line 5, can't be used: its uri is 7" in list_quarantine(recipe.root)
    assert newest_of(make_plan(recipe), listed_sources(recipe.sources).digest)

    found = storage.head(manifest)
    rows[1]["caption"] = "another"
    assert found and storage.swap(manifest, found.etag, "\n".join(map(json.dumps, rows)).encode())
    assert not newest_of(make_plan(recipe), listed_sources(recipe.sources).digest)
    chunks = run_stages(make_plan(recipe))
    done = ("decoded_sources", "decoded_frames", "captioned_clips", "encoded_clips", "embedded_texts")
    counts = {
        chunk.source.caption: {name: chunk.counts[name] for name in done if chunk.counts.get(name)} for chunk in chunks
    }
    (changed,) = (chunk for chunk in chunks if chunk.source.caption == "another")
    texts = {text for found in [changed.originals, *changed.captions.values()] for text in found}
    assert counts == {"shade 30": {}, "another": {"embedded_texts": len(texts)}, "shade 150": {}, None: {}}
    again = commit_inline(recipe, tmp_path / "again")
    assert (again["committed"], again["quarantined"]) == (1, 2)
