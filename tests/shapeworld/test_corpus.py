import io
import json
from collections import Counter

import av
import numpy as np
import pytest

from reelworks.errors import VideoError
from reelworks.shapeworld.attributes import Colour, Motion, Shape, is_held_out
from reelworks.shapeworld.corpus import Item, Made, items, make
from reelworks.shapeworld.hostile import REASONS, hostile_files
from reelworks.shapeworld.judge import judge
from reelworks.shapeworld.truth import shot_mask
from reelworks.video import probe


@pytest.fixture(scope="module")
def corpus() -> dict[Item, Made]:
    return {item: make(item) for item in items(seed=1, train_videos=40, eval_videos=15, train_images=6)}


def media_and_sidecar(made: Made) -> tuple[str, np.ndarray, dict]:
    """(codec, frames (T, H, W, 3), sidecar)."""
    media, sidecar = made.objects.values()
    with av.open(io.BytesIO(media), "r") as file:
        codec = file.streams.video[0].codec_context.name
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    return codec, frames, json.loads(sidecar)


def test_no_training_shot_shows_a_held_out_triple_and_eval_shows_both_kinds(corpus: dict[Item, Made]) -> None:
    held_out: dict[str, Counter[bool]] = {"train": Counter(), "eval": Counter()}
    for item, made in corpus.items():
        if item.kind == "video":
            for shot in media_and_sidecar(made)[2]["shots"]:
                values = shot["attributes"]
                triple = Colour(values["colour"]), Shape(values["shape"]), Motion(values["motion"])
                held_out[item.split][is_held_out(triple)] += 1
    assert held_out["train"][True] == 0
    assert min(held_out["eval"].values()) > 0.15 * sum(held_out["eval"].values())


def test_sidecar_spans_fit_the_file_frame_by_frame_and_the_judge_reads_each_shot(corpus: dict[Item, Made]) -> None:
    right: Counter[str] = Counter()
    total = 0
    for item, made in corpus.items():
        if item.kind == "image":
            continue
        _, frames, sidecar = media_and_sidecar(made)
        fps, shots = sidecar["fps"], sidecar["shots"]
        assert frames.shape[1:3] == (sidecar["height"], sidecar["width"])
        assert 2 <= len(shots) <= 5
        edges = [round(shot["start_s"] * fps) for shot in shots] + [round(shots[-1]["end_s"] * fps)]
        assert edges[0] == 0 and edges[-1] == len(frames)
        for shot, first, stop in zip(shots, edges[:-1], edges[1:], strict=True):
            assert round(shot["end_s"] * fps) == stop
            assert 1.1 < shot["end_s"] - shot["start_s"] < 2.3
            reading = vars(judge(frames[first:stop]))
            total += 1
            right.update(name for name in reading if reading[name] == shot["attributes"][name])
    assert min(right[name] for name in ("colour", "shape", "motion", "size")) >= 0.99 * total


def test_a_mask_made_from_a_sidecar_covers_the_colour_in_the_decoded_frames(corpus: dict[Item, Made]) -> None:
    made = corpus[Item("eval", "video", 3, 1)]
    _, frames, sidecar = media_and_sidecar(made)
    fps, shot = sidecar["fps"], sidecar["shots"][1]
    times = np.arange(shot["start_s"], shot["end_s"] - 1e-6, 1 / 8)
    mask = shot_mask(shot, sidecar["width"], sidecar["height"], times, fps)
    shown = frames[np.floor(times * fps + 1e-6).astype(int)].astype(float)
    chroma = shown.max(axis=-1) - shown.min(axis=-1)
    assert mask.any(axis=(1, 2)).all()
    assert np.median(chroma[mask]) > 110
    assert np.median(chroma[~mask]) < 30


def test_descriptive_captions_stand_beside_a_part_of_the_shots_and_short_ones_beside_all(
    corpus: dict[Item, Made],
) -> None:
    shots = [s for i, m in corpus.items() if i.kind == "video" for s in media_and_sidecar(m)[2]["shots"]]
    assert all(shot["caption"] for shot in shots)
    assert 0.25 < np.mean([shot["descriptive"] is not None for shot in shots]) < 0.55


def test_the_corpus_has_several_sizes_codecs_containers_rates_and_pictures(corpus: dict[Item, Made]) -> None:
    found = [(item, *media_and_sidecar(made)) for item, made in corpus.items()]
    assert len({codec for _, codec, _, _ in found}) >= 6
    assert len({next(iter(made.objects)).rpartition(".")[2] for made in corpus.values()}) >= 6
    assert len({sidecar["fps"] for _, _, _, sidecar in found}) >= 5
    sides = [frames.shape[1:3] for _, _, frames, _ in found]
    assert {np.sign(width - height) for height, width in sides} == {-1, 0, 1}
    assert np.mean([max(side) <= 48 for side in sides]) > 0.8
    assert all(len(frames) == 1 for item, _, frames, _ in found if item.kind == "image")


def test_an_item_has_the_same_bytes_every_time(corpus: dict[Item, Made]) -> None:
    for item, made in corpus.items():
        assert make(item) == made


def test_a_larger_corpus_extends_a_smaller_one() -> None:
    assert set(items(1, 3, 2, 1)) <= set(items(1, 4, 3, 2))
    assert len({item.stem for item in items(1, 40, 30, 20)}) == 90


@pytest.mark.parametrize("name", REASONS)
def test_a_hostile_file_is_refused_for_the_reason_that_it_was_made_for(name: str) -> None:
    with pytest.raises(VideoError) as caught:
        probe(hostile_files()[name])
    assert caught.value.kind == REASONS[name]


def test_hostile_files_have_the_same_bytes_every_time() -> None:
    assert all(hostile_files() == hostile_files() for _ in range(5))
