"""Snapshots made by hand: rows as a test wants them, every digest right."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from reelworks import schema, storage
from reelworks.curate.commit import commit, parquet_bytes
from reelworks.curate.plan import Plan, sha256
from reelworks.curate.snapshot import SnapshotRef


def commit_rows(plan: Plan, rows: list[dict[str, Any]], about: dict[str, Any], digits: int = 0) -> SnapshotRef:
    """Commit clip rows in parts by the first hex digits of their ids, with the rest of the manifest's content."""
    prefixes = sorted({row["clip_id"][:digits] for row in rows})
    by_prefix = [(one, [row for row in rows if row["clip_id"].startswith(one)]) for one in prefixes]
    parts = [
        store(plan, prefix, sorted(mine, key=lambda row: row["clip_id"]), schema.CLIP) for prefix, mine in by_prefix
    ]
    return commit(plan, {**about, "parts": parts})[0]


def store(plan: Plan, prefix: str, rows: list[dict[str, Any]], columns: pa.Schema) -> dict[str, Any]:
    """Store one part; what a manifest says of it."""
    data = parquet_bytes(pa.Table.from_pylist(rows, columns))
    key = f"parts/{sha256(data)}.parquet"
    storage.create_once(plan.uri(key), data)
    return {"prefix": prefix, "key": key, "digest": sha256(data), "rows": len(rows)}
