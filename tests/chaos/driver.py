"""A driver of `prepare` in which, and in whose workers, the fail points are installed."""

from __future__ import annotations

import sys
from pathlib import Path

import ray

from reelworks.curate.prepare import prepare
from reelworks.curate.recipe import PrepareRecipe
from tests.chaos import failpoints
from tests.curate.run_log import Log

if __name__ == "__main__":
    failpoints.install()
    ray.init(address=sys.argv[1], log_to_driver=False, runtime_env={"worker_process_setup_hook": failpoints.install})
    prepare(PrepareRecipe.model_validate_json(Path(sys.argv[2]).read_text()), Log())  # type: ignore[arg-type]
