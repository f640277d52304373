"""Captions of a clip: short ones in free wording, and one descriptive caption in a fixed grammar."""

import numpy as np

from reelworks.shapeworld.attributes import Attributes, Camera, Extra, Motion
from reelworks.shapeworld.words import COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS, TOWARDS, Verb, verbs

# Word orders of short captions; those of evaluation prompts (prompts.py) are all different from these.
SHORT_TEMPLATES = (
    "{a_thing} {finite}",
    "{thing} {gerund}",
    "{a_thing} {gerund}",
    "{gerund}, {a_thing}",
    "there is {a_thing} {gerund}",
    "{a_thing} that {finite}",
    "{the_thing} {finite} in the picture",
    "in this clip {a_thing} {finite}",
    "we see {a_thing} {gerund}",
    "{a_thing} is seen {gerund}",
    "{gerund}: {thing}",
    "here {the_thing} {finite}",
)
SHARE_OF_SIZE = 0.7  # short captions that name the size
SHARE_OF_SYNONYM = 0.5


def pick(rng: np.random.Generator, words: tuple[str, ...], share_of_synonym: float) -> str:
    """The first word, or with the given probability one of its synonyms."""
    if len(words) == 1 or rng.random() >= share_of_synonym:
        return words[0]
    return words[1 + int(rng.integers(len(words) - 1))]


def noun_phrase(rng: np.random.Generator, attributes: Attributes, names_size: bool, share_of_synonym: float) -> str:
    """ "small red circle", with or without the size."""
    size = pick(rng, SIZE_WORDS[attributes.size], share_of_synonym) + " " if names_size else ""
    colour = pick(rng, COLOUR_WORDS[attributes.colour], share_of_synonym)
    return f"{size}{colour} {pick(rng, SHAPE_WORDS[attributes.shape], share_of_synonym)}"


def article(phrase: str) -> str:
    """ "a red circle", "an aqua circle"."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def fill(template: str, thing: str, verb: Verb) -> str:
    """The template with the noun phrase and the verb's forms in it."""
    return template.format(thing=thing, a_thing=article(thing), the_thing=f"the {thing}", **verb._asdict())


def short_caption(attributes: Attributes, rng: np.random.Generator) -> str:
    """A short caption in free wording; names colour, shape and motion always, the size mostly."""
    names_size = bool(rng.random() < SHARE_OF_SIZE)
    thing = noun_phrase(rng, attributes, names_size, SHARE_OF_SYNONYM)
    ways = verbs(attributes.motion)
    verb = ways[int(rng.integers(len(ways)))]
    return fill(SHORT_TEMPLATES[int(rng.integers(len(SHORT_TEMPLATES)))], thing, verb)


def still_caption(attributes: Attributes, rng: np.random.Generator) -> str:
    """A short caption of a picture: no motion in it."""
    thing = noun_phrase(rng, attributes, bool(rng.random() < SHARE_OF_SIZE), SHARE_OF_SYNONYM)
    return ("a picture of {}", "{}", "there is {}", "we see {}")[int(rng.integers(4))].format(article(thing))


def describe(attributes: Attributes) -> str:
    """The descriptive caption: size, colour, shape, motion, background, camera and extras, always in this order."""
    thing = f"{attributes.size} {attributes.colour} {attributes.shape}"
    motion = "stays still" if attributes.motion == Motion.still else f"moves {TOWARDS[attributes.motion][0]}"
    extra = {
        Extra.none: "",
        Extra.second_shape: " A second shape is beside it.",
        Extra.occluder: " It passes behind a bar.",
    }[attributes.extra]
    camera = "pans" if attributes.camera == Camera.pan else "is fixed"
    return f"A {thing} {motion} over a {attributes.background} grey background. The camera {camera}.{extra}"
