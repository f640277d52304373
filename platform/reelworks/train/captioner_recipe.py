"""The recipe of `train_captioner`."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from reelworks.config import Recipe
from reelworks.curate.clips import ClipSpec
from reelworks.models.small_captioner import CaptionerSize
from reelworks.train.augment import AugmentSpec
from reelworks.train.finetune import FinetuneSpec, Workers


class TrainCaptionerRecipe(Recipe):
    """train_captioner: sidecars with descriptive captions and their videos to a registered captioner."""

    sources: tuple[str, ...] = Field(min_length=1)
    """Prefixes with raw video; shots whose sidecar has a descriptive caption are trained on."""
    held_out: tuple[str, ...] = ()
    """Prefixes with raw video that is never trained on."""
    held_out_clips: int = 160
    """Clips of `held_out` that are captioned freely at the end and compared with the truth."""
    clips: ClipSpec = ClipSpec()
    """What makes a clip."""
    start: str | None = None
    """Model source to fine-tune; left out, `size` is trained from scratch, tokenizer included."""
    size: CaptionerSize | None = None
    """Shape of a captioner from scratch."""
    num_frames: int = Field(4, ge=1)
    """Frames of a clip that the captioner sees, spread evenly over its time."""
    kept_frames: int = Field(20, ge=1)
    """Most frames of a clip that travel to the workers: which of them a clip shows is drawn anew in every epoch."""
    short_share: float = Field(0.25, ge=0, le=1)
    """Share of examples that ask for the short caption."""
    augment: AugmentSpec = AugmentSpec()
    """How each epoch's view of a clip differs from the clip."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    training: FinetuneSpec
    """Steps, minutes, learning rate."""
    keep_clips: int = 4096
    """Clips a worker keeps after the first pass; a larger data set is streamed again in every epoch."""
    decode_tasks: int = Field(2, ge=1)
    """Tasks that read and decode at once."""
    workers: Workers = Workers()
    """The worker group."""
    seed: int = 0
    """Of weights, order of clips and choice of captions."""
    checkpoints: str = "s3://reelworks/checkpoints"
    """Prefix of checkpoint folders."""
    registered_name: str = "shapeworld-captioner"
    """Name in the model registry; the new version becomes its champion."""

    @model_validator(mode="after")
    def _one_beginning(self) -> TrainCaptionerRecipe:
        if (self.start is None) == (self.size is None):
            raise ValueError("give either start (fine-tune a model) or size (train from scratch)")
        if self.training.batch % self.workers.num_workers:
            raise ValueError(
                f"training.batch {self.training.batch} is no multiple of {self.workers.num_workers} workers"
            )
        return self

    def writes(self) -> Sequence[str]:
        return (self.checkpoints,)
