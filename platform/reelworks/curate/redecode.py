"""Frames of committed clips, decoded again from their sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reelworks import storage
from reelworks.curate.clips import ClipSpec, clip_frames
from reelworks.curate.shots import Span
from reelworks.curate.sources import Source, open_source
from reelworks.curate.verify_clips import indexed_clips
from reelworks.errors import StorageError, StorageErrorKind, UserError
from reelworks.schema import ClipRow


def rows_frames(
    rows: Sequence[Mapping[str, Any]], spec: ClipSpec, spans: Mapping[str, Span] | None = None
) -> list[np.ndarray]:
    """Encoded frames uint8 (T, H, W, 3) of rows (schema.CLIP) of one source, 1:1.

    `spans`: those of its index object by clip id, which know the way to a clip where the container doesn't.
    Raises StorageError (`changed`, `not_found` where the source is another one now) and VideoError.
    """
    uri, etag = rows[0]["source_uri"], rows[0]["source_etag"]
    found = storage.head(uri)
    if found is None:
        raise StorageError(StorageErrorKind.not_found, uri)
    clips = [ClipRow(**{name: row[name] for name in ClipRow._fields}) for row in rows]
    known = spans or {}
    # Times alone choose frames; the timestamps only name the clip.
    found_spans = [
        known.get(clip.clip_id) or Span(clip.start_s, clip.end_s, clip.native_num_frames, 0, 0) for clip in clips
    ]
    return clip_frames(open_source(Source(uri, etag, found.size)), clips, found_spans, spec)


def indexed_spans(index_uri: str, row: Mapping[str, Any], spec: ClipSpec) -> dict[str, Span]:
    """Clip id -> span, as the index object of a row's source gives them; none where it can't be read."""
    try:
        return by_clip(indexed_clips(index_uri, Source(row["source_uri"], row["source_etag"], 0), spec))
    except UserError:
        return {}


def by_clip(indexed: Sequence[Sequence[tuple[ClipRow, Span]]]) -> dict[str, Span]:
    """Clip id -> span, of the clips of all chunks."""
    return {clip.clip_id: span for run in indexed for clip, span in run}
