"""The train_captioner verb: a vision-language model learns short and descriptive captions from described clips."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from reelworks.config import Recipe
from reelworks.curate.clips import ClipSpec
from reelworks.errors import UserError
from reelworks.models.small_captioner import CaptionerSize, create_captioner
from reelworks.train.augment import AugmentSpec
from reelworks.train.finetune import FinetuneSpec, Workers, folder_files, quiet

# Enough texts to learn a vocabulary from, few enough to travel to the workers.
TOKENIZER_CAPTIONS = 20_000


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


def train_captioner(recipe: TrainCaptionerRecipe, run: Any) -> dict[str, Any]:
    """Trains on Ray, stores and registers the Transformers folder; returns what the end table shows."""
    import ray.data

    from reelworks import tracking
    from reelworks.resolve import pin
    from reelworks.train.captioner_worker import train_on_worker
    from reelworks.train.described_clips import described_clips, described_sources
    from reelworks.train.raw_clips import new_tally
    from reelworks.train.trainer import fit

    quiet()
    ray.data.DataContext.get_current().enable_progress_bars = False  # the log is for the training's own lines
    described = described_sources(recipe.sources, "descriptive")
    if not described:
        where = ", ".join(recipe.sources)
        raise UserError(f"no sidecar under {where} has a descriptive caption", "the captioner learns from these")
    every = [shot for _, shots in described for shot in shots]
    captions = sorted({text for shot in every for text in (shot.get("caption"), shot["descriptive"]) if text})
    print(f"{len(described)} sources, {len(every)} described shots, {len(captions)} distinct captions", flush=True)
    tally = new_tally()
    datasets = {"train": described_clips(described, recipe.clips, recipe.kept_frames, tally, recipe.decode_tasks)}
    if recipe.held_out and recipe.held_out_clips:
        known = described_sources(recipe.held_out, "attributes")[: recipe.held_out_clips]
        held_out = described_clips(known, recipe.clips, recipe.kept_frames, new_tally(), recipe.decode_tasks)
        datasets["held_out"] = held_out.limit(recipe.held_out_clips)
    uri = f"{recipe.checkpoints.rstrip('/')}/{recipe.registered_name}/{run.id}"
    config = {
        "recipe": recipe.model_dump(mode="json"),
        "start": pin(recipe.start) if recipe.start else None,
        "files": starting_files(recipe, captions[:TOKENIZER_CAPTIONS]),
        "run_id": run.id,
        "uri": uri,
    }
    with tempfile.TemporaryDirectory(prefix="train-captioner-") as folder:
        trained = fit(
            train_on_worker,
            config,
            name=run.id,
            num_workers=recipe.workers.num_workers,
            cpus=recipe.workers.cpus,
            gpus=recipe.workers.gpus,
            max_failures=recipe.workers.max_failures,
            storage_path=Path(folder),
            datasets=datasets,
        )
    version = tracking.register(recipe.registered_name, uri, run.id)
    return {**ray.get(tally.read.remote()), **trained, "model_version": version, "checkpoint": uri}


def starting_files(recipe: TrainCaptionerRecipe, captions: Sequence[str]) -> dict[str, bytes]:
    """An untrained captioner with the tokenizer of these captions; nothing where a model is fine-tuned."""
    if recipe.size is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        create_captioner(Path(folder), recipe.size, recipe.num_frames, captions, recipe.seed)
        return folder_files(Path(folder))
