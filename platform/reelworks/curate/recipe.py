"""The recipe of `prepare`: raw video in a bucket to a committed snapshot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from reelworks.config import Recipe, Section
from reelworks.curate.clips import ClipSpec
from reelworks.curate.filters import MEASURED, Filters
from reelworks.curate.manifest import is_manifest
from reelworks.storage import split_uri

# A score's name is part of keys in the bucket.
SCORE_NAME = re.compile("[a-z][a-z0-9_]*")


class Pool(Section):
    """How many workers a stage has, and what each of them takes."""

    min_size: int = Field(default=1, ge=1)
    """Actors that are started at once."""
    max_size: int = Field(default=1, ge=1)
    """Actors that the pool may grow to."""
    num_cpus: float = 1.0
    """CPUs that one worker reserves."""
    num_gpus: float = 0.0
    """GPUs that one worker reserves; above 0 the stage computes on the GPU, in bf16 where the model allows it."""
    threads: int = Field(default=1, ge=1)
    """Threads of one worker's tensor library; part of the fingerprint, for sums depend on it."""

    @property
    def device(self) -> str:
        return "cuda" if self.num_gpus else "cpu"


class ReadSpec(Section):
    """The tasks that list, cut and decode."""

    workers: int = Field(default=4, ge=1)
    """Tasks at once, for finding shots and for decoding each."""
    num_cpus: float = 1.0
    """CPUs that one task reserves."""
    shots_num_gpus: float = Field(default=0.0, ge=0)
    """GPUs that each worker reserves that finds shots, with the detector transnetv2 alone: above 0 its network computes
    there, in up to `workers` actors, since a task would load it anew."""
    sources_per_task: int = Field(default=16, ge=1)
    """Sources that one task cuts: more save starts, fewer spread better."""
    chunks_per_task: int = Field(default=16, ge=1)
    """Chunks that one task decodes."""
    chunk_bytes: int = 64 << 20
    """A source is cut into runs of clips of about this many bytes of native frames: the unit of work and of storage. A
    dozen chunks of frames, at the rate and size that they are encoded at, should fit into half of the object store: in
    less Ray Data may let one encoder work at a time."""

    @property
    def shots_device(self) -> str:
        return "cuda" if self.shots_num_gpus else "cpu"


class ScoreModel(Section):
    """A model whose score of each clip `filters.models` can hold against a threshold."""

    source: str
    """Model source: a Transformers image classifier, a CLIP or SigLIP class, or the text detector's package."""
    kind: Literal["label", "text_area"] = "label"
    """label: probability of a label; text_area: share of the picture that legible text covers, two characters or more
    (the extra `ocr`, with package:rapidocr_onnxruntime/models as source)."""
    label: str = ""
    """kind label: the label whose probability is the score; for CLIP and SigLIP classes any text."""
    against: tuple[str, ...] = ()
    """CLIP and SigLIP classes: texts that `label` competes with."""
    num_frames: int = Field(default=4, ge=1)
    """Frames of a clip that are scored, evenly spread."""
    over_frames: Literal["mean", "min", "max"] = "mean"
    """A clip's score from those of its frames: max where one bad frame counts, as for safety."""
    chunks_per_call: int = Field(default=8, ge=1)
    """Chunks that an actor is handed at once with deterministic: false; else those of one block."""
    pool: Pool = Pool()
    """The actors."""

    @model_validator(mode="after")
    def _one_kind(self) -> ScoreModel:
        if self.kind == "label" and not self.label:
            raise ValueError("kind: label needs a label; name the one whose probability is the score")
        if self.kind == "text_area" and (self.label or self.against or self.pool.num_gpus):
            raise ValueError("kind: text_area takes no label and no GPU; leave label, against, pool.num_gpus out")
        return self


class CaptionStage(Section):
    """The captioner that describes every clip."""

    source: str
    """Model source: hf:, s3://, mlflow:name@alias, package: or a folder."""
    variants: tuple[Literal["short", "descriptive"], ...] = ("short", "descriptive")
    """Captions that are written for each clip."""
    max_new_tokens: int = 96
    """Tokens of one caption at most."""
    batch_clips: int = 64
    """Clips of one forward pass."""
    chunks_per_call: int = Field(default=32, ge=1)
    """Chunks that an actor is handed at once with deterministic: false, to share batches; else those of one block."""
    pool: Pool = Pool()
    """The actors."""


class TextStage(Section):
    """The frozen encoder of captions."""

    source: str
    """Model source of a Transformers folder with a tokenizer."""
    max_tokens: int = 256
    """Longer captions (tokens) are cut."""
    batch_texts: int = Field(default=64, ge=1)
    """Texts of one forward pass with deterministic: false; else each is embedded alone."""
    chunks_per_call: int = Field(default=32, ge=1)
    """Chunks that an actor is handed at once with deterministic: false, to share batches; else those of one block."""
    pool: Pool = Pool()
    """The actors."""


class LatentStage(Section):
    """The VAE that encodes every clip."""

    source: str
    """Model source of a VAE checkpoint that train_vae wrote; other networks are refused, for what they encode in chunks
    and tiles is not what they encode whole."""
    chunk_latents: int = Field(default=8, ge=1)
    """Latent frames encoded at a time; memory doesn't grow with the clip's length."""
    batch_clips: int = Field(default=16, ge=1)
    """Clips of one size and length that share a forward pass, inside a chunk."""
    pass_pixels: int = Field(default=1 << 19, ge=1 << 16)
    """Pixels (clips * frames * rows * columns) that a forward pass takes at most: fewer clips at once, then fewer
    frames, then one tile of a frame after the other, with as much around it as the network looks at, so that latents
    are those of the whole within 1e-5 in float32. On a CPU a pixel costs 0.2 to 0.5 kB, by the VAE's finest width."""
    chunks_per_call: int = Field(default=8, ge=1)
    """Chunks that an actor is handed at once with deterministic: false; else those of one block."""
    std_range: tuple[float, float] = (0.5, 2.0)
    """Standard deviation of the final latents over the whole run outside of which nothing is committed."""
    pool: Pool = Pool()
    """The actors."""


class Pictures(Section):
    """What is drawn for a person after the commit."""

    contact_sheet: int = 24
    """Clips on the contact sheet."""
    reconstructions: int = 0
    """Clips that the VAE decodes again; pictures beside the originals and their PSNR go to MLflow."""
    reconstruct_from_s: float = 0.0
    """Only clips that begin at this second of their source or later are reconstructed."""


class PrepareRecipe(Recipe):
    """prepare: list, probe, shots, decode, caption, embed, encode, commit."""

    root: str
    """Address of the data set: s3://bucket/prefix; never under one of `sources`."""
    snapshot: str
    """Name under which the snapshot is committed."""
    sources: tuple[str, ...] = Field(min_length=1)
    """Prefixes with raw video (s3://bucket/prefix/) and manifests, whose names end in .parquet or .jsonl: a row has the
    uri of a video (s3://bucket/key), and where known its caption, which every clip of it gets as original caption in
    place of a sidecar's, and its etag and size (bytes), which the object must then still have."""
    clips: ClipSpec = ClipSpec()
    """What makes a clip."""
    read: ReadSpec = ReadSpec()
    """The reading tasks."""
    score_models: dict[str, ScoreModel] = {}
    """Name of a score -> the model that gives it, for example aesthetic, safety, text."""
    filters: Filters = Filters()
    """Which clips the snapshot leaves out; all off by default."""
    captioner: CaptionStage | None = None
    """Left out: clips keep only the captions that lie beside their videos."""
    text: TextStage
    """The text encoder."""
    vae: LatentStage
    """The VAE."""
    deterministic: bool = True
    """true: batches stay inside a chunk and a text is embedded alone, so every byte is the same in every run; false:
    captions and texts fill their batches across sources, faster for small clips; a rerun may differ in rounding."""
    pictures: Pictures = Pictures()
    """What is drawn."""
    progress_s: float = 5.0
    """Seconds between two lines of progress."""

    def writes(self) -> Sequence[str]:
        return (self.root,)

    @model_validator(mode="after")
    def _root_apart(self) -> PrepareRecipe:
        for prefix in self.sources:
            if not is_manifest(prefix) and lists(prefix, self.root):
                raise ValueError(f"root {self.root} lies under the input prefix {prefix}: choose another root")
        if self.clips.multiple_px % self.clips.spatial_stride:
            raise ValueError(
                f"clips.multiple_px {self.clips.multiple_px} is no multiple of clips.spatial_stride "
                f"{self.clips.spatial_stride}: use the VAE's spatial stride times the patch"
            )
        return self

    @model_validator(mode="after")
    def _gpus_used(self) -> PrepareRecipe:
        if self.read.shots_num_gpus and self.clips.shots.detector != "transnetv2":
            raise ValueError(
                f"read.shots_num_gpus {self.read.shots_num_gpus} would idle: {self.clips.shots.detector} computes on "
                "CPUs; leave it out, or choose clips.shots.detector: transnetv2"
            )
        return self

    @model_validator(mode="after")
    def _scores_named(self) -> PrepareRecipe:
        if unknown := sorted(self.filters.models.keys() - self.score_models.keys()):
            raise ValueError(f"filters.models names {', '.join(unknown)}, absent from score_models: add or remove it")
        taken = [name for name in self.score_models if name in MEASURED or not SCORE_NAME.fullmatch(name)]
        if taken:
            kept = ", ".join(MEASURED)
            raise ValueError(f"score_models can't be named {', '.join(taken)}: use a-z, 0-9, _, and none of {kept}")
        return self


def lists(prefix: str, root: str) -> bool:
    """Whether a listing of `prefix` shows what lies under `root`; a prefix need not end at a folder's name."""
    (bucket, key), (root_bucket, root_key) = split_uri(prefix), split_uri(root)
    folder = f"{root_key.rstrip('/')}/" if root_key else ""
    return bucket == root_bucket and folder.startswith(key)
