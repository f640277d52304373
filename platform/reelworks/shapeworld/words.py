"""The words of shapeworld's captions: what each attribute value may be called, and the forms of its verbs.

The first word of each list is the one that descriptive captions use.
"""

from typing import NamedTuple

from reelworks.shapeworld.attributes import Colour, Motion, Shape, Size

COLOUR_WORDS: dict[Colour, tuple[str, ...]] = {
    Colour.red: ("red", "crimson", "scarlet"),
    Colour.green: ("green", "emerald"),
    Colour.blue: ("blue", "cobalt"),
    Colour.yellow: ("yellow", "golden"),
    Colour.magenta: ("magenta", "pink", "fuchsia"),
    Colour.cyan: ("cyan", "turquoise", "aqua"),
}
SHAPE_WORDS: dict[Shape, tuple[str, ...]] = {
    Shape.circle: ("circle", "disc", "ball"),
    Shape.square: ("square", "box", "block"),
    Shape.triangle: ("triangle", "wedge", "pyramid"),
}
SIZE_WORDS: dict[Size, tuple[str, ...]] = {
    Size.small: ("small", "little", "tiny"),
    Size.large: ("large", "big", "huge"),
}


class Verb(NamedTuple):
    """One way to say a motion: "it moves left", "moving left", "make it move left"."""

    finite: str
    gerund: str
    bare: str


GOING = (
    Verb("moves", "moving", "move"),
    Verb("slides", "sliding", "slide"),
    Verb("drifts", "drifting", "drift"),
    Verb("travels", "travelling", "travel"),
    Verb("glides", "gliding", "glide"),
)
TOWARDS: dict[Motion, tuple[str, ...]] = {
    Motion.left: ("to the left", "left", "leftward", "from right to left"),
    Motion.right: ("to the right", "right", "rightward", "from left to right"),
    Motion.up: ("up", "upward", "from bottom to top"),
    Motion.down: ("down", "downward", "from top to bottom"),
}
SINGLE_VERBS: dict[Motion, tuple[Verb, ...]] = {
    Motion.left: (),
    Motion.right: (),
    Motion.up: (Verb("rises", "rising", "rise"), Verb("climbs", "climbing", "climb")),
    Motion.down: (Verb("falls", "falling", "fall"), Verb("sinks", "sinking", "sink")),
    Motion.still: (
        Verb("stays still", "staying still", "stay still"),
        Verb("stands still", "standing still", "stand still"),
        Verb("rests", "resting", "rest"),
        Verb("does not move", "not moving", "not move"),
        Verb("remains motionless", "remaining motionless", "remain motionless"),
    ),
}


def verbs(motion: Motion) -> list[Verb]:
    """Every way to say this motion."""
    pairs = [(verb, adverb) for verb in GOING for adverb in TOWARDS.get(motion, ())]
    going = [Verb(*(f"{form} {adverb}" for form in verb)) for verb, adverb in pairs]
    return going + list(SINGLE_VERBS[motion])
