"""Stages that only hold frames and sleep, so that a test sees how Ray Data shares out memory and workers.

Imports nothing heavy: workers load it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from reelworks.curate.chunk import Chunk, from_table, to_table
from reelworks.curate.plan import Plan
from reelworks.curate.shots import Span
from reelworks.curate.sources import Source
from reelworks.schema import ClipRow

SIDE, CLIPS = 192, 3
CHUNKS, ENCODE_S = 32, 0.5
JOINED_S = 120


def num_frames(plan: Plan) -> int:
    """Of a clip: CLIPS of them come to what the recipe says of a chunk."""
    return max(1, plan.recipe.read.chunk_bytes // (CLIPS * SIDE * SIDE * 3))


def list_idle(_: pa.Table, plan: Plan) -> Iterator[pa.Table]:
    """CHUNKS sources of one chunk each."""
    frames = num_frames(plan)
    for number in range(CHUNKS):
        source = Source(f"s3://raw/{number}.mp4", "e", 1)
        chunk = Chunk(source, [])
        for clip in range(CLIPS):
            place = (f"{number}-{clip}", source.source_id, source.uri, source.etag, 0.0, 1.0)
            chunk.rows.append(ClipRow(*place, SIDE, SIDE, SIDE, SIDE, 24.0, frames, 24.0, frames, 1))
            chunk.spans.append(Span(0.0, 1.0, frames, 0, 1))
            chunk.tensors.append([])
        yield to_table([chunk])


def index_idle(table: pa.Table, plan: Plan) -> pa.Table:
    return table


def decode_idle(table: pa.Table, plan: Plan) -> pa.Table:
    chunks = from_table(table)
    for chunk in chunks:
        chunk.frames = [np.zeros((num_frames(plan), SIDE, SIDE, 3), np.uint8) for _ in chunk.rows]
    return to_table(chunks)


class IdleCaptions:
    """Hands frames on, as the captioner does."""

    def __init__(self, plan: Plan) -> None:
        pass

    def __call__(self, table: pa.Table) -> pa.Table:
        return to_table(from_table(table))


class IdleLatents:
    """Takes its time for each chunk, and notes in which process."""

    def __init__(self, plan: Plan) -> None:
        pass

    def __call__(self, table: pa.Table) -> pa.Table:
        chunks = from_table(table)
        for chunk in chunks:
            time.sleep(ENCODE_S)
            chunk.counts = {"pid": os.getpid()}
            chunk.frames = []
        return to_table(chunks)


class JoinedLatents(IdleLatents):
    """Begins when a second process has come, however long that takes to start on a busy machine; each of them leaves a
    file in the folder that the recipe is named after."""

    def __init__(self, plan: Plan) -> None:
        self._folder = Path(plan.recipe.name)
        (self._folder / str(os.getpid())).touch()

    def __call__(self, table: pa.Table) -> pa.Table:
        ends = time.monotonic() + JOINED_S
        while len(list(self._folder.iterdir())) < 2 and time.monotonic() < ends:
            time.sleep(0.1)
        return super().__call__(table)


class DeadlyLatents:
    """Dies of every row; counts its starts in the file that the recipe is named after."""

    def __init__(self, plan: Plan) -> None:
        with open(plan.recipe.name, "ab") as file:
            file.write(b".")

    def __call__(self, table: pa.Table) -> pa.Table:
        os._exit(1)


class IdleText:
    """Hands rows on."""

    def __init__(self, plan: Plan) -> None:
        pass

    def __call__(self, table: pa.Table) -> pa.Table:
        return table
