"""Offline generation on Ray Data: the one path from prompts to frames, used by the generate job and by evaluation."""

from __future__ import annotations

from typing import Any

import ray.data

from reelworks.config import Section


class Workers(Section):
    """How many actors sample, and what each holds."""

    num_actors: int = 1
    """Number of sampling actors."""
    batch_size: int = 8
    """Requests that one actor steps together."""
    num_cpus: float = 1.0
    """Logical CPUs of an actor."""
    num_gpus: float = 0.0
    """GPUs of an actor."""
    num_threads: int = 1
    """PyTorch threads of an actor on a CPU."""


def sample(
    requests: list[dict[str, Any]], actor: type, arguments: dict[str, Any], workers: Workers
) -> list[dict[str, Any]]:
    """Maps request rows through actors of a callable class (batches of rows as dicts of columns): 1:1, any order.

    Rows carry their own `index`, since Ray Data doesn't promise an order; the result is sorted by it.
    """
    rows = [{"index": index, **request} for index, request in enumerate(requests)]
    dataset = ray.data.from_items(rows, override_num_blocks=max(1, -(-len(rows) // workers.batch_size)))
    done = dataset.map_batches(
        actor,
        fn_constructor_kwargs={**arguments, "num_threads": workers.num_threads},
        batch_size=workers.batch_size,
        batch_format="numpy",
        zero_copy_batch=False,
        compute=ray.data.ActorPoolStrategy(size=workers.num_actors),
        num_cpus=workers.num_cpus,
        num_gpus=workers.num_gpus,
    )
    return sorted(done.take_all(), key=lambda row: row["index"])
