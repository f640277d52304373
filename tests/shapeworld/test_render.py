from dataclasses import replace

import numpy as np
import pytest

from reelworks.shapeworld.attributes import Background, Camera, Extra, Motion, Size
from reelworks.shapeworld.clips import Clip, random_clips
from reelworks.shapeworld.render import render_clip
from reelworks.shapeworld.world import ClipSpec

SIZES = [(32, 32), (48, 32), (32, 48), (64, 64)]


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return list(random_clips(300, seed=3, split="any", sizes=SIZES))


def without_shape(clip: Clip) -> ClipSpec:
    outside = replace(clip.spec.main, start=(-9.0, -9.0), end=(-9.0, -9.0))
    return replace(clip.spec, main=outside)


def centres(mask: np.ndarray) -> np.ndarray:
    """(T, 2): the mask's centre as fractions of width and height."""
    return np.array([[x.mean() / mask.shape[2], y.mean() / mask.shape[1]] for y, x in (np.nonzero(m) for m in mask)])


def test_the_mask_moves_a_quarter_of_the_frame_as_the_motion_says_and_still_is_still(clips: list[Clip]) -> None:
    along = {
        Motion.left: (-1, 0),
        Motion.right: (1, 0),
        Motion.up: (0, -1),
        Motion.down: (0, 1),
    }
    for clip in clips:
        if clip.attributes.extra == Extra.occluder:  # the bar moves the visible part's centre
            continue
        moved = centres(clip.mask)[-1] - centres(clip.mask)[0]
        if clip.attributes.motion == Motion.still:
            assert np.array_equal(clip.mask[0], clip.mask[-1])
        else:
            travel = moved @ np.array(along[clip.attributes.motion])
            assert travel >= 0.25
            assert np.abs(moved).sum() - travel < 0.06


def test_the_mask_is_where_the_colour_is(clips: list[Clip]) -> None:
    for clip in clips:
        pixels = clip.frames.astype(float)
        chroma = pixels.max(axis=-1) - pixels.min(axis=-1)
        assert chroma[clip.mask].min() > 60
        if clip.attributes.extra != Extra.second_shape:
            coloured = chroma > 110
            assert (coloured & ~clip.mask).mean() < 0.01


def test_the_background_is_a_smooth_grey_of_low_contrast_in_the_shade_that_the_truth_names(clips: list[Clip]) -> None:
    for clip in clips:
        if clip.attributes.extra != Extra.none:
            continue
        frames = render_clip(without_shape(clip), 48, 32, 2).frames.astype(float)
        grey = frames.mean(axis=-1)
        assert (np.abs(frames - grey[..., None]) <= 8).all()
        assert grey.max() - grey.min() < 75
        assert np.abs(np.diff(grey, axis=1)).max() < 8
        assert (grey.mean() < 120) == (clip.attributes.background == Background.dark)


def test_small_and_large_are_apart_in_every_frame_size(clips: list[Clip]) -> None:
    for shape in {clip.attributes.shape for clip in clips}:
        area = {
            size: [
                clip.mask[0].sum() / min(clip.mask.shape[1:]) ** 2
                for clip in clips
                if clip.attributes.size == size
                and clip.attributes.shape == shape
                and clip.attributes.extra != Extra.occluder
            ]
            for size in Size
        }
        assert min(area[Size.large]) > 1.5 * max(area[Size.small])


def test_a_panning_camera_shifts_the_background_and_a_still_one_does_not(clips: list[Clip]) -> None:
    cameras = set()
    for clip in clips[:100]:
        frames = render_clip(without_shape(clip), 48, 32, 5).frames
        moves = np.abs(frames[0].astype(int) - frames[2]).max() > 2
        assert moves == (clip.attributes.camera == Camera.pan)
        cameras.add(clip.attributes.camera)
    assert cameras == set(Camera)


def test_second_shapes_and_occluders_are_in_at_most_a_fifth_of_the_clips() -> None:
    extras = [clip.attributes.extra for clip in random_clips(1500, seed=4, sizes=[(8, 8)], num_frames=[1])]
    assert 0.04 < extras.count(Extra.second_shape) / 1500 < 0.1
    assert 0.04 < extras.count(Extra.occluder) / 1500 < 0.1


def test_the_same_seed_gives_the_same_pixels_and_another_seed_does_not(clips: list[Clip]) -> None:
    again = list(random_clips(20, seed=3, split="any", sizes=SIZES))
    assert all(
        np.array_equal(a.frames, b.frames) and a.caption == b.caption for a, b in zip(clips, again, strict=False)
    )
    other = next(random_clips(1, seed=5, split="any", sizes=SIZES))
    assert other.spec != clips[0].spec
