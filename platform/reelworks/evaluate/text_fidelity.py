"""Text fidelity: do generated videos show what their short prompts name, read from pixels by the judge.

What is valid only with its controls is computed together with them: the same readings against permuted prompts must
fall to chance, and the same prompts without expansion tell what the expander is worth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelworks.evaluate.figures import Proportion, attribute_proportions
from reelworks.evaluate.held_out import JUDGED_ATTRIBUTES
from reelworks.shapeworld.judge import judge
from reelworks.shapeworld.parse import parse
from reelworks.shapeworld.prompts import Prompt


class JudgedSampling:
    """Actor: request rows in; what the judge reads from each sampled video out, with a film strip of some."""

    def __init__(self, dit: str, expander: str | None, num_threads: int):
        from reelworks.evaluate.studio import Studio

        self.studio = Studio.open(dit, expander, num_threads)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        from reelworks.evaluate.generation import Ask
        from reelworks.evaluate.pictures import filmstrip, png

        asks = [Ask.model_validate_json(text) for text in batch["request"]]
        out: dict[str, list[Any]] = {"revised_prompt": [], "error": [], "strip": [], "frames_digest": []}
        out |= {name: [] for name in JUDGED_ATTRIBUTES}
        takes = self.studio.shoot(asks, expand=[bool(flag) for flag in batch["expand"]])
        for take, wants_strip in zip(takes, batch["strip"], strict=True):
            reading = asdict(judge(take.frames)) if take.frames is not None else {}
            for name in JUDGED_ATTRIBUTES:
                out[name].append(reading.get(name) or "")
            out["revised_prompt"].append(take.prompt)
            out["error"].append(take.error)
            out["strip"].append(png(filmstrip(take.frames)) if wants_strip and take.frames is not None else b"")
            out["frames_digest"].append("" if take.frames is None else digest_of(take.frames))
        return {"index": batch["index"], **out}


def digest_of(frames: NDArray[np.uint8]) -> str:
    """sha256 hex of the frames: two paths made the same video, or not."""
    return hashlib.sha256(np.ascontiguousarray(frames).data).hexdigest()


def readings(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str | None]]:
    """What was read, None where nothing could be."""
    return [{name: row[name] or None for name in JUDGED_ATTRIBUTES} for row in rows]


def fidelity(
    prompts: Sequence[Prompt], read: Sequence[Mapping[str, str | None]], keep: Sequence[bool] | None = None
) -> dict[str, Proportion]:
    """Proportions by attribute over the prompts to keep (all by default); only named attributes count."""
    chosen = [i for i in range(len(prompts)) if keep is None or keep[i]]
    return attribute_proportions([prompts[i].named for i in chosen], [read[i] for i in chosen], JUDGED_ATTRIBUTES)


def permuted(prompts: Sequence[Prompt], seed: int) -> list[Prompt]:
    """The prompts in another order in which none keeps its place: a random cycle."""
    order = np.random.default_rng(seed).permutation(len(prompts))
    shifted: list[Prompt] = list(prompts)
    for here, there in zip(order, np.roll(order, 1), strict=True):
        shifted[here] = prompts[there]
    return shifted


def expansion_is_valid(prompt: Prompt, expanded: str) -> bool:
    """Whether the expansion says every attribute that the prompt names, and none differently."""
    said = parse(expanded)
    return all(said.get(name) == value for name, value in prompt.named.items())


def rates(proportions: Mapping[str, Proportion]) -> dict[str, float | None]:
    return {name: proportion.rate for name, proportion in proportions.items()}


def intervals(proportions: Mapping[str, Proportion]) -> dict[str, tuple[float, float] | None]:
    return {name: proportion.interval() for name, proportion in proportions.items()}
