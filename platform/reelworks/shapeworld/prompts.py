"""Short prompts for evaluation, in word orders that no training caption uses, with what each one names."""

from dataclasses import dataclass

import numpy as np

from reelworks.shapeworld.attributes import Split
from reelworks.shapeworld.captions import fill, noun_phrase
from reelworks.shapeworld.words import verbs
from reelworks.shapeworld.world import sample_attributes

PROMPT_TEMPLATES = (
    "show me {a_thing} {gerund}",
    "please make {a_thing} {bare}",
    "a video of {a_thing} {gerund}",
    "video: {the_thing} {finite}",
    "I want to see {a_thing} {gerund}",
    "an animation in which {a_thing} {finite}",
    "{a_thing}, {gerund}",
    "{the_thing} should {bare}",
    "watch {a_thing} {bare}",
    "let {a_thing} {bare} please",
    "picture {a_thing} as it {finite}",
    "a short film where {the_thing} {finite}",
)
SHARE_OF_SIZE = 0.5
SHARE_OF_SYNONYM = 0.3


@dataclass(frozen=True)
class Prompt:
    """A short prompt; `named` holds the attributes that its text names, `unseen` whether its triple is held out."""

    text: str
    named: dict[str, str]
    unseen: bool


def evaluation_prompts(num_prompts: int, seed: int, split: Split = "any") -> list[Prompt]:
    """Distinct prompts, the same ones for the same arguments; `any` alternates between seen and unseen triples."""
    prompts: dict[str, Prompt] = {}
    index = 0
    while len(prompts) < num_prompts:
        rng = np.random.default_rng([seed, 1, index])
        unseen = split == "unseen" or (split == "any" and len(prompts) % 2 == 1)
        attributes = sample_attributes(rng, "unseen" if unseen else "train")
        names_size = bool(rng.random() < SHARE_OF_SIZE)
        thing = noun_phrase(rng, attributes, names_size, SHARE_OF_SYNONYM)
        ways = verbs(attributes.motion)
        template = PROMPT_TEMPLATES[int(rng.integers(len(PROMPT_TEMPLATES)))]
        text = fill(template, thing, ways[int(rng.integers(len(ways)))])
        names = ("colour", "shape", "motion", "size") if names_size else ("colour", "shape", "motion")
        named = {name: value for name, value in attributes.as_dict().items() if name in names}
        prompts.setdefault(text, Prompt(text, named, unseen))
        index += 1
    return list(prompts.values())
