"""Probe and shots of a source: its index object, and the chunks that it is worked on in.

An index object says `clips` or `no_clips`. That a source is in quarantine is said by its record alone (quarantine.py):
an index object that said so too would be a second object for one fact, and a `retry` between the two writes, or a kill,
would leave a source held without a record, which nobody could release.
"""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pyarrow as pa

from reelworks import storage, video
from reelworks.curate.chunk import Chunk, by_chunk, from_table, to_table
from reelworks.curate.clips import ClipSpec, clip_row
from reelworks.curate.plan import Plan
from reelworks.curate.quarantine import quarantine, read_if_there, stored_failure
from reelworks.curate.shots import FALLBACK_FPS, Span, find_shots, spans_of
from reelworks.curate.sources import Source, open_source
from reelworks.errors import ListingError, StorageError, StorageErrorKind, VideoError
from reelworks.schema import ClipRow

# The object is another one than the listing saw, or gone: the next run's listing will tell what is there now.
GONE = (StorageErrorKind.changed, StorageErrorKind.not_found)


def index_sources(table: pa.Table, plan: Plan) -> pa.Table:
    """Cut every source of a block: 1:N chunks, at least one for each source."""
    return to_table([chunk for source in from_table(table) for chunk in index_source(source, plan)])


class IndexActor:
    """index_sources in a worker that stays, and the network of its detector with it."""

    def __init__(self, plan: Plan):
        self.plan = plan

    def __call__(self, table: pa.Table) -> pa.Table:
        return index_sources(table, self.plan)


def index_source(chunk: Chunk, plan: Plan) -> list[Chunk]:
    """The chunks of one source, from its stored index or its quarantine's record; a terminal state is one chunk."""
    source_id = chunk.source.source_id
    if chunk.has(plan.quarantine_key(source_id)) and (failure := stored_failure(plan, source_id)):
        chunk.end("quarantined", failure)
        return [chunk]
    uri = plan.uri(plan.index_key(source_id))
    try:
        data = read_if_there(uri) if chunk.has(plan.index_key(source_id)) else None
        if data is None:
            data = json.dumps(find_index(chunk, plan), sort_keys=True, separators=(",", ":")).encode()
            stored = storage.create_once(uri, data)
            chunk.add("nondeterministic", stored.data != data)
            data = stored.data
    except (VideoError, ListingError) as error:
        quarantine(plan, chunk, "list" if isinstance(error, ListingError) else "index", error)
        return [chunk]
    except StorageError as error:
        if error.kind not in GONE:
            raise
        chunk.end("changed")
        return [chunk]
    return chunks_of(chunk, json.loads(data), plan)


def find_index(chunk: Chunk, plan: Plan) -> dict[str, Any]:
    """What a source's index object says: size, rate and the spans of its chunks. Raises VideoError, ListingError."""
    opened = open_source(chunk.source)
    probe = video.probe(opened)
    spec = plan.recipe.clips.shots
    shots = find_shots(opened, probe, spec, plan.recipe.read.shots_device)
    spans = spans_of(shots, probe.time_base, 1 / (probe.fps or FALLBACK_FPS), spec)
    chunk.add("decoded_frames", len(shots.pts))
    chunk.add("decoded_sources")
    return {
        "state": "clips" if spans else "no_clips",
        "shots": len(shots.cuts) + 1,
        "width": probe.width,
        "height": probe.height,
        "fps": probe.fps,
        "time_base": str(probe.time_base),
        "chunks": [
            [span.fields() for span in run]
            for run in cut_chunks(spans, probe.width * probe.height * 3, plan.recipe.read.chunk_bytes)
        ],
    }


def cut_chunks(spans: list[Span], frame_bytes: int, chunk_bytes: int) -> list[list[Span]]:
    """Consecutive spans until their native frames reach chunk_bytes; a pure function of the source's index."""
    runs: list[list[Span]] = []
    filled = chunk_bytes
    for span in spans:
        if filled >= chunk_bytes:
            runs.append([])
            filled = 0
        runs[-1].append(span)
        filled += span.num_frames * frame_bytes
    return runs


def clips_in(index: dict[str, Any], source: Source, spec: ClipSpec) -> list[list[tuple[ClipRow, Span]]]:
    """The clips of each chunk that an index object describes; spans too small for one patch give none."""
    size = (index["height"], index["width"], index["fps"], Fraction(index["time_base"]))
    found: list[list[tuple[ClipRow, Span]]] = []
    for run in index["chunks"]:
        spans = [Span.from_fields(span) for span in run]
        rows = [clip_row(source, *size, span, spec) for span in spans]
        found.append([(row, span) for row, span in zip(rows, spans, strict=True) if row is not None])
    return found


def chunks_of(chunk: Chunk, index: dict[str, Any], plan: Plan) -> list[Chunk]:
    """The chunks that an index object describes."""
    chunk.shots = index["shots"]
    stored = by_chunk(chunk.stored)
    found = []
    runs = clips_in(index, chunk.source, plan.recipe.clips)
    for number, kept in enumerate(runs):
        part = replace(chunk, number=number, count=len(runs), counts=chunk.counts if not number else {})
        part.stored = stored(number)
        part.rows, part.spans = [row for row, _ in kept], [span for _, span in kept]
        part.tensors = [[] for _ in kept]
        found.append(part)
    if not any(part.rows for part in found):
        chunk.end("no_clips")
        return [chunk]
    return found
