"""A small bucket of raw video, tiny random models, and one Ray for the tests of `prepare`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import BertConfig, BertModel

from reelworks import storage
from reelworks.curate.caption import CaptionActor
from reelworks.curate.chunk import Chunk, from_table
from reelworks.curate.encode import LatentActor
from reelworks.curate.frames import decode_chunks
from reelworks.curate.index import index_sources
from reelworks.curate.listing import list_chunks
from reelworks.curate.plan import Plan, make_plan
from reelworks.curate.prepare import commit_chunks
from reelworks.curate.recipe import PrepareRecipe
from reelworks.curate.score_models import ScoreActor
from reelworks.curate.text import TextActor
from reelworks.models.latent_stats import LatentStats
from reelworks.models.small_captioner import CaptionerSize, create_captioner
from reelworks.models.tokenizer import train_tokenizer
from reelworks.models.vae import CausalVAE, VAEConfig, to_pixels
from reelworks.shapeworld.corpus import items, make
from reelworks.shapeworld.hostile import hostile_files
from tests.curate.run_log import Log
from tests.own_ray import own_ray

CAPTIONS = ["a red circle moves left", "A large blue square stays still. The camera is fixed."]
NUM_VIDEOS, NUM_IMAGES, NUM_HOSTILE = 6, 2, 4


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return tiny_models(tmp_path_factory.mktemp("models"))


def tiny_models(root: Path) -> dict[str, str]:
    """Folders of an untrained captioner, a text encoder and a VAE whose statistics fit its own latents."""
    folders = {name: root / name for name in ("captioner", "other_captioner", "text", "vae", "other_vae")}
    size = CaptionerSize(vision_width=32, vision_depth=1, text_width=32, text_depth=1, num_heads=2, vocabulary=300)
    for seed, name in enumerate(("captioner", "other_captioner")):
        folders[name].mkdir(parents=True)
        create_captioner(folders[name], size, 4, CAPTIONS, seed=seed)
    _text_encoder(folders["text"])
    for seed, name in enumerate(("vae", "other_vae")):
        _vae(folders[name], seed)
    return {name: str(folder) for name, folder in folders.items()}


def _text_encoder(folder: Path) -> None:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(CAPTIONS, 300, ())
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _vae(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    vae = CausalVAE(
        VAEConfig(channels=(8, 8, 8), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1), latent_channels=4)
    )
    frames = [np.concatenate([next(iter_clip(i))]) for i in range(4)]
    with torch.no_grad():
        latents = [vae.encode(to_pixels(torch.from_numpy(one))[None])[0][0] for one in frames]
    vae.stats = LatentStats.measure(latents)
    vae.save(folder)


def iter_clip(seed: int) -> Iterator[np.ndarray]:
    from reelworks.shapeworld.clips import random_clips

    for clip in random_clips(1, seed, sizes=[(32, 32)]):
        yield clip.frames


def upload_world(prefix: str, *, num_videos: int = NUM_VIDEOS, hostile: bool = True) -> None:
    """Shapeworld videos, images, sidecars and hostile files under prefix/train/."""
    objects: dict[str, bytes] = dict(hostile_files()) if hostile else {}
    for item in items(7, num_videos, 0, NUM_IMAGES if hostile else 0):
        objects |= make(item).objects
    for key, data in objects.items():
        storage.create_once(f"{prefix}/{key}", data)


@pytest.fixture(scope="session")
def world(s3_server: str) -> str:
    """A prefix with a small shapeworld, hostile files among it; read only."""
    prefix = f"s3://raw/world-{uuid.uuid4().hex}"
    upload_world(prefix)
    return f"{prefix}/train/"


def recipe_for(root: str, sources: str, models: dict[str, str], **changes: Any) -> PrepareRecipe:
    """A recipe with the tiny models."""
    values: dict[str, Any] = {
        "name": "test",
        "root": root,
        "snapshot": "world",
        "sources": [sources],
        "captioner": {"source": models["captioner"], "max_new_tokens": 6},
        "text": {"source": models["text"]},
        "vae": {"source": models["vae"], "std_range": (0.2, 5.0)},
        "pictures": {"contact_sheet": 0},
    }
    return PrepareRecipe.model_validate(values | changes)


@pytest.fixture(scope="module")
def ray_cluster(s3_server: str) -> Iterator[None]:
    """A Ray of our own with more logical CPUs than cores, as the local stack has; never the one that runs already."""
    with own_ray(8, object_store_bytes=200 << 20):
        yield


def run_stages(plan: Plan) -> list[Chunk]:
    """The stages of the pipeline one after the other in this process, as Ray Data would call them."""
    table = pa.concat_tables(list(list_chunks(pa.table({}), plan)))
    table = decode_chunks(index_sources(table, plan), plan)
    for name in plan.recipe.score_models:
        table = ScoreActor(plan, name)(table)
    if plan.recipe.captioner:
        table = CaptionActor(plan)(table)
    return from_table(TextActor(plan)(LatentActor(plan)(table)))


def commit_inline(recipe: PrepareRecipe, folder: Path) -> dict[str, Any]:
    """`prepare` without Ray: the end table's counts."""
    plan = make_plan(recipe)
    folder.mkdir(parents=True)
    return commit_chunks(plan, Log(), 0, [run_stages(plan)], folder)  # type: ignore[arg-type]
