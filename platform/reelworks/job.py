"""The frame of every job: recipe, checks, Ray, an MLflow run around the work, the end table, the exit code."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn, TypeVar

from reelworks import tracking
from reelworks.config import Recipe, dump_recipe, load_recipe
from reelworks.errors import UserError
from reelworks.storage import check_bucket, check_readable, split_uri

R = TypeVar("R", bound=Recipe)

# Exit codes: a retry can cure 1, never the others.
FAILED, USER_ERROR, EXPECTATION_MISSED = 1, 2, 3
FREE_BYTES_NEEDED = 2**30  # spilling and model downloads of the smallest job


def run_job(
    recipe_class: type[R],
    work: Callable[[R, tracking.Run], Mapping[str, Any]],
    *,
    checks: Callable[[R], None] | None = None,
) -> NoReturn:
    """Runs a job's work as its command line asks, and exits: 0, 1 failed, 2 user's error, 3 expectation missed.

    `checks` tests what is particular to the job before any work starts. The last line printed is `RESULT {json}`.
    """
    signal.signal(signal.SIGTERM, _interrupted)  # `ray job stop`: the run must end KILLED, not stay RUNNING
    arguments = _arguments()
    try:
        recipe = load_recipe(recipe_class, arguments.recipe, arguments.set)
        if arguments.dry_run:
            print(dump_recipe(recipe), end="")
            sys.exit(0)
        _check(recipe, checks)
        if arguments.check:
            print("checked: everything this recipe needs is there")
            sys.exit(0)
        sys.exit(_run(recipe, work, arguments.run_key))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(USER_ERROR)
    except Exception:
        traceback.print_exc()
        sys.exit(FAILED)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One job of the pipeline; see the recipe's header.")
    parser.add_argument("--recipe", required=True, help="YAML file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a recipe value")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved recipe and stop; offline")
    parser.add_argument("--check", action="store_true", help="test buckets, credentials, MLflow and disk, then stop")
    parser.add_argument("--run-key", help="continue the run that an earlier attempt opened under this key")
    return parser.parse_args()


def _run(recipe: R, work: Callable[[R, tracking.Run], Mapping[str, Any]], key: str | None) -> int:
    _connect()
    begun = time.monotonic()
    verb = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    with tracking.start_run(
        recipe.experiment, f"{verb} {recipe.name}", recipe.model_dump(mode="json"), {"verb": verb}, key
    ) as run:
        print(f"run {run.id} of {verb} ({recipe.name})", flush=True)
        run.text(dump_recipe(recipe), "recipe.yaml")
        results = dict(work(recipe, run))
        results["seconds"] = round(time.monotonic() - begun, 1)
        numbers = _numbers(results)
        run.metrics({f"result.{name}": value for name, value in numbers.items()})
        run.json(results, "result.json")
    print(end_table(verb, results))
    missed = list(missed_expectations(recipe.expect, numbers))
    for line in missed:
        print(f"expectation missed: {line}")
    print("RESULT " + json.dumps({"run_id": run.id, **results}, default=str), flush=True)
    return EXPECTATION_MISSED if missed and recipe.strict else 0


def _connect() -> None:
    """Joins the cluster that RAY_ADDRESS names (Ray sets it for submitted jobs), else starts one of its own."""
    import ray

    if os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto", logging_level=logging.WARNING)
    else:
        # "local" and not None: None joins whatever cluster runs on this host.
        ray.init(address="local", include_dashboard=False, logging_level=logging.WARNING)


def _check(recipe: R, checks: Callable[[R], None] | None) -> None:
    """Everything that can be wrong before a cluster is touched."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < FREE_BYTES_NEEDED:
        raise UserError(
            f"{tempfile.gettempdir()} has {free / 2**30:.1f} GiB free, {FREE_BYTES_NEEDED / 2**30:.0f} are needed",
            "Free some disk space or set TMPDIR",
        )
    written = list(recipe.writes())
    for uri in sorted({uri for uri in _bucket_addresses(recipe.model_dump(mode="json")) if uri not in written}):
        check_readable(f"s3://{split_uri(uri)[0]}")
    for uri in written:
        check_bucket(uri)
    tracking.check_server()
    if checks:
        checks(recipe)


def _bucket_addresses(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith("s3://"):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _bucket_addresses(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _bucket_addresses(item)


def _numbers(results: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in tracking.flat(results).items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def end_table(verb: str, results: Mapping[str, Any]) -> str:
    """The results as aligned lines under the verb."""
    rows = [(name, _shown(value)) for name, value in tracking.flat(results).items()]
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([f"-- {verb}: what came out --", *(f"{name:<{width}}  {value}" for name, value in rows)])


def _shown(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 100 else text[:97] + "..."


def missed_expectations(expect: Mapping[str, float], numbers: Mapping[str, float]) -> Iterator[str]:
    """A line for each expected result that is too low or absent."""
    for name, least in expect.items():
        if name not in numbers:
            yield f"{name} was not measured, at least {least:g} expected"
        elif numbers[name] < least:
            yield f"{name} is {numbers[name]:.4g}, at least {least:g} expected"


def _interrupted(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
