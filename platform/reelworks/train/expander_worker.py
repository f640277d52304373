"""One rank of train_expander: noisy prompts and descriptive answers, steps, held-out prompts expanded freely."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from torch import Tensor

from reelworks import storage, tracking
from reelworks.models.captioner import num_parameters
from reelworks.models.expander import Expander, training_batch
from reelworks.shapeworld.parse import parse
from reelworks.shapeworld.prompts import evaluation_prompts
from reelworks.train.expander_recipe import TrainExpanderRecipe
from reelworks.train.finetune import finetune, quiet, write_files
from reelworks.train.prompt_noise import noisy_prompt

BATCHES_SORTED = 8  # batches that are sorted by length together
SAMPLES = 24  # rows of the table of expanded prompts
PROMPT_SEED = 20_000  # apart from the seeds that evaluation and the demo use


def train_on_worker(config: dict[str, Any]) -> dict[str, Any]:
    """The loop that Ray Train runs on every rank; rank 0 logs, stores the checkpoint and returns the results."""
    recipe = TrainExpanderRecipe.model_validate(config["recipe"])
    quiet()
    rank, world = ray.train.get_context().get_world_rank(), ray.train.get_context().get_world_size()
    run = tracking.attach(config["run_id"]) if rank == 0 else None
    expander = _begin(recipe, config)
    if recipe.gradient_checkpointing:
        expander.model.gradient_checkpointing_enable()
    model = ray.train.torch.prepare_model(expander.model.train())
    rng = np.random.default_rng([recipe.seed, rank])
    batches = pair_batches(expander, config["pairs"][rank::world], recipe.training.batch // world, recipe.noise, rng)

    def report(step: int, values: dict[str, float]) -> None:
        if run is not None:
            run.metrics(values, step)
            print(f"step {step}: " + ", ".join(f"{name} {value:.4g}" for name, value in values.items()), flush=True)

    began = time.monotonic()
    steps = finetune(model, batches, recipe.training, report)
    seconds = time.monotonic() - began
    if run is None:
        return {}
    expander.model.eval()
    figures, samples = measure(expander, recipe.held_out_prompts, recipe.seed)
    run.json(samples, "expanded_prompts.json")
    with tempfile.TemporaryDirectory() as folder:
        expander.save(Path(folder))
        storage.upload_folder(Path(folder), config["uri"])
    return {"steps": steps, "parameters": num_parameters(expander.model), "training_s": round(seconds, 1), **figures}


def _begin(recipe: TrainExpanderRecipe, config: dict[str, Any]) -> Expander:
    """The model before training, fp32 everywhere; from scratch it is the same one on every rank."""
    device, dtype = ray.train.torch.get_device(), torch.float32
    if config["start"]:
        from reelworks.resolve import resolve_model

        return Expander(resolve_model(config["start"]).path, device, dtype=dtype)
    with tempfile.TemporaryDirectory() as scratch:
        return Expander(write_files(config["files"], Path(scratch)), device, dtype=dtype)


def pair_batches(
    expander: Expander, pairs: Sequence[tuple[str, str]], size: int, noise: float, rng: np.random.Generator
) -> Iterator[dict[str, Tensor]]:
    """Batches of `size` pairs without an end, shuffled anew in every epoch, a share `noise` of prompts disturbed.

    Texts of like length go together: padding would be a third of the work.
    """
    waiting: list[int] = []
    while True:
        while len(waiting) < size * BATCHES_SORTED:
            waiting += rng.permutation(len(pairs)).tolist()
        chosen, waiting = [pairs[index] for index in waiting[: size * BATCHES_SORTED]], waiting[size * BATCHES_SORTED :]
        asked = [(noisy_prompt(text, rng) if rng.random() < noise else text, answer) for text, answer in chosen]
        asked.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
        for batch in rng.permutation(BATCHES_SORTED).tolist():
            prompts, answers = zip(*asked[size * batch : size * (batch + 1)], strict=True)
            yield training_batch(expander, prompts, answers)


def measure(expander: Expander, num_prompts: int, seed: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Share of held-out prompts whose expansion keeps what is named and contradicts none of it; and some of them."""
    if not num_prompts:
        return {}, []
    prompts = evaluation_prompts(num_prompts, PROMPT_SEED)
    texts = expander.expand([prompt.text for prompt in prompts], seed)
    kept = [
        all(parse(text).get(name) == value for name, value in prompt.named.items())
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    unseen = [ok for ok, prompt in zip(kept, prompts, strict=True) if prompt.unseen]
    figures = {"expander_validity": float(np.mean(kept))}
    if unseen:
        figures["expander_validity_unseen"] = float(np.mean(unseen))
    # The failures first: they are what a person wants to see.
    order = sorted(range(len(prompts)), key=lambda index: kept[index])[:SAMPLES]
    return figures, [{"prompt": prompts[i].text, "expanded": texts[i], "valid": kept[i]} for i in order]
