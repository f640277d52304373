"""reelworks.curate.chunk: rows of a block and their frames, copied once."""

from __future__ import annotations

import tracemalloc

import numpy as np

from reelworks.curate.chunk import Chunk, by_chunk, from_table, key_hash, to_table
from reelworks.curate.shots import Span
from reelworks.curate.sources import Source
from reelworks.schema import ClipRow
from reelworks.video.places import Place


def chunk(number: int, shapes: list[tuple[int, int, int]]) -> Chunk:
    """A chunk with clips of frames (T, H, W, 3)."""
    found = Chunk(Source("s3://b/a.mp4", "e", 1), [], number, 3)
    for at, (frames, height, width) in enumerate(shapes):
        row = ClipRow(
            f"{number}-{at}",
            "s",
            "s3://b/a.mp4",
            "e",
            0.0,
            1.0,
            width,
            height,
            width,
            height,
            8.0,
            frames,
            8.0,
            frames,
            1,
        )
        found.rows.append(row)
        found.spans.append(Span(0.0, 1.0, frames, 0, 1, Place(0, 0, 24, 900) if at else None))
        found.tensors.append([])
        found.frames.append(np.random.default_rng(at).integers(0, 256, (frames, height, width, 3), np.uint8))
    return found


def test_frames_of_several_chunks_come_back_as_they_were() -> None:
    chunks = [chunk(0, [(5, 8, 16), (1, 24, 8)]), chunk(1, []), chunk(2, [(9, 16, 8)])]
    chunks[2].frames[0] = np.flip(chunks[2].frames[0], axis=2)  # lies otherwise in memory
    table = to_table(chunks)
    assert table["frames"].is_valid().to_pylist() == [True, False, True]
    for before, after in zip(chunks, from_table(table), strict=True):
        assert (before.rows, before.spans) == (after.rows, after.spans) and len(before.frames) == len(after.frames)
        assert all(np.array_equal(a, b) for a, b in zip(before.frames, after.frames, strict=True))
    assert to_table([]).num_rows == 0


def test_a_block_needs_its_own_memory_and_no_more() -> None:
    chunks = [chunk(0, [(9, 256, 256)] * 4)]
    size = sum(clip.nbytes for clip in chunks[0].frames)
    tracemalloc.start()
    table = to_table(chunks)
    again = from_table(table)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.1 * size and np.array_equal(again[0].frames[3], chunks[0].frames[3])


def test_the_chunks_of_a_film_take_their_own_keys_along_and_no_others() -> None:
    numbers = (0, 1, 2, 65_537)  # the last one is chunk 1 in its low 16 bits
    keys = {number: f"scores/f/content/s/{number}-of-70000.parquet" for number in numbers}
    own = by_chunk([key_hash(key) for key in [*keys.values(), "index/f/s"]])

    def had(number: int) -> list[int]:
        found = Chunk(Source("s3://b/a.mp4", "e", 1), own(number), number)
        return [other for other, key in keys.items() if found.has(key)]

    assert [had(number) for number in (0, 1, 2, 3, 65_537)] == [[0], [1, 65_537], [2], [], [1, 65_537]]
    assert Chunk(Source("s3://b/a.mp4", "e", 1), own(0)).has("index/f/s")
