"""reelworks.curate.likeness: copies have nearly the same hash whatever they were encoded by, other clips don't."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from reelworks import video
from reelworks.curate.likeness import BITS, clip_hash, distance, words
from reelworks.shapeworld.clips import random_clips
from reelworks.video.encode import encode_video

CLIPS = [clip.frames for clip in random_clips(10, 5, sizes=[(128, 96), (96, 128)])]
FPS = 8.0


def hash_of(frames: np.ndarray, fps: float = FPS) -> np.ndarray:
    """As words (1, WORDS)."""
    return words([clip_hash(frames, fps, len(frames) / fps)])


HASHES = np.concatenate([hash_of(frames) for frames in CLIPS])
# Measured on 40 clips of these sizes: copies up to 16 bits, others from 67.
ALIKE = 20


def halved(frames: np.ndarray) -> np.ndarray:
    height, width = frames.shape[1] // 2, frames.shape[2] // 2
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in frames])


@pytest.mark.parametrize(
    ("codec", "container", "options", "half"),
    [
        ("h264", "mp4", {"crf": "35"}, False),
        ("vp9", "webm", {"crf": "40"}, False),
        ("mpeg4", "avi", {"qmin": "6", "qmax": "8"}, False),
        ("h264", "mp4", {"crf": "26"}, True),
        ("mpeg2video", "mpg", {"qmin": "5", "qmax": "6"}, True),
    ],
)
def test_a_copy_in_another_codec_or_size_is_alike(codec: str, container: str, options: dict, half: bool) -> None:
    for frames, own in zip(CLIPS, HASHES, strict=True):
        data = encode_video(halved(frames) if half else frames, FPS, codec, container, options=options)
        assert distance(own[None], hash_of(video.decode(data).frames))[0] <= ALIKE


@pytest.mark.parametrize("ratio", [0.5, 1.2, 2])
def test_a_copy_at_another_rate_is_alike(ratio: float) -> None:
    for clip in random_clips(4, 6, sizes=[(128, 96)], num_frames=[49]):
        shown = (np.arange(round(49 * ratio)) / ratio + 1e-6).astype(int)
        copy = hash_of(clip.frames[shown], 24 * ratio)
        assert distance(hash_of(clip.frames, 24), copy)[0] <= ALIKE


def test_a_copy_whose_last_frames_are_missing_is_alike() -> None:
    for frames, own in zip(CLIPS, HASHES, strict=True):
        shorter = words([clip_hash(frames[:-1], FPS, len(frames) / FPS)])
        assert distance(own[None], shorter)[0] <= ALIKE


def test_other_clips_are_far_apart() -> None:
    for index in range(1, len(HASHES)):
        assert distance(HASHES[:index], HASHES[index : index + 1]).min() > 2 * ALIKE


def test_plain_clips_are_told_apart_by_their_colour_and_not_by_their_noise() -> None:
    rng = np.random.default_rng(0)

    def plain(colour: tuple[int, int, int]) -> np.ndarray:
        noise = rng.integers(-2, 3, (5, 40, 60, 3))
        return np.clip(np.asarray(colour) + noise, 0, 255).astype(np.uint8)

    red, again, blue = (hash_of(plain(colour)) for colour in ((200, 30, 30), (200, 30, 30), (30, 30, 200)))
    assert distance(red, again)[0] == 0
    assert distance(red, blue)[0] >= 8


def test_what_happens_counts_and_not_only_the_first_frame() -> None:
    frames = CLIPS[0]
    other = np.concatenate([frames[: len(frames) // 2], np.flip(frames[len(frames) // 2 :], axis=2)])
    assert distance(hash_of(frames), hash_of(other))[0] > ALIKE


def test_an_image_has_a_hash_of_the_same_length() -> None:
    image = clip_hash(CLIPS[0][:1], FPS, 1 / FPS)
    assert len(image) == BITS // 4
    assert image[: BITS // 16] * 4 == image
