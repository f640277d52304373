"""The optimisation of a causal VAE: one step, its optimizers, their schedule. It knows no Ray and no bucket."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from pydantic import Field
from torch import Tensor, nn

from reelworks.config import Section
from reelworks.models.vae import CausalVAE
from reelworks.train.muon import Muon
from reelworks.train.schedule import Budget, decayed
from reelworks.train.vae_loss import VAELossWeights, psnr, sample_latents, vae_loss


class VAETraining(Section):
    """Steps, minutes and learning rates; the decay ends with the steps or the minutes, whichever comes first."""

    steps: int = Field(ge=1)
    """Steps at most."""
    max_minutes: float = Field(gt=0)
    """Minutes of training at most, starts not counted."""
    learning_rate: float = Field(default=0.02, gt=0)
    """Peak for convolutions (Muon: the spectral norm of a step)."""
    scale_learning_rate: float = Field(default=2e-3, gt=0)
    """Peak for norms' scales and biases (AdamW)."""
    warmup_steps: int = 20
    """Steps of linear warm-up."""
    decay_from: float = Field(default=0.3, ge=0, lt=1)
    """Share of the run after which learning rates fall."""
    gradient_clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    log_steps: int = Field(default=25, ge=1)
    """Steps between two lines of progress."""


class Autoencoding(nn.Module):
    """Pixels -> loss, as one module, so that data parallelism can wrap it."""

    def __init__(self, vae: CausalVAE, weights: VAELossWeights) -> None:
        super().__init__()
        self.vae = vae
        self.weights = weights

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, T, H, W) -> scalar loss, reconstructions. On a GPU convolutions run in bf16, the loss in fp32."""
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=pixels.device.type == "cuda"):
            mean, logvar = self.vae.encode(pixels)
            output = self.vae.decode(sample_latents(mean.float(), logvar.float()))
        output = output.float()
        return vae_loss(output, pixels, mean.float(), logvar.float(), self.weights), output


Report = Callable[[int, dict[str, float]], None]


def optimize(model: nn.Module, batches: Callable[[], Tensor], spec: VAETraining, report: Report) -> int:
    """Train until the budget is spent; returns the steps taken.

    `model` is an Autoencoding, perhaps wrapped; `batches()` gives this rank's next pixels. Steps whose loss or gradient
    is not finite on any rank are skipped on all and counted in `report(step, values)`.
    """
    parameters = list(model.parameters())
    optimizers = make_optimizers(parameters, spec)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    pixels = batches()
    farthest(0.0, pixels.device)  # the clock starts when every rank has its first batch
    budget = Budget(spec.steps, spec.max_minutes)
    losses, progress, step, skipped, since = [], 0.0, 0, 0, time.monotonic()
    while progress < 1:
        factor = decayed(progress, step, spec.warmup_steps, spec.decay_from)
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * factor
        loss, output = model(pixels)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, spec.gradient_clip)
        step += 1
        # Data parallelism has averaged the gradient, so every rank sees the same norm and skips the same steps.
        if bool(torch.isfinite(norm)):
            for optimizer in optimizers:
                optimizer.step()
            losses.append(float(loss.detach()))
        else:
            skipped += 1
        for parameter in parameters:
            parameter.grad = None
        progress = farthest(budget.progress(step), pixels.device)
        if step % spec.log_steps == 0 or progress >= 1:
            now = time.monotonic()
            values = {"loss": sum(losses) / max(1, len(losses)), "psnr_db": psnr(output.detach(), pixels)}
            values |= {"step_s": (now - since) / (len(losses) or 1), "skipped_steps": skipped, "progress": progress}
            report(step, values)
            losses, since = [], now
        if progress < 1:
            pixels = batches()
    return step


def make_optimizers(parameters: list[nn.Parameter], spec: VAETraining) -> list[torch.optim.Optimizer]:
    """Muon for the convolutions, AdamW for what is no matrix."""
    matrices = [parameter for parameter in parameters if parameter.ndim == 5]
    others: list[Any] = [parameter for parameter in parameters if parameter.ndim != 5]
    return [
        Muon(matrices, lr=spec.learning_rate),
        torch.optim.AdamW(others, lr=spec.scale_learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def farthest(progress: float, device: torch.device) -> float:
    """The progress of the rank that is farthest: all ranks leave the loop at the same step."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return progress
    shared = torch.tensor(progress, dtype=torch.float64, device=device)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return float(shared)
