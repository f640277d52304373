"""`train_dit`: from a snapshot to a registered text-to-video model."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from reelworks import tracking
from reelworks.data.latents import Example, TensorReader
from reelworks.data.packing import PackingPlan, plan_epoch
from reelworks.diffusion import flow
from reelworks.models.checkpoint import write_checkpoint
from reelworks.models.dit import DiT
from reelworks.models.vae import CausalVAE
from reelworks.train import state
from reelworks.train.dit_batch import TrainingClip, attention_ratio, build, choose_caption, total_weight
from reelworks.train.dit_preview import publish
from reelworks.train.dit_recipe import Text, TrainDiTRecipe
from reelworks.train.dit_setup import Setup, checkpoint_config, prepare_setup, read_examples
from reelworks.train.ema import PowerEMA
from reelworks.train.engine import ShardedEngine, deepspeed_config, describe
from reelworks.train.metrics import Progress
from reelworks.train.schedule import decayed
from reelworks.train.trainer import fit

CAPTION_SAMPLE = 1024
"""Clips whose captions give the statistics of the text; every rank reads them."""


def train_dit(recipe: TrainDiTRecipe, run: tracking.Run) -> dict[str, Any]:
    """Train on a snapshot, register the result; returns the figures of the run.

    The same recipe with the same run goes on from its newest checkpoint. UserError for what the recipe gets wrong.
    """
    setup = prepare_setup(recipe, run.id)
    run.trains_on(setup.snapshot)
    with tempfile.TemporaryDirectory() as folder:
        workers = recipe.workers
        result: dict[str, Any] = fit(
            train_worker,
            {"setup": setup},
            f"train_dit-{run.id}",
            workers.num_workers,
            workers.cpus,
            workers.gpus,
            workers.max_failures,
            Path(folder),
        )
    if recipe.register_as is not None:
        tags = {tracking.SNAPSHOT: setup.snapshot, "step": str(result["steps"])}
        result["version"] = tracking.register(recipe.register_as, result["checkpoint"], run.id, tags=tags)
    return result


def train_worker(config: dict[str, Any]) -> dict[str, Any]:
    """One rank: everything from start to the last checkpoint."""
    started_s = time.monotonic()
    setup: Setup = config["setup"]
    recipe = setup.recipe
    cuda = recipe.workers.gpus > 0
    if not cuda:
        torch.set_num_threads(max(1, int(recipe.workers.cpus)))
    torch.manual_seed(recipe.seed)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    examples = read_examples(recipe, setup.snapshot)
    reader = TensorReader((ref for one in examples for ref in (one.latents, *one.texts.values())), recipe.memory_bytes)
    model = DiT(setup.config)
    model.null_text = torch.tensor(setup.null_text)
    model.adapt_to_captions(caption_sample(examples, reader, recipe.text))
    o = recipe.optimizer
    packs_a_rank = recipe.packing.packs_per_step // ranks
    zero = recipe.workers
    settings = deepspeed_config(
        zero.zero_stage, zero.offload_optimizer, packs_a_rank, o.learning_rate, o.betas, o.weight_decay,
        o.gradient_clip, cuda,
    )  # fmt: skip
    engine = ShardedEngine(model, settings)
    ema = PowerEMA(engine.partitions, o.ema_exponent)
    ledger = state.restore(engine, ema, setup.run_uri)
    if rank == 0:
        ready_s = time.monotonic() - started_s
        print(f"{len(examples)} clips, {describe(settings)}, step {ledger.step}, ready in {ready_s:.1f} s", flush=True)
    run = tracking.attach(setup.run_id) if rank == 0 else None
    progress = Progress(run, recipe.log_steps, recipe.budget.steps)
    trainer = DiTTraining(setup, engine, ema, reader, examples, ledger, progress)
    return trainer.run(run)


def caption_sample(examples: list[Example], reader: TensorReader, text: Text) -> list[torch.Tensor]:
    """Token states (M, E) of the commonest kind of caption of up to `CAPTION_SAMPLE` clips, spread over the snapshot.

    Of that kind alone: wording varies far more between kinds than meaning does inside one. With all kinds together
    "left" and "right" were told apart a tenth as well as with descriptive captions alone.
    """
    sample = examples[:: max(1, len(examples) // CAPTION_SAMPLE)]
    kinds = sorted(text.captions, key=lambda kind: -text.captions[kind])
    return [reader.get(next(one.texts[kind] for kind in (*kinds, *one.texts) if kind in one.texts)) for one in sample]


class DiTTraining:
    """The loop of one rank."""

    def __init__(
        self, setup: Setup, engine: ShardedEngine, ema: PowerEMA, reader: TensorReader, examples: list[Example],
        ledger: state.Ledger, progress: Progress,
    ) -> None:  # fmt: skip
        self.setup, self.engine, self.ema, self.reader = setup, engine, ema, reader
        self.examples, self.ledger, self.progress = examples, ledger, progress
        self.recipe = setup.recipe
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        self.null_text = torch.tensor(setup.null_text)
        self.tokens = [setup.num_tokens(one) for one in examples]

    def run(self, run: tracking.Run | None) -> dict[str, Any]:
        """Train until the budget is spent; returns the figures."""
        budget, ledger = self.recipe.budget, self.ledger
        schedule = self.schedule()
        began_s, before_s = time.monotonic(), ledger.elapsed_s
        while not ledger.finished:
            epoch, plan, index = next(schedule)
            self.step(epoch, plan, index)
            ledger.step += 1
            self.ema.update(ledger.step)
            # Rank 0's clock decides for all, or ranks would end at different steps.
            ledger.elapsed_s = self.agreed(before_s + time.monotonic() - began_s)
            ledger.finished = self.spent() >= 1
            if ledger.finished or ledger.step % budget.checkpoint_steps == 0:
                self.checkpoint(run)
        self.progress.close()
        return {
            "steps": ledger.step,
            "loss": ledger.loss,
            "train_seconds": ledger.elapsed_s,
            "skipped": len(ledger.skipped),
            "checkpoint": state.step_uri(self.setup.run_uri, state.committed_steps(self.setup.run_uri)[-1]),
        }

    def spent(self) -> float:
        """Share of the budget in [0, 1], by steps or by the clock."""
        budget = self.recipe.budget
        minutes = self.ledger.elapsed_s / 60 / budget.max_minutes if budget.max_minutes else 0.0
        return min(1.0, max(self.ledger.step / budget.steps, minutes))

    def schedule(self) -> Iterator[tuple[int, PackingPlan, int]]:
        """(epoch, its plan, step in it) from the ledger's cursor on."""
        packing, before, epoch = self.recipe.packing, 0, 0
        ratio = attention_ratio(self.setup.config, dict(self.engine.model.named_parameters()))
        while True:
            plan = plan_epoch(self.tokens, packing.pack_tokens, self.recipe.seed, epoch, packing.packs_per_step, ratio)
            for index in range(len(plan.steps)):
                if before + index >= self.ledger.step:
                    yield epoch, plan, index
            before, epoch = before + len(plan.steps), epoch + 1

    def step(self, epoch: int, plan: PackingPlan, index: int) -> None:
        """One global step: this rank's packs, then the update."""
        recipe, ledger = self.recipe, self.ledger
        weight = total_weight([self.tokens[i] for pack in plan.steps[index] for i in pack], recipe.objective.weighting)
        rate = recipe.optimizer.learning_rate * decayed(
            self.spent(), ledger.step, recipe.optimizer.warmup_steps, recipe.optimizer.decay_from
        )
        total = 0.0
        for pack in plan.packs_of_rank(index, self.rank, self.ranks):
            clips = [self.clip(self.examples[i], epoch) for i in pack]
            batch = build(clips, self.setup.config, recipe.objective, recipe.seed, epoch, weight, self.engine.device)
            loss = flow.loss(self.engine(batch.inputs), batch.target, batch.weight)
            global_loss = self.summed(float(loss.detach()))
            if not torch.isfinite(torch.tensor(global_loss)):
                # Every rank sees the same sum, so all of them leave these packs out and none waits for the others.
                ledger.skipped.append(ledger.step)
                loss = sum((p.sum() * 0.0 for p in self.engine.model.parameters()), torch.zeros((), device=loss.device))
                global_loss = 0.0
            total += global_loss
            self.engine.backward(loss)
            self.engine.micro_step(rate)
        ledger.loss = total if ledger.loss is None else 0.95 * ledger.loss + 0.05 * total
        self.progress.record(
            ledger.step + 1,
            {"loss": total, "gradient_norm": self.engine.gradient_norm, "learning_rate": rate,
             "tokens": plan.tokens[index], "spent": self.spent()},
        )  # fmt: skip

    def clip(self, example: Example, epoch: int) -> TrainingClip:
        """A clip with final latents and the caption that it has in this epoch."""
        kind = choose_caption(tuple(example.texts), self.recipe.text, self.recipe.seed, example.clip_id, epoch)
        text = self.null_text if kind is None else self.reader.get(example.texts[kind])
        latents = self.setup.stats.final(self.reader.get(example.latents))
        return TrainingClip(example.clip_id, example.fps, latents, text)

    def summed(self, value: float) -> float:
        """Sum over ranks."""
        tensor = torch.tensor(value, device=self.engine.device)
        dist.all_reduce(tensor)
        return float(tensor)

    def agreed(self, value: float) -> float:
        """Rank 0's value."""
        tensor = torch.tensor(value, dtype=torch.float64, device=self.engine.device)
        dist.broadcast(tensor, 0)
        return float(tensor)

    def checkpoint(self, run: tracking.Run | None) -> None:
        """Collective: commit a checkpoint, and show what the average of the weights makes."""
        weights = self.engine.full_weights()
        self.ema.exchange()
        average = self.engine.full_weights()
        self.ema.exchange()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "served"
            if self.rank == 0:
                write_checkpoint(folder, checkpoint_config(self.setup, self.ledger.step), weights, average)
            state.save(self.engine, self.ema, self.ledger, self.setup.run_uri, folder if self.rank == 0 else None)
        if run is not None:
            state.prune(self.setup.run_uri, self.recipe.budget.keep_states)
            if self.setup.preview.prompts:
                from reelworks.resolve import resolve_model

                vae = CausalVAE.load(resolve_model(self.recipe.vae).path, str(self.engine.device))
                publish(run, self.setup.preview, self.setup.config, average, vae, self.ledger.step)
        dist.barrier()
