"""Decoding of chunks, and the captions that lie beside their videos."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa

from reelworks.curate.chunk import Chunk, from_table, to_table
from reelworks.curate.clips import clip_frames
from reelworks.curate.index import GONE
from reelworks.curate.plan import Plan
from reelworks.curate.quarantine import quarantine
from reelworks.curate.score_models import find_scores
from reelworks.curate.scores import chunk_key, pass_over, score_chunk
from reelworks.curate.sources import match_shot, open_source, read_sidecar
from reelworks.errors import StorageError, VideoError

# Counts of clips by who decoded them, and why not the other: `<decoder>.<reason>` comes behind.
BY_DECODER = "clips_by_decoder."


def decode_chunks(table: pa.Table, plan: Plan) -> pa.Table:
    """Chunks with their scores, and with the frames that a later stage lacks results for; 1:1."""
    chunks = from_table(table)
    for chunk in chunks:
        if chunk.state == "clips":
            decode_chunk(chunk, plan)
    return to_table(chunks)


def decode_chunk(chunk: Chunk, plan: Plan) -> None:
    """Fill in the original captions, the scores and, where a result of frames is missing, the frames."""
    try:
        chunk.originals = original_captions(chunk)
        if not chunk.rows:
            return
        if not chunk.has(chunk_key(chunk, plan, "scores")):
            read_frames(chunk, plan)
        score_chunk(chunk, plan)
        if not needs_frames(chunk, plan):
            chunk.frames = []
        elif not chunk.frames:
            read_frames(chunk, plan)
    except VideoError as error:
        quarantine(plan, chunk, "decode", error)
    except StorageError as error:
        if error.kind not in GONE:
            raise
        chunk.end("changed")


def read_frames(chunk: Chunk, plan: Plan) -> None:
    """Decode the chunk's clips. Raises VideoError, StorageError."""
    decoded_by: Counter[tuple[str, str]] = Counter()
    chunk.frames = clip_frames(open_source(chunk.source), chunk.rows, chunk.spans, plan.recipe.clips, decoded_by)
    for (decoder, reason), clips in decoded_by.items():
        chunk.add(f"{BY_DECODER}{decoder}.{reason}", clips)
    chunk.add("decoded_frames", sum(len(clip) for clip in chunk.frames))
    chunk.add("decoded_chunks")


def needs_frames(chunk: Chunk, plan: Plan) -> bool:
    """Whether a later stage lacks its result for the chunk; stored scores of models, and then the thresholds, are
    taken in on the way."""
    if not all(find_scores(chunk, plan, name) for name in plan.recipe.score_models):
        return True
    pass_over(chunk, plan)
    stages = [stage for stage in ("captions", "latents") if stage in plan.fingerprints]
    return bool(chunk.rows) and not all(chunk.has(chunk_key(chunk, plan, stage)) for stage in stages)


def original_captions(chunk: Chunk) -> list[str | None]:
    """The manifest's caption of the whole source, for each clip; without one the sidecar's short caption of each clip.

    None where no described shot covers the clip; nothing else of a sidecar is read.
    """
    if chunk.source.caption is not None:
        return [chunk.source.caption] * len(chunk.rows)
    try:
        shots = read_sidecar(chunk.source)
    except ValueError:
        # The video is good; only what lies beside it isn't.
        chunk.add("bad_sidecars", int(chunk.number == 0))
        shots = []
    matches = [match_shot(shots, row.start_s, row.end_s) for row in chunk.rows]
    return [str(shot["caption"]) if shot and shot.get("caption") else None for shot in matches]
