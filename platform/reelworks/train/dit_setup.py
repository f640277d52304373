"""What the driver of `train_dit` works out once, and every rank is given."""

from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from reelworks.curate.snapshot import read_snapshot, resolve_snapshot
from reelworks.data.latents import Example, example
from reelworks.errors import UserError
from reelworks.generate.request import Defaults, Limits
from reelworks.models.checkpoint import read_config
from reelworks.models.dit import DiTConfig, architecture
from reelworks.models.latent_stats import LatentStats
from reelworks.models.patch import token_grid
from reelworks.models.text import TextEncoder
from reelworks.models.vae import SPATIAL_STRIDE, TEMPORAL_STRIDE
from reelworks.train.dit_preview import Preview
from reelworks.train.dit_recipe import TrainDiTRecipe


@dataclass(frozen=True)
class Setup:
    """Everything that follows from recipe, snapshot and models; ranks open no text encoder and no registry."""

    recipe: TrainDiTRecipe
    """With pinned sources."""
    run_id: str
    run_uri: str
    """Folder of the run's checkpoints."""
    snapshot: str
    """Immutable reference."""
    config: DiTConfig
    stats: LatentStats
    null_text: np.ndarray
    """(M, E) token states of the empty text."""
    preview: Preview
    limits: Limits
    vae_digest: str
    vae_uri: str
    text_digest: str
    text_uri: str

    def num_tokens(self, one: Example) -> int:
        """Tokens of a clip."""
        t, h, w = token_grid(one.latents.shape, self.config.patch)
        return t * h * w


def prepare_setup(recipe: TrainDiTRecipe, run_id: str) -> Setup:
    """Resolve and check everything before workers start. UserError for what doesn't fit together."""
    from reelworks.resolve import pin, resolve_model

    snapshot = str(resolve_snapshot(recipe.dataset, recipe.snapshot))
    vae = resolve_model(pin(recipe.vae))
    text = resolve_model(pin(recipe.text.encoder))
    pinned = recipe.text.model_copy(update={"encoder": text.source})
    recipe = recipe.model_copy(update={"vae": vae.source, "text": pinned, "snapshot": snapshot})
    vae_config = read_config(vae.path, "causal_vae")
    rows = read_snapshot(recipe.dataset, snapshot).clips.to_pylist()
    examples = [example(row) for row in rows]
    encoder = TextEncoder(text.path, recipe.text.max_tokens)
    states = encoder.encode(["", *recipe.previews])
    a = recipe.architecture
    channels = int(vae_config["architecture"]["latent_channels"])
    config = DiTConfig(
        channels=channels, width=a.width, layers=a.layers, heads=a.heads, text_width=encoder.width,
        text_rank=min(a.text_rank, encoder.width),
        null_tokens=len(states[0]), patch=a.patch,
        mlp_ratio=a.mlp_ratio, rope_theta=a.rope_theta, base_rate=a.base_rate, temporal_stride=TEMPORAL_STRIDE,
        spatial_stride=SPATIAL_STRIDE,
    )  # fmt: skip
    check_examples(examples, config, recipe)
    limits = limits_of(rows, config)
    defaults = defaults_of(rows, recipe)
    preview = Preview(recipe.previews, states[1:], defaults, limits, recipe.objective.reference_tokens, recipe.solver)
    return Setup(
        recipe, run_id, f"{recipe.checkpoints.rstrip('/')}/{run_id}", snapshot, config,
        LatentStats.from_dict(vae_config["latent_stats"]), states[0].numpy(), preview, limits, vae.digest,
        vae.uri, text.digest, text.uri,
    )  # fmt: skip


def check_examples(examples: list[Example], config: DiTConfig, recipe: TrainDiTRecipe) -> None:
    """UserError where the snapshot can't be trained on, naming the first clip."""
    if not examples:
        raise UserError(f"snapshot {recipe.snapshot} has no clips", "look at the end table of prepare")
    for one in examples:
        if one.latents.shape[0] != config.channels:
            raise UserError(
                f"clip {one.clip_id} has {one.latents.shape[0]} latent channels, {recipe.vae} makes {config.channels}",
                "the snapshot was encoded with another VAE; name that one, or prepare again",
            )
        if not one.texts:
            raise UserError(f"clip {one.clip_id} has no caption", "prepare with a captioner, or captions beside videos")
        widths = {ref.shape[1] for ref in one.texts.values()}
        if widths != {config.text_width}:
            raise UserError(
                f"captions of clip {one.clip_id} are {sorted(widths)} wide, {recipe.text.encoder} makes "
                f"{config.text_width}",
                "name the text encoder that prepared the snapshot",
            )


def limits_of(rows: list[dict[str, Any]], config: DiTConfig) -> Limits:
    """What the data cover: a request outside was never seen in training."""
    sides = [side for row in rows for side in (row["width"], row["height"])]
    moving = [row for row in rows if row["num_frames"] > 1] or rows
    volume = config.patch[0] * config.patch[1] * config.patch[2]
    return Limits(
        min_size_px=min(sides),
        max_size_px=max(sides),
        max_seconds=max(row["num_frames"] / row["fps"] for row in rows),
        min_fps=min(row["fps"] for row in moving),
        max_fps=max(row["fps"] for row in moving),
        max_tokens=max(row["num_tokens"] for row in rows) // volume,
    )


def defaults_of(rows: list[dict[str, Any]], recipe: TrainDiTRecipe) -> Defaults:
    """What a request gets where it says nothing: the recipe's word, else the commonest shape of the moving clips."""
    asked = recipe.defaults
    moving = [row for row in rows if row["num_frames"] > 1] or rows
    shapes = Counter((row["width"], row["height"], row["num_frames"] / row["fps"]) for row in moving)
    width, height, seconds = max(shapes, key=lambda shape: (shapes[shape], shape))
    if asked.width is not None and asked.height is not None:
        width, height = asked.width, asked.height
    return Defaults(width, height, asked.seconds or seconds, asked.fps, asked.steps, asked.guidance)


def read_examples(recipe: TrainDiTRecipe, snapshot: str) -> list[Example]:
    """A snapshot's clips in the order of their ids."""
    return [example(row) for row in read_snapshot(recipe.dataset, snapshot).clips.to_pylist()]


def checkpoint_config(setup: Setup, step: int) -> dict[str, Any]:
    """`config.json` of a checkpoint: all that opening and judging it needs."""
    recipe = setup.recipe
    return {
        "model": "dit",
        "architecture": architecture(setup.config),
        "vae": {"source": recipe.vae, "digest": setup.vae_digest, "uri": setup.vae_uri},
        "text_encoder": {
            "source": recipe.text.encoder,
            "digest": setup.text_digest,
            "uri": setup.text_uri,
            "max_tokens": recipe.text.max_tokens,
        },
        "latent_stats": asdict(setup.stats),
        "limits": asdict(setup.limits),
        "defaults": asdict(setup.preview.defaults),
        "reference_tokens": recipe.objective.reference_tokens,
        "solver": recipe.solver,
        "snapshot": setup.snapshot,
        "recipe": recipe.model_dump(mode="json"),
        "version": version("reelworks"),
        "parents": [recipe.vae, recipe.text.encoder, setup.snapshot],
        "run": setup.run_id,
        "step": step,
    }


def check_recipe(recipe: TrainDiTRecipe) -> None:
    """Before a cluster is touched: the snapshot and the models are there."""
    from reelworks.resolve import pin

    resolve_snapshot(recipe.dataset, recipe.snapshot)
    pin(recipe.vae)
    pin(recipe.text.encoder)
