"""The control on where the DiT's words come from: which share of its training captions the captioner wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reelworks.train.dit_batch import choose_caption
from reelworks.train.dit_recipe import Text, TrainDiTRecipe

# Captions are drawn anew each epoch; this many epochs give the share to about a percent on a thousand clips.
NUM_EPOCHS = 4
WRITTEN = ("short", "descriptive")  # kinds that only the captioner writes


def share_from_captioner(rows: Iterable[Mapping[str, Any]], text: Text, seed: int) -> float:
    """Captions that the captioner wrote among those that training drew, null texts left out: the draws themselves,
    repeated, not the recipe's shares. Rows are those of the snapshot that training read."""
    written = drawn = 0
    for row in rows:
        kinds = tuple(kind for kind in text.captions if row[f"caption_{kind}"] is not None)
        for epoch in range(NUM_EPOCHS):
            kind = choose_caption(kinds, text, seed, row["clip_id"], epoch)
            drawn += kind is not None
            written += kind in WRITTEN and row["captioner"] is not None
    return written / drawn if drawn else 0.0


def captions_from_captioner(dit_folder: Path) -> float:
    """The share for a DiT's checkpoint folder, from the recipe and the snapshot that it names."""
    from reelworks.curate.snapshot import read_snapshot

    config = json.loads((dit_folder / "config.json").read_text())
    recipe = TrainDiTRecipe.model_validate(config["recipe"])
    clips = read_snapshot(recipe.dataset, config["snapshot"]).clips
    return share_from_captioner(clips.to_pylist(), recipe.text, recipe.seed)
