"""Files that can't be used: one record each, with the reason, kept beside the data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from reelworks import storage
from reelworks.curate.chunk import Chunk, Failure
from reelworks.curate.plan import Plan
from reelworks.errors import ListingError, VideoError, VideoErrorKind
from reelworks.video import Limits


def quarantine(plan: Plan, chunk: Chunk, stage: str, error: VideoError | ListingError) -> Failure:
    """End a source with a record of why, and return it; the first record of a source stands."""
    record = {
        "uri": chunk.source.uri,
        "etag": chunk.source.etag,
        "source_id": chunk.source.source_id,
        "stage": stage,
        "kind": str(error.kind),
        "message": error.message,
        "good_frames": error.good_frames,
        # What a file says about itself is said at once; a decoder that died or hung was given fresh ones.
        "attempts": Limits().attempts if error.kind in (VideoErrorKind.timeout, VideoErrorKind.crashed) else 1,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    key = plan.quarantine_key(chunk.source.source_id)
    stored = storage.create_once(plan.uri(key), json.dumps(record, sort_keys=True).encode())
    failure = failure_of(json.loads(stored.data))
    chunk.end("quarantined", failure)
    return failure


def failure_of(record: dict[str, Any]) -> Failure:
    """The part of a record that is the same in every run."""
    return Failure(record["stage"], record["kind"], record["message"], record["good_frames"])


def read_quarantine(root: str) -> Iterator[dict[str, Any]]:
    """Every record under a data set's root, in the order of its keys."""
    uris = (found.uri for found in storage.list_objects(f"{root.rstrip('/')}/quarantine/"))
    with ThreadPoolExecutor(8) as pool:
        for data in pool.map(storage.get_bytes, uris):
            yield json.loads(data)


def list_quarantine(root: str) -> str:
    """A table for a person: what is in quarantine and why."""
    records = list(read_quarantine(root))
    lines = [f"{len(records)} sources in quarantine under {root}"]
    for record in records:
        good = "" if record["good_frames"] is None else f", {record['good_frames']} good frames"
        attempts = f"{record['attempts']} attempt{'s' if record['attempts'] > 1 else ''}"
        lines.append(f"{record['kind']:18} {record['uri']}  ({record['stage']}, {attempts}{good}, {record['at']})")
        lines.append(f"{'':18} {record['message']}")
    return "\n".join(lines)
