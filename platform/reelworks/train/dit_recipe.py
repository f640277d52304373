"""The recipe of `train_dit`."""

from collections.abc import Sequence
from typing import Literal

from pydantic import model_validator

from reelworks.config import Recipe, Section


class Architecture(Section):
    """Size of the DiT; channels and text width follow from the VAE and the text encoder."""

    width: int
    """Width of a token."""
    layers: int
    """Number of blocks."""
    heads: int
    """Attention heads; width / heads must be even."""
    patch: tuple[int, int, int] = (1, 1, 1)
    """Latents that a token covers along time, rows and columns."""
    mlp_ratio: float = 4.0
    """Hidden width of the MLP over width."""
    rope_theta: float = 100.0
    """Base of the rotary frequencies; about the longest distance in coordinates."""
    base_rate: float = 8.0
    """Temporal coordinates a second."""
    text_rank: int = 32
    """Directions in which captions as a whole are told apart; at most the text encoder's width."""


class Text(Section):
    """What the DiT is told."""

    encoder: str
    """Model source of the frozen text encoder."""
    max_tokens: int
    """Longest text in tokens; the rest is cut."""
    captions: dict[str, float] = {"descriptive": 0.95, "original": 0.05}
    """Caption kind -> its share; a clip without a kind uses the first one it has in this order."""
    dropout: float = 0.1
    """Share of clips trained on the null text, which guidance needs."""


class Objective(Section):
    """Which timesteps are trained and how errors are weighted."""

    timestep_mean: float = 0.0
    """Mean of the logit-normal timesteps, in logits."""
    timestep_spread: float = 1.0
    """Their standard deviation, in logits."""
    reference_tokens: float
    """Tokens of a clip that needs no timestep shift."""
    weighting: Literal["token", "clip", "sqrt"] = "token"
    """What counts the same in the loss: every token, every clip, or a clip by the square root of its tokens."""


class Packing(Section):
    """How clips become packs."""

    pack_tokens: int
    """Tokens that a pack may hold."""
    packs_per_step: int
    """Packs of a global step; the number of workers must divide it."""


class Optimizer(Section):
    """AdamW and its schedule: warm-up, flat, then straight to 0 by the last step or minute, whichever is first."""

    learning_rate: float
    """Peak."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of the first and second moment."""
    weight_decay: float = 0.01
    """Decoupled weight decay."""
    warmup_steps: int = 30
    """Steps of linear warm-up."""
    decay_from: float = 0.3
    """Share of the run after which the learning rate falls."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    ema_exponent: float = 6.94
    """Exponent of the power-profile average of weights (6.94: its spread is a tenth of the run)."""


class Budget(Section):
    """When training ends."""

    steps: int
    """Global steps at most."""
    max_minutes: float | None = None
    """Minutes of training at most, start-up not counted."""
    checkpoint_steps: int
    """Global steps between checkpoints; the last step always makes one."""
    keep_states: int = 2
    """Checkpoints that keep what resuming needs."""


class Workers(Section):
    """The worker group and ZeRO."""

    num_workers: int
    """Ranks."""
    cpus: float = 1.0
    """Logical CPUs of a rank; also its threads on a CPU."""
    gpus: float = 0.0
    """GPUs of a rank."""
    zero_stage: Literal[1, 2, 3] = 2
    """DeepSpeed ZeRO stage."""
    offload_optimizer: bool = False
    """Keep optimizer state in host memory (GPU only)."""
    max_failures: int = 3
    """Worker failures that are healed before the job fails."""


class Defaults(Section):
    """What a generation request gets where it says nothing; `preview` prompts are sampled with these."""

    width: int | None = None
    """Pixels; width and height left out are the commonest in the snapshot."""
    height: int | None = None
    """Pixels."""
    seconds: float | None = None
    """Duration; left out, the commonest in the snapshot."""
    fps: float
    """Frames a second."""
    steps: int
    """Steps of the sampler."""
    guidance: float
    """Guidance scale."""


class TrainDiTRecipe(Recipe):
    """Everything `train_dit` reads."""

    dataset: str
    """URI of the data set's root."""
    snapshot: str
    """Snapshot as name@number or name@latest."""
    vae: str
    """Model source of the VAE whose latents the snapshot holds."""
    checkpoints: str
    """URI under which checkpoints are stored, one folder a run."""
    register_as: str | None = None
    """Name in the model registry; null registers nothing."""
    seed: int = 0
    """Seed of weights, packing, noise, timesteps, caption choice and dropout."""
    architecture: Architecture
    text: Text
    objective: Objective
    packing: Packing
    optimizer: Optimizer
    budget: Budget
    workers: Workers
    defaults: Defaults
    solver: Literal["euler", "heun"] = "euler"
    """Solver that samples this checkpoint."""
    previews: list[str] = []
    """Prompts sampled with each checkpoint and stored in MLflow."""
    memory_bytes: int = 1_000_000_000
    """A rank keeps the data set's tensors in memory if they are no larger than this."""
    log_steps: int = 10
    """Steps between metrics."""

    def writes(self) -> Sequence[str]:
        return (self.checkpoints,)

    @model_validator(mode="after")
    def _fits(self) -> "TrainDiTRecipe":
        if self.packing.packs_per_step % self.workers.num_workers:
            raise ValueError(
                f"packing.packs_per_step {self.packing.packs_per_step} is no multiple of workers.num_workers "
                f"{self.workers.num_workers}; every rank takes the same number of packs"
            )
        if self.architecture.width % (2 * self.architecture.heads):
            raise ValueError(f"architecture.width {self.architecture.width} is no multiple of 2 x heads")
        if abs(sum(self.text.captions.values()) - 1) > 1e-6:
            raise ValueError(f"text.captions are shares and must add up to 1, got {self.text.captions}")
        return self
