"""Whether an actor loads its model as it starts: all pools start together, while the first sources are still read."""

from __future__ import annotations

from collections.abc import Callable

from reelworks import storage
from reelworks.curate.plan import Plan
from reelworks.errors import StorageError


def load_early(plan: Plan, stage: str, load: Callable[[], object]) -> None:
    """Load a stage's model where it has stored nothing yet, so that it is needed whatever comes.

    Where something is stored, perhaps all is, and a model that nobody asks may take minutes and a GPU to load. Where
    the bucket doesn't answer, the first chunk will tell.
    """
    try:
        is_new = next(storage.list_objects(plan.prefix(stage)), None) is None
    except StorageError:
        return
    if is_new:
        load()
