"""reelworks.train.augment: every view shows what the captions say."""

import numpy as np
import pytest

from reelworks.shapeworld.clips import random_clips
from reelworks.shapeworld.judge import judge
from reelworks.shapeworld.parse import parse
from reelworks.train.augment import AugmentSpec, cropped, jittered, mirrored, view
from reelworks.train.described_clips import DescribedClip


def test_cropped_keeps_most_of_the_frame_and_all_frames_alike() -> None:
    frames = np.arange(4 * 20 * 30 * 3, dtype=np.uint32).reshape(4, 20, 30, 3)
    for seed in range(50):
        part = cropped(frames, 0.2, np.random.default_rng(seed))
        assert part.shape[0] == 4 and part.shape[1] >= 16 and part.shape[2] >= 24
        assert (part - part[:1] == np.arange(4).reshape(4, 1, 1, 1) * 20 * 30 * 3).all()
    assert cropped(frames, 0.0, np.random.default_rng(0)).shape == frames.shape


def test_jittered_frames_keep_their_order_and_differ_from_time_to_time() -> None:
    frames = np.arange(17).reshape(17, 1, 1, 1)
    drawn = [jittered(frames, 4, np.random.default_rng(seed)).ravel().tolist() for seed in range(50)]
    assert all(one == sorted(set(one)) and len(one) == 4 for one in drawn)
    assert all(one[0] <= 2 and one[-1] >= 14 for one in drawn)
    assert len(set(map(tuple, drawn))) > 10
    assert jittered(frames[:1], 4, np.random.default_rng(0)).ravel().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("A red circle moves to the left.", "A red circle moves to the right."),
        ("drifting from right to left: a ball", "drifting from left to right: a ball"),
        ("Leftward it slides, rightwards it looks", "Rightward it slides, leftwards it looks"),
        ("bright light, upright, a leftover", "bright light, upright, a leftover"),
    ],
)
def test_mirrored_texts_exchange_sides_and_nothing_else(text: str, expected: str) -> None:
    assert mirrored(text) == expected
    assert mirrored(expected) == text


def test_views_of_clips_still_show_what_their_captions_say() -> None:
    rng = np.random.default_rng(0)
    right = []
    for clip in random_clips(40, seed=3, sizes=[(48, 48)]):
        seen = view(DescribedClip(clip.frames, clip.caption, clip.descriptive, {}), 9, AugmentSpec(), rng)
        assert seen.frames.dtype == np.uint8 and len(seen.frames) == 9
        reading, said = judge(seen.frames), parse(seen.descriptive)
        right += [reading.colour == said["colour"], reading.motion == said["motion"]]
    assert np.mean(right) > 0.95


def test_no_change_asked_is_no_change() -> None:
    clip = next(random_clips(1, seed=0))
    given = DescribedClip(clip.frames[:4], clip.caption, clip.descriptive, {})
    still = AugmentSpec(crop=0, mirror=0, light=0, grain=0)
    seen = view(given, 4, still, np.random.default_rng(0))
    assert np.array_equal(seen.frames, given.frames) and seen.descriptive == given.descriptive
