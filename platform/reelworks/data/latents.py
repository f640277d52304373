"""Tensors of a snapshot's clips, read by byte range.

A clip's tensor is a span of an object (offset, length, digest), so a rank fetches what its packs need and nothing else.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from reelworks import storage
from reelworks.errors import StorageError, StorageErrorKind

GAP_BYTES = 256 * 1024
"""Spans of an object that lie closer than this are one request: a request costs about as much as these bytes."""
REQUEST_BYTES = 32 * 1024 * 1024
"""One request asks for no more than this beyond its first span."""
THREADS = 8
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class TensorRef:
    """Where a tensor's bytes lie."""

    uri: str
    offset: int
    length: int
    """Bytes."""
    shape: tuple[int, ...]
    dtype: str
    """A name of `DTYPES`; little endian."""
    digest: str
    """sha256 of the bytes."""


@dataclass(frozen=True)
class Example:
    """What training needs of one clip."""

    clip_id: str
    fps: float
    latents: TensorRef
    """Raw latents (C, T, H, W)."""
    texts: dict[str, TensorRef]
    """Caption kind (original, short, descriptive) → token states (M, E)."""


def example(row: dict[str, Any]) -> Example:
    """A row of a snapshot → what training needs of it, 1:1."""
    refs = {
        one["name"]: TensorRef(
            one["uri"], one["offset"], one["length"], tuple(one["shape"]), one["dtype"], one["digest"]
        )
        for one in row["tensors"]
    }
    texts = {name.removeprefix("text."): ref for name, ref in refs.items() if name.startswith("text.")}
    return Example(row["clip_id"], row["fps"], refs["latents"], texts)


def merge(refs: Iterable[TensorRef]) -> list[list[TensorRef]]:
    """Groups of spans, each fetched by one request: neighbours in an object with small gaps."""
    ordered = sorted(set(refs), key=lambda ref: (ref.uri, ref.offset))
    groups: list[list[TensorRef]] = []
    for _, spans in groupby(ordered, key=lambda ref: ref.uri):
        for ref in spans:
            last = groups[-1] if groups and groups[-1][0].uri == ref.uri else None
            near = last is not None and ref.offset - (last[-1].offset + last[-1].length) <= GAP_BYTES
            if last is not None and near and ref.offset + ref.length - last[0].offset <= REQUEST_BYTES:
                last.append(ref)
            else:
                groups.append([ref])
    return groups


def fetch(group: Sequence[TensorRef]) -> dict[TensorRef, Tensor]:
    """The tensors of one group. StorageError where the bytes aren't those that the snapshot names."""
    start = group[0].offset
    data = storage.get_bytes(group[0].uri, start=start, length=max(r.offset + r.length for r in group) - start)
    tensors = {}
    for ref in group:
        span = data[ref.offset - start : ref.offset - start + ref.length]
        if hashlib.sha256(span).hexdigest() != ref.digest:
            raise StorageError(StorageErrorKind.changed, ref.uri, f"bytes at {ref.offset} differ from the snapshot's")
        tensors[ref] = torch.frombuffer(bytearray(span), dtype=DTYPES[ref.dtype]).reshape(ref.shape).float()
    return tensors


class TensorReader:
    """Reads tensors by reference; keeps everything when the data set is small, else only what was asked ahead."""

    def __init__(self, refs: Iterable[TensorRef], memory_bytes: int) -> None:
        """refs: all that may be asked for; they are fetched at once if they fit in `memory_bytes`."""
        self.pool = ThreadPoolExecutor(THREADS)
        every = set(refs)
        self.keep = sum(ref.length for ref in every) <= memory_bytes
        self.pending: dict[TensorRef, Future[dict[TensorRef, Tensor]]] = {}
        if self.keep:
            self.ask(every)

    def ask(self, refs: Iterable[TensorRef]) -> None:
        """Start fetching in the background what isn't here or on its way."""
        for group in merge(ref for ref in refs if ref not in self.pending):
            future = self.pool.submit(fetch, group)
            for ref in group:
                self.pending[ref] = future

    def get(self, ref: TensorRef) -> Tensor:
        """The tensor, waiting for it if need be."""
        if ref not in self.pending:
            self.ask([ref])
        return self.pending[ref].result()[ref]

    def forget(self, refs: Iterable[TensorRef]) -> None:
        """Let go of what was used, unless everything is kept."""
        if not self.keep:
            for ref in refs:
                self.pending.pop(ref, None)
