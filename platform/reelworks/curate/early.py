"""Whether an actor loads its model as it starts: all pools start together, while the first sources are still read."""

from __future__ import annotations

from reelworks import storage
from reelworks.curate.plan import Plan
from reelworks.errors import StorageError


def has_work(plan: Plan, stage: str) -> bool:
    """True where a stage has stored nothing yet, so that its model is needed whatever comes.

    Where something is stored, perhaps all is, and a model that nobody asks may take minutes and a GPU to load. Where
    the bucket doesn't answer, the first chunk will tell.
    """
    try:
        return next(storage.list_objects(plan.uri(f"{stage}/{plan.fingerprints[stage]}/")), None) is None
    except StorageError:
        return False
