"""reelworks.train.described_clips: which shots are learned from, on a real S3 server, good files among bad ones."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from reelworks import storage
from reelworks.curate.clips import ClipSpec
from reelworks.curate.sources import Source
from reelworks.shapeworld.corpus import Item, make
from reelworks.train.described_clips import clip_of_row, described_sources, read_clips

SPEC = ClipSpec(fps=8, max_tokens=480)


class Counts(Counter[str]):
    """Stands in for the actor that counts over all tasks."""

    @property
    def add(self) -> Counts:
        return self

    def remote(self, counts: dict[str, int]) -> None:
        self.update(counts)


def upload(prefix: str) -> dict[str, list[dict[str, Any]]]:
    """Three rendered videos; returns media key -> shots."""
    shots = {}
    for index in range(3):
        for name, data in make(Item("train", "video", index, seed=5)).objects.items():
            storage.create_once(f"{prefix}/{name}", data)
            if name.endswith(".json"):
                shots[name.removesuffix(".json")] = json.loads(data)["shots"]
    return shots


def row(source: Source, shots: list[dict[str, Any]]) -> dict[str, str]:
    return {"source": json.dumps(asdict(source)), "shots": json.dumps(shots)}


def test_every_described_shot_and_no_other_becomes_a_clip_with_its_own_caption(prefix: str) -> None:
    shots = upload(prefix)
    expected = sorted(shot["descriptive"] for video in shots.values() for shot in video if shot["descriptive"])
    tally = Counts()
    found = described_sources([f"{prefix}/train/"], "descriptive")
    rows = [one for source, own in found for one in read_clips(row(source, own), SPEC, 4, tally)]
    clips = [clip_of_row(one) for one in rows]
    assert sorted(clip.descriptive for clip in clips) == expected
    assert all(clip.frames.shape[0] == 4 and clip.frames.shape[3] == 3 for clip in clips)
    truth = {(shot["caption"], shot["descriptive"]): shot["attributes"] for own in shots.values() for shot in own}
    assert all(truth[clip.short, clip.descriptive] == clip.attributes for clip in clips)
    assert tally == {"sources": len(found), "clips": len(expected)}


def test_a_broken_video_is_counted_by_its_reason_and_costs_no_other(prefix: str) -> None:
    shot = {"start_s": 0.0, "end_s": 1.0, "caption": "a", "descriptive": "A.", "attributes": {}}
    storage.create_once(f"{prefix}/a.mp4", b"no video at all")
    storage.create_once(f"{prefix}/a.json", json.dumps({"shots": [shot]}).encode())
    storage.create_once(f"{prefix}/b.mp4", b"")
    storage.create_once(f"{prefix}/b.json", b"{ no json")
    tally = Counts()
    found = described_sources([f"{prefix}/"], "descriptive")
    assert [source.uri for source, _ in found] == [f"{prefix}/a.mp4"]
    assert read_clips(row(*found[0]), SPEC, 4, tally) == []
    assert tally == {"sources": 1, "sources_dropped_not_video": 1}
