"""The recipe of `train_expander`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from reelworks.config import Recipe
from reelworks.models.small_expander import ExpanderSize
from reelworks.train.finetune import FinetuneSpec, Workers


class TrainExpanderRecipe(Recipe):
    """train_expander: a committed snapshot to a registered expander."""

    dataset: str
    """URI of the data set's root."""
    snapshot: str
    """Snapshot as name@number or name@latest."""
    prompts: tuple[str, ...] = ("original", "short")
    """Captions of a clip that stand for what users will write; the answer is its descriptive caption."""
    noise: float = Field(0.5, ge=0, le=1)
    """Share of prompts with invented filler words and cut endings: users' wording is not the captions'."""
    start: str | None = None
    """Model source to fine-tune; left out, `size` is trained from scratch, tokenizer included."""
    size: ExpanderSize | None = None
    """Shape of an expander from scratch."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    training: FinetuneSpec
    """Steps, minutes, learning rate."""
    held_out_prompts: int = 0
    """Shapeworld prompts of word orders that no caption has, expanded at the end and compared; 0 on other footage."""
    workers: Workers = Workers()
    """The worker group."""
    seed: int = 0
    """Of weights, order of pairs and noise."""
    checkpoints: str = "s3://reelworks/checkpoints"
    """Prefix of checkpoint folders."""
    registered_name: str = "shapeworld-expander"
    """Name in the model registry; the new version becomes its champion."""

    @model_validator(mode="after")
    def _one_beginning(self) -> TrainExpanderRecipe:
        if (self.start is None) == (self.size is None):
            raise ValueError("give either start (fine-tune a model) or size (train from scratch)")
        if self.training.batch % self.workers.num_workers:
            raise ValueError(f"training.batch {self.training.batch} must divide by workers {self.workers.num_workers}")
        return self

    def writes(self) -> Sequence[str]:
        return (self.checkpoints,)
