"""reelworks.curate.diff: what changed between two snapshots, clip by clip, source by source."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelworks import cli, schema
from reelworks.curate.diff import as_text, diff, merged, moved_sources
from reelworks.curate.snapshot import SnapshotRef
from tests.curate.forged import commit_rows, store
from tests.curate.test_commit import plan, rows

IDS = st.sets(st.sampled_from("abcdefgh"))


def snapshot(
    root: str, clips: list[dict[str, Any]], bad: dict[str, str] | None = None, digits: int = 0, **about: Any
) -> SnapshotRef:
    """Commit rows, and sources in quarantine (id -> address)."""
    empty = dict.fromkeys(schema.QUARANTINE.names, "x") | {"good_frames": None}
    failures = [{**empty, "source_id": source, "uri": uri} for source, uri in (bad or {}).items()]
    quarantined = store(plan(root), "", failures, schema.QUARANTINE)
    content = {"counts": {"clips": len(clips)}, "models": {}, "clips": {}, "quarantine": quarantined, **about}
    return commit_rows(plan(root), clips, content, digits)


def clip(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A row of a source with an address of its own, and a latent tensor."""
    tensor = {field.name: 0 for field in schema.TENSOR} | {"name": "latents", "dtype": "float32", "shape": [1]}
    tensor |= {"uri": "s3://b/latents", "digest": changes.pop("digest", "d")}
    return {**row, "source_uri": f"s3://b/{row['source_id']}", "tensors": [tensor], **changes}


@settings(max_examples=100, deadline=None)
@given(IDS, IDS)
def test_rows_are_paired_by_id_and_none_is_lost(old: set[str], new: set[str]) -> None:
    pairs = list(merged([{"clip_id": c} for c in sorted(old)], [{"clip_id": c} for c in sorted(new)]))
    assert [(a and a["clip_id"], b and b["clip_id"]) for a, b in pairs] == [
        (c if c in old else None, c if c in new else None) for c in sorted(old | new)
    ]


def test_an_overwritten_source_is_neither_added_nor_gone() -> None:
    found = moved_sources(
        {"1": "s3://a", "2": "s3://b", "3": "s3://c"}, {"9": "s3://a", "2": "s3://b"}, {}, {"3": "s3://c"}
    )
    assert {what: uris for what, uris in found.items() if uris} == {
        "overwritten": ["s3://a"],
        "into quarantine": ["s3://c"],
    }


@pytest.mark.parametrize("digits", [0, 1])
def test_every_change_is_counted_once_whichever_parts_are_shared(prefix: str, digits: int) -> None:
    before = [clip(row, caption_short="old") for row in rows(60)]
    lost = {row["clip_id"] for row in before if row["source_id"] == "s6"}
    kept = [row for row in before if row["clip_id"] not in lost]
    after = [clip(kept[0], caption_short="new"), clip(kept[1], caption_short="old", digest="e"), *kept[2:]]
    added = [clip({**row, "source_id": "s9"}, caption_short="old") for row in rows(63)[60:]]
    first = snapshot(prefix, before, {"s8": "s3://b/s8"}, digits, models={"latents": "vae#1"})
    second = snapshot(prefix, [*after, *added], {"s6": "s3://b/s6"}, digits, models={"latents": "vae#2"})

    found = diff(prefix, "world@1", "world@2")
    assert (found.before, found.after) == (str(first), str(second))
    changed = {"short caption": 1, "latents": 1}
    assert {name: n for name, n in found.clips.items() if n} == {
        "added": 3, "removed": len(lost), "kept": 60 - len(lost), **changed
    }  # fmt: skip
    assert {what: uris for what, uris in found.sources.items() if uris} == {
        "added": ["s3://b/s9"],
        "gone, or left without a clip": ["s3://b/s8"],
        "into quarantine": ["s3://b/s6"],
    }
    assert found.settings == [("models.latents", "vae#1", "vae#2")]
    assert found.counts["clips"] == (60, 63 - len(lost))
    assert found.captions == [(kept[0]["clip_id"], "short", "old", "new")]
    text = as_text(found)
    assert "models.latents: vae#1 -> vae#2" in text and "into quarantine: s3://b/s6" in text and "+ new" in text


def test_the_command_prints_both_forms(prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot(prefix, [clip(row) for row in rows(3)])
    snapshot(prefix, [clip(row) for row in rows(4)])
    where = ["world@1", "world@latest", "--root", prefix]
    assert cli.main(["dataset", "diff", *where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"]["added"] == 1
    assert cli.main(["dataset", "diff", *where]) == 0
    assert "clips: 1 added, 0 removed, 3 kept" in capsys.readouterr().out
    assert cli.main(["dataset", "diff", "world@1", "world@1", "--root", prefix]) == 0
    assert "nothing to compare" in capsys.readouterr().out
