"""From the pipeline's rows to a committed snapshot: parts first, then one JSON by create-once."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelworks import schema, storage
from reelworks.curate.chunk import Chunk
from reelworks.curate.plan import Plan, sha256
from reelworks.curate.selection import COLUMNS, Selection
from reelworks.curate.snapshot import SnapshotRef, manifest_uri, newest_number, read_manifest

# Rows of one part: its GET stays a few megabytes, and a reader can skip parts.
PART_ROWS = 16_384
# Other writers that may commit between our look and our PUT before we give up.
COMMIT_ATTEMPTS = 20
# Rows that are decided on at once; a chunk's few rows apart would cost more calls than work.
RUN_ROWS = 65_536
HEX = "0123456789abcdef"


class Spool:
    """Clip rows on the driver's disk, by the first hex digit of their id: memory stays flat however many there are."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.num_rows = 0
        self._writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}

    def add(self, rows: list[dict[str, Any]]) -> None:
        self.num_rows += len(rows)
        by_digit: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_digit.setdefault(row["clip_id"][0], []).append(row)
        for digit, mine in by_digit.items():
            if digit not in self._writers:
                self._writers[digit] = pa.ipc.new_stream(self.folder / f"{digit}.arrow", schema.CLIP)
            self._writers[digit].write_table(pa.Table.from_pylist(mine, schema.CLIP))

    def columns(self, names: Sequence[str] = COLUMNS) -> Iterator[pa.Table]:
        """Some columns of all rows, in tables of about RUN_ROWS."""
        for path in self._files():
            batches: list[pa.RecordBatch] = []
            for batch in pa.ipc.open_stream(path):
                batches.append(batch.select(names))
                if sum(map(len, batches)) >= RUN_ROWS:
                    yield pa.Table.from_batches(batches).combine_chunks()
                    batches = []
            if batches:
                yield pa.Table.from_batches(batches).combine_chunks()

    def tables(self) -> Iterator[tuple[str, pa.Table]]:
        """(hex digit, all rows whose id begins with it, sorted by clip_id), in order."""
        for path in self._files():
            yield path.stem, pa.ipc.open_stream(path).read_all().sort_by("clip_id").combine_chunks()

    def _files(self) -> list[Path]:
        for writer in self._writers.values():
            writer.close()
        return [path for path in (self.folder / f"{digit}.arrow" for digit in HEX) if path.exists()]


def split(tables: Iterable[tuple[str, pa.Table]], num_rows: int) -> Iterator[tuple[str, pa.Table]]:
    """(hex prefix, rows) of each part; by count alone. Few rows make one part: the digits' tables are in order."""
    digits = 0
    while num_rows > PART_ROWS * 16**digits:
        digits += 1
    if digits:
        for _, table in tables:
            yield from _split(table, digits)
    elif num_rows:
        yield "", pa.concat_tables([table for _, table in tables])


def _split(table: pa.Table, digits: int) -> Iterator[tuple[str, pa.Table]]:
    prefixes = [clip_id[:digits] for clip_id in table["clip_id"].to_pylist()]
    start = 0
    for stop in range(1, len(prefixes) + 1):
        if stop == len(prefixes) or prefixes[stop] != prefixes[start]:
            yield prefixes[start], table.slice(start, stop - start)
            start = stop


def snapshot_rows(chunk: Chunk, plan: Plan) -> list[dict[str, Any]]:
    """The rows (schema.CLIP) of a finished chunk, of its passed over clips too: the selection counts them."""
    captioner = plan.fingerprints.get("captions")
    empty = [None] * len(chunk.rows)
    passed_over: list[dict[str, Any]] = [
        {
            **clip.row._asdict(),
            "caption_original": clip.original,
            "scores": sorted(clip.scores.items()),
            "likeness": clip.likeness,
            "tensors": [],
        }
        for clip in chunk.passed_over
    ]
    return passed_over + [
        {
            **row._asdict(),
            "caption_original": original,
            "caption_short": short,
            "caption_descriptive": descriptive,
            "captioner": captioner if short is not None or descriptive is not None else None,
            "frames_digest": digest,
            "scores": sorted(scores.items()),
            "likeness": likeness,
            "tensors": sorted(tensors, key=lambda tensor: tensor["name"]),
        }
        for row, scores, likeness, original, short, descriptive, digest, tensors in zip(
            chunk.rows,
            chunk.scores,
            chunk.likenesses,
            chunk.originals or empty,
            chunk.captions.get("short", empty),
            chunk.captions.get("descriptive", empty),
            chunk.frames_digests or empty,
            chunk.tensors,
            strict=True,
        )
    ]


def write_parts(plan: Plan, spool: Spool, chosen: Selection) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Store the clips' Parquet parts under their digests; (what the manifest says of them, counts over all rows)."""
    parts: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    kept = ((digit, chosen.kept(table)) for digit, table in spool.tables())
    for prefix, table in split(kept, chosen.num_kept):
        counts.update(tally(table))
        parts.append(_write_part(plan, prefix, table))
    return parts, dict(counts) | chosen.counts()


def write_dropped(plan: Plan, spool: Spool, chosen: Selection) -> list[dict[str, Any]]:
    """Store the table of the clips that the filters dropped, in parts; what the manifest says of them."""
    dropped = ((digit, chosen.dropped(table)) for digit, table in spool.tables())
    return [_write_part(plan, prefix, table) for prefix, table in split(dropped, chosen.num_dropped)]


def tally(table: pa.Table) -> dict[str, int]:
    """Counts over clip rows that a manifest shows."""
    captions = ("caption_original", "caption_short", "caption_descriptive")
    return {
        "clips": table.num_rows,
        "images": pc.sum(pc.equal(table["native_num_frames"], 1)).as_py() or 0,
        "frames": pc.sum(table["num_frames"]).as_py() or 0,
        "tokens": pc.sum(table["num_tokens"]).as_py() or 0,
        **{f"{name}s": table.num_rows - table[name].null_count for name in captions},
    }


def write_quarantine(plan: Plan, failures: list[dict[str, Any]]) -> dict[str, Any]:
    """Store the table of the snapshot's quarantined sources; what the manifest says of it."""
    # A source whose chunks failed apart from each other has one record, so one row.
    rows = {failure["source_id"]: failure for failure in failures}
    table = pa.Table.from_pylist([rows[source] for source in sorted(rows)], schema.QUARANTINE)
    return _write_part(plan, "", table)


def _write_part(plan: Plan, prefix: str, table: pa.Table) -> dict[str, Any]:
    data = parquet_bytes(table)
    key = f"parts/{sha256(data)}.parquet"
    storage.create_once(plan.uri(key), data)
    return {"prefix": prefix, "key": key, "digest": sha256(data), "rows": table.num_rows}


def parquet_bytes(table: pa.Table) -> bytes:
    """Parquet with every option said, so that equal rows are equal bytes."""
    out = io.BytesIO()
    pq.write_table(
        table.combine_chunks(),
        out,
        row_group_size=4096,
        version="2.6",
        compression="zstd",
        compression_level=3,
        use_dictionary=True,
        write_statistics=True,
        data_page_version="1.0",
        store_schema=False,
    )
    return out.getvalue()


def commit(plan: Plan, content: dict[str, Any]) -> tuple[SnapshotRef, bool]:
    """(the snapshot with this content, whether this call made it); nothing is committed where the newest has it."""
    root, name = plan.recipe.root, plan.recipe.snapshot
    number = newest_number(root, name)
    for _ in range(COMMIT_ATTEMPTS):
        parent = None
        if number:
            ref, manifest = read_manifest(root, f"{name}@{number}")
            if content_of(manifest) == content:
                return ref, False
            parent = ref.id
        manifest = {"name": name, "number": number + 1, "parent": parent, **content}
        data = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
        stored = storage.create_once(manifest_uri(root, name, number + 1), data)
        number += 1
        if stored.data == data:
            return SnapshotRef(name, number, sha256(data)), stored.created
    raise RuntimeError(f"{COMMIT_ATTEMPTS} other writers committed {name} before us")


def content_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without its place in the chain of snapshots."""
    return {name: value for name, value in manifest.items() if name not in ("name", "number", "parent")}
