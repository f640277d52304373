"""Clips that carry their own number, a captioner that reads it, and workers that are killed while they caption.

`python -m tests.curate.painted_captions ROOT` captions all clips into ROOT by forked workers, two at once, until every
object is there. Each worker meets the chunks in an order and in groups of its own and is killed where a fail point
(tests/chaos/failpoints.py) says so; prints how many were.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reelworks import schema, storage
from reelworks.curate.caption import CaptionActor
from reelworks.curate.chunk import Chunk, from_table, key_hash, to_table
from reelworks.curate.plan import Plan
from reelworks.curate.sources import Source
from reelworks.models.clip_captioner import ClipCaptioner
from reelworks.models.processor_captioner import Pictures, pictures_of
from tests.chaos import failpoints
from tests.curate.conftest import recipe_for

CLIPS, CHUNK_CLIPS = 10_000, 40
SHAPES = ((5, 8, 8), (9, 8, 12), (1, 12, 8))
MOST_WORKERS = 60
"""Forked one after the other: every armed point costs one at most."""


def painted(number: int) -> NDArray[np.uint8]:
    """A clip (T, H, W, 3) whose colour is its number, and whose frames differ in their blue."""
    count, height, width = SHAPES[number % len(SHAPES)]
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[..., 0], frames[..., 1] = number % 256, number // 256
    frames[..., 2] = np.arange(count)[:, None, None]
    return frames


class NumberReader(ClipCaptioner[Pictures]):
    """Says the number that it is shown."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def read(self, frames: NDArray[np.uint8], times_s: Sequence[float] | None = None) -> Pictures:
        return pictures_of(frames, times_s, 4)

    def _shape(self, one: Pictures) -> tuple[int, ...]:
        return one.frames.shape

    def _write(self, batch: Sequence[Pictures], prompts: Sequence[str]) -> dict[str, list[str]]:
        seen = np.stack([one.frames for one in batch])[..., :2].reshape(len(batch), -1, 2).astype(int)  # (B, pixels, 2)
        assert (seen == seen[:, :1]).all(), "a clip of several numbers"
        return {name: [f"{name} {low + 256 * high}" for low, high in seen[:, 0].tolist()] for name in prompts}


def plan_of(root: str, deterministic: bool = True) -> Plan:
    """A plan with a captioner that nobody loads."""
    models = dict.fromkeys(("captioner", "text", "vae"), "unused")
    recipe = recipe_for(root, "s3://raw/unused/", models, deterministic=deterministic)
    return Plan(recipe, {}, {"captions": "painted"})


def clip_of(number: int, source: Source) -> schema.ClipRow:
    count, height, width = SHAPES[number % len(SHAPES)]
    fields = dict.fromkeys(schema.ClipRow._fields, 1) | {"width": width, "height": height, "num_frames": count}
    fields |= {"clip_id": schema.clip_id(source.source_id, number, number, "1/8"), "source_id": source.source_id}
    return schema.ClipRow(**fields)


def chunks() -> list[Chunk]:
    """All clips, in order, in runs of one source each."""
    found = []
    for first in range(0, CLIPS, CHUNK_CLIPS):
        source = Source(f"s3://raw/unused/{first}.mp4", "etag", 1)
        chunk = Chunk(source, [])
        for number in range(first, first + CHUNK_CLIPS):
            chunk.rows.append(clip_of(number, source))
            chunk.frames.append(painted(number))
        found.append(chunk)
    return found


def work(root: str, seed: int) -> None:
    """One worker's life: what the listing shows is left alone, the rest captioned in groups that the seed draws."""
    rng = np.random.default_rng(seed)
    plan = plan_of(root, deterministic=seed % 2 == 0)
    reader = NumberReader(batch_size=int(rng.integers(1, 64)))
    actor = type("NumberActor", (CaptionActor,), {"captioner": reader})(plan)
    prefix = root.partition("//")[2].partition("/")[2]
    stored = [key_hash(one.key.removeprefix(f"{prefix}/")) for one in storage.list_objects(f"{root}/captions/")]
    every = chunks()
    order = rng.permutation(len(every)).tolist()
    while order:
        group = [every[order.pop()] for _ in range(min(len(order), int(rng.integers(1, 30))))]
        for chunk in group:
            chunk.stored = stored
        assert len(from_table(actor(to_table(group)))) == len(group)


def fork(root: str, seed: int) -> int:
    """A worker in a process of its own; its pid."""
    pid = os.fork()
    if pid:
        return pid
    failed = 1
    try:
        work(root, seed)
        failed = 0
    finally:
        os._exit(failed)


def main(root: str) -> int:
    failpoints.install()
    running, killed = {fork(root, seed) for seed in (0, 1)}, 0
    for seed in range(2, MOST_WORKERS):
        pid, status = os.wait()
        running.remove(pid)
        if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
            killed += 1
            running.add(fork(root, seed))
        elif status:
            return 1
        elif not running:
            print(f"killed {killed}")
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
