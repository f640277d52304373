"""`reelworks dataset verify`: a snapshot's hash chain from its parents down to the bytes of every tensor.

manifest -> parts -> rows -> ids (source, index) -> objects of the stages -> scores, tensors and captions -> (on demand)
frames. Every clip that an index gives is in the snapshot or among its dropped ones, and the filters say which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from reelworks import schema, storage
from reelworks.curate.clips import ClipSpec
from reelworks.curate.commit import tally
from reelworks.curate.filters import Filters
from reelworks.curate.index import GONE
from reelworks.curate.reach import is_scores
from reelworks.curate.redecode import by_clip, rows_frames
from reelworks.curate.shots import Span
from reelworks.curate.snapshot import SnapshotRef, read_link, read_manifest, read_tables, with_likeness
from reelworks.curate.sources import Source
from reelworks.curate.verify_clips import (
    DECIDED,
    decided_on,
    indexed_clips,
    score_problems,
    selection_problems,
    source_problems,
    span_problems,
    stored_scores,
)
from reelworks.curate.verify_objects import chunk_problems, worked_chunks
from reelworks.errors import ReelworksError, StorageError, UserError, VideoError

Row = Mapping[str, Any]
Digest = Callable[[np.ndarray], str]

# What every manifest has, and the stages that every run has.
NEEDED = ("name", "number", "fingerprints", "clips", "counts", "parts", "quarantine")
STAGES = {"index", "scores", "text", "latents"}
PROBLEMS_SHOWN = 5
REQUESTS_AT_ONCE = 8
# Decoding is bound by cores: more would only hold more frames.
DECODES_AT_ONCE = 2


@dataclass(frozen=True)
class Committed:
    """What the rows of a snapshot are held against."""

    root: str
    manifest: dict[str, Any]
    digest: Digest | None = None  # the captioner's, where frames are to be checked

    def places(self) -> dict[str, str]:
        """Stage -> where its objects lie."""
        return {stage: f"{self.root}/{stage}/{one}/" for stage, one in self.manifest["fingerprints"].items()}


@dataclass
class Checked:
    """What came of checking one source."""

    problems: list[str]
    counts: Counter[str]
    decided: pa.Table  # DECIDED, of its dropped clips


def verify(root: str, reference: str, frames: bool = False) -> str:
    """Check a snapshot end to end; what was checked, for a person. Raises UserError naming what is damaged.

    With `frames` every clip is decoded again and its caption's digest held against what the captioner is shown: then
    captions that belong to each other's clips are found even where they were stored so. Not computed again is what a
    model makes of its input: latents, embeddings and scores are those that were committed. Objects that the snapshot
    doesn't stand on are `dataset gc`'s.
    """
    ref, manifest = read_manifest(root, reference)
    if missing := [name for name in NEEDED if name not in manifest] or STAGES - manifest["fingerprints"].keys():
        raise UserError(f"{ref} is damaged: its manifest lacks {', '.join(sorted(missing))}", "run prepare again")
    committed = Committed(root.rstrip("/"), manifest, captioner_digest(manifest) if frames else None)
    problems = [*chain_problems(root, ref, manifest)]
    clips, damaged = read_rows(committed)
    dropped, bad, more = read_left_out(committed)
    problems += [*damaged, *more, *count_problems(manifest, clips, dropped, bad), *held_problems(clips, dropped, bad)]
    checked: Counter[str] = Counter()
    decided = [with_likeness(clips).select(DECIDED.names)]
    with ThreadPoolExecutor(DECODES_AT_ONCE if frames else REQUESTS_AT_ONCE) as pool:
        for found in pool.map(lambda rows: _source(committed, *rows), with_dropped(clips, dropped)):
            problems += found.problems
            checked += found.counts
            decided.append(found.decided)
    if not problems:  # else it would only say so again, of every clip that is missing
        filters = Filters.model_validate(manifest.get("filters", {}))
        problems += selection_problems(filters, pa.concat_tables(decided), dropped)
    if problems:
        more_of_them = f" (and {len(problems) - PROBLEMS_SHOWN} more)" if len(problems) > PROBLEMS_SHOWN else ""
        raise UserError(f"{ref} is damaged: {'; '.join(problems[:PROBLEMS_SHOWN])}{more_of_them}", "run prepare again")
    counted = ", ".join(f"{number:,} {what}" for what, number in checked.items())
    return f"{ref}: {clips.num_rows:,} clips ({counted}) in a chain of {ref.number} are right"


def captioner_digest(manifest: Mapping[str, Any]) -> Digest:
    """How the snapshot's captioner ties captions to frames. Raises UserError without a captioner."""
    from reelworks.models.processor_captioner import frames_digest
    from reelworks.resolve import resolve_model

    source = manifest["models"].get("captions")
    if source is None:
        raise UserError("no captioner wrote this snapshot's captions, so none is bound to frames", "leave out --frames")
    return frames_digest(resolve_model(source).path)


def chain_problems(root: str, ref: SnapshotRef, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Each manifest names the sha256 of the one before it, down to the first, which names none."""
    if (manifest["name"], manifest["number"]) != (ref.name, ref.number):
        yield f"{ref.name}@{ref.number} is a copy of {manifest['name']}@{manifest['number']}"
    parent = manifest["parent"]
    for number in range(ref.number - 1, 0, -1):
        try:
            found, grandparent = read_link(root, ref.name, number)
        except ReelworksError as error:
            yield str(error)
            return
        if found != parent:
            yield f"{ref.name}@{number} is {found}, its successor says {parent}"
        parent = grandparent
    if parent is not None:
        yield f"{ref.name}@1 says that it has a parent"


def read_rows(committed: Committed) -> tuple[pa.Table, list[str]]:
    """(every row that can be read, what is wrong with the parts)."""
    tables: list[pa.Table] = []
    problems, last = [], ""
    for part in committed.manifest["parts"]:
        try:
            (table,) = read_tables(committed.root, [part])
        except ReelworksError as error:
            problems.append(str(error))
            continue
        ids = table["clip_id"].to_pylist()
        if len(ids) != part["rows"] or any(not one.startswith(part["prefix"]) for one in ids):
            problems.append(f"{part['key']} holds other rows than the manifest says")
        if ids != sorted(set(ids)) or (ids and ids[0] <= last):
            problems.append(f"the rows of {part['key']} are not in order, each once")
        last = ids[-1] if ids else last
        tables.append(table)
    return pa.concat_tables(tables) if tables else schema.CLIP.empty_table(), problems


def read_left_out(committed: Committed) -> tuple[pa.Table, pa.Table, list[str]]:
    """(the clips that the filters dropped, the sources in quarantine, what is wrong with these parts)."""
    problems: list[str] = []

    def read(parts: Sequence[dict[str, Any]], columns: pa.Schema) -> pa.Table:
        tables = [columns.empty_table()]
        for part in parts:
            try:
                tables += [table.cast(columns) for table in read_tables(committed.root, [part])]
            except ReelworksError as error:
                problems.append(str(error))
        return pa.concat_tables(tables)

    dropped = read(committed.manifest.get("dropped", []), schema.DROPPED)
    return dropped, read([committed.manifest["quarantine"]], schema.QUARANTINE), problems


def count_problems(manifest: Mapping[str, Any], clips: pa.Table, dropped: pa.Table, bad: pa.Table) -> Iterator[str]:
    """The manifest's counts against its rows and its tables of what is in quarantine or was dropped."""
    counts: dict[str, int] = manifest["counts"]
    sources = {*clips["source_id"].to_pylist(), *dropped["source_id"].to_pylist()}
    found = {**tally(clips), "with_clips": len(sources), "quarantined": bad.num_rows, "dropped": dropped.num_rows}
    for name, column in (("quarantined", bad["kind"]), ("dropped", dropped["reason"])):
        kinds = Counter(column.to_pylist())
        said = {kind.removeprefix(f"{name}_") for kind in counts if kind.startswith(f"{name}_")}
        found |= {f"{name}_{kind}": kinds[kind] for kind in said | kinds.keys()}
    for name, value in found.items():
        if counts.get(name, value if name == "dropped" else 0) != value:
            yield f"the manifest counts {counts.get(name, 0):,} {name}, its tables {value:,}"
    ends = sum(counts.get(name, 0) for name in ("with_clips", "no_clips", "quarantined", "changed"))
    if counts.get("sources", ends) != ends:
        yield f"the manifest counts {counts['sources']:,} sources, of which {ends:,} came to an end"


def held_problems(clips: pa.Table, dropped: pa.Table, bad: pa.Table) -> Iterator[str]:
    """No source is in quarantine and gives clips, and each is the version of the object that it says."""
    with_clips = {*clips["source_id"].to_pylist(), *dropped["source_id"].to_pylist()}
    for row in bad.select(["uri", "etag", "source_id"]).to_pylist():
        if schema.source_id(*storage.split_uri(row["uri"]), row["etag"]) != row["source_id"]:
            yield f"{row['uri']} with ETag {row['etag']} in quarantine is not {row['source_id']}"
        if row["source_id"] in with_clips:
            yield f"{row['uri']} is in quarantine and gives clips"


def by_source(clips: pa.Table) -> Iterator[pa.Table]:
    """The rows of each source, in the order of time."""
    ordered = clips.sort_by([("source_id", "ascending"), ("start_s", "ascending")])
    sources, start = ordered["source_id"].to_pylist(), 0
    for stop in range(1, len(sources) + 1):
        if stop == len(sources) or sources[stop] != sources[start]:
            yield ordered.slice(start, stop - start)
            start = stop


def with_dropped(clips: pa.Table, dropped: pa.Table) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Of each source: the rows of its clips, and of those that the filters dropped (schema.DROPPED)."""
    left = {table["source_id"][0].as_py(): table for table in by_source(dropped)}
    for mine in by_source(clips):
        yield mine, left.pop(mine["source_id"][0].as_py(), dropped.slice(0, 0))
    yield from ((clips.slice(0, 0), table) for table in left.values())


def _source(committed: Committed, table: pa.Table, dropped: pa.Table) -> Checked:
    """Hold the rows of one source against its index, and those against the stages' objects."""
    rows, gone, places = table.to_pylist(), dropped.to_pylist(), committed.places()
    told = [*rows, *gone]
    found = Checked([*source_problems(told)], Counter(), DECIDED.empty_table())
    source = Source(told[0]["source_uri"], told[0]["source_etag"], 0)
    spec = ClipSpec.model_validate(committed.manifest["clips"])
    try:
        indexed = indexed_clips(f"{places['index']}{told[0]['source_id']}", source, spec)
    except UserError as error:
        found.problems.append(str(error))
        return found
    chunks = [[clip for clip, _ in run] for run in indexed]
    spans = by_clip(indexed)
    found.problems += span_problems(chunks, rows, gone)
    try:
        scores = stored_scores({stage: place for stage, place in places.items() if is_scores(stage)}, chunks)
    except UserError as error:
        found.problems.append(str(error))
    else:
        found.problems += score_problems(scores, rows)
        found.decided = decided_on(scores, chunks, gone)
        found.counts["clips' scores"] = len(told)
    captioner = committed.manifest["fingerprints"].get("captions")
    for chunk in worked_chunks(chunks, rows, gone):
        found.problems += chunk_problems(places, captioner, chunk, found.counts)
        if committed.digest:
            problems, state = frame_problems(chunk.rows, spec, committed.digest, spans)
            found.problems += problems
            found.counts[state] += len(chunk.rows)
    return found


def frame_problems(
    rows: Sequence[Row], spec: ClipSpec, digest: Digest, spans: Mapping[str, Span] | None = None
) -> tuple[list[str], str]:
    """(clips whose caption is about other frames than theirs, what was done); `spans` as in `rows_frames`."""
    try:
        frames = rows_frames(rows, spec, spans)
    except StorageError as error:
        if error.kind not in GONE:
            raise
        return [], "clips whose source is gone, so that their frames were not checked"
    except VideoError as error:
        return [f"{rows[0]['source_uri']} can't be decoded any more: {error}"], "undecodable"
    wrong = [
        f"{row['clip_id']}: its captions are about other frames of {row['source_uri']} or another clip's"
        for row, clip in zip(rows, frames, strict=True)
        if row["frames_digest"] and digest(clip) != row["frames_digest"]
    ]
    return wrong, "clips decoded again and their captions' frames equal"
