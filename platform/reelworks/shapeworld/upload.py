"""The job that puts the corpus into a bucket: Ray tasks render, encode and create each object once."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from reelworks import storage
from reelworks.config import Recipe
from reelworks.errors import UserError
from reelworks.shapeworld.clips import Clip, random_clips
from reelworks.shapeworld.corpus import CORPUS_VERSION, Item, items, make
from reelworks.shapeworld.hostile import hostile_files
from reelworks.tracking import Run
from reelworks.video.encode import encode_video


class ShapeworldRecipe(Recipe):
    """How large a corpus to make, and where."""

    output: str
    """Prefix (s3://bucket/folder) under which train/, eval/ and described/ are made."""
    seed: int = 0
    """Everything in the corpus follows from it; a larger corpus of the same seed extends a smaller one."""
    train_videos: int = Field(gt=0)
    """Videos in train/, of 2 to 5 shots (3.5 on average)."""
    eval_videos: int = Field(gt=0)
    """Videos in eval/; part of their shots show combinations that train/ never does."""
    train_images: int = Field(ge=0)
    """Stills in train/."""
    described_videos: int = Field(0, ge=0)
    """Videos in described/, whose every shot has a descriptive caption: they train the captioner, prepare never reads
    them."""
    hostile: bool = True
    """Whether train/ also gets the files that must end in quarantine."""
    batch_size: int = Field(16, gt=0)
    """Videos or images a task."""
    parallel: int = Field(2, gt=0)
    """Tasks at a time, one CPU each."""

    def writes(self) -> Sequence[str]:
        return [self.output]


def make_corpus(recipe: ShapeworldRecipe, run: Run) -> dict[str, Any]:
    """Makes what isn't in the bucket yet; a rerun finds everything there and uploads nothing.

    Raises UserError where the prefix holds a corpus of another seed or version.
    """
    _claim(recipe)
    present = {found.key for found in storage.list_objects(recipe.output)}
    counts = {"clips_made": 0, "uploaded": 0, "present": 0, "nondeterministic": 0, "uploaded_bytes": 0}
    if recipe.hostile:
        _add(counts, _store(recipe.output, hostile_files(), present))
    every = list(
        items(recipe.seed, recipe.train_videos, recipe.eval_videos, recipe.train_images, recipe.described_videos)
    )
    missing = [item for item in every if not _is_present(item, recipe.output, present)]
    counts["present"] += 2 * (len(every) - len(missing))
    print(f"{len(every)} videos and images, {len(missing)} of them to make", flush=True)
    batches = [missing[i : i + recipe.batch_size] for i in range(0, len(missing), recipe.batch_size)]
    begun, done = time.monotonic(), 0
    for size, part in _run_batches(recipe, batches):
        done += size
        _add(counts, part)
        run.metrics({name: counts[name] for name in ("clips_made", "uploaded_bytes")}, step=done)
        print(
            f"{done}/{len(missing)} made: {counts['clips_made']} clips, {counts['uploaded_bytes'] / 2**20:.1f} MiB, "
            f"{time.monotonic() - begun:.0f} s",
            flush=True,
        )
    run.blob(contact_sheet(list(random_clips(12, recipe.seed, sizes=[(48, 32)]))), "clips.png")
    videos = recipe.train_videos + recipe.eval_videos + recipe.described_videos
    return {"videos": videos, "images": recipe.train_images, **counts}


def _claim(recipe: ShapeworldRecipe) -> None:
    """Writes down which corpus the prefix holds, or raises UserError where it holds another."""
    identity = json.dumps({"corpus_version": CORPUS_VERSION, "seed": recipe.seed}, sort_keys=True).encode()
    uri = f"{recipe.output.rstrip('/')}/corpus.json"
    stored = storage.create_once(uri, identity).data
    if stored != identity:
        raise UserError(
            f"{recipe.output} holds the corpus {stored.decode()}, not {identity.decode()}",
            "Choose another output, the same seed, or delete what is there",
        )


def _is_present(item: Item, output: str, present: set[str]) -> bool:
    """Whether the item's sidecar is there: it is written last."""
    return f"{_folder(output)}{item.stem}.json" in present


def _folder(output: str) -> str:
    key = storage.split_uri(output)[1].rstrip("/")
    return f"{key}/" if key else ""


def _store(output: str, objects: Mapping[str, bytes], present: set[str] | None = None) -> dict[str, int]:
    """Creates the objects, in their order, that aren't `present`."""
    counts = {"uploaded": 0, "present": 0, "nondeterministic": 0, "uploaded_bytes": 0}
    for key, data in objects.items():
        if present is not None and _folder(output) + key in present:
            counts["present"] += 1
            continue
        stored = storage.create_once(f"{output.rstrip('/')}/{key}", data)
        counts["uploaded" if stored.created else "present"] += 1
        counts["nondeterministic"] += stored.data != data
        counts["uploaded_bytes"] += len(data) if stored.created else 0
    return counts


def store_batch(batch: Sequence[Item], output: str) -> dict[str, int]:
    """Makes the items and creates their objects; returns the counts."""
    counts: dict[str, int] = {}
    for item in batch:
        made = make(item)
        _add(counts, {"clips_made": made.num_clips} | _store(output, made.objects))
    return counts


def _run_batches(recipe: ShapeworldRecipe, batches: Sequence[Sequence[Item]]) -> Iterator[tuple[int, dict[str, int]]]:
    """(items, counts) of each batch as it is done, `parallel` of them at a time."""
    import ray

    task = ray.remote(num_cpus=1)(store_batch)
    waiting = list(batches)
    running: dict[Any, int] = {}
    while waiting or running:
        while waiting and len(running) < recipe.parallel:
            batch = waiting.pop(0)
            running[task.remote(batch, recipe.output)] = len(batch)
        finished, _ = ray.wait(list(running), num_returns=1)
        yield running.pop(finished[0]), ray.get(finished[0])


def _add(counts: dict[str, int], part: Mapping[str, int]) -> None:
    for name, value in part.items():
        counts[name] = counts.get(name, 0) + value


def contact_sheet(clips: Sequence[Clip], columns: int = 6, scale: int = 3) -> bytes:
    """A PNG with a row of frames for each clip; the clips have one frame size."""
    rows = []
    for clip in clips:
        shown = np.linspace(0, len(clip.frames) - 1, columns).astype(int)
        rows.append(np.concatenate(list(clip.frames[shown]), axis=1))
    sheet = np.concatenate(rows).repeat(scale, axis=0).repeat(scale, axis=1)
    return encode_video(sheet[None], 25, "png", "png")
