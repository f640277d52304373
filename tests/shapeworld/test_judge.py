"""The judge on rendered truth, through codecs, blur and noise, and where there is little or nothing to read."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from reelworks.shapeworld.attributes import RGB, Attributes, Background, Camera, Colour, Extra, Motion, Shape, Size
from reelworks.shapeworld.clips import Clip, random_clips
from reelworks.shapeworld.judge import Reading, judge
from reelworks.shapeworld.render import render_clip
from reelworks.shapeworld.world import sample_spec
from reelworks.video.encode import encode_mp4

Frames = NDArray[np.uint8]
NAMES = ("colour", "shape", "motion", "size")


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return list(random_clips(500, seed=11, split="any"))


def blurred(frames: Frames, sigma: float) -> NDArray[np.float64]:
    """Each frame through a Gaussian."""
    result = frames.astype(np.float64)
    for axis in (1, 2):
        steps = np.arange(frames.shape[axis])
        kernel = np.exp(-0.5 * ((steps[:, None] - steps) / sigma) ** 2)
        kernel /= kernel.sum(axis=1, keepdims=True)
        result = np.moveaxis(np.moveaxis(result, axis, -1) @ kernel.T, -1, axis)
    return result


def noisy(frames: NDArray[np.uint8] | NDArray[np.float64], sigma: float) -> Frames:
    noise = np.random.default_rng(0).normal(0, sigma, frames.shape)
    return np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)


def pale(frames: Frames) -> Frames:
    """40% of the chroma, as of a model that hasn't learnt to be sure."""
    grey = frames.mean(axis=-1, keepdims=True)
    return (grey + 0.4 * (frames - grey)).astype(np.uint8)


def through_h264(frames: Frames) -> Frames:
    with av.open(io.BytesIO(encode_mp4(frames, 8)), "r") as file:
        return np.stack([np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in file.decode(video=0)])


def accuracy(clips: list[Clip], change: Callable[[Frames], Frames]) -> dict[str, float]:
    right = dict.fromkeys(NAMES, 0)
    for clip in clips:
        reading, truth = vars(judge(change(clip.frames))), clip.attributes.as_dict()
        for name in NAMES:
            right[name] += reading[name] == truth[name]
    return {name: count / len(clips) for name, count in right.items()}


@pytest.mark.parametrize(
    ("change", "num_clips"),
    [
        (lambda frames: frames, 500),
        (through_h264, 500),
        (lambda frames: noisy(blurred(frames, 1.0), 10), 150),
        (lambda frames: noisy(blurred(frames, 1.5), 0), 150),
        (lambda frames: noisy(frames, 25), 100),
        (pale, 150),
    ],
    ids=["rendered", "h264", "blur_1_noise_10", "blur_1.5", "noise_25", "pale"],
)
def test_the_judge_reads_rendered_truth(clips: list[Clip], change: Callable[[Frames], Frames], num_clips: int) -> None:
    reached = accuracy(clips[:num_clips], change)
    assert min(reached.values()) >= 0.99, reached


def scene(**changes: Any) -> tuple[Attributes, Frames]:
    plain = Attributes(Colour.green, Shape.triangle, Motion.left, Size.large, Background.dark, Camera.still, Extra.none)
    attributes = replace(plain, **changes)
    spec = sample_spec(np.random.default_rng(5), attributes, 40, 32)
    return attributes, render_clip(spec, 40, 32, 13).frames


@pytest.mark.parametrize("shape", Shape)
@pytest.mark.parametrize(
    "changes",
    [
        {"extra": Extra.second_shape},
        {"extra": Extra.occluder},
        {"camera": Camera.pan},
        {"camera": Camera.pan, "motion": Motion.still},
        {"camera": Camera.pan, "motion": Motion.down, "extra": Extra.second_shape, "size": Size.small},
    ],
    ids=["second_shape", "occluder", "pan", "pan_still", "pan_second_small"],
)
def test_second_shapes_occluders_and_pans_do_not_distract(shape: Shape, changes: dict[str, object]) -> None:
    truth, frames = scene(shape=shape, **changes)
    assert judge(frames) == Reading(str(truth.colour), str(shape), str(truth.motion), str(truth.size))


def test_a_shape_that_leaves_the_frame_is_read_from_the_frames_that_show_it() -> None:
    attributes, _ = scene(shape=Shape.circle)
    spec = sample_spec(np.random.default_rng(5), attributes, 40, 32)
    leaving = replace(spec, main=replace(spec.main, start=(0.7, 0.5), end=(-0.4, 0.5)))
    assert judge(render_clip(leaving, 40, 32, 13).frames) == Reading("green", "circle", "left", "large")


@pytest.mark.parametrize("colour", Colour)
def test_a_blob_of_no_shape_has_a_colour_and_a_motion_only(colour: Colour) -> None:
    frames = np.full((9, 32, 32, 3), 120, np.uint8)
    for index, frame in enumerate(frames):
        for arm in (-5, 0, 5):  # three thin bars
            frame[12 + arm : 14 + arm, 2 + index : 18 + index] = RGB[colour]
    reading = judge(frames)
    assert (reading.shape, reading.size) == (None, None)
    assert reading.colour in (None, str(colour))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_frame_has_no_reading(level: int) -> None:
    assert judge(np.full((9, 32, 48, 3), level, np.uint8)) == Reading()


@pytest.mark.parametrize("grain", [1, 4, 8])
def test_random_noise_has_no_shape(grain: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        blocks = rng.integers(0, 256, (9, 32 // grain, 32 // grain, 3)).astype(np.uint8)
        frames = blocks.repeat(grain, axis=1).repeat(grain, axis=2)
        assert judge(frames).shape is None


def test_an_unsaturated_clip_is_not_read() -> None:
    _, frames = scene()
    grey = frames.mean(axis=-1, keepdims=True).astype(np.uint8)
    assert judge(np.broadcast_to(grey, frames.shape)) == Reading()


def test_a_picture_has_no_motion() -> None:
    truth, frames = scene()
    assert judge(frames[:1]) == Reading(str(truth.colour), str(truth.shape), None, str(truth.size))


def test_frames_in_reverse_are_read_as_the_opposite_motion(clips: list[Clip]) -> None:
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up", "still": "still"}
    for clip in clips[:50]:
        assert judge(clip.frames[::-1]).motion == opposite[str(clip.attributes.motion)]
