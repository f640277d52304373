"""The train_captioner verb: a vision-language model learns short and descriptive captions from described clips."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reelworks.errors import UserError
from reelworks.models.small_captioner import create_captioner
from reelworks.train.captioner_recipe import TrainCaptionerRecipe
from reelworks.train.finetune import folder_files, quiet

# Enough texts to learn a vocabulary from, few enough to travel to the workers.
TOKENIZER_CAPTIONS = 20_000


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
