"""A driver of `prepare` that a test can kill: joins the cluster of the test, runs the recipe in a JSON file."""

from __future__ import annotations

import sys
from pathlib import Path

import ray

from reelworks.curate.prepare import prepare
from reelworks.curate.recipe import PrepareRecipe
from tests.curate.run_log import Log

if __name__ == "__main__":
    ray.init(address=sys.argv[1], log_to_driver=False)
    prepare(PrepareRecipe.model_validate_json(Path(sys.argv[2]).read_text()), Log())  # type: ignore[arg-type]
