"""One rank of train_captioner: clips from its shard of the data set, steps, free captions of held-out clips.

Axis legend: T frames, H W rows and columns.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import Tensor

from reelworks import storage, tracking
from reelworks.errors import UserError
from reelworks.models.captioner import Captioner, num_parameters, training_batch
from reelworks.models.vision_input import VisionInput
from reelworks.shapeworld.parse import parse
from reelworks.train.augment import view
from reelworks.train.captioner_recipe import TrainCaptionerRecipe
from reelworks.train.described_clips import DescribedClip, clip_of_row
from reelworks.train.finetune import finetune, quiet, write_files

ATTRIBUTES = ("colour", "shape", "motion", "size")
SAMPLES = 24  # rows of the table of held-out captions


def train_on_worker(config: dict[str, Any]) -> dict[str, Any]:
    """The loop that Ray Train runs on every rank; rank 0 logs, stores the checkpoint and returns the results."""
    recipe = TrainCaptionerRecipe.model_validate(config["recipe"])
    quiet()
    rank, world = ray.train.get_context().get_world_rank(), ray.train.get_context().get_world_size()
    run = tracking.attach(config["run_id"]) if rank == 0 else None
    captioner = _begin(recipe, config)
    model = ray.train.torch.prepare_model(captioner.model.train())
    if recipe.gradient_checkpointing:
        captioner.model.gradient_checkpointing_enable()
    shard = ray.train.get_dataset_shard("train")
    rng = np.random.default_rng([recipe.seed, rank])
    batches = _batches(captioner, recipe, shard, recipe.training.batch // world, rng)

    def report(step: int, values: dict[str, float]) -> None:
        if run is not None:
            run.metrics(values, step)
            print(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items()), flush=True)

    began = time.monotonic()
    steps = finetune(model, batches, recipe.training, report)
    seconds = time.monotonic() - began
    captioner.model.eval()
    figures, samples = _held_out(captioner) if recipe.held_out and recipe.held_out_clips else ({}, [])
    if run is None:
        return {}
    run.json(samples, "held_out_captions.json")
    with tempfile.TemporaryDirectory() as folder:
        captioner.save(Path(folder))
        storage.upload_folder(Path(folder), config["uri"])
    size = num_parameters(captioner.model)
    return {"steps": steps, "parameters": size, "training_s": round(seconds, 1), **figures}


def _begin(recipe: TrainCaptionerRecipe, config: dict[str, Any]) -> Captioner:
    """The model before training, fp32 everywhere; from scratch it is the same one on every rank."""
    device, dtype = ray.train.torch.get_device(), torch.float32
    if config["start"]:
        from reelworks.resolve import resolve_model

        folder = resolve_model(config["start"]).path
        return Captioner(folder, device, dtype=dtype, num_frames=recipe.num_frames)
    with tempfile.TemporaryDirectory() as scratch:
        return Captioner(write_files(config["files"], Path(scratch)), device, dtype=dtype)


def _batches(
    captioner: Captioner, recipe: TrainCaptionerRecipe, shard: Any, size: int, rng: np.random.Generator
) -> Iterator[dict[str, Tensor]]:
    """Batches without an end: the first pass as clips arrive, later ones shuffled from memory where all fit."""
    for kept in clip_batches(shard, size, recipe.keep_clips, rng):
        clips = [view(clip, recipe.num_frames, recipe.augment, rng) for clip in kept]
        inputs: list[VisionInput] = [captioner.read(clip.frames) for clip in clips]
        short = [bool(clip.short) and rng.random() < recipe.short_share for clip in clips]
        prompts = ["short" if is_short else "descriptive" for is_short in short]
        texts = [clip.short if is_short else clip.descriptive for clip, is_short in zip(clips, short, strict=True)]
        yield training_batch(captioner, inputs, prompts, texts)


def clip_batches(shard: Any, size: int, keep: int, rng: np.random.Generator) -> Iterator[list[DescribedClip]]:
    """Lists of `size` clips without an end. A shard of at most `keep` clips is read once, a larger one every epoch."""
    kept: list[DescribedClip] = []
    waiting: list[DescribedClip] = []
    num_clips = 0
    while True:
        for row in shard.iter_rows():
            clip = clip_of_row(row)
            num_clips += 1
            waiting.append(clip)
            if num_clips <= keep:
                kept.append(clip)
            if len(waiting) == size:
                yield waiting
                waiting = []
        if not num_clips:
            raise UserError("no described clip could be read", "the end table of prepare names what is wrong with them")
        if num_clips <= keep:
            break
        num_clips, kept = 0, []
    while True:
        waiting = waiting + [kept[index] for index in rng.permutation(len(kept))]
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]


def _held_out(captioner: Captioner) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Accuracy of freely generated descriptive captions by attribute, over all ranks; and some captions."""
    shard = ray.train.get_dataset_shard("held_out")
    # An image has no motion to name; it is left out, as in the evaluation.
    clips = [clip for clip in map(clip_of_row, shard.iter_rows()) if "motion" in clip.attributes]
    texts = captioner.caption([clip.frames for clip in clips])
    found = [parse(text) for text in texts]
    right = [
        [one.get(name) == clip.attributes[name] for name in ATTRIBUTES] for one, clip in zip(found, clips, strict=True)
    ]
    counts = torch.tensor([*np.sum(right, axis=0, initial=0).tolist(), len(clips)], dtype=torch.float64)
    if dist.is_initialized() and dist.get_world_size() > 1:
        counts = counts.to(captioner.device)
        dist.all_reduce(counts)
    total = max(1.0, float(counts[-1]))
    rates = {f"caption_accuracy.{name}": float(count) / total for name, count in zip(ATTRIBUTES, counts, strict=False)}
    macro = sum(rates.values()) / len(rates)
    samples = [{"caption": text, **clip.attributes} for text, clip in zip(texts, clips, strict=True)][:SAMPLES]
    return {"held_out_clips": int(counts[-1]), "caption_accuracy.macro": macro, **rates}, samples
