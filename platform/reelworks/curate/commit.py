"""From the pipeline's rows to a committed snapshot: parts first, then one JSON by create-once."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reelworks import schema, storage
from reelworks.curate.chunk import Chunk
from reelworks.curate.plan import Plan, sha256
from reelworks.curate.snapshot import SnapshotRef, manifest_uri, newest_number, read_manifest

# Rows of one part: its GET stays a few megabytes, and a reader can skip parts.
PART_ROWS = 16_384
# Other writers that may commit between our look and our PUT before we give up.
COMMIT_ATTEMPTS = 20
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

    def parts(self, left_out: set[str]) -> Iterator[tuple[str, pa.Table]]:
        """(hex prefix, its rows sorted by clip_id) in order, without the sources left out; the split is by count."""
        for writer in self._writers.values():
            writer.close()
        digits = 0
        while self.num_rows > PART_ROWS * 16**digits:
            digits += 1
        for first in HEX:
            path = self.folder / f"{first}.arrow"
            if not path.exists():
                continue
            table = pa.ipc.open_stream(path).read_all().sort_by("clip_id")
            keep = [source not in left_out for source in table["source_id"].to_pylist()]
            table = table.filter(pa.array(keep, pa.bool_()))
            yield from _split(table, digits)


def _split(table: pa.Table, digits: int) -> Iterator[tuple[str, pa.Table]]:
    prefixes = [clip_id[:digits] for clip_id in table["clip_id"].to_pylist()]
    start = 0
    for stop in range(1, len(prefixes) + 1):
        if stop == len(prefixes) or prefixes[stop] != prefixes[start]:
            yield prefixes[start], table.slice(start, stop - start)
            start = stop


def snapshot_rows(chunk: Chunk, plan: Plan) -> list[dict[str, Any]]:
    """The rows (schema.CLIP) of a finished chunk."""
    captioner = plan.fingerprints.get("captions")
    empty = [None] * len(chunk.rows)
    return [
        {
            **row._asdict(),
            "caption_original": original,
            "caption_short": short,
            "caption_descriptive": descriptive,
            "captioner": captioner if short is not None or descriptive is not None else None,
            "frames_digest": digest,
            "scores": [],
            "tensors": sorted(tensors, key=lambda tensor: tensor["name"]),
        }
        for row, original, short, descriptive, digest, tensors in zip(
            chunk.rows,
            chunk.originals or empty,
            chunk.captions.get("short", empty),
            chunk.captions.get("descriptive", empty),
            chunk.frames_digests or empty,
            chunk.tensors,
            strict=True,
        )
    ]


def write_parts(plan: Plan, spool: Spool, left_out: set[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Store the clips' Parquet parts under their digests; (what the manifest says of them, counts over all rows)."""
    parts: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    whole: list[pa.Table] = []
    for prefix, table in spool.parts(left_out):
        counts.update(tally(table))
        if prefix:
            parts.append(_write_part(plan, prefix, table))
        else:
            whole.append(table)
    if whole:
        # Few rows make one part; the tables of its digits, one after the other, are sorted already.
        parts.append(_write_part(plan, "", pa.concat_tables(whole)))
    return parts, dict(counts)


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
