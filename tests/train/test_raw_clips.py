"""Raw video in a real bucket to training clips."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from reelworks import storage
from reelworks.errors import UserError
from reelworks.train.raw_clips import Mix, clip_of_row, list_mixes, read_clips
from reelworks.video.encode import encode_mp4

COLOURS = [(220, 30, 30), (20, 20, 20), (230, 230, 230), (20, 30, 90)]


class Counts:
    """Stands in for the actor that counts: `tally.add.remote(...)`."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.add = self

    def remote(self, counts: dict[str, int]) -> None:
        self.counts.update(counts)


def four_shots() -> bytes:
    """A second of each colour, 8 frames a second, 32x24."""
    frames = np.concatenate([np.full((8, 24, 32, 3), colour, np.uint8) for colour in COLOURS])
    return encode_mp4(frames, 8.0)


def clips_of(mix: Mix) -> tuple[list[np.ndarray], Counter[str]]:
    tally = Counts()
    rows = [clip for row in list_mixes([mix], seed=0) for clip in read_clips(row, [mix], tally)]
    return [clip_of_row(row) for row in rows], tally.counts


def colour_of(frames: np.ndarray) -> tuple[Any, ...]:
    """The one colour of all frames; fails where two shots are in one clip."""
    flat = frames.reshape(-1, 3).astype(int)
    assert (flat.max(axis=0) - flat.min(axis=0)).max() < 40
    return min(COLOURS, key=lambda colour: int(np.abs(flat.mean(axis=0) - colour).sum()))


def test_no_clip_crosses_a_cut_and_none_is_lost(prefix: str) -> None:
    storage.create_once(f"{prefix}/shots.mp4", four_shots())
    clips, counts = clips_of(Mix(name="shots", prefix=prefix))
    assert [colour_of(clip) for clip in clips] == COLOURS
    assert [clip.shape for clip in clips] == [(5, 24, 32, 3)] * 4
    assert counts == {"sources": 1, "clips": 4}
    assert all(clip.flags.writeable for clip in clips)


def test_a_span_keeps_the_rest_of_a_source_out_of_training(prefix: str) -> None:
    storage.create_once(f"{prefix}/shots.mp4", four_shots())
    first, _ = clips_of(Mix(name="first", prefix=prefix, span=(0.0, 0.5)))
    second, _ = clips_of(Mix(name="second", prefix=prefix, span=(0.5, 1.0)))
    assert [colour_of(clip) for clip in first] == COLOURS[:2]
    assert [colour_of(clip) for clip in second] == COLOURS[2:]


def test_a_broken_source_is_counted_by_its_reason_and_loses_nothing_else(prefix: str) -> None:
    storage.create_once(f"{prefix}/a.mp4", b"this is no video, whatever its name says")
    storage.create_once(f"{prefix}/b.mp4", four_shots())
    storage.create_once(f"{prefix}/c.mp4", b"")
    clips, counts = clips_of(Mix(name="mixed", prefix=prefix))
    assert len(clips) == 4
    assert counts == {
        "sources": 3,
        "clips": 4,
        "sources_dropped_not_video": 1,
        "sources_dropped_empty": 1,
    }


def test_fewer_sources_are_drawn_the_same_way_for_the_same_seed(prefix: str) -> None:
    for index in range(6):
        storage.create_once(f"{prefix}/{index}.mp4", b"x")
    mix = Mix(name="few", prefix=prefix, max_sources=3)
    rows = list_mixes([mix], seed=1)
    assert len(rows) == 3 and rows == list_mixes([mix], seed=1)
    assert any(rows != list_mixes([mix], seed=seed) for seed in range(2, 8))


def test_a_prefix_without_video_is_named_before_training(prefix: str) -> None:
    with pytest.raises(UserError, match=f"{prefix}/nothing"):
        list_mixes([Mix(name="nothing", prefix=f"{prefix}/nothing")], seed=0)


@pytest.mark.parametrize("span", [(0.5, 0.5), (0.6, 0.2), (-0.1, 0.5), (0.0, 1.5)])
def test_a_span_that_is_no_part_of_a_source_is_refused(span: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="span"):
        Mix(name="wrong", prefix="s3://raw/x", span=span)
