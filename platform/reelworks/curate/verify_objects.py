"""A source's rows in a snapshot against the stored tensors and captions of its chunks.

Where those lie follows from the index, the thresholds and the texts, so that an object which is sound but another's
(another chunk's, another text's, an earlier threshold's) is found as well as one whose bytes changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reelworks import storage
from reelworks.curate.encode import segments
from reelworks.curate.filters import DUPLICATE
from reelworks.curate.plan import SUFFIX, chunk_place, sha256
from reelworks.curate.tensors import locate
from reelworks.curate.text import name_of, texts_content
from reelworks.curate.verify_clips import UNREADABLE, stored_rows
from reelworks.errors import StorageError, UserError
from reelworks.schema import ClipRow

Row = Mapping[str, Any]

CAPTIONS = ("descriptive", "original", "short")


@dataclass(frozen=True)
class Worked:
    """A chunk as its encoders saw it: without the clips that a threshold dropped."""

    source_id: str
    number: int
    count: int
    clip_ids: list[str]
    rows: list[Row]  # of those clips that are in the snapshot, in their order; near-duplicates are not

    def place(self, content: Sequence[str | None]) -> str:
        return chunk_place(content, self.source_id, self.number, self.count)

    def texts(self) -> dict[str, list[str | None]] | None:
        """Caption -> its texts; None where a clip's original caption is known to no table any more."""
        if len(self.rows) < len(self.clip_ids):
            return None
        found = {name: [row[f"caption_{name}"] for row in self.rows] for name in CAPTIONS}
        return {name: texts for name, texts in found.items() if any(text is not None for text in texts)}


def worked_chunks(chunks: Sequence[Sequence[ClipRow]], rows: Sequence[Row], dropped: Sequence[Row]) -> Iterator[Worked]:
    """The chunks of a source that have a clip in the snapshot."""
    passed_over = {row["clip_id"] for row in dropped if row["reason"] != DUPLICATE}
    by_id = {row["clip_id"]: row for row in rows}
    for number, chunk in enumerate(chunks):
        ids = [clip.clip_id for clip in chunk if clip.clip_id not in passed_over]
        mine = [by_id[one] for one in ids if one in by_id]
        if mine:
            yield Worked(chunk[0].source_id, number, len(chunks), ids, mine)


def chunk_problems(
    places: Mapping[str, str], captioner: str | None, chunk: Worked, checked: Counter[str]
) -> Iterator[str]:
    """What is wrong with a chunk's captions and tensors, counting what was checked; places: stage -> where it lies."""
    yield from caption_problems(places, captioner, chunk)
    by_object: dict[str, list[tuple[Row, Row]]] = {}
    for row in chunk.rows:
        yield from _tensor_problems(places, chunk, row)
        for tensor in row["tensors"]:
            by_object.setdefault(tensor["uri"], []).append((row, tensor))
    for uri, tensors in by_object.items():
        yield from object_problems(uri, tensors)
        checked.update(tensors=len(tensors), objects=1)


def _tensor_problems(places: Mapping[str, str], chunk: Worked, row: Row) -> Iterator[str]:
    """A row names every tensor that a clip of its length and captions has, once, in the objects of its chunk."""
    wanted: dict[str, tuple[int | None, int | None]] = {
        name: (start, row["num_frames"]) for name, start in segments(row["num_frames"]).items()
    }
    wanted |= {f"text.{name}": (None, None) for name in CAPTIONS if row[f"caption_{name}"] is not None}
    named = sorted((one["name"], (one["frame_start"], one["frame_end"])) for one in row["tensors"])
    if named != sorted(wanted.items()):
        yield f"{row['clip_id']}: its tensors are others, or of other frames, than its length and captions ask for"
    latents = f"{places['latents']}{chunk.place(chunk.clip_ids)}{SUFFIX['latents']}"
    texts = chunk.texts()
    # Without every text of the chunk its object is known by source and number alone.
    start = f"{places['text']}{chunk.place(texts_content(texts)) if texts is not None else ''}"
    end = f"/{chunk.source_id}/{chunk.number}-of-{chunk.count}{SUFFIX['text']}"
    for tensor in row["tensors"]:
        uri, is_text = tensor["uri"], tensor["name"].startswith("text.")
        if not (uri.startswith(start) and uri.endswith(end) if is_text else uri == latents):
            yield f"{row['clip_id']} {tensor['name']}: {uri} is about other clips or texts than those of its chunk"


def object_problems(uri: str, tensors: Sequence[tuple[Row, Row]]) -> Iterator[str]:
    """A stored object, whole, and what rows say of it: where each tensor lies, and that it is that clip's or text's."""
    try:
        data = storage.get_bytes(uri)
        found, _ = locate(uri, data)
    except StorageError as error:
        yield str(error)
        return
    except (*UNREADABLE, AttributeError) as error:
        yield f"{uri} is no object of tensors: {error!r:.200}"
        return
    ends = {name: place["offset"] + place["length"] for name, place in found.items()}
    if len(data) != max(ends.values(), default=len(data)):
        yield f"{uri} has {len(data):,} bytes, its header speaks of {max(ends.values()):,}"
    changed = {name for name, one in found.items() if sha256(data[one["offset"] : ends[name]]) != one["digest"]}
    for row, tensor in tensors:
        kind = tensor["name"]
        name = name_of(row[f"caption_{kind[5:]}"] or "") if kind.startswith("text.") else f"{row['clip_id']}.{kind}"
        if name not in found or any(found[name][field] != tensor[field] for field in found[name]):
            yield f"{row['clip_id']} {kind}: {uri} holds something else"
    yield from (f"the bytes of {name} in {uri} changed" for name in sorted(changed))


def caption_problems(places: Mapping[str, str], captioner: str | None, chunk: Worked) -> Iterator[str]:
    """The rows' captions against the captioner's stored table of the chunk; without a captioner there are none."""
    names = ("caption_short", "caption_descriptive", "frames_digest")
    if captioner is None:
        told = (row["clip_id"] for row in chunk.rows if any(row[name] is not None for name in (*names, "captioner")))
        yield from (f"{clip_id} has captions that no captioner of the snapshot wrote" for clip_id in told)
        return
    uri = f"{places['captions']}{chunk.place(chunk.clip_ids)}.parquet"
    try:
        table = stored_rows(uri)
    except UserError as error:
        yield str(error)
        return
    if [row.get("clip_id") for row in table] != chunk.clip_ids:
        yield f"{uri} is about other clips than its key says"
    stored = {row.get("clip_id"): row for row in table}
    for row in chunk.rows:
        found = stored.get(row["clip_id"], {})
        if [row[name] for name in names] != [found.get(name.removeprefix("caption_")) for name in names]:
            yield f"{row['clip_id']}: its captions or their frames are not those in {uri}"
        if row["captioner"] != captioner:
            yield f"{row['clip_id']}: {row['captioner']} is not the snapshot's captioner"
