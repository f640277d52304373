"""A source's rows in a snapshot against its index object and the stored tables of its scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from reelworks import schema, storage
from reelworks.curate.clips import ClipSpec
from reelworks.curate.index import clips_in
from reelworks.curate.plan import chunk_place
from reelworks.curate.sources import Source
from reelworks.curate.tables import read_table
from reelworks.errors import StorageError, UserError
from reelworks.schema import ClipRow

Row = Mapping[str, Any]

# What reading an object raises whose bytes were damaged, or that is gone.
UNREADABLE = (StorageError, pa.ArrowException, OSError, ValueError, KeyError, TypeError)


def stored_rows(uri: str) -> list[dict[str, Any]]:
    """The rows of a stored table. Raises UserError naming it where it can't be read."""
    try:
        rows: list[dict[str, Any]] = read_table(storage.get_bytes(uri)).to_pylist()
    except StorageError as error:
        raise UserError(str(error)) from error
    except UNREADABLE as error:
        raise UserError(f"{uri} is no table: {error!r:.200}") from error
    return rows


def indexed_clips(index_uri: str, source: Source, spec: ClipSpec) -> list[list[ClipRow]]:
    """The clips of each chunk, as the index object gives them for this source. Raises UserError."""
    try:
        index = json.loads(storage.get_bytes(index_uri))
        return [[row for row, _ in run] for run in clips_in(index, source, spec)]
    except StorageError as error:
        raise UserError(str(error)) from error
    except UNREADABLE as error:
        raise UserError(f"{index_uri} is no index: {error!r:.200}") from error


def source_problems(rows: Sequence[Row]) -> Iterator[str]:
    """The id of a source is a function of its address and ETag."""
    uri, etag, source_id = (rows[0][name] for name in ("source_uri", "source_etag", "source_id"))
    if any((row["source_uri"], row["source_etag"]) != (uri, etag) for row in rows):
        yield f"{source_id} stands for several sources"
    if schema.source_id(*storage.split_uri(uri), etag) != source_id:
        yield f"{uri} with ETag {etag} is not {source_id}"


def span_problems(chunks: Sequence[Sequence[ClipRow]], rows: Sequence[Row], dropped: Sequence[Row]) -> Iterator[str]:
    """Every row is what the index gives, and every clip that the index gives is a row or was dropped, once."""
    given = {clip.clip_id: clip for chunk in chunks for clip in chunk}
    for row in rows:
        if given.get(row["clip_id"]) != ClipRow(*(row[name] for name in ClipRow._fields)):
            yield f"{row['clip_id']} is no span of {row['source_uri']} in its index, or of another length or size"
    told = [*rows, *dropped]
    if sorted(row["clip_id"] for row in told) != sorted(given):
        yield f"the clips of {told[0]['source_uri']} are others, or other times, than its index gives"


def score_problems(
    places: Mapping[str, str], chunks: Sequence[Sequence[ClipRow]], rows: Sequence[Row], dropped: Sequence[Row]
) -> Iterator[str]:
    """The scores and hashes in the rows against the stored tables; places: stage -> where its objects lie."""
    scores: dict[str, dict[str, float]] = {}
    likenesses: dict[str, str | None] = {}
    for number, chunk in enumerate(chunks):
        ids = [clip.clip_id for clip in chunk]
        for stage, place in places.items() if chunk else ():
            uri = f"{place}{chunk_place(ids, chunk[0].source_id, number, len(chunks))}.parquet"
            try:
                stored = stored_rows(uri)
            except UserError as error:
                yield str(error)
                return
            if [row.get("clip_id") for row in stored] != ids:
                yield f"{uri} is about other clips than its key says"
                return
            for found in stored:
                scores.setdefault(found["clip_id"], {}).update(found["scores"])
                likenesses |= {found["clip_id"]: found["likeness"]} if stage == "scores" else {}
    for row in rows:
        likeness = likenesses.get(row["clip_id"])
        if (scores.get(row["clip_id"]), likeness) != (dict(row["scores"]), row.get("likeness", likeness)):
            yield f"{row['clip_id']}: its scores are not those that are stored for {row['source_uri']}"
    for row in dropped:
        if scores.get(row["clip_id"], {}).get(row["reason"], row["value"]) != row["value"]:
            yield f"{row['clip_id']}: it was dropped for another {row['reason']} than is stored"
