"""The demo's stages: which verb with which recipe, what it says, how long it takes; values only.

Axis of variation: SIZE (`full`, or `ci` at a fraction of the work), whose videos, and where captions come from.
"""

from __future__ import annotations

from dataclasses import dataclass

FOOTAGE = "s3://raw/footage/"
OWN_VIDEOS = "s3://raw/videos/"
SNAPSHOT = "shapeworld"
# The VAE sees windows of the first half of the real clip (212 s); it is measured on the second.
SECOND_HALF = ("pictures.reconstructions=12", "pictures.reconstruct_from_s=106")


@dataclass(frozen=True)
class Stage:
    """One job of the demo: a verb and its laptop recipe with overrides; `minutes` is what it took on two idle cores."""

    name: str
    verb: str
    says: str
    minutes: float
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choices:
    """What the user chose on the command line."""

    size: str = "full"
    own_videos: bool = False
    own_captions: bool = False
    """Captions come with the videos (sidecars, or CAPTIONER=source names a model for them)."""
    captioner: str | None = None
    """Model source given as CAPTIONER=."""


# What the reduced demo changes: fewer clips and minutes, so that the whole line runs in CI.
CI: dict[str, tuple[str, ...]] = {
    "shapeworld": (
        "train_videos=200",
        "eval_videos=36",
        "train_images=16",
        "described_videos=160",
        "expect.videos=396",
    ),
    "train_vae": ("training.max_minutes=0.9",),
    "train_captioner": ("training.max_minutes=0.9", "held_out_clips=80"),
    "prepare": (),
    "train_expander": ("training.max_minutes=0.4",),
    "train_dit": ("budget.max_minutes=1.3",),
    "evaluate": (
        "text_fidelity.num_prompts=60",
        "text_fidelity.num_without_expansion=12",
        "held_out.num_clips=60",
        "expect={}",
    ),
}


def stages(choices: Choices) -> list[Stage]:
    """The jobs in order; the endpoint comes after the last of them."""
    prefix = OWN_VIDEOS if choices.own_videos else "s3://raw/shapeworld/train/"
    own = (f"sources=[{prefix}]",) if choices.own_videos else ()
    captioner: tuple[str, ...] = ()
    if choices.captioner:
        captioner = (f"captioner.source={choices.captioner}",)
    elif choices.own_captions:
        captioner = ("captioner=null",)
    every = [
        Stage("shapeworld", "shapeworld", "renders raw videos with known truth into the bucket", 1.2),
        Stage("train_vae", "train_vae", "trains the network that compresses video in space and time", 4.5),
        Stage("train_captioner", "train_captioner", "trains the captioner on the captioned part", 3.0),
        Stage(
            "prepare",
            "prepare",
            "finds shots, captions and encodes every clip, commits a snapshot",
            2.5,
            own + captioner,
        ),
        Stage(
            "prepare_footage",
            "prepare",
            "does the same on a real clip of 212 s with about 125 cuts",
            1.0,
            (f"sources=[{FOOTAGE}]", "snapshot=footage", *SECOND_HALF),
        ),
        Stage("train_expander", "train_expander", "trains the model that expands short prompts", 1.5),
        Stage("train_dit", "train_dit", "trains the diffusion transformer: two workers, DeepSpeed ZeRO-2", 6.5),
        Stage("evaluate", "evaluate", "measures everything, with controls", 2.5),
    ]
    if choices.size == "ci":
        every = [Stage(s.name, s.verb, s.says, s.minutes / 3, s.overrides + CI[s.verb]) for s in every]
    return every


def num_endpoint_videos(choices: Choices) -> int:
    """Videos asked from the endpoint."""
    return 8 if choices.size == "ci" or choices.own_videos else 48
