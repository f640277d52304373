"""`python -m tests.benchmarks.hostile`: what 5% hostile files cost the good ones beside them.

A thousand small objects in a bucket are indexed and decoded by the worker functions of `prepare`, in two processes that
take the next source when they are done with one; once without and once with the hostile ones, in rounds that
alternate. The hostile ones hang (silent or spinning), crash, or eat memory, when they are opened or when their frames
are asked for, in real decoding children. The figure is the loss of the good ones' rate beyond the sum of the hangs'
deadlines over the number of workers; and by how much the worst of them overruns its deadline. A deadline in CPU seconds
lasts longer where other programs share the cores, so the loss beyond the hangs as they were measured stands beside it.
LIMITS says what both may be; every hostile file must end as its own kind. About five minutes on idle cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from reelworks import storage
from reelworks.curate.chunk import Chunk, from_table, to_table
from reelworks.curate.frames import decode_chunks
from reelworks.curate.index import index_sources
from reelworks.curate.plan import Plan, make_plan
from reelworks.curate.sources import Source, list_sources
from reelworks.shapeworld.clips import random_clips
from reelworks.video import Limits, sandbox
from reelworks.video.encode import encode_video
from tests.benchmarks.record import record
from tests.curate.conftest import recipe_for, tiny_models
from tests.own_s3 import own_s3
from tests.video.faults import arm, marked

WORKERS, SHARE = 2, 0.05
LIMITS = {"loss_beyond_deadlines": 0.1, "overrun_seconds": 2.0}
STALL_S, CPU_S, ATTEMPTS = 2.0, 1.0, 3
HANGS_S = {"sleep": ATTEMPTS * STALL_S, "spin": ATTEMPTS * (CPU_S + 1)}
"""Seconds that a file may hang by its limits; the kernel counts CPU time in whole seconds."""
DEADLINES_S = HANGS_S | {"eat": CPU_S + 1}
"""Seconds until a file's end must be typed, at once where it is not named; only hangs enter the arithmetic."""
KINDS = {
    "sleep": "timeout",
    "spin": "timeout",
    "die": "crashed",
    "abort": "crashed",
    "eat": "oversize",
    "ask": "oversize",
}
SIZES = ((320, 240), (240, 320), (256, 256), (192, 128))
CODECS = (("h264", "mp4"), ("vp9", "webm"), ("mpeg4", "avi"), ("h264", "mkv"), ("h264", "mov"))


class Done(NamedTuple):
    """What became of one source."""

    name: str
    clips: int
    kind: str
    seconds: float


def videos() -> list[tuple[str, bytes]]:
    """(ending, bytes) of distinct small videos: three shots, sizes and codecs mixed."""
    found = []
    for number in range(20):
        codec, container = CODECS[number % len(CODECS)]
        clips = random_clips(3, number, sizes=[SIZES[number % len(SIZES)]], num_frames=[33])
        shots = [clip.frames if at % 2 else 255 - clip.frames for at, clip in enumerate(clips)]
        found.append((container, encode_video(np.concatenate(shots), 24, codec, container)))
    return found


def upload(prefix: str, num_sources: int) -> None:
    """Good objects and hostile ones, apart: `good/00012.mp4`, `bad/sleep@open-00012.mp4`."""
    distinct, faults = videos(), sorted(KINDS)
    num_bad = round(num_sources * SHARE)

    def put(number: int) -> None:
        ending, data = distinct[number % len(distinct)]
        if number < num_sources - num_bad:
            storage.create_once(f"{prefix}/good/{number:05d}.{ending}", data)
            return
        fault, when = faults[number % len(faults)], ("open", "batches")[number // len(faults) % 2]
        storage.create_once(f"{prefix}/bad/{fault}@{when}-{number:05d}.{ending}", marked(data, fault, when))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(num_sources)))


def prepare_worker() -> None:
    """In a worker, before its first source."""
    arm()
    sandbox.Limits = partial(Limits, stall_s=STALL_S, cpu_s=CPU_S, attempts=ATTEMPTS)  # type: ignore[misc,assignment]


def work(source: Source, plan: Plan) -> Done:
    """Index and decode one source, as the tasks of `prepare` do."""
    began = time.perf_counter()
    chunks = from_table(decode_chunks(index_sources(to_table([Chunk(source, [])]), plan), plan))
    seconds = time.perf_counter() - began
    kinds = {chunk.failure.kind for chunk in chunks if chunk.failure}
    return Done(source.uri.rpartition("/")[2], sum(len(chunk.rows) for chunk in chunks), "".join(kinds), seconds)


def mixed(good: list[Source], bad: list[Source]) -> Iterator[Source]:
    """Hostile ones evenly among the first two thirds: behind the last one there is work for both workers."""
    every = max(1, len(good) * 2 // 3 // max(1, len(bad)))
    left = list(bad)
    for number, source in enumerate(good):
        if number % every == 0 and left:
            yield left.pop()
        yield source


def timed(pool: Pool, sources: list[Source], plan: Plan) -> tuple[float, list[Done]]:
    began = time.perf_counter()
    done = list(pool.imap_unordered(partial(work, plan=plan), sources))
    return time.perf_counter() - began, done


def measure(base: str, models: dict[str, str], num_sources: int, rounds: int) -> dict[str, Any]:
    good, bad = (list(list_sources([f"{base}/raw/{name}/"])) for name in ("good", "bad"))
    random.Random(0).shuffle(bad)
    seconds = {"without": 0.0, "with": 0.0}
    done: dict[str, list[Done]] = {"without": [], "with": []}
    with multiprocessing.get_context("spawn").Pool(WORKERS, prepare_worker) as pool:
        warm = make_plan(recipe_for(f"{base}/warm", f"{base}/raw/good/", models))
        timed(pool, good[:20], warm)
        for number in range(rounds):
            part, hostile = good[number::rounds], bad[number::rounds]
            for label, sources in (("without", part), ("with", list(mixed(part, hostile)))):
                plan = make_plan(recipe_for(f"{base}/{label}-{number}", f"{base}/raw/good/", models))
                took, found = timed(pool, sources, plan)
                seconds[label] += took
                done[label] += found
        pool.close()
        pool.join()
    return summary(seconds, done)


def summary(seconds: dict[str, float], done: dict[str, list[Done]]) -> dict[str, Any]:
    clips = {label: sum(one.clips for one in found) for label, found in done.items()}
    hostile = [(one.name.partition("@")[0], one) for one in done["with"] if "@" in one.name]
    wrong = [one for fault, one in hostile if one.kind != KINDS[fault]]
    wrong += [one for one in done["with"] + done["without"] if "@" not in one.name and one.kind]
    deadlines_s = sum(HANGS_S.get(fault, 0.0) for fault, _ in hostile)
    hangs_s = sum(one.seconds for fault, one in hostile if fault in HANGS_S)
    rate = clips["without"] / seconds["without"]

    def loss(hung_s: float) -> float:
        return round(1 - clips["with"] / (seconds["with"] - hung_s / WORKERS) / rate, 3)

    overrun_s: dict[str, float] = {}
    for fault, one in hostile:
        overrun_s[fault] = round(max(overrun_s.get(fault, 0.0), one.seconds - DEADLINES_S.get(fault, 0.0)), 2)
    return {
        "load_average": round(os.getloadavg()[1], 1),  # of others too: on a busy machine the wall clock says less
        "sources": {label: len(found) for label, found in done.items()},
        "clips": clips,
        "hostile": dict(Counter(fault for fault, _ in hostile)),
        "wrongly_ended": [one._asdict() for one in wrong],
        "seconds": {label: round(took, 1) for label, took in seconds.items()},
        "deadlines_of_hangs_seconds": deadlines_s,
        "measured_hangs_seconds": round(hangs_s, 1),
        "loss_beyond_deadlines": loss(deadlines_s),
        "loss_beyond_measured_hangs": loss(hangs_s),
        "worst_overrun_seconds": overrun_s,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=1000, help="objects, 5%% of them hostile")
    parser.add_argument("--rounds", type=int, default=4, help="pairs of runs without and with the hostile ones")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rw") as name, own_s3(Path(name)):
        base = f"s3://reelworks/benchmark-{uuid.uuid4().hex}"
        upload(f"{base}/raw", options.sources)
        models = tiny_models(Path(name) / "models")
        measured = measure(base, models, options.sources, options.rounds)
    print(record("hostile", {"limits": LIMITS} | measured))
    late_s = max(measured["worst_overrun_seconds"].values())
    lost = measured["loss_beyond_deadlines"] > LIMITS["loss_beyond_deadlines"]
    return int(lost or late_s > LIMITS["overrun_seconds"] or bool(measured["wrongly_ended"]))


if __name__ == "__main__":
    sys.exit(main())
