"""The only DeepSpeed: a model under ZeRO, its optimizer, and its sharded state.

`deepspeed` is imported when an engine is made, inside a worker whose environment is complete (DS_ACCELERATOR).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reelworks.errors import UserError


def deepspeed_config(
    zero_stage: int,
    offload_optimizer: bool,
    accumulation: int,
    learning_rate: float,
    betas: tuple[float, float],
    weight_decay: float,
    gradient_clip: float,
    cuda: bool,
) -> dict[str, Any]:
    """DeepSpeed's JSON. fp32 with PyTorch's AdamW on a CPU (the others are compiled for minutes); bf16 autocast with
    fp32 master weights on a GPU."""
    zero: dict[str, Any] = {"stage": zero_stage}
    if offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu"}
    parameters = {"lr": learning_rate, "betas": list(betas), "eps": 1e-8, "weight_decay": weight_decay}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # a pack is one sample to DeepSpeed; only the product below matters
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": gradient_clip,
        "zero_optimization": zero,
        "optimizer": {"type": "AdamW", "params": parameters if cuda else {**parameters, "torch_adam": True}},
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }
    if cuda:
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    return config


class ShardedEngine:
    """Forward, backward and update of a model whose optimizer state is spread over the ranks."""

    def __init__(self, model: nn.Module, config: dict[str, Any]) -> None:
        """Collective: every rank makes one, after the process group exists."""
        import deepspeed

        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.model = model
        self.accumulation: int = config["gradient_accumulation_steps"]
        self.engine = deepspeed.initialize(model=model, model_parameters=trainable, config=config)[0]
        self.device = torch.device(self.engine.device)

    def __call__(self, *inputs: Any) -> Any:
        return self.engine(*inputs)

    def backward(self, loss: Tensor) -> None:
        """Add a micro-step's gradients, so that a step's total is the gradient of the *sum* of all ranks' losses.

        DeepSpeed averages over ranks and micro-steps; packs weigh by their content, so the mean is undone here.
        """
        self.engine.backward(loss * (self.engine.world_size * self.accumulation))

    def micro_step(self, learning_rate: float) -> None:
        """After each backward; the weights change at the last micro-step of a global step."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self.engine.step()

    @property
    def gradient_norm(self) -> float:
        """Norm of the last step's gradient, before clipping."""
        return float(self.engine.get_global_grad_norm() or 0.0)

    @property
    def partitions(self) -> list[Tensor]:
        """This rank's live fp32 weights."""
        optimizer = self.engine.optimizer
        name = "fp32_partitioned_groups_flat" if self.engine.zero_optimization_stage() == 3 else None
        parts: list[Tensor] = getattr(optimizer, name or "single_partition_of_fp32_groups")
        return parts

    def full_weights(self) -> dict[str, Tensor]:
        """Collective: the whole fp32 state dict on every rank, buffers included."""
        from deepspeed.utils import safe_get_full_fp32_param

        weights = {name: buffer.detach().cpu() for name, buffer in self.model.named_buffers()}
        for name, parameter in self.model.named_parameters():
            weights[name] = safe_get_full_fp32_param(parameter).detach().cpu().clone()
        return weights

    def save(self, folder: Path) -> None:
        """Collective: write this rank's part of weights and optimizer state under `folder`."""
        self.engine.save_checkpoint(str(folder), tag="zero", save_latest=False)

    def load(self, folder: Path, ranks: int) -> None:
        """Collective: the state that `ranks` ranks saved. UserError where this group has another size."""
        if ranks != self.engine.world_size:
            raise UserError(
                f"the checkpoint was saved by {ranks} ranks, this group has {self.engine.world_size}",
                f"resume with workers.num_workers={ranks}",
            )
        path, _ = self.engine.load_checkpoint(str(folder), tag="zero")
        if path is None:
            raise UserError(f"{folder} holds no DeepSpeed state", "delete the checkpoint and resume from an older one")


def describe(config: Mapping[str, Any]) -> str:
    """One line for the log."""
    precision = "bf16 autocast" if "torch_autocast" in config else "fp32"
    stage, packs = config["zero_optimization"]["stage"], config["gradient_accumulation_steps"]
    return f"ZeRO-{stage}, {precision}, {packs} packs a rank"
