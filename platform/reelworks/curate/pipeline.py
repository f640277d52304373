"""The one streaming Ray Data pipeline of `prepare`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import ray.data
from ray.data import ActorPoolStrategy, Dataset, TaskPoolStrategy
from ray.util.annotations import RayDeprecationWarning

from reelworks.curate.board import told_actor, told_task
from reelworks.curate.caption import CaptionActor
from reelworks.curate.chunk import Chunk, from_table
from reelworks.curate.encode import LatentActor
from reelworks.curate.frames import decode_chunks
from reelworks.curate.index import IndexActor, index_sources
from reelworks.curate.listing import list_chunks
from reelworks.curate.plan import Plan
from reelworks.curate.recipe import Pool, PrepareRecipe
from reelworks.curate.score_models import ScoreActor
from reelworks.curate.text import TextActor

# A block of frames at most (a larger chunk is a block of its own): a store of 200 MB holds a dozen, so nothing spills.
BLOCK_BYTES = 8 << 20
# A row that kills its actor is tried again this often, then the job fails and names the stage; it never loops.
ATTEMPTS = 3


def build(plan: Plan, board: Any) -> Dataset:
    """The pipeline as a numbered list; rows are URIs and spans until step 4, frames leave after step 7."""
    recipe, read = plan.recipe, plan.recipe.read
    tasks: dict[str, Any] = {
        "batch_format": "pyarrow",
        "num_cpus": read.num_cpus,
        "compute": TaskPoolStrategy(size=read.workers),
        "max_retries": ATTEMPTS,
    }
    # 1. List (1:N): one task streams the listing; the driver never holds it.
    clips: Dataset = ray.data.from_items([{"sources": list(recipe.sources)}])
    clips = clips.map_batches(partial(list_chunks, plan=plan), **{**tasks, "compute": TaskPoolStrategy(size=1)})
    # 2. Probe and shots (1:N): a task for a handful of sources, since small files cost less than a task's start.
    clips = clips.repartition(target_num_rows_per_block=read.sources_per_task)
    cut, workers = _cutters(plan, board, tasks)
    clips = clips.map_batches(cut, batch_size=read.sources_per_task, **workers)
    # 3. Chunks apart (1:1): one film's chunks would otherwise be one block and run one after the other.
    clips = clips.repartition(target_num_rows_per_block=read.chunks_per_task)
    # 4. Decode, and what the pixels alone say (1:1).
    clips = clips.map_batches(
        partial(told_task("decode", decode_chunks, board), plan=plan), batch_size=read.chunks_per_task, **tasks
    )
    # 5. Scores by models (1:1).
    for name, model in recipe.score_models.items():
        actors = _actors(plan, model.pool, name)
        actor = told_actor(f"score_{name}", ScoreActor, board)
        clips = clips.map_batches(actor, batch_size=_at_once(recipe, model.chunks_per_call), **actors)
    # 6. Captions (1:1).
    if recipe.captioner:
        stage = recipe.captioner
        actor = told_actor("captions", CaptionActor, board)
        at_once = _at_once(recipe, stage.chunks_per_call)
        clips = clips.map_batches(actor, batch_size=at_once, **_actors(plan, stage.pool))
    # 7. Latents (1:1); frames end here.
    actor = told_actor("latents", LatentActor, board)
    at_once = _at_once(recipe, recipe.vae.chunks_per_call)
    clips = clips.map_batches(actor, batch_size=at_once, **_actors(plan, recipe.vae.pool))
    # 8. Text embeddings (1:1).
    actor = told_actor("text", TextActor, board)
    at_once = _at_once(recipe, recipe.text.chunks_per_call)
    return clips.map_batches(actor, batch_size=at_once, **_actors(plan, recipe.text.pool))


def _at_once(recipe: PrepareRecipe, chunks_per_call: int) -> int | None:
    """Chunks of a call: those of one block, since Ray Data holds back blocks until it has as many as it is asked for;
    where batches are shared between chunks, as many as they need."""
    return None if recipe.deterministic else chunks_per_call


def _cutters(plan: Plan, board: Any, tasks: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What cuts sources, and its workers: tasks, or actors that keep a GPU and the network on it."""
    read = plan.recipe.read
    if not read.shots_num_gpus:
        return partial(told_task("index", index_sources, board), plan=plan), tasks
    pool = Pool(max_size=read.workers, num_cpus=read.num_cpus, num_gpus=read.shots_num_gpus)
    return told_actor("index", IndexActor, board), _actors(plan, pool)


def _actors(plan: Plan, pool: Pool, score: str | None = None) -> dict[str, Any]:
    return {
        "batch_format": "pyarrow",
        "fn_constructor_kwargs": {"plan": plan} | ({"name": score} if score else {}),
        "compute": ActorPoolStrategy(min_size=pool.min_size, max_size=pool.max_size),
        "num_cpus": pool.num_cpus,
        "num_gpus": pool.num_gpus,
        "max_restarts": ATTEMPTS,
        "max_task_retries": ATTEMPTS,
    }


def finished_chunks(plan: Plan, board: Any) -> Iterator[list[Chunk]]:
    """Run the pipeline; chunks as they finish, in no particular order. The board hears of every stage meanwhile."""
    context = ray.data.DataContext.get_current()
    before = context.target_max_block_size, context.enable_progress_bars
    context.target_max_block_size, context.enable_progress_bars = BLOCK_BYTES, False
    try:
        with warnings.catch_warnings():
            # Deprecated without a successor yet, and the only bound on restarts, which are endless by default.
            warnings.simplefilter("ignore", RayDeprecationWarning)
            pipeline = build(plan, board)
        for block in pipeline.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from_table(block)
    finally:
        context.target_max_block_size, context.enable_progress_bars = before
