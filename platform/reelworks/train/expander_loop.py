"""The train_expander verb: a language model learns to turn short captions into the descriptive ones of a snapshot."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reelworks.errors import UserError
from reelworks.models.small_expander import create_expander
from reelworks.train.expander_recipe import TrainExpanderRecipe
from reelworks.train.finetune import folder_files, quiet

# Pairs travel to the workers as one message.
MAX_PAIRS = 200_000


def train_expander(recipe: TrainExpanderRecipe, run: Any) -> dict[str, Any]:
    """Trains on Ray, stores and registers the Transformers folder; returns what the end table shows."""
    from reelworks import tracking
    from reelworks.curate.snapshot import read_snapshot, resolve_snapshot
    from reelworks.resolve import pin
    from reelworks.train.expander_worker import train_on_worker
    from reelworks.train.trainer import fit

    quiet()
    reference = resolve_snapshot(recipe.dataset, recipe.snapshot)
    run.trains_on(str(reference))
    columns = [f"caption_{name}" for name in (*recipe.prompts, "descriptive")]
    rows = read_snapshot(recipe.dataset, reference).clips.select(columns).to_pylist()
    pairs = caption_pairs(rows, recipe.prompts)
    if not pairs:
        raise UserError(
            f"snapshot {reference} holds no clip with a descriptive caption and one of: {', '.join(recipe.prompts)}",
            "run prepare with a captioner",
        )
    print(f"snapshot {reference}: {len(rows)} clips, {len(pairs)} pairs of captions", flush=True)
    uri = f"{recipe.checkpoints.rstrip('/')}/{recipe.registered_name}/{run.id}"
    config = {
        "recipe": recipe.model_dump(mode="json"),
        "start": pin(recipe.start) if recipe.start else None,
        "pairs": pairs[:MAX_PAIRS],
        "files": starting_files(recipe, pairs),
        "run_id": run.id,
        "uri": uri,
    }
    workers = recipe.workers
    with tempfile.TemporaryDirectory(prefix="train-expander-") as folder:
        trained = fit(
            train_on_worker,
            config,
            name=run.id,
            num_workers=workers.num_workers,
            cpus=workers.cpus,
            gpus=workers.gpus,
            max_failures=workers.max_failures,
            storage_path=Path(folder),
        )
    version = tracking.register(recipe.registered_name, uri, run.id, tags={tracking.SNAPSHOT: str(reference)})
    counts = {"snapshot": str(reference), "clips": len(rows), "pairs": len(pairs)}
    return {**counts, **trained, "model_version": version, "checkpoint": uri}


def caption_pairs(rows: Sequence[dict[str, Any]], prompts: Sequence[str]) -> list[tuple[str, str]]:
    """(short, descriptive) of each clip and each kind of prompt that it has, in the rows' order."""
    return [
        (row[f"caption_{name}"], row["caption_descriptive"])
        for row in rows
        for name in prompts
        if row["caption_descriptive"] and row[f"caption_{name}"]
    ]


def starting_files(recipe: TrainExpanderRecipe, pairs: Sequence[tuple[str, str]]) -> dict[str, bytes]:
    """An untrained expander with the tokenizer of these captions; nothing where a model is fine-tuned."""
    if recipe.size is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        create_expander(Path(folder), recipe.size, {text for pair in pairs for text in pair}, recipe.seed)
        return folder_files(Path(folder))
