"""A clip's scene in resolution-free numbers, and how scenes are drawn at random.

Positions are fractions of the frame's width and height; lengths (diameter, bar thickness) are fractions of the
frame's shorter side, so that a shape is as easy to see in a portrait frame as in a square one.
"""

from dataclasses import dataclass

import numpy as np

from reelworks.shapeworld.attributes import (
    RGB,
    Attributes,
    Background,
    Camera,
    Colour,
    Extra,
    Motion,
    Shape,
    Size,
    Split,
    triples,
)

# Small and large stay apart by a quarter of the frame's short side or more: 11 and 17 px of 32.
DIAMETER: dict[Size, tuple[float, float]] = {Size.small: (0.33, 0.38), Size.large: (0.52, 0.58)}
SECOND_DIAMETER = (0.20, 0.24)
GREY: dict[Background, tuple[float, float]] = {Background.dark: (58.0, 80.0), Background.light: (165.0, 187.0)}
DIRECTION: dict[Motion, tuple[int, int]] = {
    Motion.left: (-1, 0),
    Motion.right: (1, 0),
    Motion.up: (0, -1),
    Motion.down: (0, 1),
    Motion.still: (0, 0),
}
# Half extents (x, y) of each shape for a diameter of 1; the triangle's box is centred on its bounding box.
HALF_EXTENT: dict[Shape, tuple[float, float]] = {
    Shape.circle: (0.5, 0.5),
    Shape.square: (0.5, 0.5),
    Shape.triangle: (0.58, 0.52),
}
TRAVEL = (0.30, 0.45)  # of the frame, along the motion; trimming a clip to 4k+1 frames must leave a quarter
PAN_SHARE = 0.08
EXTRA_SHARE = 0.12
MARGIN = 0.02


@dataclass(frozen=True)
class ShapeSpec:
    """One shape: kind, colour (0..255), diameter, tilt, and the line of its centre from the first frame to the last."""

    shape: Shape
    rgb: tuple[float, float, float]
    diameter: float
    tilt_rad: float
    start: tuple[float, float]
    end: tuple[float, float]
    ease: float
    """0 = constant speed, 1 = slow at both ends."""


@dataclass(frozen=True)
class BackgroundSpec:
    """Grey level, gradient, and two waves of low contrast; `pan` is the shift over the clip in frame widths."""

    grey: tuple[float, float, float]
    gradient: tuple[float, float]
    waves: tuple[tuple[float, float, float, float], ...]
    """(cycles per frame in x, in y, phase, amplitude in grey levels) of each wave."""
    pan: float


@dataclass(frozen=True)
class BarSpec:
    """A grey bar in front of everything: across the motion's axis at `position`, `thickness` of the short side."""

    vertical: bool
    position: float
    thickness: float
    grey: float


@dataclass(frozen=True)
class ClipSpec:
    attributes: Attributes
    main: ShapeSpec
    background: BackgroundSpec
    second: ShapeSpec | None = None
    bar: BarSpec | None = None


def sample_attributes(rng: np.random.Generator, split: Split, background: Background | None = None) -> Attributes:
    """Attributes drawn evenly over the split's triples, the background's shade drawn too where none is given.

    A second shape stands only beside a moving one, a bar only in front of a moving one.
    """
    choices = triples(split)
    colour, shape, motion = choices[int(rng.integers(len(choices)))]
    extra = Extra.none
    if motion != Motion.still and rng.random() < EXTRA_SHARE * len(Motion) / (len(Motion) - 1):
        extra = Extra.second_shape if rng.random() < 0.5 else Extra.occluder
    return Attributes(
        colour=colour,
        shape=shape,
        motion=motion,
        size=list(Size)[int(rng.integers(2))],
        background=background or list(Background)[int(rng.integers(2))],
        camera=Camera.pan if rng.random() < PAN_SHARE else Camera.still,
        extra=extra,
    )


def sample_spec(rng: np.random.Generator, attributes: Attributes, width: int, height: int) -> ClipSpec:
    """A scene with these attributes for a frame of this aspect ratio; everything else about it is random."""
    diameter = float(rng.uniform(*DIAMETER[attributes.size]))
    start, end = _path(rng, attributes, diameter, width, height)
    main = ShapeSpec(
        shape=attributes.shape,
        rgb=_tinted(rng, RGB[attributes.colour], 8),
        diameter=diameter,
        tilt_rad=float(np.radians(rng.uniform(-5, 5))),
        start=start,
        end=end,
        ease=float(rng.uniform(0, 0.6)),
    )
    background = _background(rng, attributes)
    second = _second(rng, main, attributes, width, height) if attributes.extra == Extra.second_shape else None
    bar = _bar(rng, main, attributes, background) if attributes.extra == Extra.occluder else None
    return ClipSpec(attributes, main, background, second, bar)


def _path(
    rng: np.random.Generator, attributes: Attributes, diameter: float, width: int, height: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Start and end of the centre such that the whole shape stays in the frame."""
    short = min(width, height)
    half = HALF_EXTENT[attributes.shape]
    ends = []
    for axis, side in enumerate((width, height)):
        low = half[axis] * diameter * short / side + MARGIN
        room = 1 - 2 * low
        step = DIRECTION[attributes.motion][axis]
        if step:
            travel = float(rng.uniform(min(TRAVEL[0], room), min(TRAVEL[1], room)))
        else:  # a slight sideways drift, but what is still is still
            travel = 0.0 if attributes.motion == Motion.still else float(rng.uniform(0, 0.03))
            step = 1 if rng.random() < 0.5 else -1
        first = low + float(rng.uniform(0, max(room - travel, 0.0)))
        ends.append((first, first + travel) if step > 0 else (first + travel, first))
    return (ends[0][0], ends[1][0]), (ends[0][1], ends[1][1])


def _tinted(rng: np.random.Generator, rgb: tuple[float, ...], spread: float) -> tuple[float, float, float]:
    red, green, blue = (float(np.clip(value + rng.uniform(-spread, spread), 0, 255)) for value in rgb)
    return red, green, blue


def _background(rng: np.random.Generator, attributes: Attributes) -> BackgroundSpec:
    grey = float(rng.uniform(*GREY[attributes.background]))
    pans = attributes.camera == Camera.pan
    waves = tuple(
        (
            float(rng.uniform(0.8, 1.4) if pans else rng.uniform(0.2, 1.0)),
            float(rng.uniform(-0.5, 0.5)),
            float(rng.uniform(0, 2 * np.pi)),
            float(rng.uniform(5, 9)),
        )
        for _ in range(2)
    )
    gradient = (float(rng.uniform(-12, 12)), float(rng.uniform(-12, 12)))
    pan = float(rng.uniform(0.5, 0.8) * rng.choice([-1, 1])) if pans else 0.0
    # A little warm: the hue of a neutral grey is noise, which cut detectors that look at hues take for cuts.
    return BackgroundSpec(_tinted(rng, (grey + 5, grey, grey - 5), 1), gradient, waves, pan)


def _second(rng: np.random.Generator, main: ShapeSpec, attributes: Attributes, width: int, height: int) -> ShapeSpec:
    """A smaller, still shape of another colour in the corner farthest from the main shape's path."""
    others = [colour for colour in Colour if colour != attributes.colour]
    colour = others[int(rng.integers(len(others)))]
    diameter = float(rng.uniform(*SECOND_DIAMETER))
    short = min(width, height)
    margin_x, margin_y = (0.6 * diameter * short / side + MARGIN for side in (width, height))
    corners = [(x, y) for x in (margin_x, 1 - margin_x) for y in (margin_y, 1 - margin_y)]
    points = [main.start, main.end]
    corner = max(corners, key=lambda c: min((c[0] - p[0]) ** 2 + (c[1] - p[1]) ** 2 for p in points))
    shape = list(Shape)[int(rng.integers(len(Shape)))]
    return ShapeSpec(shape, _tinted(rng, RGB[colour], 8), diameter, 0.0, corner, corner, 0.0)


def _bar(rng: np.random.Generator, main: ShapeSpec, attributes: Attributes, background: BackgroundSpec) -> BarSpec:
    """A bar that the shape passes behind: thinner than the shape, so that it never hides all of it."""
    vertical = attributes.motion in (Motion.left, Motion.right)
    axis = 0 if vertical else 1
    middle = (main.start[axis] + main.end[axis]) / 2
    sign = 1 if attributes.background == Background.dark else -1
    return BarSpec(
        vertical=vertical,
        position=middle + float(rng.uniform(-0.1, 0.1)),
        thickness=float(rng.uniform(0.08, 0.12)),
        grey=background.grey[0] + sign * float(rng.uniform(45, 60)),
    )
