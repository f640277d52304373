"""The listing of raw video: which objects are sources, and which JSON lies beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from reelworks import schema, storage

SIDECAR = ".json"
Opened = bytes | BinaryIO
"""What `video` reads a source from."""

# Up to this size an object is fetched in one GET: below it the round trips of ranged reading cost more than the bytes.
WHOLE_OBJECT_BYTES = 16 << 20


@dataclass(frozen=True)
class Source:
    """One version of one raw object, with the sidecar that the same listing saw beside it."""

    uri: str
    etag: str
    size: int
    sidecar_uri: str | None = None
    sidecar_etag: str | None = None

    @property
    def source_id(self) -> str:
        bucket, key = storage.split_uri(self.uri)
        return schema.source_id(bucket, key, self.etag)


def list_sources(prefixes: Sequence[str]) -> Iterator[Source]:
    """Every source under the prefixes, streamed page by page; an object under two prefixes appears once.

    JSON files are sidecars, never sources; folder markers are skipped; all else is a source, whatever its name says.
    """
    kept = [p for p in sorted(set(prefixes)) if not any(p != q and p.startswith(q) for q in prefixes)]
    for prefix in kept:
        yield from pair_sidecars(storage.list_objects(prefix))


def pair_sidecars(objects: Iterable[storage.ObjectInfo]) -> Iterator[Source]:
    """Pair objects, in key order, with `<name>.json` or `<name without extension>.json`; 1:1 with sources.

    Keys that share a stem are neighbours in the sorted listing, so only one stem's objects are held at a time.
    """
    waiting: list[storage.ObjectInfo] = []
    sidecars: dict[str, storage.ObjectInfo] = {}
    for found in objects:
        if found.key.endswith("/"):
            continue
        done = [held for held in waiting if not found.key.startswith(_stem(held.key))]
        waiting = [held for held in waiting if held not in done]
        for held in done:
            yield _paired(held, sidecars)
        sidecars = {
            key: sidecar
            for key, sidecar in sidecars.items()
            if found.key.startswith(_stem(key)) or any(key.startswith(_stem(held.key)) for held in waiting)
        }
        if found.key.endswith(SIDECAR):
            sidecars[found.key] = found
        else:
            waiting.append(found)
    for held in waiting:
        yield _paired(held, sidecars)


def _without_extension(key: str) -> str:
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{name.rpartition('.')[0] or name}"


def _stem(key: str) -> str:
    """What every key that may belong with this one begins with."""
    shorter = _without_extension(key)
    return shorter if shorter == key else shorter + "."


def _paired(found: storage.ObjectInfo, sidecars: dict[str, storage.ObjectInfo]) -> Source:
    sidecar = sidecars.get(found.key + SIDECAR) or sidecars.get(_without_extension(found.key) + SIDECAR)
    if sidecar is None:
        return Source(found.uri, found.etag, found.size)
    return Source(found.uri, found.etag, found.size, sidecar.uri, sidecar.etag)


def open_source(source: Source) -> Opened:
    """The source's bytes where it is small, else a seekable file over ranged GETs; both bound to the listed ETag.

    Raises StorageError (kind changed, when the object was overwritten since it was listed).
    """
    if source.size <= WHOLE_OBJECT_BYTES:
        return storage.get_bytes(source.uri, etag=source.etag)
    return cast(BinaryIO, storage.open_ranged(source.uri, etag=source.etag, size=source.size))


def read_sidecar(source: Source) -> list[dict[str, Any]]:
    """The shots that the sidecar describes, each with start_s and end_s; empty without a sidecar.

    Raises ValueError where the sidecar isn't JSON of that form, StorageError where it changed since it was listed.
    """
    if source.sidecar_uri is None:
        return []
    try:
        shots = json.loads(storage.get_bytes(source.sidecar_uri, etag=source.sidecar_etag))["shots"]
        return [dict(shot, start_s=float(shot["start_s"]), end_s=float(shot["end_s"])) for shot in shots]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{source.sidecar_uri} is no sidecar: {error!r}") from error


def match_shot(
    shots: Sequence[dict[str, Any]], start_s: float, end_s: float, iou: float = 0.8
) -> dict[str, Any] | None:
    """The described shot whose span overlaps [start_s, end_s) best, if their intersection over union reaches iou."""
    best, best_iou = None, 0.0
    for shot in shots:
        intersection = min(end_s, shot["end_s"]) - max(start_s, shot["start_s"])
        union = max(end_s, shot["end_s"]) - min(start_s, shot["start_s"])
        if union > 0 and intersection / union > best_iou:
            best, best_iou = shot, intersection / union
    return best if best_iou >= iou else None
