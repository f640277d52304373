"""What a run of `prepare` fixes before it starts: models by digest, fingerprints of stages, keys of objects."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from reelworks.config import fingerprint
from reelworks.curate.recipe import Pool, PrepareRecipe

# Raised when the output of a stage changes for the same input; a golden test fails when it should have been.
STAGE_VERSION = {"index": 7, "scores": 2, "score_models": 2, "captions": 1, "text": 1, "latents": 1}

# Raised when one kind of score model finds something else: the scores of the other kind stay valid.
SCORER_VERSION = {"text_area": 2}

SUFFIX = {"text": ".safetensors", "latents": ".safetensors"}  # all else is a table

SCORE_LIBRARIES = {"label": ("pillow", "torch", "transformers"), "text_area": ("onnxruntime", "rapidocr-onnxruntime")}


@dataclass(frozen=True)
class Plan:
    """A resolved recipe; every worker gets it."""

    recipe: PrepareRecipe
    models: Mapping[str, str]  # stage -> pinned model source, "...#digest"
    fingerprints: Mapping[str, str]  # stage -> fingerprint

    def uri(self, key: str) -> str:
        return f"{self.recipe.root.rstrip('/')}/{key}"

    def index_key(self, source_id: str) -> str:
        return f"index/{self.fingerprints['index']}/{source_id}"

    def quarantine_key(self, source_id: str) -> str:
        return f"quarantine/{self.fingerprints['index']}/{source_id}"

    def chunk_key(self, stage: str, content: Sequence[str | None], source_id: str, number: int, count: int) -> str:
        """Key of a stage's object; content is what the object is about: the ids of its clips, or their texts."""
        about = chunk_place(content, source_id, number, count)
        return f"{stage}/{self.fingerprints[stage]}/{about}{SUFFIX.get(stage, '.parquet')}"

    def prefix(self, stage: str) -> str:
        """Where a stage's objects lie."""
        return self.uri(f"{stage}/{self.fingerprints[stage]}/")

    def prefixes(self) -> list[str]:
        """Where this run's objects lie."""
        stages = [self.prefix(stage) for stage in self.fingerprints]
        return [*stages, self.uri(f"quarantine/{self.fingerprints['index']}/")]


def chunk_place(content: Sequence[str | None], source_id: str, number: int, count: int) -> str:
    """Where a chunk's object lies under its stage's fingerprint, without its suffix."""
    return f"{fingerprint(list(content))[:32]}/{source_id}/{number}-of-{count}"


def make_plan(recipe: PrepareRecipe) -> Plan:
    """Resolve the recipe's models to digests (in the driver, once) and compute the stages' fingerprints."""
    from reelworks.resolve import pin

    models = {"text": pin(recipe.text.source), "latents": pin(recipe.vae.source)}
    if recipe.captioner:
        models["captions"] = pin(recipe.captioner.source)
    models |= {score_stage(name): pin(model.source) for name, model in recipe.score_models.items()}
    return Plan(
        recipe, models, stage_fingerprints(recipe, {stage: m.rpartition("#")[2] for stage, m in models.items()})
    )


def stage_fingerprints(recipe: PrepareRecipe, digests: Mapping[str, str]) -> dict[str, str]:
    """Stage -> a hash of all that can change its output, the stages it reads from included."""
    clips = recipe.clips.model_dump(mode="json", exclude={"shots"})
    shots = recipe.clips.shots.fingerprint_fields()
    # Said of a GPU alone: the other detectors have no choice.
    shots |= {"device": recipe.read.shots_device} if recipe.read.shots_num_gpus else {}
    found = {
        "index": _hash(
            "index",
            {"shots": shots, "chunk_bytes": recipe.read.chunk_bytes},
            ("av", "decord", "scenedetect", "opencv-python"),
        )
    }
    decoding = {"clips": clips, "index": found["index"]}
    for name, scorer in recipe.score_models.items():
        asked = scorer.model_dump(mode="json", exclude={"source", "pool", "chunks_per_call"}) | {"name": name}
        fields = {**decoding, **_model(digests[score_stage(name)], scorer.pool), "asked": asked}
        fields |= {"scorer": SCORER_VERSION[scorer.kind]} if scorer.kind in SCORER_VERSION else {}
        found[score_stage(name)] = _hash("score_models", fields, ("av", *SCORE_LIBRARIES[scorer.kind]))
    found["scores"] = _hash("scores", decoding, ("av", "numpy", "pillow"))
    if recipe.captioner:
        asked = recipe.captioner.model_dump(mode="json", exclude={"source", "pool", "chunks_per_call"})
        fields = {**decoding, **_model(digests["captions"], recipe.captioner.pool), "asked": asked}
        prompts = {"prompts": _prompts(), "deterministic": recipe.deterministic}
        found["captions"] = _hash("captions", fields | prompts, ("av", "torch", "transformers"))
    text = _model(digests["text"], recipe.text.pool) | {"max_tokens": recipe.text.max_tokens}
    text |= {} if recipe.deterministic else {"batch_texts": recipe.text.batch_texts}
    # Without captions the texts are the sidecars' alone; they enter by the key.
    found["text"] = _hash("text", text | {"captions": found.get("captions")}, ("torch", "transformers"))
    batches = {"chunk_latents": recipe.vae.chunk_latents, "batch_clips": recipe.vae.batch_clips}
    batches |= {"pass_pixels": recipe.vae.pass_pixels} if passes_are_cut(recipe) else {}
    found["latents"] = _hash(
        "latents", {**decoding, **_model(digests["latents"], recipe.vae.pool), **batches}, ("av", "torch")
    )
    return found


def passes_are_cut(recipe: PrepareRecipe) -> bool:
    """Whether a batch of the recipe's largest clips exceeds vae.pass_pixels, so that this decides about latents' bytes.

    Tiles and smaller batches differ from the whole in rounding, so they are part of the fingerprint; where no clip can
    be so large, the field says nothing, and latents made with another value, or before it was there, stay valid.
    """
    clips = recipe.clips
    clip_pixels = clips.max_tokens * clips.temporal_stride * clips.spatial_stride**2
    return recipe.vae.batch_clips * clip_pixels > recipe.vae.pass_pixels


def score_stage(name: str) -> str:
    """The stage, and the prefix of the objects, of a score model."""
    return f"scores.{name}"


def _hash(stage: str, fields: dict[str, Any], libraries: Sequence[str]) -> str:
    versions = {name: ".".join(version(name).split(".")[:2]) for name in libraries}
    return fingerprint({"stage": stage, "version": STAGE_VERSION[stage], "libraries": versions, **fields})[:32]


def _model(digest: str, pool: Pool) -> dict[str, Any]:
    dtype = "bfloat16" if pool.device == "cuda" else "float32"
    return {"model": digest, "device": pool.device, "dtype": dtype, "threads": pool.threads}


def _prompts() -> dict[str, str]:
    from reelworks.models.clip_captioner import PROMPTS

    return dict(PROMPTS)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
