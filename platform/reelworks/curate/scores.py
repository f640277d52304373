"""Scores of clips that need no model: computed once from the decoded frames, stored, held against thresholds later."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from reelworks import schema, storage
from reelworks.curate.chunk import Chunk
from reelworks.curate.filters import out_of_bounds
from reelworks.curate.likeness import clip_hash
from reelworks.curate.plan import Plan
from reelworks.curate.tables import read_table

# Longer side of the frames that brightness and motion are measured on: sensor noise and film grain average out.
COARSE_PX = 64
# Two coarse frames that differ by less than this many levels (mean of 0-255) show the same; encoders differ by less.
STILL_LEVELS = 0.25
# Frames of a clip whose sharpness is measured, at their full size.
SHARPNESS_FRAMES = 4

SCORES = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("likeness", pa.string()),  # perceptual hash; null in the objects of score models
        pa.field("scores", pa.map_(pa.string(), pa.float64()), nullable=False),
    ]
)


def score_clip(frames: np.ndarray) -> dict[str, float]:
    """Scores of frames uint8 (T, H, W, 3); an image has no motion and no still. Sums are of integers, so exact.

    luma: mean brightness, 0-255. motion: mean change of a pixel's brightness from frame to frame, in levels.
    still: share of the steps between frames that show no change. sharpness: variance of the brightness's Laplacian
    (Pech-Pacheco et al. 2000), the median of a few frames.
    """
    coarse = np.stack([_luma(frame, COARSE_PX) for frame in frames])  # (T, h, w)
    spread = np.linspace(0, len(frames) - 1, min(SHARPNESS_FRAMES, len(frames))).round().astype(int)
    found = {
        "luma": float(coarse.mean(dtype=np.float64)),
        "sharpness": float(np.median([_sharpness(_luma(frames[index])) for index in spread])),
    }
    if len(frames) > 1:
        steps = np.abs(np.diff(coarse, axis=0)).sum(axis=(1, 2)) / coarse[0].size  # (T - 1,) levels
        found |= {"motion": float(steps.mean()), "still": float((steps < STILL_LEVELS).mean())}
    return found


def _luma(frame: np.ndarray, longest_px: int | None = None) -> np.ndarray:
    """Brightness int32 (h, w) of a frame, scaled down to a longer side of longest_px where it is larger."""
    image = Image.fromarray(frame)
    if longest_px and max(image.size) > longest_px:
        scale = longest_px / max(image.size)
        width, height = (max(1, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(image.convert("L"), np.int32)


def _sharpness(luma: np.ndarray) -> float:
    if min(luma.shape) < 3:
        return 0.0
    inner = luma[1:-1, 1:-1]
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float((around - 4 * inner).var(dtype=np.float64))


def score_chunk(chunk: Chunk, plan: Plan) -> None:
    """Score the clips of a chunk from its frames and store that, or find it stored."""
    key = chunk_key(chunk, plan, "scores")
    if chunk.has(key):
        data = storage.get_bytes(plan.uri(key))
    else:
        likenesses = [
            clip_hash(frames, row.fps, row.end_s - row.start_s)
            for row, frames in zip(chunk.rows, chunk.frames, strict=True)
        ]
        data = store_scores(chunk, plan, key, [score_clip(frames) for frames in chunk.frames], likenesses)
    chunk.likenesses = read_scores(chunk, data)["likeness"].to_pylist()


def chunk_key(chunk: Chunk, plan: Plan, stage: str) -> str:
    """Key of what a stage makes of the frames of those clips of a chunk that are still worked on."""
    return plan.chunk_key(stage, chunk.clip_ids, chunk.source.source_id, chunk.number, chunk.count)


def pass_over(chunk: Chunk, plan: Plan) -> None:
    """Take the clips that a threshold drops out of the work of the later stages, once all scores of all are known.

    Not before: which clips a score model sees would depend on the thresholds, and its objects with them.
    """
    wanted = plan.recipe.score_models.keys()
    if not plan.recipe.filters.bounds() or not chunk.rows or not wanted <= chunk.scores[0].keys():
        return
    rows = [
        {**row._asdict(), "scores": sorted(scores.items())}
        for row, scores in zip(chunk.rows, chunk.scores, strict=True)
    ]
    columns = pa.schema([schema.CLIP.field(name) for name in (*schema.ClipRow._fields, "scores")])
    reasons, _ = out_of_bounds(pa.Table.from_pylist(rows, columns), plan.recipe.filters)
    chunk.pass_over(np.flatnonzero(reasons != "").tolist())


def store_scores(
    chunk: Chunk, plan: Plan, key: str, scores: list[dict[str, float]], likenesses: Sequence[str | None]
) -> bytes:
    """Write a chunk's scores once; the stored bytes."""
    data = scores_object(chunk.clip_ids, scores, likenesses)
    stored = storage.create_once(plan.uri(key), data)
    chunk.add("nondeterministic", stored.data != data)
    chunk.add("scored_clips", len(chunk.rows))
    return stored.data


def scores_object(clip_ids: list[str], scores: list[dict[str, float]], likenesses: Sequence[str | None]) -> bytes:
    """The stored table of a chunk's scores; equal content gives equal bytes."""
    columns: list[Any] = [clip_ids, likenesses, [sorted(found.items()) for found in scores]]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, SCORES, strict=True)], schema=SCORES)
    out = io.BytesIO()
    pq.write_table(table, out, compression="none", use_dictionary=False, store_schema=False)
    return out.getvalue()


def read_scores(chunk: Chunk, data: bytes) -> pa.Table:
    """Add a stored table's scores to the chunk's. Raises ValueError where the table is about other clips."""
    table = read_table(data)
    if table["clip_id"].to_pylist() != chunk.clip_ids:
        raise ValueError(f"the scores stored for {chunk.source.uri} are about other clips")
    before = chunk.scores or [{} for _ in chunk.rows]
    chunk.scores = [old | dict(new) for old, new in zip(before, table["scores"].to_pylist(), strict=True)]
    return table
