"""Decoded frames as the viewer sees them: RGB, upright, square pixels, with their presentation times.

Shapes: T frames, H W rows and columns.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.places import Place, places_array


@dataclass(frozen=True)
class Frames:
    """Frames of one source in display order."""

    frames: np.ndarray
    """uint8 (T, H, W, 3), RGB."""
    pts: np.ndarray
    """int64 (T,): presentation times in units of `time_base`, after edit lists, not rebased to zero."""
    time_base: Fraction
    """Seconds of one unit of `pts`."""
    decoder: str
    """`decord` or `pyav`: which one decoded these frames."""
    error: VideoError | None = None
    """Why the frames end early; only with `partial=True`."""
    places: np.ndarray = field(default_factory=lambda: places_array([]))
    """int64 (K, 4): `reelworks.video.places.Place` of key frames among these, where a later reader needs to be told."""

    @property
    def pts_s(self) -> np.ndarray:
        """float64 (T,): presentation times in seconds."""
        return seconds(self.pts, self.time_base)

    def __len__(self) -> int:
        return len(self.frames)


def seconds(pts: np.ndarray, time_base: Fraction) -> np.ndarray:
    """float64 seconds of integer timestamps; the one formula, so that equal timestamps are equal times everywhere."""
    return np.asarray(pts, dtype=np.int64) * time_base.numerator / time_base.denominator


def seconds_of(pts: int, time_base: Fraction) -> float:
    """The same of one timestamp, without an array."""
    return pts * time_base.numerator / time_base.denominator


@dataclass(frozen=True)
class Orientation:
    """How a stored picture is turned to be seen: quarter turns counterclockwise, after a mirroring left to right."""

    quarter_turns: int = 0
    mirrored: bool = False

    @property
    def swaps_sides(self) -> bool:
        return self.quarter_turns % 2 == 1

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) as stored to (H', W', 3) as seen; a view."""
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, self.quarter_turns)


@dataclass(frozen=True)
class Picture:
    """What the first picture of a stream, as it is stored, tells of all of them."""

    width: int
    height: int
    colorspace: int
    """Matrix coefficients (ITU-T H.273)."""
    orientation: Orientation
    pts: int | None
    """When it is shown, in units of the stream's time base."""


def picture_of(frame: VideoFrame, pts: int) -> Picture:
    """What a decoded frame tells."""
    return Picture(frame.width, frame.height, frame.colorspace, _orientation_of(frame), pts)


def orientation_by(a: int, b: int, c: int, d: int) -> Orientation:
    """Orientation by a display matrix (ISO/IEC 14496-12 6.2.2), to the nearest quarter turn."""
    mirrored = a * d - b * c < 0
    # The matrix maps stored to seen, y down; a mirroring first negates its first row.
    if mirrored:
        a, b = -a, -b
    turns = round(np.degrees(np.arctan2(-b, a)) / 90) % 4 if (a or b) else 0
    return Orientation(int(turns), mirrored)


def _orientation_of(frame: VideoFrame) -> Orientation:
    every: Any = frame.side_data  # typed as a mapping, yields the data themselves
    matrix = next((data for data in every if data.type == Type.DISPLAYMATRIX), None)
    if matrix is None:
        return Orientation()
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    return orientation_by(a, b, c, d)


class Renderer:
    """Makes upright RGB pictures of one size from decoded frames; keeps the scaler's tables from frame to frame."""

    def __init__(self, orientation: Orientation, height: int, width: int, interpolation: str):
        self.orientation = orientation
        self.height, self.width = height, width
        self._stored = (width, height) if orientation.swaps_sides else (height, width)
        self._interpolation = Interpolation[interpolation.upper()]
        self._reformatter = VideoReformatter()

    def scales(self, height: int, width: int) -> bool:
        """True where pictures of this displayed size are drawn in another one."""
        return (self.height, self.width) != (height, width)

    def draw(self, frame: VideoFrame, out: np.ndarray) -> None:
        """Fill `out`, uint8 (H, W, 3)."""
        height, width = self._stored
        rgb = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=self._interpolation, threads=1
        )
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        picture = rows[:height, : width * 3].reshape(height, width, 3)
        np.copyto(out, self.orientation.apply(picture))


def displayed_size(width: int, height: int, pixel_aspect: Fraction, orientation: Orientation) -> tuple[int, int]:
    """(height, width) in square pixels as seen; the width takes up the pixel aspect, as players do."""
    seen_width = max(1, round(width * pixel_aspect))
    return (seen_width, height) if orientation.swaps_sides else (height, seen_width)


Allocate = Callable[[tuple[int, ...]], np.ndarray]
"""Makes an uninitialised uint8 array of a shape."""


def allocate_private(shape: tuple[int, ...]) -> np.ndarray:
    """Memory of this process."""
    return np.empty(shape, np.uint8)


class Collector:
    """Grows one array of pictures; refuses to grow beyond a limit."""

    def __init__(self, height: int, width: int, expected: int, limit_bytes: int, allocate: Allocate):
        self._shape = (height, width, 3)
        self._limit = max(1, limit_bytes // (height * width * 3))
        # Pages that are never written cost nothing, so a generous guess is free.
        self._allocate = allocate
        self._pictures = allocate((min(max(1, expected), self._limit), *self._shape))
        self._pts: list[int] = []
        self._places: list[Place] = []

    def __len__(self) -> int:
        return len(self._pts)

    def slot(self, pts: int) -> np.ndarray:
        """The place (H, W, 3) of the next picture. Raises VideoError `oversize`."""
        count = len(self._pts)
        if count == self._limit:
            message = f"More than {count:,} frames of {self._shape[1]}x{self._shape[0]} were asked for at once."
            raise VideoError(VideoErrorKind.oversize, message)
        if count == len(self._pictures):
            grown = self._allocate((min(2 * count, self._limit), *self._shape))
            grown[:count] = self._pictures
            self._pictures = grown
        self._pts.append(pts)
        return self._pictures[count]

    def note(self, place: Place | None) -> None:
        """Keep the place of the last picture, where it has one."""
        if place is not None:
            self._places.append(place)

    def arrange(self, order: Sequence[int]) -> None:
        """Move the picture that came n-th to the place order[n]."""
        if list(order) == list(range(len(order))):
            return  # the usual case, in which nothing is copied
        self._pictures[order] = self._pictures[: len(order)].copy()
        self._pts = [pts for _, pts in sorted(zip(order, self._pts, strict=True))]

    def frames(self, time_base: Fraction, decoder: str, error: VideoError | None = None) -> Frames:
        pictures, pts = self._pictures[: len(self._pts)], np.array(self._pts, np.int64)
        return Frames(pictures, pts, time_base, decoder, error, places_array(self._places))
