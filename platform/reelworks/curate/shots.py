"""Where the shots of a source are: detectors over downscaled frames, exact to the frame shown first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise, repeat
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from reelworks import video
from reelworks.config import Section
from reelworks.curate import transnet
from reelworks.curate.sources import Opened
from reelworks.curate.transnet import find_transitions, predictor
from reelworks.errors import VideoErrorKind
from reelworks.video.frames import seconds
from reelworks.video.places import Place, places_array

# Where a header tells no rate (stills, some streams), for the length of the last frame only.
FALLBACK_FPS = 25.0


class ShotSpec(Section):
    """How a source is cut into clips."""

    detector: Literal["content", "adaptive", "transnetv2", "fixed"] = "content"
    """content: change between two frames; adaptive: that change against its neighbours'; transnetv2: a network that
    also knows fades and dissolves, at 0.02 CPU-seconds a frame (extra `transnetv2`); fixed: every max_clip_s."""
    content_threshold: float = 32.0
    """content: mean change of hue, saturation and brightness (0-255) at which a frame begins a shot; in pictures of
    32 px a moving shape reaches 27, PySceneDetect's default, and a cut 40."""
    adaptive_threshold: float = 3.0
    """adaptive: ratio of a frame's change to the mean of its four neighbours' at which it begins a shot."""
    adaptive_min_change: float = 15.0
    """adaptive: least change (0-255) of a frame that begins a shot."""
    transnet_threshold: float = Field(default=0.5, gt=0, lt=1)
    """transnetv2: probability at which a frame ends a shot; lower finds more cuts."""
    transnet_threads: int = Field(default=1, ge=1)
    """transnetv2: threads of one task's network; part of the fingerprint, for sums depend on it."""
    detect_px: int = 128
    """Longer side, in pixels, of the frames that content and adaptive see; smaller sources are seen as they are."""
    min_clip_s: float = 0.5
    """Shots shorter than this (seconds) give no clip; images are exempt."""
    max_clip_s: float = 10.0
    """Longer shots (seconds) are cut into equal clips no longer than this, unless one frame is shown for longer."""
    keep_truncated: bool = False
    """Take the clips before the end of a file whose end is missing; else it goes into quarantine as `truncated`."""

    @model_validator(mode="after")
    def _pieces_are_long_enough(self) -> ShotSpec:
        if 2 * self.min_clip_s > self.max_clip_s:
            raise ValueError(
                f"min_clip_s {self.min_clip_s} is more than half of max_clip_s {self.max_clip_s}: a shot that is "
                "a little too long would be cut into clips that are too short; lower the one or raise the other"
            )
        return self

    def fingerprint_fields(self) -> dict[str, Any]:
        """What decides about the spans. Raises UserError where the detector isn't installed."""
        learned = {"transnet_threshold", "transnet_threads"}
        if self.detector != "transnetv2":
            # Left out where they say nothing, so that indexes made before this detector was there stay valid.
            return self.model_dump(mode="json", exclude=learned)
        return self.model_dump(mode="json") | {"transnetv2": transnet.identity()}


@dataclass(frozen=True)
class Span:
    """Consecutive frames of one shot that make one clip, half open in time."""

    start_s: float
    end_s: float
    num_frames: int
    first_pts: int
    last_pts: int
    place: Place | None = None
    """The last key frame at or before the first frame, where the container has no index that would say it."""

    def fields(self) -> dict[str, Any]:
        """What JSON takes, and `from_fields` brings back."""
        fields = asdict(self)
        return fields if self.place else {name: value for name, value in fields.items() if name != "place"}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Span:
        place = fields.get("place")
        return cls(**{**fields, "place": Place(*place) if place else None})


class Shots(NamedTuple):
    """What a walk through a source finds."""

    pts: np.ndarray
    """int64 (N,): timestamps of all frames."""
    cuts: list[int]
    """Indexes of the frames that begin a shot, the first excepted."""
    places: np.ndarray
    """int64 (K, 4): key frames in display order (`reelworks.video.places.Place`), none for containers with an index."""


def find_spans(source: Opened, probe: video.Probe, spec: ShotSpec) -> list[Span]:
    """The clips of a source in display order; empty where every shot is too short. Raises VideoError."""
    return spans_of(find_shots(source, probe, spec), probe.time_base, 1 / (probe.fps or FALLBACK_FPS), spec)


def find_shots(source: Opened, probe: video.Probe, spec: ShotSpec, device: str = "cpu") -> Shots:
    """Decode a source once, from start to end. Raises VideoError.

    device: where the network of detector transnetv2 computes.
    """
    size = detect_size(probe.height, probe.width, spec.detect_px)
    if spec.detector == "transnetv2":
        size = transnet.HEIGHT, transnet.WIDTH
    pts: list[np.ndarray] = [np.empty(0, np.int64)]
    places: list[np.ndarray] = [places_array([])]

    def frames() -> Iterator[np.ndarray]:
        for batch in video.iter_frames(source, size=size):
            truncated = batch.error is not None and batch.error.kind is VideoErrorKind.truncated
            if batch.error and not (spec.keep_truncated and truncated and len(pts) + len(batch) > 1):
                raise batch.error
            pts.append(batch.pts)
            places.append(batch.places)
            yield from batch.frames

    cuts = find_cuts(frames(), probe.fps or FALLBACK_FPS, spec, device)
    return Shots(np.concatenate(pts), cuts, np.concatenate(places))


def detect_size(height: int, width: int, longest_px: int) -> tuple[int, int]:
    """(height, width) scaled down so that the longer side is at most longest_px, each side at least 1."""
    scale = min(1.0, longest_px / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def find_cuts(frames: Iterable[np.ndarray], fps: float, spec: ShotSpec, device: str = "cpu") -> list[int]:
    """Indexes of the frames that begin a shot, the first frame excepted; frames are RGB uint8 (H, W, 3)."""
    if spec.detector == "fixed":
        for _ in frames:
            pass
        return []
    if spec.detector == "transnetv2":
        return list(find_transitions(frames, spec.transnet_threshold, predictor(spec.transnet_threads, device)))
    # Imported here: OpenCV and PySceneDetect cost 0.7 s, and only the workers that cut shots need them.
    from scenedetect import FrameTimecode

    detector = _detector(spec)
    cuts: list[int] = []
    rate = Fraction(fps).limit_denominator(1001)
    # A detector that compares a frame with so many on either side says nothing of the first and the last ones.
    beside = detector.event_buffer_length
    for index, frame in enumerate(_with_ends_repeated(frames, beside)):
        found = detector.process_frame(FrameTimecode(index, rate), np.ascontiguousarray(frame[..., ::-1]))
        cuts.extend(cut.frame_num - beside for cut in found)
    return sorted(set(cuts) - {0})


def _with_ends_repeated(frames: Iterable[np.ndarray], times: int) -> Iterator[np.ndarray]:
    last: np.ndarray | None = None
    for frame in frames:
        if last is None:
            yield from repeat(frame, times)
        yield frame
        last = frame
    if last is not None:
        yield from repeat(last, times)


def _detector(spec: ShotSpec) -> Any:
    from scenedetect.detectors import AdaptiveDetector, ContentDetector

    # No minimum length here: a suppressed cut would leave two shots in one clip. Short shots are dropped afterwards.
    if spec.detector == "content":
        return ContentDetector(threshold=spec.content_threshold, min_scene_len=0)
    return AdaptiveDetector(
        adaptive_threshold=spec.adaptive_threshold, min_content_val=spec.adaptive_min_change, min_scene_len=0
    )


def spans_of(shots: Shots, time_base: Fraction, frame_s: float, spec: ShotSpec) -> list[Span]:
    """Clips of the shots in display order; no clip crosses a cut, none overlap.

    frame_s, the usual duration of a frame, is how long the last frame is taken to be shown.
    """
    pts, cuts, places = shots
    if not len(pts):
        return []
    pts_s = seconds(pts, time_base)  # (N,)
    ends_s = np.append(pts_s[1:], pts_s[-1] + frame_s)  # (N,)
    edges = [0, *cuts, len(pts)]
    spans: list[Span] = []
    for first, stop in zip(edges[:-1], edges[1:], strict=True):
        for begin, end in _pieces(pts_s, ends_s, first, stop, spec.max_clip_s):
            length_s = ends_s[end - 1] - pts_s[begin]
            if length_s + 1e-6 >= spec.min_clip_s or len(pts) == 1:
                times = float(pts_s[begin]), float(ends_s[end - 1])
                before = int(np.searchsorted(places[:, 0], pts[begin], "right"))
                place = Place(*places[before - 1].tolist()) if before else None
                spans.append(Span(*times, end - begin, int(pts[begin]), int(pts[end - 1]), place))
    return spans


def _pieces(
    pts_s: np.ndarray, ends_s: np.ndarray, first: int, stop: int, max_clip_s: float
) -> Iterator[tuple[int, int]]:
    """Frame ranges of one shot, as even as frames allow, each at most max_clip_s long unless it is one frame."""
    least = max(1, int(np.ceil((ends_s[stop - 1] - pts_s[first]) / max_clip_s - 1e-6)))
    # Rounded to frames, an even piece may be a frame too long: then one piece more, evenly, before any is halved.
    for pieces in (least, least + 1):
        edges = _even(pts_s, ends_s, first, stop, pieces)
        too_long = [a for a, b in pairwise(edges) if ends_s[b - 1] - pts_s[a] > max_clip_s + 1e-6 and b - a > 1]
        if not too_long:
            break
    for begin, end in pairwise(edges):
        if begin in too_long:
            middle_s = (pts_s[begin] + ends_s[end - 1]) / 2
            middle = begin + 1 + int(np.argmin(np.abs(pts_s[begin + 1 : end] - middle_s)))
            yield from _pieces(pts_s, ends_s, begin, middle, max_clip_s)
            yield from _pieces(pts_s, ends_s, middle, end, max_clip_s)
        else:
            yield begin, end


def _even(pts_s: np.ndarray, ends_s: np.ndarray, first: int, stop: int, pieces: int) -> list[int]:
    """Edges that cut frames [first, stop) into pieces of equal duration, to a frame."""
    bounds_s = pts_s[first] + (ends_s[stop - 1] - pts_s[first]) * np.arange(1, pieces) / pieces
    inner = first + np.searchsorted(pts_s[first:stop], bounds_s - 1e-6)
    return sorted({first, *(int(i) for i in inner), stop})
