"""What can be said about a shapeworld clip, and which combinations no training set may contain."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Split = Literal["train", "unseen", "any"]


class Colour(StrEnum):
    red = "red"
    green = "green"
    blue = "blue"
    yellow = "yellow"
    magenta = "magenta"
    cyan = "cyan"


class Shape(StrEnum):
    circle = "circle"
    square = "square"
    triangle = "triangle"


class Motion(StrEnum):
    left = "left"
    right = "right"
    up = "up"
    down = "down"
    still = "still"


class Size(StrEnum):
    small = "small"
    large = "large"


class Background(StrEnum):
    dark = "dark"
    light = "light"


class Camera(StrEnum):
    still = "still"
    pan = "pan"


class Extra(StrEnum):
    none = "none"
    second_shape = "second_shape"
    occluder = "occluder"


Triple = tuple[Colour, Shape, Motion]


@dataclass(frozen=True)
class Attributes:
    """The truth about one clip; colour, shape, motion and size belong to the main shape."""

    colour: Colour
    shape: Shape
    motion: Motion
    size: Size
    background: Background
    camera: Camera
    extra: Extra

    def as_dict(self) -> dict[str, str]:
        return {name: str(value) for name, value in vars(self).items()}

    @property
    def triple(self) -> Triple:
        return self.colour, self.shape, self.motion


# The corners of the RGB cube, pulled in a little so that neither codecs nor the VAE clip them: hues 60 degrees apart.
RGB: dict[Colour, tuple[int, int, int]] = {
    Colour.red: (225, 35, 35),
    Colour.green: (35, 195, 45),
    Colour.blue: (35, 60, 230),
    Colour.yellow: (235, 220, 30),
    Colour.magenta: (225, 45, 215),
    Colour.cyan: (30, 210, 220),
}


def is_held_out(triple: Triple) -> bool:
    """Whether a (colour, shape, motion) is kept out of every training set.

    A Latin-square rule: one motion of five for each (colour, shape), so 18 of 90 triples (20%) are held out, and
    every pair of values still occurs in the rest.
    """
    colour, shape, motion = triple
    index = list(Colour).index(colour) + 2 * list(Shape).index(shape) + list(Motion).index(motion)
    return index % len(Motion) == 0


def triples(split: Split) -> list[Triple]:
    """The (colour, shape, motion) triples of a split, in a fixed order: 72 in `train`, 18 in `unseen`, 90 in `any`."""
    every = [(colour, shape, motion) for colour in Colour for shape in Shape for motion in Motion]
    return [triple for triple in every if split == "any" or is_held_out(triple) == (split == "unseen")]
