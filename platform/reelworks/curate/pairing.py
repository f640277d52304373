"""A raw object and the JSON that lies beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reelworks import schema, storage

SIDECAR = ".json"


@dataclass(frozen=True)
class Source:
    """One version of one raw object, with the sidecar that the same listing saw beside it."""

    uri: str
    etag: str
    size: int
    sidecar_uri: str | None = None
    sidecar_etag: str | None = None
    caption: str | None = None  # of the whole source, from a manifest
    problem: str | None = None  # a ListingErrorKind: the row of a manifest names nothing that can be read
    problem_message: str = ""

    @property
    def source_id(self) -> str:
        bucket, key = storage.split_uri(self.uri)
        return schema.source_id(bucket, key, self.etag)


def pair_sidecars(objects: Iterable[storage.ObjectInfo]) -> Iterator[Source]:
    """Pair objects, in key order, with `<name>.json` or `<name without extension>.json`; 1:1 with sources.

    Keys that share a stem are neighbours in the sorted listing, so only one stem's objects are held at a time.
    """
    waiting: list[storage.ObjectInfo] = []
    sidecars: dict[str, storage.ObjectInfo] = {}
    for found in objects:
        if found.key.endswith("/"):
            continue
        done = [held for held in waiting if not found.key.startswith(stem_of(held.key))]
        waiting = [held for held in waiting if held not in done]
        for held in done:
            yield _paired(held, sidecars)
        sidecars = {
            key: sidecar
            for key, sidecar in sidecars.items()
            if found.key.startswith(stem_of(key)) or any(key.startswith(stem_of(held.key)) for held in waiting)
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


def stem_of(key: str) -> str:
    """What every key that may belong with this one begins with."""
    shorter = _without_extension(key)
    return shorter if shorter == key else shorter + "."


def _paired(found: storage.ObjectInfo, sidecars: dict[str, storage.ObjectInfo]) -> Source:
    sidecar = sidecars.get(found.key + SIDECAR) or sidecars.get(_without_extension(found.key) + SIDECAR)
    if sidecar is None:
        return Source(found.uri, found.etag, found.size)
    return Source(found.uri, found.etag, found.size, sidecar.uri, sidecar.etag)
