"""The start of the pipeline: every source, with what the data set already has of it, read from LIST alone."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from reelworks import storage
from reelworks.curate.chunk import Chunk, key_hash, to_table
from reelworks.curate.plan import Plan
from reelworks.curate.sources import Source, list_sources

BLOCK_SOURCES = 256


class StoredKeys:
    """Which objects each source has: 16 bytes an object, found by binary search."""

    def __init__(self, plan: Plan):
        sources, keys = array("Q"), array("Q")
        skip = len(plan.recipe.root.rstrip("/")) + 1
        for prefix in plan.prefixes():
            for found in storage.list_objects(prefix):
                key = found.uri[skip:]
                sources.append(_source_bits(_source_in(key)))
                keys.append(key_hash(key))
        order = np.argsort(np.frombuffer(sources, np.uint64), kind="stable")
        self._sources = np.frombuffer(sources, np.uint64)[order]
        self._keys = np.frombuffer(keys, np.uint64)[order]

    def of(self, source_id: str) -> list[int]:
        """Hashes of the keys of one source."""
        bits = np.uint64(_source_bits(source_id))
        first, stop = np.searchsorted(self._sources, bits, "left"), np.searchsorted(self._sources, bits, "right")
        return self._keys[first:stop].tolist()


def _source_in(key: str) -> str:
    """index/<fp>/<source_id>, quarantine/<fp>/<source_id>, <stage>/<fp>/<content>/<source_id>/<chunk>."""
    parts = key.split("/")
    return parts[2] if len(parts) == 3 else parts[3]


def _source_bits(source_id: str) -> int:
    return int(source_id.replace("-", "")[:16], 16)


def list_chunks(_: pa.Table, plan: Plan) -> Iterator[pa.Table]:
    """Every source as a chunk that is not cut yet, in blocks; the input row only starts the task."""
    stored = StoredKeys(plan)
    block: list[Chunk] = []
    for source in list_sources(plan.recipe.sources):
        block.append(Chunk(source, stored.of(source.source_id)))
        if len(block) == BLOCK_SOURCES:
            yield to_table(block)
            block = []
    if block:
        yield to_table(block)


class SourceSet:
    """Number and digest of a set of sources with sidecars and captions, whatever their order; memory is constant."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, source: Source) -> None:
        said = f"{source.source_id} {source.sidecar_uri} {source.sidecar_etag}"
        if source.caption is not None or source.problem:  # so that the digest of prefixes stays what it was
            said += " " + json.dumps([source.caption, source.problem])
        one = hashlib.sha256(said.encode()).digest()
        self.count, self._sum = self.count + 1, (self._sum + int.from_bytes(one, "big")) % 2**256

    @property
    def digest(self) -> str:
        return f"{self._sum:064x}"


def listed_sources(places: Sequence[str]) -> SourceSet:
    """What lies under prefixes and in manifests now."""
    found = SourceSet()
    for source in list_sources(places):
        found.add(source)
    return found
