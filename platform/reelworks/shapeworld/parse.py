"""Reads attributes back from text: from captions of the corpus, from generated captions, from prompts."""

import re
from collections.abc import Iterable
from enum import StrEnum

from reelworks.shapeworld.attributes import Background, Camera, Extra, Motion, Shape
from reelworks.shapeworld.words import COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS

AMBIGUOUS = "ambiguous"
"""The value of an attribute that a text gives two different values."""

# Said of the camera or of the second shape, not of the main shape: taken out before its motion is looked for.
_CAMERA = re.compile(r"\b(?:the )?camera (?:\w+ ){0,2}?(pans|panning|fixed|still|static)\b[^.]*")
_SECOND = re.compile(r"\b(?:a|another|the) second shape\b[^.]*|\banother shape\b[^.]*")
_BAR = re.compile(r"\b(?:it )?(?:passes |passing )?behind a (?:\w+ )?bar\b")
_BACKGROUND = re.compile(r"\b(?:over|on|against|before)? ?(?:an? |the )?(?:(dark|light) )?gr[ea]y background\b")
_NEGATED = re.compile(r"\b(?:not|never|without) mov(?:e|es|ing)\b|\bdoesn't move\b|\bisn't moving\b")
_FROM_TO = re.compile(r"\bfrom (?:the )?(?:left|right|top|bottom) to (?:the )?(left|right|top|bottom)\b")
_TO = {"left": Motion.left, "right": Motion.right, "top": Motion.up, "bottom": Motion.down}

_MOTION_WORDS: dict[Motion, tuple[str, ...]] = {
    Motion.left: ("left", "leftward", "leftwards"),
    Motion.right: ("right", "rightward", "rightwards"),
    Motion.up: ("up", "upward", "upwards", "rise", "rises", "rising", "climb", "climbs", "climbing", "ascends"),
    Motion.down: (
        *("down", "downward", "downwards", "fall", "falls", "falling", "sink", "sinks", "sinking"),
        *("drops", "dropping", "descends", "descending"),
    ),
    Motion.still: ("still", "motionless", "stationary", "rest", "rests", "resting", "unmoving"),
}
_SHAPE_EXTRAS: dict[Shape, tuple[str, ...]] = {
    Shape.circle: ("round", "disk"),
    Shape.square: ("cube",),
    Shape.triangle: ("triangular",),
}


def _values(text: str, words: Iterable[tuple[StrEnum, tuple[str, ...]]]) -> set[str]:
    """Values of which a word (or its plural) stands in the text."""
    present = set(re.findall(r"[a-z']+", text))
    return {str(value) for value, names in words if any(n in present or f"{n}s" in present for n in names)}


def parse(text: str) -> dict[str, str]:
    """The attributes that the text names: only those among colour, shape, motion, size, background, camera, extra.

    An attribute that is given two different values has the value `AMBIGUOUS`. What is said of the camera, of a
    second shape or of the background is not taken for the main shape's.
    """
    rest = " ".join(text.lower().split())
    found: dict[str, set[str]] = {}
    if _SECOND.search(rest):
        found["extra"] = {str(Extra.second_shape)}
    elif _BAR.search(rest):
        found["extra"] = {str(Extra.occluder)}
    found["camera"] = {str(Camera.pan if "pan" in word else Camera.still) for word in _CAMERA.findall(rest)}
    found["background"] = {str(Background(word)) for word in _BACKGROUND.findall(rest) if word}
    for pattern in (_SECOND, _CAMERA, _BAR, _BACKGROUND):
        rest = pattern.sub(" ", rest)
    motions = {str(_TO[word]) for word in _FROM_TO.findall(rest)}
    rest, negations = _NEGATED.subn(" ", _FROM_TO.sub(" ", rest))
    motions |= {str(Motion.still)} if negations else set()
    found["motion"] = motions | _values(rest, _MOTION_WORDS.items())
    found["colour"] = _values(rest, COLOUR_WORDS.items())
    found["shape"] = _values(rest, ((shape, words + _SHAPE_EXTRAS[shape]) for shape, words in SHAPE_WORDS.items()))
    found["size"] = _values(rest, SIZE_WORDS.items())
    return {name: values.pop() if len(values) == 1 else AMBIGUOUS for name, values in found.items() if values}
