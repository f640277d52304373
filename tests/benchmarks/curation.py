"""`python -m tests.benchmarks.curation`: the pipeline of `prepare` on Ray against a hand-written loop without it.

Both run the same functions of the same stages on the same bucket, models and mixed clips, with one thread each, on the
same cores: the loop in two processes that share the sources, Ray Data as it schedules, in rounds that alternate, since
cores that are shared are now faster, now slower. The figure is the ratio of their steady rates, clips a second from the
first finished chunk to the last, at a CPU-second or more a clip. Beside it: the seconds to the first result, from
submission and from when every pool of actors had its first one ready, and how often a frame is decoded. LIMITS says
what each may be. Takes about seven minutes on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import torch

from reelworks import storage
from reelworks.curate import pipeline
from reelworks.curate.board import new_board, told_actor
from reelworks.curate.caption import CaptionActor
from reelworks.curate.chunk import Chunk, from_table, to_table
from reelworks.curate.encode import LatentActor
from reelworks.curate.frames import decode_chunks
from reelworks.curate.index import index_sources
from reelworks.curate.listing import list_chunks
from reelworks.curate.plan import Plan, make_plan
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.text import TextActor
from reelworks.models.latent_stats import LatentStats
from reelworks.models.vae import CausalVAE, VAEConfig, to_pixels
from reelworks.shapeworld.clips import random_clips
from reelworks.video.encode import encode_video
from tests.benchmarks.record import record
from tests.curate.conftest import recipe_for, tiny_models
from tests.own_ray import own_ray
from tests.own_s3 import own_s3

SIZES = ((240, 160), (160, 240), (192, 192))
CODECS = (("h264", "mp4"), ("vp9", "webm"), ("mpeg4", "avi"), ("h264", "mkv"))
SHOTS, FRAMES, FPS = 3, 33, 24
LEAST_RATIO = 0.9
LIMITS = {"first_result_s": 45.0, "first_result_after_ready_s": 10.0, "decodes_of_a_frame": 2.0}


@dataclass
class Measured:
    """What one way through the corpus did."""

    begun_s: float = 0.0
    finished: list[tuple[float, int]] = field(default_factory=list)
    """(seconds on the wall clock, clips) of every finished chunk."""
    decoded_frames: int = 0
    clip_frames: int = 0
    cpu_s: float | None = None
    """Of all processes, where they can be told apart from others."""
    ready_s: float | None = None
    """On the wall clock, where there are pools of actors: when each of them had its first one ready."""

    def begin(self) -> None:
        self.begun_s = time.time()

    def add(self, chunk: Chunk) -> None:
        self.finished.append((time.time(), len(chunk.rows)))
        self.decoded_frames += int(chunk.counts.get("decoded_frames", 0))
        self.clip_frames += sum(row.num_frames for row in chunk.rows)

    @property
    def first_s(self) -> float:
        """On the wall clock, when the first chunk was finished."""
        return min(at for at, _ in self.finished)

    def steady(self) -> tuple[int, float]:
        """Clips and seconds from the first finished chunk to the last."""
        last_s = max(at for at, _ in self.finished)
        return sum(count for at, count in self.finished if at > self.first_s), last_s - self.first_s


def figures(rounds: list[Measured]) -> dict[str, float]:
    """Of all rounds together; what is waited for is that of the slowest."""
    clips = [count for one in rounds for _, count in one.finished]
    steady = [one.steady() for one in rounds]
    known = (
        {} if rounds[0].cpu_s is None else {"cpu_seconds_a_clip": sum(one.cpu_s or 0 for one in rounds) / sum(clips)}
    )
    ready = [(one.ready_s - one.begun_s, one.first_s - one.ready_s) for one in rounds if one.ready_s is not None]
    if ready:
        known |= {"actors_ready_s": max(one for one, _ in ready)}
        known |= {"first_result_after_ready_s": max(one for _, one in ready)}
    decoded, shown = (sum(getattr(one, name) for one in rounds) for name in ("decoded_frames", "clip_frames"))
    known |= {
        "clips_per_second": sum(count for count, _ in steady) / sum(seconds for _, seconds in steady),
        "first_result_s": max(one.first_s - one.begun_s for one in rounds),
        "decodes_of_a_frame": decoded / shown,
    }
    return {"clips": sum(clips)} | {name: round(value, 3) for name, value in known.items()}


def upload(prefix: str, indices: range) -> None:
    """Videos of three shots, of several sizes, codecs and containers."""
    for index in indices:
        size, (codec, container) = SIZES[index % len(SIZES)], CODECS[index % len(CODECS)]
        clips = random_clips(SHOTS, index, sizes=[size], num_frames=[FRAMES])
        # Hard cuts: every other shot is inverted in brightness, as films change light.
        shots = [clip.frames if number % 2 else 255 - clip.frames for number, clip in enumerate(clips)]
        media = encode_video(np.concatenate(shots), FPS, codec, container)
        storage.create_once(f"{prefix}/{index:05d}.{container}", media)


def heavy_vae(folder: Path) -> str:
    """A VAE that costs about a CPU-second a clip, as real ones cost seconds on a GPU."""
    torch.manual_seed(0)
    config = VAEConfig(channels=(32, 128, 256), encoder_blocks=(1, 1, 2), decoder_blocks=(1, 1, 1), latent_channels=8)
    vae = CausalVAE(config)
    frames = [clip.frames for clip in random_clips(4, 0, sizes=SIZES, num_frames=[9])]
    with torch.no_grad():
        vae.stats = LatentStats.measure([vae.encode(to_pixels(torch.from_numpy(one))[None])[0][0] for one in frames])
    folder.mkdir()
    vae.save(folder)
    return str(folder)


def recipe(root: str, sources: str, models: dict[str, str]) -> PrepareRecipe:
    stages: dict[str, Any] = {
        "vae": {
            "source": models["vae"],
            "std_range": (0.01, 100.0),
            "chunks_per_call": 2,
            "pool": {"min_size": 2, "max_size": 2},
        },
        "captioner": {"source": models["captioner"], "max_new_tokens": 24, "chunks_per_call": 4},
        "text": {"source": models["text"], "chunks_per_call": 4},
    }
    read = {"sources_per_task": 4, "chunks_per_task": 2, "workers": 2}
    clips = {"fps": 24, "max_tokens": 100_000}
    return recipe_for(root, sources, models, read=read, clips=clips, **stages)


class Noted:
    """Mixed in front of a stage's actor: writes down when it can take its first batch, with its model loaded."""

    noted_in: str

    def __init__(self, **arguments: Any):
        super().__init__(**arguments)
        (Path(self.noted_in) / uuid.uuid4().hex).write_text(str(time.time()))


@contextmanager
def noting(folder: Path) -> Iterator[None]:
    """The pipelines that are built meanwhile write down, in a folder for each stage, when their actors are ready."""

    def noted_actor(stage: str, actor: type, board: Any) -> type:
        (folder / stage).mkdir()
        return type(actor.__name__, (Noted, told_actor(stage, actor, board)), {"noted_in": str(folder / stage)})

    with patch.object(pipeline, "told_actor", noted_actor):
        yield


def every_pool_ready_s(folder: Path) -> float:
    """When the last pool's first actor was ready."""
    return max(min(float(note.read_text()) for note in stage.iterdir()) for stage in folder.iterdir())


def by_ray(plan: Plan) -> Measured:
    """On a Ray that runs already, as a job finds it: processors, store and idle workers as `make up` has them."""
    measured = Measured()
    set_up = patch.dict(os.environ, RAY_prestart_worker_first_driver="0")
    with set_up, own_ray(8, object_store_bytes=1 << 30), tempfile.TemporaryDirectory() as notes:
        with noting(Path(notes)):
            measured.begin()
            for chunks in pipeline.finished_chunks(plan, new_board()):
                for chunk in chunks:
                    measured.add(chunk)
        measured.ready_s = every_pool_ready_s(Path(notes))
    return measured


def by_hand(plan: Plan) -> Measured:
    """Two processes, every other source each."""
    measured = Measured()
    measured.begin()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for half in pool.starmap(half_by_hand, [(plan, 0), (plan, 1)]):
            measured.finished += half.finished
            measured.decoded_frames += half.decoded_frames
            measured.clip_frames += half.clip_frames
        pool.close()
        pool.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    measured.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return measured


def half_by_hand(plan: Plan, part: int) -> Measured:
    torch.set_num_threads(1)
    caption, encode, embed = CaptionActor(plan), LatentActor(plan), TextActor(plan)
    chunks = from_table(pa.concat_tables(list(list_chunks(pa.table({}), plan))))
    measured = Measured()
    for chunk in chunks[part::2]:
        table = decode_chunks(index_sources(to_table([chunk]), plan), plan)
        for done in from_table(embed(encode(caption(table)))):
            measured.add(done)
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--videos", type=int, default=36, help="of three clips each, in a round")
    options = parser.parse_args()
    measured: dict[str, list[Measured]] = {"hand": [], "ray": []}
    with tempfile.TemporaryDirectory(prefix="rw") as folder, own_s3(Path(folder)):
        models = tiny_models(Path(folder) / "models") | {"vae": heavy_vae(Path(folder) / "heavy")}
        base = f"s3://reelworks/benchmark-{uuid.uuid4().hex}"
        for number in range(options.rounds):
            upload(f"{base}/raw-{number}", range(number * options.videos, (number + 1) * options.videos))
            # The loop first: what the file system keeps in memory helps Ray at most as much as it helped the loop.
            for name, run in (("hand", by_hand), ("ray", by_ray)):
                plan = make_plan(recipe(f"{base}/{name}-{number}", f"{base}/raw-{number}/", models))
                measured[name].append(run(plan))
    told = {name: figures(rounds) for name, rounds in measured.items()}
    ratio = round(told["ray"]["clips_per_second"] / told["hand"]["clips_per_second"], 3)
    print(record("curation", {"least_ratio": LEAST_RATIO, "limits": LIMITS} | told | {"ratio": ratio}))
    return int(ratio < LEAST_RATIO or any(told["ray"][name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
