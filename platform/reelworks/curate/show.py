"""`reelworks dataset show|verify`: a snapshot for a person, and its bytes checked from end to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow.compute as pc

from reelworks import storage
from reelworks.curate.plan import sha256
from reelworks.curate.snapshot import Snapshot, read_manifest, read_part, read_snapshot
from reelworks.curate.tensors import locate
from reelworks.curate.text import name_of
from reelworks.errors import StorageError, UserError


def show(root: str, reference: str) -> str:
    """What a snapshot holds: counts, durations, sizes, captions, where it comes from."""
    snapshot = read_snapshot(root, reference)
    manifest, clips = snapshot.manifest, snapshot.clips
    lines = [
        f"{snapshot.ref.name}@{snapshot.ref.number}  id {snapshot.ref.id}",
        f"parent {manifest['parent'] or 'none'}",
    ]
    lines += [f"{name:28} {value:>10,}" for name, value in manifest["counts"].items()]
    if clips.num_rows:
        durations = pc.subtract(clips["end_s"], clips["start_s"])
        for name, column in {
            "seconds": durations,
            "tokens": clips["num_tokens"],
            "frames": clips["num_frames"],
        }.items():
            low, middle, high = pc.quantile(column, [0.05, 0.5, 0.95]).to_pylist()
            lines.append(f"{name:28} 5% {low:.4g}, median {middle:.4g}, 95% {high:.4g}")
        sizes = clips.group_by(["width", "height"]).aggregate([([], "count_all")]).to_pylist()
        for size in sorted(sizes, key=lambda size: -size["count_all"])[:10]:
            lines.append(f"{size['width']}x{size['height']:<20} {size['count_all']:>8,} clips")
    lines += [f"{stage:10} {source}" for stage, source in manifest["models"].items()]
    for row in clips.slice(0, 5).to_pylist():
        captions = [row[f"caption_{name}"] for name in ("original", "short", "descriptive")]
        lines.append(f"{row['clip_id']}  {row['source_uri']}  {captions}")
    return "\n".join(lines)


def verify(root: str, reference: str) -> str:
    """Check a snapshot: its chain of parents, its parts, and every tensor's bytes and name. Raises UserError."""
    snapshot = read_snapshot(root, reference)
    problems = [*chain_problems(root, snapshot)]
    read_part(root, snapshot.manifest["quarantine"])
    by_object: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for row in snapshot.clips.to_pylist():
        for tensor in row["tensors"]:
            by_object.setdefault(tensor["uri"], []).append((row, tensor))
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda item: list(object_problems(*item)), by_object.items()):
            problems += found
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise UserError(f"{snapshot.ref} is damaged: {'; '.join(problems[:5])}{more}", "run prepare again")
    tensors = f"{sum(map(len, by_object.values())):,} tensors in {len(by_object):,} objects"
    return f"{snapshot.ref}: {snapshot.clips.num_rows:,} clips, {tensors} are right"


def chain_problems(root: str, snapshot: Snapshot) -> Iterator[str]:
    """Each manifest names the sha256 of the one before it."""
    parent = snapshot.manifest["parent"]
    for number in range(snapshot.ref.number - 1, 0, -1):
        ref, manifest = read_manifest(root, f"{snapshot.ref.name}@{number}")
        if ref.id != parent:
            yield f"{ref.name}@{number} is {ref.id}, its successor says {parent}"
        parent = manifest["parent"]


def object_problems(uri: str, tensors: list[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Iterator[str]:
    """A stored object against what rows say of it: present, same bytes, and about that clip or that text."""
    try:
        data = storage.get_bytes(uri)
    except StorageError as error:
        yield str(error)
        return
    places, _ = locate(uri, data)
    for row, tensor in tensors:
        kind = tensor["name"]
        name = name_of(row[f"caption_{kind[5:]}"]) if kind.startswith("text.") else f"{row['clip_id']}.{kind}"
        place = places.get(name)
        if place is None or any(place[field] != tensor[field] for field in place):
            yield f"{row['clip_id']} {kind}: {uri} holds something else"
        elif sha256(data[tensor["offset"] : tensor["offset"] + tensor["length"]]) != tensor["digest"]:
            yield f"{row['clip_id']} {kind}: the bytes in {uri} changed"
