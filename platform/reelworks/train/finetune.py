"""Training steps of Transformers models on batches that hold their own labels: captioner and expander alike."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from pydantic import Field
from torch import Tensor

from reelworks.config import Section
from reelworks.train.muon import Muon
from reelworks.train.schedule import Budget, decayed


class FinetuneSpec(Section):
    """Warm-up, then a linear decay that ends with the steps or the minutes, whichever comes first."""

    steps: int = Field(ge=1)
    """Steps at most."""
    max_minutes: float = Field(gt=0)
    """Minutes of training at most, starts not counted."""
    batch: int = Field(ge=1)
    """Examples a step, over all workers."""
    learning_rate: float = Field(gt=0)
    """Peak of AdamW."""
    muon_learning_rate: float | None = Field(None, gt=0)
    """Peak of Muon for the matrices inside blocks, AdamW for the rest; left out, AdamW for all. For training from
    scratch: a captioner learns motion in a third of the steps. Fine-tuning keeps the optimizer of pre-training."""
    warmup_steps: int = 30
    """Steps of linear warm-up."""
    decay_from: float = Field(default=0.4, ge=0, lt=1)
    """Share of the run after which the learning rate falls."""
    weight_decay: float = 0.05
    """Decoupled weight decay of matrices. Without it a captioner from scratch learns by heart which combinations its
    clips show, and misreads the others: shapes of unseen (colour, shape, motion) 71% right, with 0.1 it was 95%."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    log_steps: int = 20
    """Steps between two lines of progress."""


class Workers(Section):
    """The worker group."""

    num_workers: int = Field(default=1, ge=1)
    """Ranks, each with its share of every batch."""
    cpus: float = 1.0
    """Logical CPUs of a rank; also its threads on a CPU."""
    gpus: float = 0.0
    """GPUs of a rank."""
    max_failures: int = 1
    """Failed workers after which the group starts again, from the beginning."""


Report = Callable[[int, dict[str, float]], None]


def finetune(model: torch.nn.Module, batches: Iterator[dict[str, Tensor]], spec: FinetuneSpec, report: Report) -> int:
    """Trains until the budget is spent; returns the steps taken.

    `model` returns an object with `.loss` and may be wrapped for data parallelism; `batches` are a rank's own.
    `report(step, values)` is called on every rank: mean loss since the last call, learning rate, seconds a step.
    """
    device = next(model.parameters()).device
    optimizers = _optimizers(model, spec)
    first = next(batches)  # the clock starts when there is something to learn from
    batches = itertools.chain([first], batches)
    budget = Budget(spec.steps, spec.max_minutes)
    losses: list[Tensor] = []
    step, progress, since = 0, 0.0, time.monotonic()
    while progress < 1:
        factor = decayed(progress, step, spec.warmup_steps, spec.decay_from)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["peak"]
        batch = {name: tensor.to(device) for name, tensor in next(batches).items()}
        # fp32 weights, bf16 arithmetic on a GPU: updates of 1e-5 vanish in bf16 weights.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), spec.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        step += 1
        progress = _agreed(budget.progress(step), device)
        if step % spec.log_steps == 0 or progress >= 1:
            now = time.monotonic()
            mean = torch.stack(losses).mean().item()
            step_s = (now - since) / len(losses)
            report(step, {"loss": mean, "learning_rate": factor * spec.learning_rate, "step_s": step_s})
            losses, since = [], now
    return step


def _optimizers(model: torch.nn.Module, spec: FinetuneSpec) -> list[torch.optim.Optimizer]:
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    # Embeddings and the head see few tokens a step; an orthogonal update would move all the others too.
    inner = [p for name, p in named if p.ndim > 1 and "embed_tokens" not in name and "lm_head" not in name]
    muon = {id(p) for p in inner} if spec.muon_learning_rate else set()
    rest = [p for _, p in named if id(p) not in muon]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": spec.weight_decay, "peak": spec.learning_rate},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0, "peak": spec.learning_rate},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)]
    if spec.muon_learning_rate:
        optimizers.append(Muon(inner, lr=spec.muon_learning_rate, weight_decay=spec.weight_decay))
        optimizers[-1].param_groups[0]["peak"] = spec.muon_learning_rate
    return optimizers


def quiet() -> None:
    """No progress bars of Transformers in a log that a person follows."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def folder_files(folder: Path) -> dict[str, bytes]:
    """The files of a small Transformers folder, to travel to the workers.

    Only rank 0 of a process group can write one (`save_pretrained` is silent on the others), so the driver does.
    """
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write_files(files: dict[str, bytes], folder: Path) -> Path:
    """The folder of `folder_files` again."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def _agreed(progress: float, device: torch.device) -> float:
    """The progress of the rank that is farthest: all ranks leave the loop at the same step."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return progress
    farthest = torch.tensor(progress, dtype=torch.float64, device=device)
    dist.all_reduce(farthest, dist.ReduceOp.MAX)
    return float(farthest)
