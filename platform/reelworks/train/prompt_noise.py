"""Disturbs a short caption as strangers' wording would, so that an expander learns what to keep and what to ignore."""

import numpy as np

LETTERS = "aeiouaeioubcdfghjklmnprstvwy"


def noisy_prompt(text: str, rng: np.random.Generator) -> str:
    """The caption with filler words in front of, behind or inside it, endings cut, commas and capitals changed.

    The fillers are invented, so that nothing enters that could be meant.
    """
    out = []
    for word in text.split():
        if rng.random() < 0.05:
            out.append(_invented(rng))
        out.append(_clipped(word, rng))
    for _ in range(int(rng.integers(0, 5))):
        out.insert(0, _invented(rng))
    for _ in range(int(rng.integers(0, 3))):
        out.append(_invented(rng))
    if rng.random() < 0.2:
        out[0] = out[0].capitalize()
    return " ".join(out) + str(rng.choice(["", "", "", ".", ",", "!"]))


def _clipped(word: str, rng: np.random.Generator) -> str:
    """Now and then a word without its ending or its comma: "moves" → "move", "drifting" → "drift"."""
    if word[-1] in ",:" and rng.random() < 0.5:
        return word[:-1]
    for ending in ("ing", "es", "s"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 3 and rng.random() < 0.4:
            return stem
    return word


def _invented(rng: np.random.Generator) -> str:
    return "".join(LETTERS[int(rng.integers(len(LETTERS)))] for _ in range(int(rng.integers(1, 9))))
