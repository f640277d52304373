"""`python -m tests.benchmarks.memory`: peak memory of curation's workers on the inputs that break naive ones.

A 4K film of one shot, an hour-long video, and an object of more than 2 GiB whose frames lie behind its first 2 GiB go
through the very callables that Ray Data calls, in batches of the size that it hands over, in a fresh process for each
stage and input. Measured against the same process after its models are loaded and one small video is done: summed PSS
of the worker and its decoding child, sampled every few milliseconds, input tables mapped like blocks of the object
store; and the sum of their high-water marks (VmHWM), which counts shared pages twice and misses nothing. Two recipes:
the defaults, and short clips of 65,536 tokens, whose frames are encoded in tiles. The larger figure must not exceed
400 MB. Takes five to ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import struct
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pyarrow as pa
from av.video.frame import VideoFrame

from reelworks import storage
from reelworks.curate.board import told_task
from reelworks.curate.chunk import TABLE
from reelworks.curate.encode import LatentActor
from reelworks.curate.frames import decode_chunks
from reelworks.curate.index import index_sources
from reelworks.curate.listing import list_chunks
from reelworks.curate.plan import Plan, make_plan
from tests.benchmarks.record import record
from tests.own_s3 import own_s3

LIMIT_MB = 400
STAGES = ("index", "decode", "latents")
PAD_BYTES = (2 << 30) + (200 << 20)
SAMPLE_S = 0.004
# Of each input at most so many calls of a stage: an hour's latents would take an hour, and memory doesn't remember.
CALLS = {"index": 1, "decode": 8, "latents": 2}
RECIPES: dict[str, dict[str, Any]] = {
    "default": {},
    "large": {
        "clips": {"fps": 24, "max_tokens": 65_536, "multiple_px": 16, "shots": {"max_clip_s": 2}},
        "vae": {"chunks_per_call": 1},
        "read": {"chunks_per_task": 4},
    },
}

Work = Callable[[pa.Table], Iterable[pa.Table]]


def write_video(path: Path, width: int, height: int, fps: int, frames: int, options: dict[str, str]) -> None:
    """H.264 of a drifting texture that changes its brightness every 10 s, written frame by frame."""
    rows, columns = np.mgrid[0:height, 0:width]
    texture = np.stack([columns * 255 // width, rows * 255 // height, (rows ^ columns) & 255], axis=2).astype(np.uint8)
    with av.open(str(path), "w", format="mp4") as file:
        stream: Any = file.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = len(os.sched_getaffinity(0))
        stream.codec_context.options = {"preset": "veryfast", "crf": "26", **options}
        for index in range(frames):
            picture = np.roll(texture, 2 * index, axis=1)
            picture = 255 - picture if index // (10 * fps) % 2 else picture
            file.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))


def loop(path: Path, minute: Path, times: int) -> None:
    """The packets of a file again and again."""
    with av.open(str(path), "w", format="mp4") as out:
        copy: Any = None
        for turn in range(times):
            with av.open(str(minute)) as file:
                stream = file.streams.video[0]
                copy = copy or out.add_stream_from_template(stream)
                for packet in file.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue
                    packet.pts += turn * stream.duration
                    packet.dts += turn * stream.duration
                    packet.stream = copy
                    out.mux(packet)


def pad(path: Path, video: Path) -> None:
    """The same MP4 with a box of more than 2 GiB of nothing, sparse on disk, in front of its frames."""
    data = bytearray(video.read_bytes())
    start = struct.unpack_from(">I", data)[0]  # behind ftyp
    table = data.index(b"stco")
    count = struct.unpack_from(">I", data, table + 8)[0]
    offsets = np.frombuffer(data, ">u4", count, table + 12)
    data[table + 12 : table + 12 + 4 * count] = (offsets + PAD_BYTES).astype(">u4").tobytes()
    with path.open("wb") as file:
        file.write(data[:start] + struct.pack(">I4sQ", 1, b"free", PAD_BYTES))
        file.seek(start + PAD_BYTES)
        file.write(data[start:])


def upload(folder: Path, base: str) -> None:
    """The small video of the warm-up and the three inputs, each under a prefix of its own."""
    write_video(folder / "warm.mp4", 320, 192, 24, 60, {})
    write_video(folder / "4k.mp4", 3840, 2160, 24, 72, {"refs": "4", "bf": "3", "b-pyramid": "normal"})
    write_video(folder / "minute.mp4", 192, 144, 5, 300, {})
    loop(folder / "hour.mp4", folder / "minute.mp4", 60)
    write_video(folder / "scene.mp4", 1280, 720, 24, 240, {})
    pad(folder / "2gib.mp4", folder / "scene.mp4")
    for name in ("warm", "4k", "hour", "2gib"):
        storage.create_file_once(f"{base}/raw/{name}/a.mp4", folder / f"{name}.mp4")
        (folder / f"{name}.mp4").unlink()


def work_of(stage: str, plan: Plan) -> tuple[Work, int]:
    """What Ray Data calls for a stage, and the rows that it hands over at once."""
    board = SimpleNamespace(add=SimpleNamespace(remote=lambda stage, work: None))
    if stage == "latents":
        actor = LatentActor(plan)
        return lambda table: [actor(table)], plan.recipe.vae.chunks_per_call
    function, rows = {
        "index": (index_sources, plan.recipe.read.sources_per_task),
        "decode": (decode_chunks, plan.recipe.read.chunks_per_task),
    }[stage]
    told = told_task(stage, function, board)
    return lambda table: told(table, plan=plan), rows


def calls(path: Path, rows: int, most: int) -> Iterator[pa.Table]:
    """The tables of the first calls; each is mapped for its call alone."""
    total = pa.ipc.open_file(pa.memory_map(str(path))).num_record_batches
    for first in range(0, min(total, most * rows), rows):
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        yield pa.Table.from_batches([reader.get_batch(at) for at in range(first, min(total, first + rows))])


def write_rows(path: Path, tables: Iterable[pa.Table]) -> int:
    """A file with a record batch for each row; how many there are."""
    count = 0
    with pa.ipc.new_file(pa.OSFile(str(path), "wb"), TABLE) as writer:
        for table in tables:
            for row in range(table.num_rows):
                writer.write_table(table.slice(row, 1))
                count += 1
            del table  # as Ray lets go of a block before it asks for the next
    return count


def serve(pipe: Connection, stage: str, plan: Plan, warm: Path, given: Path, made: Path) -> None:
    """A worker: the small video first, then, when it is told to, the input."""
    work, rows = work_of(stage, plan)
    write_rows(made, chain.from_iterable(map(work, calls(warm, rows, CALLS[stage]))))
    pipe.send("ready")
    pipe.recv()
    pipe.send(write_rows(made, chain.from_iterable(map(work, calls(given, rows, CALLS[stage])))))
    pipe.recv()


class Gauge:
    """Memory of a process and its children above what it is at the beginning, in MB."""

    def __init__(self, pid: int, sample_s: float = SAMPLE_S):
        self._pid, self._sample_s = pid, sample_s
        self._pss, self._high = self._sum("smaps_rollup", "Pss:"), self._sum("status", "VmRSS:")
        for process in self._processes():
            Path(f"/proc/{process}/clear_refs").write_text("5")  # the high-water mark begins again
        self._peak = self._pss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, float]:
        self._stop.set()
        self._thread.join()
        high = self._sum("status", "VmHWM:")
        return {"pss_mb": round((self._peak - self._pss) / 1e3, 1), "hwm_mb": round((high - self._high) / 1e3, 1)}

    def _run(self) -> None:
        while not self._stop.wait(self._sample_s):
            self._peak = max(self._peak, self._sum("smaps_rollup", "Pss:"))

    def _processes(self) -> list[int]:
        found = [self._pid]
        for pid in found:
            try:
                for task in Path(f"/proc/{pid}/task").iterdir():
                    found += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue  # it has just ended
        return found

    def _sum(self, file: str, field: str) -> float:
        """Thousands of bytes."""
        total = 0.0
        for pid in self._processes():
            try:
                lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith(field))
        return total * 1.024


def measure(stage: str, plan: Plan, warm: Path, given: Path, made: Path) -> dict[str, float]:
    """One stage on one input in a fresh process."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, stage, plan, warm, given, made), daemon=True)
    process.start()
    theirs.close()
    assert process.pid is not None and pipe.recv() == "ready"
    gauge, began = Gauge(process.pid), time.monotonic()
    pipe.send("go")
    rows = pipe.recv()
    found = gauge.stop() | {"rows": rows, "seconds": round(time.monotonic() - began, 1)}
    pipe.send("end")
    process.join()
    return found


def run(folder: Path, base: str, name: str, models: dict[str, str]) -> dict[str, dict[str, dict[str, float]]]:
    """Input -> stage -> what was measured, with one recipe; a stage's input is what the stage before it made."""
    from tests.curate.conftest import recipe_for  # the workers, which import this module, need none of it

    changes = {key: dict(value) for key, value in RECIPES[name].items()}
    changes["vae"] = {"source": models["vae"], "std_range": (0.01, 100.0), **changes.get("vae", {})}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for source in ("warm", "4k", "hour", "2gib"):
        plan = make_plan(recipe_for(f"{base}/data", f"{base}/raw/{source}/", models, captioner=None, **changes))
        given = folder / f"{source}.listed"
        write_rows(given, list_chunks(pa.table({}), plan))
        for stage in STAGES:
            made = folder / f"{source}.{stage}"
            warm = given if source == "warm" else folder / f"warm.{STAGES[STAGES.index(stage) - 1]}"
            warm = folder / "warm.listed" if stage == "index" else warm
            figures = measure(stage, plan, warm, given, made)
            if source != "warm":
                found.setdefault(source, {})[stage] = figures
                print(f"{name:8} {source:5} {stage:8} {figures}", flush=True)
            given = made
    return found


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from tests.curate.conftest import tiny_models

    with tempfile.TemporaryDirectory(prefix="rw") as place, own_s3(Path(place)):
        folder = Path(place)
        models = tiny_models(folder / "models")
        base = f"s3://reelworks/benchmark-{uuid.uuid4().hex}"
        upload(folder, base)
        found = {name: run(folder, base, name, models) for name in RECIPES}
    figures = [one for sources in found.values() for stages in sources.values() for one in stages.values()]
    peak = max(max(one["pss_mb"], one["hwm_mb"]) for one in figures)
    record("memory", {"limit_mb": LIMIT_MB, "peak_mb": peak, "recipes": found})
    print(f"peak {peak} MB of {LIMIT_MB} MB")
    return int(peak > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
