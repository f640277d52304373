"""What the corpus holds: every object of it, a pure function of (seed, split, index).

A *video* is several shots of one frame size with hard cuts between them; an *image* is one frame. The content of an
object doesn't depend on how many there are, so a larger corpus extends a smaller one of the same seed.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np

from reelworks.shapeworld.attributes import Background, Split
from reelworks.shapeworld.captions import describe, short_caption, still_caption
from reelworks.shapeworld.clips import NUM_FRAMES, random_size
from reelworks.shapeworld.render import render_clip
from reelworks.shapeworld.world import ClipSpec, sample_attributes, sample_spec
from reelworks.video.encode import encode_video

CORPUS_VERSION = 2
"""Changes with anything that changes the corpus's bytes."""
CLIP_FPS = 8  # a shot holds 4k + 1 frames at this rate
# Splits, and the share of their shots whose sidecar has a descriptive caption: these train the captioner. A split's
# place in this order is part of its seed.
DESCRIBED_SHARE = {"train": 0.4, "eval": 0.4, "described": 1.0}
UNSEEN_SHARE = 0.3  # eval shots whose triple no training set contains
IMAGE_S = 0.04  # how long a still is taken to be shown, seconds


class Encoding(NamedTuple):
    """A codec in a container with a pixel format, and its share of the videos."""

    codec: str
    container: str
    pixel_format: str
    share: float


# Mostly full-resolution chroma: 4:2:0 blurs the colour of a 12 px shape. Some of the common 4:2:0 all the same.
ENCODINGS = (
    Encoding("h264", "mp4", "yuv444p", 0.28),
    Encoding("h264", "mp4", "yuv420p", 0.12),
    Encoding("h264", "mkv", "yuv444p", 0.10),
    Encoding("h264", "mov", "yuv444p", 0.08),
    Encoding("vp9", "webm", "yuv444p", 0.14),
    Encoding("vp9", "webm", "yuv420p", 0.05),
    Encoding("vp8", "webm", "yuv420p", 0.04),
    Encoding("mpeg4", "avi", "yuv420p", 0.04),
    Encoding("mjpeg", "mov", "yuvj444p", 0.07),
    Encoding("ffv1", "mkv", "yuv444p", 0.05),
    Encoding("mpeg4", "mp4", "yuv420p", 0.03),
)
LARGE_ENCODINGS = (Encoding("hevc", "mp4", "yuv444p", 0.6), Encoding("hevc", "mkv", "yuv420p", 0.4))
LARGE_PX = 64  # x265 can't encode narrower frames
FRAME_RATES = ((8, 0.4), (12, 0.2), (16, 0.15), (24, 0.15), (25, 0.1))
NUM_SHOTS = (2, 3, 4, 5)


@dataclass(frozen=True)
class Item:
    """One video or image to make: which it is, and everything it depends on."""

    split: Literal["train", "eval", "described"]
    kind: Literal["video", "image"]
    index: int
    seed: int

    @property
    def stem(self) -> str:
        return f"{self.split}/{self.kind}-{self.index:05d}"


@dataclass(frozen=True)
class Made:
    """The objects of an item, key -> bytes, the media file before its sidecar; and how many clips they hold."""

    objects: dict[str, bytes]
    num_clips: int


def make(item: Item) -> Made:
    """Render and encode an item."""
    rng = np.random.default_rng([item.seed, list(DESCRIBED_SHARE).index(item.split), item.kind == "image", item.index])
    return _video(item, rng) if item.kind == "video" else _image(item, rng)


def _video(item: Item, rng: np.random.Generator) -> Made:
    width, height = random_size(rng)
    fps = FRAME_RATES[int(rng.choice(len(FRAME_RATES), p=[share for _, share in FRAME_RATES]))][0]
    encodings = LARGE_ENCODINGS if width >= LARGE_PX else ENCODINGS
    encoding = encodings[int(rng.choice(len(encodings), p=[encoding.share for encoding in encodings]))]
    frames, shots, start = [], [], 0
    background = list(Background)[int(rng.integers(2))]
    for _ in range(int(rng.choice(NUM_SHOTS))):
        spec = _scene(item, rng, width, height, background)
        # Neighbouring shots differ in brightness, as those of a film do; else a cut would be a shape that jumps.
        background = Background.light if background == Background.dark else Background.dark
        num_frames = -(-int(rng.choice(NUM_FRAMES)) * fps // CLIP_FPS)
        frames.append(render_clip(spec, width, height, num_frames).frames)
        shots.append(_shot(item, spec, rng, start, start + num_frames, fps))
        start += num_frames
    media = encode_video(
        np.concatenate(frames),
        fps,
        encoding.codec,
        encoding.container,
        encoding.pixel_format,
        muxer_options={"fflags": "+bitexact"},  # Matroska's ids are random without it
    )
    sidecar = _sidecar(width, height, fps, shots)
    return Made({f"{item.stem}.{encoding.container}": media, f"{item.stem}.json": sidecar}, len(shots))


def _image(item: Item, rng: np.random.Generator) -> Made:
    width, height = random_size(rng)
    spec = _scene(item, rng, width, height, list(Background)[int(rng.integers(2))])
    frames = render_clip(spec, width, height, 1).frames
    png = bool(rng.random() < 0.5)
    container = "png" if png else "jpg"
    media = encode_video(frames, 25, "png" if png else "mjpeg", container, "rgb24" if png else "yuvj444p")
    shot = {
        "start_s": 0.0,
        "end_s": IMAGE_S,
        "attributes": {name: value for name, value in spec.attributes.as_dict().items() if name != "motion"},
        "caption": still_caption(spec.attributes, rng),
        "descriptive": None,
        "scene": asdict(spec),
    }
    return Made({f"{item.stem}.{container}": media, f"{item.stem}.json": _sidecar(width, height, None, [shot])}, 1)


def _scene(item: Item, rng: np.random.Generator, width: int, height: int, background: Background) -> ClipSpec:
    split: Split = "train" if item.split != "eval" or rng.random() >= UNSEEN_SHARE else "unseen"
    return sample_spec(rng, sample_attributes(rng, split, background), width, height)


def _shot(item: Item, spec: ClipSpec, rng: np.random.Generator, first: int, stop: int, fps: int) -> dict[str, object]:
    """The truth about the frames [first, stop)."""
    return {
        "start_s": float(Fraction(first, fps)),
        "end_s": float(Fraction(stop, fps)),
        "attributes": spec.attributes.as_dict(),
        "caption": short_caption(spec.attributes, rng),
        "descriptive": describe(spec.attributes) if rng.random() < DESCRIBED_SHARE[item.split] else None,
        "scene": asdict(spec),
    }


def _sidecar(width: int, height: int, fps: int | None, shots: list[dict[str, object]]) -> bytes:
    return json.dumps({"width": width, "height": height, "fps": fps, "shots": shots}, sort_keys=True).encode()


def items(
    seed: int, train_videos: int, eval_videos: int, train_images: int, described_videos: int = 0
) -> Iterator[Item]:
    """Every item of a corpus of this size, in the order in which it is made."""
    yield from (Item("train", "video", index, seed) for index in range(train_videos))
    yield from (Item("eval", "video", index, seed) for index in range(eval_videos))
    yield from (Item("train", "image", index, seed) for index in range(train_images))
    yield from (Item("described", "video", index, seed) for index in range(described_videos))
