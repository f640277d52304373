"""The actors of a score model: one number for each clip, from a few of its frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from reelworks import storage
from reelworks.curate.chunk import Chunk, from_table, to_table
from reelworks.curate.early import load_early
from reelworks.curate.plan import Plan, score_stage
from reelworks.curate.scores import chunk_key, pass_over, read_scores, store_scores

if TYPE_CHECKING:
    from reelworks.models.frame_scorer import FrameScorer

OVER_FRAMES: dict[str, Callable[[np.ndarray], float]] = {"mean": np.mean, "min": np.min, "max": np.max}


class ScoreActor:
    """Scores for chunks by one model, one object each; what is stored already is read, not computed."""

    def __init__(self, plan: Plan, name: str):
        self.plan, self.name = plan, name
        self.stage = plan.recipe.score_models[name]
        load_early(plan, score_stage(name), lambda: self.scorer)

    @cached_property
    def scorer(self) -> FrameScorer:
        """Loaded at first need at the latest."""
        import torch

        from reelworks.models.frame_scorer import LabelScorer, TextAreaScorer
        from reelworks.resolve import resolve_model

        stage = self.stage
        torch.set_num_threads(stage.pool.threads)
        path = resolve_model(self.plan.models[score_stage(self.name)]).path
        if stage.kind == "text_area":
            return TextAreaScorer(path, stage.pool.threads)
        return LabelScorer(path, stage.label, stage.against, stage.pool.device)

    def __call__(self, table: pa.Table) -> pa.Table:
        chunks = from_table(table)
        for chunk in (chunk for chunk in chunks if chunk.rows):
            self.score(chunk)
            pass_over(chunk, self.plan)
        return to_table(chunks)

    def score(self, chunk: Chunk) -> None:
        """Store the scores of a chunk's clips, or find them stored, and add them to the clips' other scores."""
        if not find_scores(chunk, self.plan, self.name):
            scores = [{self.name: self.score_clip(frames)} for frames in chunk.frames]
            key = chunk_key(chunk, self.plan, score_stage(self.name))
            read_scores(chunk, store_scores(chunk, self.plan, key, scores, [None] * len(scores)))

    def score_clip(self, frames: np.ndarray) -> float:
        """One clip's score from frames uint8 (T, H, W, 3), evenly spread; a clip is a batch of its own."""
        spread = np.linspace(0, len(frames) - 1, min(self.stage.num_frames, len(frames))).round().astype(int)
        return float(OVER_FRAMES[self.stage.over_frames](self.scorer(frames[spread])))


def find_scores(chunk: Chunk, plan: Plan, name: str) -> bool:
    """Add a model's scores to those of the chunk's clips if they are stored, or already there; whether they were."""
    if not chunk.rows or name in chunk.scores[0]:
        return True
    key = chunk_key(chunk, plan, score_stage(name))
    if not chunk.has(key):
        return False
    read_scores(chunk, storage.get_bytes(plan.uri(key)))
    return True
