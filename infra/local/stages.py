"""The demo's stages: which verb with which recipe, what it says, how long it takes; values only.

Axis of variation: SIZE (`full`, or `ci` at a fraction of the work), whose videos, and where captions come from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FOOTAGE = "s3://raw/footage/"
OWN_VIDEOS = "s3://raw/videos/"
# Every fifth of the user's own videos, the last of fewer, is held out of the VAE's training and measured on; a single
# one is both.
OWN_TRAINED, OWN_HELD_OUT = f"{OWN_VIDEOS}train/", f"{OWN_VIDEOS}eval/"
# The VAE sees windows of the first half of the real clip (212 s); it is measured on the second.
SECOND_HALF = ("pictures.reconstructions=12", "pictures.reconstruct_from_s=106")
# A VAE of minutes, on shapeworld or on a handful of videos, may spread the latents of a clip that it hardly saw.
ANY_SPREAD = "vae.std_range=[0.1, 10]"


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
    num_own_videos: int = 0
    """Videos of the user's own; 0 is shapeworld."""
    own_captions: bool = False
    """Captions come with the videos (sidecars, or CAPTIONER=source names a model for them)."""
    captioner: str | None = None
    """Model source given as CAPTIONER=."""

    @property
    def own_videos(self) -> bool:
        return self.num_own_videos > 0


# What the reduced demo changes: fewer clips and minutes, so that the whole line runs in CI.
CI: dict[str, tuple[str, ...]] = {
    "shapeworld": (
        "train_videos=200",
        "eval_videos=36",
        "train_images=16",
        "described_videos=160",
        "expect.videos=396",
    ),
    "train_vae": ("training.max_minutes=0.75",),
    "train_captioner": ("training.max_minutes=0.8", "held_out_clips=80"),
    "prepare": (),
    "train_expander": ("training.max_minutes=0.3",),
    "train_dit": ("budget.max_minutes=1.0",),
    "evaluate": (
        "text_fidelity.num_prompts=60",
        "text_fidelity.num_without_expansion=12",
        "held_out.num_clips=60",
        "expect={}",
    ),
}


def snapshot_name(choices: Choices) -> str:
    """The snapshot that the expander and the DiT are trained on."""
    return "videos" if choices.own_videos else "shapeworld"


def stages(choices: Choices) -> list[Stage]:
    """The jobs in order; the endpoint comes after the last of them."""
    every = [
        Stage("shapeworld", "shapeworld", "renders raw videos with known truth into the bucket", 0.6),
        Stage("train_vae", "train_vae", "trains the network that compresses video in space and time", 3.4),
        Stage("train_captioner", "train_captioner", "trains the captioner on the described videos", 5.7),
        Stage("prepare", "prepare", "finds shots, captions and encodes every clip, commits a snapshot", 1.5),
        Stage(
            "prepare_footage",
            "prepare",
            "does the same on a real clip of 212 s with about 125 cuts",
            0.8,
            (f"sources=[{FOOTAGE}]", "snapshot=footage", ANY_SPREAD, *SECOND_HALF),
        ),
        Stage("train_expander", "train_expander", "trains the model that expands short prompts", 1.6),
        Stage("train_dit", "train_dit", "trains the diffusion transformer: two workers, DeepSpeed ZeRO-2", 12.6),
        Stage("evaluate", "evaluate", "measures everything, with controls", 2.5),
    ]
    if choices.size == "ci":
        every = [
            replace(stage, minutes=stage.minutes / 3, overrides=stage.overrides + CI[stage.verb]) for stage in every
        ]
    return [on_own_videos(stage, choices) for stage in every if is_needed(stage, choices)]


def is_needed(stage: Stage, choices: Choices) -> bool:
    """On videos with captions of their own, shapeworld and its captioner aren't; nor an expander, with no pairs."""
    if choices.own_captions:
        return stage.name not in ("shapeworld", "train_captioner", "train_expander")
    return stage.name not in ("shapeworld", "train_captioner") or not choices.captioner


def on_own_videos(stage: Stage, choices: Choices) -> Stage:
    """The stage as it is, or with what the user's own videos change in its recipe."""
    if not choices.own_videos:
        return stage
    held_out = OWN_HELD_OUT if choices.num_own_videos > 1 else OWN_TRAINED
    clips = "{max_tokens: 480, shots: {max_clip_s: 4}}"
    mix = "{name: own, prefix: %s, clips: " + clips + "}"
    captions: tuple[str, ...] = ()
    if choices.captioner:
        captions = (f"captioner.source={choices.captioner}",)
    elif choices.own_captions:
        captions = ("captioner=null",)
    changes: dict[str, tuple[str, ...]] = {
        "train_vae": (
            f"sources=[{mix % OWN_TRAINED}]",
            f"held_out.mixes=[{mix % held_out}]",
        ),
        "prepare": (f"sources=[{OWN_VIDEOS}]", "snapshot=videos", ANY_SPREAD, *captions),
        "prepare_footage": captions,
        # Videos without captions of their own have the captioner's short ones to learn from.
        "train_expander": ("snapshot=videos@latest", "prompts=[original, short]", "expect={}"),
        "train_dit": (
            "snapshot=videos@latest",
            "previews=[]",
            "defaults.width=null",
            "defaults.height=null",
            "defaults.seconds=null",
            *(("text.captions={original: 1.0}",) if choices.own_captions else ()),
        ),
        "evaluate": (
            "text_fidelity=null",
            "captioner=null",
            f"held_out.prefix={held_out}",
            f"held_out.clips={clips}",
            "expect={}",
            *(("expander=null",) if choices.own_captions else ()),
        ),
    }
    return replace(stage, overrides=stage.overrides + changes.get(stage.name, ()))


def num_endpoint_videos(choices: Choices) -> int:
    """Videos asked from the endpoint."""
    return 8 if choices.size == "ci" or choices.own_videos else 48
