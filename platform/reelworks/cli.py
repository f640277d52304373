"""The console script `reelworks`: submits jobs to Ray and shows what the bucket holds."""

from __future__ import annotations

import argparse
import base64
import os
import re
import shlex
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, TypeAlias

from reelworks.errors import ListingErrorKind, ReelworksError, UserError, VideoErrorKind

LOCAL_STACK = Path(".stack/env")
ROOT = "s3://reelworks/dataset"
Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # argparse has no public name for it
# Control characters but tab and line feed, line separators, reversals of the direction of writing, halves of pairs.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FRAMES = "also decode every clip again and hold its captions against what the captioner was shown"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; a user's error is printed, not traced."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        _use_local_stack()
        return int(chosen.command(chosen))
    except ReelworksError as error:
        _say(f"error: {error}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _say(text: str, to: TextIO | None = None) -> None:
    """Print what holds strangers' keys and captions: whatever in it would steer a terminal is written out."""
    print(_STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text), file=to)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reelworks", description="Raw video in, a served text-to-video model out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="submit a job to Ray, follow its log, exit with its code")
    run.add_argument("verb", help="train_vae, train_captioner, prepare, train_expander, train_dit, evaluate, generate")
    run.add_argument("--recipe", required=True, type=Path, help="YAML file")
    run.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a recipe value")
    run.add_argument("--retries", type=int, default=0, help="submit again that often when driver or head are lost")
    run.add_argument("--dry-run", action="store_true", help="print the resolved recipe and stop; offline")
    run.add_argument("--check", action="store_true", help="test everything the recipe needs, then stop")
    run.add_argument("--jobs", type=Path, default=Path("jobs"), help="folder of the job scripts (default: jobs)")
    run.set_defaults(command=_run)

    dataset = commands.add_parser("dataset", help="show, compare, report and check committed snapshots; clean up")
    actions = dataset.add_subparsers(required=True, metavar="ACTION")
    _add_dataset(actions)
    _add_upkeep(actions)
    _add_quarantine(commands.add_parser("quarantine", help="which files can't be used, and why; try them again"))
    return parser


def _add_dataset(actions: Actions) -> None:
    helps = {
        "show": "what a snapshot holds: counts, distributions, some clips",
        "diff": "what changed from one snapshot to another",
        "report": "one HTML file with charts, quarantine and a contact sheet",
        "verify": "check every byte of a snapshot, from its chain of parents down to its tensors",
    }
    for name, text in helps.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("--root", default=ROOT, help=f"the data set's prefix (default: {ROOT})")
        if name == "diff":
            action.add_argument("before", help="name@latest, name@3 or name@3#id")
        action.add_argument("snapshot", help="name@latest, name@3 or name@3#id")
        if name == "diff":
            action.add_argument(
                "--limit", type=int, default=10, help="addresses of a kind that are named (default: 10)"
            )
            action.add_argument("--json", action="store_true", help="for a program, with every address")
        if name == "report":
            action.add_argument("--output", type=Path, default=Path("report.html"), help="file (default: report.html)")
            action.add_argument("--clips", type=int, default=24, help="clips on the contact sheet (default: 24)")
        if name == "verify":
            action.add_argument("--frames", action="store_true", help=_FRAMES)
        action.set_defaults(command=_dataset, action=name)


def _add_upkeep(actions: Actions) -> None:
    gc = actions.add_parser("gc", help="remove what no kept snapshot and no recent run needs")
    gc.add_argument(
        "--keep", type=int, metavar="N", help="only the N newest snapshots of each name, and those trained on"
    )
    gc.add_argument(
        "--older-than", type=float, default=7.0, metavar="DAYS", help="younger objects stay (default: 7 days)"
    )
    forget = actions.add_parser("forget", help="remove what was found about one video, and name who still holds it")
    forget.add_argument("uri", help="its address: s3://bucket/key")
    forget.add_argument(
        "--left-out", action="store_true", help="the object stays in its bucket, but no recipe lists it any more"
    )
    for name, action in (("gc", gc), ("forget", forget)):
        action.add_argument("--root", default=ROOT, help=f"the data set's prefix (default: {ROOT})")
        action.add_argument("--delete", action="store_true", help="do it; without it nothing is changed")
        action.set_defaults(command=_upkeep, action=name)


def _add_quarantine(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    helps = {
        "list": "every file in quarantine, with its reason",
        "retry": "let the next `prepare` try the chosen files again",
        "purge": "forget the records of files that are gone",
    }
    for name, text in helps.items():
        action = actions.add_parser(name, help=text)
        action.add_argument("--root", default=ROOT, help=f"the data set's prefix (default: {ROOT})")
        kinds = [kind.value for kind in (*VideoErrorKind, *ListingErrorKind)]
        action.add_argument(
            "--kind", action="append", default=[], choices=kinds, metavar="KIND", help=f"only: {', '.join(kinds)}"
        )
        action.add_argument("--uri-prefix", default="", help="only files whose address begins so")
        if name != "list":
            action.add_argument("--dry-run", action="store_true", help="say what would be done and change nothing")
        if name == "purge":
            action.add_argument("--all", action="store_true", help="also of files that are still there")
        action.set_defaults(command=_quarantine, action=name)


def _dataset(chosen: argparse.Namespace) -> int:
    from reelworks.curate import diff, report, show, verify

    root, snapshot = chosen.root, chosen.snapshot
    if chosen.action == "show":
        _say(show.show(root, snapshot))
    elif chosen.action == "verify":
        _say(verify.verify(root, snapshot, chosen.frames))
    elif chosen.action == "report":
        chosen.output.write_text(report.report(root, snapshot, chosen.clips), encoding="utf-8")
        print(f"{chosen.output} holds the report on {snapshot}; it opens in any browser")
    else:
        found = diff.diff(root, chosen.before, snapshot)
        _say(diff.as_json(found) if chosen.json else diff.as_text(found, chosen.limit))
    return 0


def _upkeep(chosen: argparse.Namespace) -> int:
    from reelworks.curate import collect, forget

    if chosen.action == "gc":
        rules = collect.Rules(chosen.older_than * 86_400, chosen.keep, chosen.delete)
        _say(collect.gc(chosen.root, rules))
    else:
        _say(forget.forget(chosen.root, chosen.uri, chosen.left_out, chosen.delete))
    return 0


def _quarantine(chosen: argparse.Namespace) -> int:
    from reelworks.curate import quarantine

    choice = quarantine.Choice(chosen.kind, chosen.uri_prefix)
    if chosen.action == "list":
        _say(quarantine.list_quarantine(chosen.root, choice))
    elif chosen.action == "retry":
        _say(quarantine.retry(chosen.root, choice, chosen.dry_run))
    else:
        _say(quarantine.purge(chosen.root, choice, chosen.all, chosen.dry_run))
    return 0


def _run(chosen: argparse.Namespace) -> int:
    script = chosen.jobs / f"{chosen.verb}.py"
    if not script.is_file():
        verbs = ", ".join(sorted(path.stem for path in chosen.jobs.glob("*.py")))
        raise UserError(f"There is no job {chosen.verb!r} in {chosen.jobs}/", f"The jobs are: {verbs}")
    if not chosen.recipe.is_file():
        raise UserError(f"No recipe at {chosen.recipe}", "The recipes are in jobs/recipes/")
    overrides = [part for override in chosen.set for part in ("--set", override)]
    if chosen.dry_run:
        here = [sys.executable, str(script), "--recipe", str(chosen.recipe), *overrides, "--dry-run"]
        return subprocess.run(here).returncode
    entry = ["python", script.name, "--recipe", _travelling(chosen.recipe, chosen.jobs), *overrides]
    if chosen.check:
        return _supervised(chosen.jobs, [*entry, "--check"], 0)
    return _supervised(chosen.jobs, [*entry, "--run-key", uuid.uuid4().hex], chosen.retries)


def _supervised(jobs: Path, entry: list[str], retries: int) -> int:
    """Submits until the job ends in a way that another attempt can't cure, at most 1 + `retries` times."""
    from reelworks.job import EXPECTATION_MISSED, USER_ERROR
    from reelworks.submit import follow

    for attempt in range(retries + 1):
        if attempt:
            print(f"attempt {attempt + 1} of {retries + 1}: the job continues from what is committed", flush=True)
            _restart_local_head()
        try:
            code = follow(jobs, shlex.join(entry))
        except UserError:
            if attempt == retries:
                raise
            continue
        if code in (0, USER_ERROR, EXPECTATION_MISSED):
            break
    return code


def _travelling(recipe: Path, jobs: Path) -> str:
    """How a recipe is named inside the job: by its path in the working directory, else by its content."""
    if recipe.resolve().is_relative_to(jobs.resolve()):
        return str(recipe.resolve().relative_to(jobs.resolve()))
    return "data:" + base64.b64encode(recipe.read_bytes()).decode()


def _use_local_stack() -> None:
    """Takes the addresses of the local stack from its file where the environment names no cluster."""
    if "RAY_API_SERVER_ADDRESS" not in os.environ and LOCAL_STACK.is_file():
        lines = (line.split("=", 1) for line in LOCAL_STACK.read_text().splitlines())
        os.environ.update({key: value for key, value in lines})


def _restart_local_head() -> None:
    """A head that died with the machine's stack comes back; a remote cluster is its operator's."""
    if LOCAL_STACK.is_file() and Path("infra/local/stack.py").is_file():
        subprocess.run([sys.executable, "-m", "infra.local.stack", "up"], check=False)


if __name__ == "__main__":
    sys.exit(main())
