"""`reelworks dataset verify`: a snapshot's hash chain from its parents down to the bytes of every tensor.

manifest -> parts -> rows -> ids (source, index) -> objects of the stages -> scores, tensors and captions -> (on demand)
frames. Every clip that an index gives is in the snapshot or among its dropped ones.
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
from reelworks.config import fingerprint
from reelworks.curate.clips import ClipSpec
from reelworks.curate.commit import tally
from reelworks.curate.index import GONE
from reelworks.curate.plan import sha256
from reelworks.curate.reach import is_scores
from reelworks.curate.redecode import rows_frames
from reelworks.curate.snapshot import SnapshotRef, read_link, read_manifest, read_tables
from reelworks.curate.sources import Source
from reelworks.curate.tensors import locate
from reelworks.curate.text import name_of
from reelworks.curate.verify_clips import indexed_clips, score_problems, source_problems, span_problems, stored_rows
from reelworks.errors import ReelworksError, StorageError, UserError, VideoError

Row = Mapping[str, Any]
Digest = Callable[[np.ndarray], str]

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

    def place(self, stage: str) -> str:
        """Where a stage's objects lie."""
        return f"{self.root}/{stage}/{self.manifest['fingerprints'].get(stage)}/"


def verify(root: str, reference: str, frames: bool = False) -> str:
    """Check a snapshot end to end; what was checked, for a person. Raises UserError naming what is damaged.

    With `frames` every clip is decoded again and its caption's digest held against what the captioner is shown: then
    captions that belong to each other's clips are found even where they were stored so.
    """
    ref, manifest = read_manifest(root, reference)
    committed = Committed(root.rstrip("/"), manifest, captioner_digest(manifest) if frames else None)
    problems = [*chain_problems(root, ref, manifest)]
    clips, damaged = read_rows(committed)
    problems += [*damaged, *count_problems(committed, clips)]
    checked: Counter[str] = Counter()
    with ThreadPoolExecutor(DECODES_AT_ONCE if frames else REQUESTS_AT_ONCE) as pool:
        for found, counts in pool.map(lambda rows: _source(committed, *rows), with_dropped(committed, clips)):
            problems += found
            checked += counts
    if problems:
        more = f" (and {len(problems) - PROBLEMS_SHOWN} more)" if len(problems) > PROBLEMS_SHOWN else ""
        raise UserError(f"{ref} is damaged: {'; '.join(problems[:PROBLEMS_SHOWN])}{more}", "run prepare again")
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
    parent = manifest["parent"]
    for number in range(ref.number - 1, 0, -1):
        try:
            found, grandparent = read_link(root, ref.name, number)
        except StorageError as error:
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


def count_problems(committed: Committed, clips: pa.Table) -> Iterator[str]:
    """The manifest's counts against its rows and its tables of what is in quarantine or was dropped."""
    counts = committed.manifest["counts"]
    for name, value in tally(clips).items():
        if counts.get(name, value) != value:
            yield f"the manifest counts {counts[name]:,} {name}, its rows {value:,}"
    tables = {"quarantined": [committed.manifest["quarantine"]], "dropped": committed.manifest.get("dropped", [])}
    for name, parts in tables.items():
        try:
            rows = sum(table.num_rows for table in read_tables(committed.root, parts, ("source_id",)))
        except ReelworksError as error:
            yield str(error)
            continue
        if rows != counts.get(name, rows):
            yield f"the manifest counts {counts[name]:,} {name}, its table {rows:,}"


def by_source(clips: pa.Table) -> Iterator[pa.Table]:
    """The rows of each source, in the order of time."""
    ordered = clips.sort_by([("source_id", "ascending"), ("start_s", "ascending")])
    sources, start = ordered["source_id"].to_pylist(), 0
    for stop in range(1, len(sources) + 1):
        if stop == len(sources) or sources[stop] != sources[start]:
            yield ordered.slice(start, stop - start)
            start = stop


def with_dropped(committed: Committed, clips: pa.Table) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Of each source: the rows of its clips, and of those that the filters dropped (schema.DROPPED)."""
    tables: list[pa.Table] = []
    for part in committed.manifest.get("dropped", []):
        try:
            tables += read_tables(committed.root, [part])
        except ReelworksError:
            pass  # count_problems has named it
    none = schema.DROPPED.empty_table()
    dropped = {table["source_id"][0].as_py(): table for table in by_source(pa.concat_tables([none, *tables]))}
    for mine in by_source(clips):
        yield mine, dropped.pop(mine["source_id"][0].as_py(), none)
    yield from ((clips.slice(0, 0), table) for table in dropped.values())


def _source(committed: Committed, table: pa.Table, dropped: pa.Table) -> tuple[list[str], Counter[str]]:
    """(what is wrong with the rows of one source, what was checked)."""
    rows, gone = table.to_pylist(), dropped.to_pylist()
    told = [*rows, *gone]
    checked: Counter[str] = Counter()
    problems = [*source_problems(told)]
    source = Source(told[0]["source_uri"], told[0]["source_etag"], 0)
    spec = ClipSpec.model_validate(committed.manifest["clips"])
    try:
        chunks = indexed_clips(f"{committed.place('index')}{told[0]['source_id']}", source, spec)
    except UserError as error:
        problems.append(str(error))
    else:
        places = {stage: committed.place(stage) for stage in committed.manifest["fingerprints"] if is_scores(stage)}
        problems += [*span_problems(chunks, rows, gone), *score_problems(places, chunks, rows, gone)]
        checked["clips' scores"] = len(told)
    by_object: dict[str, list[tuple[Row, Row]]] = {}
    by_chunk: dict[str, list[Row]] = {}
    for row in rows:
        for tensor in row["tensors"]:
            by_object.setdefault(tensor["uri"], []).append((row, tensor))
            if tensor["name"] == "latents":
                by_chunk.setdefault(tensor["uri"], []).append(row)
    for uri, tensors in by_object.items():
        problems += object_problems(committed, uri, tensors)
        checked.update(tensors=len(tensors), objects=1)
    for uri, mine in by_chunk.items():
        if committed.manifest["fingerprints"].get("captions"):
            problems += caption_problems(committed, uri, mine)
        if committed.digest:
            found, state = frame_problems(mine, spec, committed.digest)
            problems += found
            checked[state] += len(mine)
    return problems, checked


def object_problems(committed: Committed, uri: str, tensors: Sequence[tuple[Row, Row]]) -> Iterator[str]:
    """A stored object against what rows say of it: its place, its bytes, and that it is about that clip or text."""
    try:
        data = storage.get_bytes(uri)
        places, _ = locate(uri, data)
    except StorageError as error:
        yield str(error)
        return
    except (ValueError, KeyError) as error:
        yield f"{uri} is no object of tensors: {error!r}"
        return
    for row, tensor in tensors:
        kind = tensor["name"]
        is_text = kind.startswith("text.")
        name = name_of(row[f"caption_{kind[5:]}"] or "") if is_text else f"{row['clip_id']}.{kind}"
        place = places.get(name)
        stage = committed.place("text" if is_text else "latents")
        if not uri.startswith(stage) or f"/{row['source_id']}/" not in uri:
            yield f"{row['clip_id']} {kind}: {uri} is another stage's or another source's"
        elif place is None or any(place[field] != tensor[field] for field in place):
            yield f"{row['clip_id']} {kind}: {uri} holds something else"
        elif sha256(data[tensor["offset"] : tensor["offset"] + tensor["length"]]) != tensor["digest"]:
            yield f"{row['clip_id']} {kind}: the bytes in {uri} changed"


def caption_problems(committed: Committed, latents_uri: str, rows: Sequence[Row]) -> Iterator[str]:
    """The rows' captions against the captioner's stored table of the same chunk, whose key names its clips."""
    about = latents_uri.removeprefix(committed.place("latents")).removesuffix(".safetensors")
    uri = f"{committed.place('captions')}{about}.parquet"
    try:
        table = stored_rows(uri)
    except UserError as error:
        yield str(error)
        return
    if fingerprint([row.get("clip_id") for row in table])[:32] != about.partition("/")[0]:
        yield f"{uri} is about other clips than its key says"
    stored = {row["clip_id"]: row for row in table}
    for row in rows:
        mine = (row["caption_short"], row["caption_descriptive"], row["frames_digest"])
        found = stored.get(row["clip_id"], {})
        if mine != tuple(found.get(name) for name in ("short", "descriptive", "frames_digest")):
            yield f"{row['clip_id']}: its captions or their frames are not those in {uri}"
        if row["captioner"] != committed.manifest["fingerprints"]["captions"]:
            yield f"{row['clip_id']}: {row['captioner']} is not the snapshot's captioner"


def frame_problems(rows: Sequence[Row], spec: ClipSpec, digest: Digest) -> tuple[list[str], str]:
    """(clips whose caption is about other frames than theirs, what was done)."""
    try:
        frames = rows_frames(rows, spec)
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
