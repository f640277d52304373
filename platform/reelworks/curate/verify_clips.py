"""A source's rows in a snapshot against its index object, the stored tables of its scores, and the filters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from reelworks import schema, storage
from reelworks.curate.clips import ClipSpec
from reelworks.curate.filters import Filters
from reelworks.curate.index import clips_in
from reelworks.curate.plan import chunk_place
from reelworks.curate.selection import COLUMNS, select
from reelworks.curate.shots import Span
from reelworks.curate.sources import Source
from reelworks.curate.tables import read_table
from reelworks.errors import StorageError, UserError
from reelworks.schema import ClipRow

Row = Mapping[str, Any]

# What reading an object raises whose bytes were damaged, or that is gone.
UNREADABLE = (StorageError, pa.ArrowException, OSError, ValueError, KeyError, TypeError)

# What a selection and its table of dropped clips are made of.
DECIDED = pa.schema([field for field in schema.CLIP if field.name in (*COLUMNS, *schema.DROPPED.names)])


class Scored(NamedTuple):
    """What the stored tables say of one clip, of all score stages together."""

    scores: dict[str, float]
    likeness: str | None


def stored_rows(uri: str) -> list[dict[str, Any]]:
    """The rows of a stored table. Raises UserError naming it where it can't be read."""
    try:
        rows: list[dict[str, Any]] = read_table(storage.get_bytes(uri)).to_pylist()
    except StorageError as error:
        raise UserError(str(error)) from error
    except UNREADABLE as error:
        raise UserError(f"{uri} is no table: {error!r:.200}") from error
    return rows


def indexed_clips(index_uri: str, source: Source, spec: ClipSpec) -> list[list[tuple[ClipRow, Span]]]:
    """The clips of each chunk, as the index object gives them for this source. Raises UserError."""
    try:
        index = json.loads(storage.get_bytes(index_uri))
        return clips_in(index, source, spec)
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


def stored_scores(places: Mapping[str, str], chunks: Sequence[Sequence[ClipRow]]) -> dict[str, Scored]:
    """Clip -> what is stored of its scores; places: stage -> where its objects lie. Raises UserError."""
    found: dict[str, Scored] = {}
    for number, chunk in enumerate(chunks):
        ids = [clip.clip_id for clip in chunk]
        found |= {one: Scored({}, None) for one in ids}
        for stage, place in places.items() if chunk else ():
            uri = f"{place}{chunk_place(ids, chunk[0].source_id, number, len(chunks))}.parquet"
            stored = stored_rows(uri)
            if [row.get("clip_id") for row in stored] != ids:
                raise UserError(f"{uri} is about other clips than its key says")
            for row in stored:
                scores, likeness = found[row["clip_id"]]
                likeness = row["likeness"] if stage == "scores" else likeness
                found[row["clip_id"]] = Scored({**scores, **dict(row["scores"])}, likeness)
    return found


def score_problems(stored: Mapping[str, Scored], rows: Sequence[Row]) -> Iterator[str]:
    """The scores and hashes in the rows against the stored ones."""
    for row in rows:
        found = stored.get(row["clip_id"])
        # Rows that were committed before clips had a hash have no such column.
        if found is None or found != (dict(row["scores"]), row.get("likeness", found.likeness)):
            yield f"{row['clip_id']}: its scores are not those that are stored for {row['source_uri']}"


def decided_on(stored: Mapping[str, Scored], chunks: Sequence[Sequence[ClipRow]], dropped: Sequence[Row]) -> pa.Table:
    """What the selection was made from, of the clips that it dropped (columns DECIDED)."""
    gone = {row["clip_id"] for row in dropped}
    clips = [clip for chunk in chunks for clip in chunk if clip.clip_id in gone]
    rows = [
        {
            **clip._asdict(),
            "scores": sorted(stored[clip.clip_id].scores.items()),
            "likeness": stored[clip.clip_id].likeness,
        }
        for clip in clips
    ]
    return pa.Table.from_pylist(rows, DECIDED)


def selection_problems(filters: Filters, decided: pa.Table, dropped: pa.Table) -> Iterator[str]:
    """The thresholds and the near-duplicates once more; `decided` has the dropped clips and those that stayed."""
    decided = decided.combine_chunks()
    expected = select([decided], (), filters).dropped(decided).sort_by("clip_id")
    told = dropped.sort_by("clip_id")
    if expected.equals(told):
        return
    wanted, named = ({row["clip_id"]: row for row in table.to_pylist()} for table in (expected, told))
    for clip_id in sorted(wanted.keys() | named.keys()):
        should, was = wanted.get(clip_id), named.get(clip_id)
        if should != was:
            yield f"{clip_id} was {_fate(was)}; by its scores and the filters it is {_fate(should)}"


def _fate(row: Row | None) -> str:
    if row is None:
        return "kept"
    return f"dropped for {row['reason']} {row['duplicate_of'] or row['value']}"
