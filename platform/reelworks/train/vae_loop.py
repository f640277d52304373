"""The train_vae verb: raw video in the bucket to a registered causal VAE, Ray Data streaming into Ray Train."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from reelworks.config import Recipe, Section
from reelworks.errors import UserError
from reelworks.models.vae import CausalVAE, VAEConfig, to_pixels
from reelworks.train.finetune import Workers
from reelworks.train.raw_clips import Mix
from reelworks.train.vae_loss import VAELossWeights
from reelworks.train.vae_optimize import VAETraining
from reelworks.train.windows import PooledClip, WindowPool, WindowSpec, draw_length


class HeldOut(Section):
    """Clips that are never trained on, reconstructed at the end."""

    mixes: tuple[Mix, ...] = ()
    """Where they come from; the first one's PSNR is `psnr_db`, the others' are `psnr_db_<name>`."""
    num_clips: int = Field(default=64, ge=1)
    """Clips of each mix."""


class TrainVAERecipe(Recipe):
    """train_vae: raw video to a registered causal VAE."""

    sources: tuple[Mix, ...] = Field(min_length=1)
    """Raw video to train on, with weights."""
    held_out: HeldOut = HeldOut()
    """Raw video to measure on."""
    architecture: VAEConfig = VAEConfig()
    """Sizes of the network."""
    windows: WindowSpec = WindowSpec()
    """Lengths and sizes of the training windows."""
    loss: VAELossWeights = VAELossWeights()
    """Weights of the loss's terms."""
    training: VAETraining
    """Steps, minutes, learning rates."""
    stats_clips: int = Field(default=128, ge=1)
    """Clips over which the latents' statistics are taken, on each of which the encoder runs once."""
    decode_tasks: int = Field(default=2, ge=1)
    """Tasks that read and decode at once."""
    workers: Workers = Workers()
    """The worker group."""
    seed: int = 0
    """Of weights, windows and noise."""
    checkpoints: str = "s3://reelworks/checkpoints"
    """Prefix of checkpoint folders."""
    registered_name: str = "shapeworld-vae"
    """Name in the model registry; the new version becomes its champion."""

    def writes(self) -> Sequence[str]:
        return (self.checkpoints,)


def train_vae(recipe: TrainVAERecipe, run: Any) -> dict[str, Any]:
    """Trains on Ray, uploads the checkpoint folder, measures it, registers it; returns what the end table shows."""
    import ray
    import ray.data

    from reelworks import storage, tracking
    from reelworks.train import trainer
    from reelworks.train.raw_clips import list_mixes, new_tally, raw_clips
    from reelworks.train.vae_report import contact_sheet

    ray.data.DataContext.get_current().enable_progress_bars = False  # the log is for the training's own lines
    rows = list_mixes(recipe.sources, recipe.seed)
    print(f"{len(rows)} sources to train on, {recipe.training.max_minutes:g} minutes at most", flush=True)
    tally = new_tally()
    uri = f"{recipe.checkpoints.rstrip('/')}/{recipe.registered_name}/{run.id}"
    workers = recipe.workers
    with tempfile.TemporaryDirectory(prefix="train-vae-") as folder:
        result = trainer.fit(
            worker_loop,
            {"recipe": recipe.model_dump(mode="json"), "run_id": run.id, "uri": uri},
            name=run.id,
            num_workers=workers.num_workers,
            cpus=workers.cpus,
            gpus=workers.gpus,
            max_failures=workers.max_failures,
            storage_path=Path(folder),
            datasets={"train": raw_clips(recipe.sources, rows, tally, recipe.decode_tasks)},
        )
        vae = CausalVAE.load(storage.download_folder(uri, Path(folder) / "checkpoint"))
        psnrs, pairs = measure_held_out(recipe, vae)
    if pairs:
        run.blob(contact_sheet(pairs), "reconstructions.png")
    version = tracking.register(recipe.registered_name, uri, run.id)
    return {**result, **psnrs, **ray.get(tally.read.remote()), "version": version, "checkpoint": uri}


def measure_held_out(
    recipe: TrainVAERecipe, vae: CausalVAE
) -> tuple[dict[str, float], list[tuple[np.ndarray, np.ndarray]]]:
    """Mean PSNR in dB over the held-out clips of each mix, and a few (original, reconstruction) frames of each."""
    from reelworks.train.raw_clips import clip_of_row, list_mixes, new_tally, raw_clips
    from reelworks.train.vae_report import reconstruct

    psnrs: dict[str, float] = {}
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for index, mix in enumerate(recipe.held_out.mixes):
        clips = raw_clips([mix], list_mixes([mix], recipe.seed), new_tally(), recipe.decode_tasks)
        originals = [clip_of_row(row) for row in clips.limit(recipe.held_out.num_clips).iter_rows()]
        copies = [reconstruct(vae, original) for original in originals]
        if copies:
            psnrs["psnr_db" if index == 0 else f"psnr_db_{mix.name}"] = float(np.mean([psnr for _, psnr in copies]))
        pairs += [(original, copy) for original, (copy, _) in zip(originals[:6], copies[:6], strict=True)]
    return psnrs, pairs


def worker_loop(config: dict[str, Any]) -> dict[str, Any]:
    """One rank, inside Ray Train: pool, optimise; rank 0 reports, measures the latents and uploads the checkpoint."""
    import ray.train
    import torch

    from reelworks import storage, tracking
    from reelworks.train.vae_optimize import Autoencoding, optimize
    from reelworks.train.vae_report import measure_stats

    recipe = TrainVAERecipe.model_validate(config["recipe"])
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = torch.device("cuda") if recipe.workers.gpus else torch.device("cpu")
    if device.type == "cpu":
        torch.set_num_threads(max(1, int(recipe.workers.cpus)))
    pool = fill_pool(ray.train.get_dataset_shard("train"), recipe, rank)
    torch.manual_seed(recipe.seed)
    vae = CausalVAE(recipe.architecture).to(device)
    model: torch.nn.Module = Autoencoding(vae, recipe.loss)
    if world > 1:
        model = torch.nn.parallel.DistributedDataParallel(model)
    torch.manual_seed(recipe.seed + 1 + rank)  # equal weights, unequal noise
    rng, shared_rng = np.random.default_rng([recipe.seed, rank]), np.random.default_rng(recipe.seed)
    run = tracking.attach(config["run_id"]) if rank == 0 else None

    def report(step: int, values: dict[str, float]) -> None:
        if run is not None:
            left = recipe.training.max_minutes * (1 - values["progress"])
            means = f"loss {values['loss']:.4f}, PSNR {values['psnr_db']:.1f} dB, {values['step_s']:.2f} s a step"
            print(f"step {step}: {means}, at most {left:.1f} minutes left, {len(pool.clips)} clips", flush=True)
            run.metrics(values, step)

    def batches() -> torch.Tensor:
        windows = pool.batch(rng, draw_length(recipe.windows, shared_rng), 1 / world)
        return to_pixels(torch.from_numpy(windows).to(device))

    steps = optimize(model, batches, recipe.training, report)
    if rank == 0:
        vae.eval()
        chosen = [clip.frames for clip in pool.snapshot()]
        vae.stats = measure_stats(vae, [chosen[i] for i in rng.permutation(len(chosen))[: recipe.stats_clips]])
        with tempfile.TemporaryDirectory() as folder:
            storage.upload_folder(vae.save(Path(folder), steps=steps, recipe=config["recipe"]), config["uri"])
    return {"steps": steps}


def fill_pool(shard: Any, recipe: TrainVAERecipe, rank: int) -> WindowPool:
    """A pool that a thread goes on filling; returns when the first clips, or all there are, stand in it."""
    from reelworks.train.raw_clips import clip_of_row

    pool = WindowPool(recipe.windows, [mix.weight for mix in recipe.sources], recipe.seed + rank)
    ready = threading.Event()
    failures: list[BaseException] = []

    def fill() -> None:
        try:
            while True:
                for row in shard.iter_rows():
                    pool.add(PooledClip(clip_of_row(row), row["mix"]))
                    if len(pool.clips) >= recipe.windows.first_clips:
                        ready.set()
                if not pool.replaced:
                    return  # the pool holds every clip: nothing new would come
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            ready.set()

    threading.Thread(target=fill, daemon=True, name="fill-pool").start()
    ready.wait()
    if not pool.clips:
        if failures:
            raise failures[0]
        raise UserError("no source to train on gave a clip", "the end table says why each was dropped")
    return pool
