"""reelworks.curate.prepare: the whole pipeline on a real bucket and a real Ray, with tiny models."""

from __future__ import annotations

import json

import pytest

from reelworks.curate.prepare import prepare
from reelworks.curate.snapshot import read_snapshot
from tests.curate.conftest import NUM_HOSTILE, NUM_IMAGES, NUM_VIDEOS, Log, recipe_for

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_every_source_is_accounted_for(prefix: str, world: str, models: dict[str, str]) -> None:
    log = Log()
    results = prepare(recipe_for(prefix, world, models), log)
    print(json.dumps(results, indent=1))
    snapshot = read_snapshot(prefix, "world@latest")
    assert results["sources"] == NUM_VIDEOS + NUM_IMAGES + NUM_HOSTILE
    assert results["quarantined"] == NUM_HOSTILE
    assert snapshot.clips.num_rows == results["clips"]
