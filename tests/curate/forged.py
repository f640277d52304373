"""Snapshots made by hand: rows as a test wants them, every digest right; and stored objects changed behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from reelworks import schema, storage
from reelworks.curate.commit import commit, content_of, parquet_bytes
from reelworks.curate.plan import Plan, sha256
from reelworks.curate.snapshot import SnapshotRef, read_manifest, read_snapshot


def forge(plan: Plan, change: Callable[[list[dict[str, Any]]], None], reference: str = "world@1", **about: Any) -> str:
    """Commit another snapshot whose rows were changed by hand, with right digests from the manifest down."""
    rows = read_snapshot(plan.recipe.root, reference).clips.to_pylist()
    change(rows)
    return str(commit_rows(plan, rows, content_of(read_manifest(plan.recipe.root, reference)[1]) | about))


@contextmanager
def damaged(uri: str, change: Callable[[bytes], bytes]) -> Iterator[None]:
    """Around a block in which a stored object has other bytes."""
    data = storage.get_bytes(uri)
    replace(uri, change(data))
    try:
        yield
    finally:
        replace(uri, data)


def replace(uri: str, data: bytes) -> None:
    found = storage.head(uri)
    assert found and storage.swap(uri, found.etag, data)


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
