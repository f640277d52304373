"""`make demo`: the whole line on one machine, from raw videos to a report of what the endpoint serves.

`python -m infra.local.demo [--size full|ci] [--videos FOLDER] [--captioner SOURCE]`
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.local import lock
from infra.local.measure import Meter
from infra.local.stack import Stack
from infra.local.stages import (
    FOOTAGE,
    OWN_HELD_OUT,
    OWN_TRAINED,
    OWN_VIDEOS,
    Choices,
    Stage,
    num_endpoint_videos,
    stages,
)
from reelworks.errors import ReelworksError, UserError

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "jobs" / "recipes" / "laptop"
FOOTAGE_FILE = ROOT / ".cache" / "footage" / "transnetv2.mp4"
OUTPUT = ROOT / "demo"
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".ps", ".mpg", ".flv", ".ivf", ".gif", ".png", ".jpg")


class Demo:
    """One run: what was chosen, what each stage gave, and how long it took."""

    def __init__(self, choices: Choices, environment: dict[str, str]):
        self.choices = choices
        self.environment = {**os.environ, **environment}
        self.results: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str, says: str, minutes: float) -> Iterator[None]:
        """Announces a stage, and tells how long it took."""
        print(f"\n=== {name}: {says} (about {minutes:.1f} min)", flush=True)
        begun = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begun
        print(f"=== {name}: done in {self.seconds[name]:.0f} s", flush=True)

    def run(self, stage: Stage) -> None:
        """Submits the job and keeps its RESULT. Raises ReelworksError where it fails."""
        command = [str(Path(sys.executable).parent / "reelworks"), "run", stage.verb]
        command += ["--recipe", str(RECIPES / f"{stage.verb}.yaml")]
        for override in stage.overrides:
            command += ["--set", override]
        with self.timed(stage.name, stage.says, stage.minutes):
            process = subprocess.Popen(command, env=self.environment, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("RESULT "):
                    self.results[stage.name] = json.loads(line.removeprefix("RESULT "))
                else:
                    print(f"  {line}", end="", flush=True)
            if process.wait() or stage.name not in self.results:
                raise ReelworksError(f"stage {stage.name} failed (exit code {process.returncode}); its log is above")


def upload_raw(choices: Choices, folder: Path | None) -> None:
    """Puts the real clip, or the user's own videos with their sidecars, into the bucket of raw videos."""
    from reelworks import storage

    if FOOTAGE_FILE.exists():
        storage.create_once(FOOTAGE + FOOTAGE_FILE.name, FOOTAGE_FILE.read_bytes())
    if folder is None:
        return
    files = own_videos(folder)
    for number, path in enumerate(files):
        held_out = number % 5 == 4 or (1 < len(files) < 5 and number == len(files) - 1)
        place = OWN_HELD_OUT if held_out else OWN_TRAINED
        sidecars = [side for side in (path.with_suffix(".json"), Path(f"{path}.json")) if side.is_file()]
        for one in (path, *sidecars):
            storage.create_once(place + one.relative_to(folder).as_posix(), one.read_bytes())
    print(f"uploaded {len(files)} videos to {OWN_VIDEOS}")


def own_videos(folder: Path) -> list[Path]:
    """The video files below a folder, by name. UserError where there is none."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in VIDEO_SUFFIXES]
    if not files:
        raise UserError(f"{folder} holds no videos", f"Known suffixes: {' '.join(VIDEO_SUFFIXES)}")
    return files


def has_captions(folder: Path) -> bool:
    return any(folder.rglob("*.json"))


def parse_arguments(arguments: list[str]) -> tuple[Choices, Path | None]:
    """The choices, and the folder of the user's own videos."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--size", choices=("full", "ci"), default="full")
    parser.add_argument("--videos", type=Path, default=None, help="a folder of your own videos")
    parser.add_argument("--captioner", default=None, help="model source of a captioner for your own videos")
    parsed = parser.parse_args(arguments)
    if parsed.videos is not None and not parsed.videos.is_dir():
        raise UserError(f"VIDEOS={parsed.videos} is no folder", "Name a folder that holds video files")
    if parsed.captioner and parsed.videos is None:
        raise UserError("CAPTIONER= is for your own videos", "Give VIDEOS=folder as well")
    if parsed.videos is None:
        return Choices(parsed.size), None
    num_videos = len(own_videos(parsed.videos))
    own_captions = not parsed.captioner and has_captions(parsed.videos)
    return Choices(parsed.size, num_videos, own_captions, parsed.captioner), parsed.videos


def run_demo(choices: Choices, folder: Path | None) -> int:
    """Everything in order; 0 if the whole line ran and, at SIZE=ci, its figures are above their thresholds."""
    from infra.local.ask import serve_and_ask
    from infra.local.gather import misses, write_report

    begun = time.monotonic()
    stack = Stack()
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir()
    environment = stack.up()
    os.environ.update(environment)
    with Meter([os.getpid(), *(item.pid for item in stack.running().values())]) as meter:
        demo = Demo(choices, environment)
        demo.seconds["stack"] = time.monotonic() - begun
        with demo.timed("upload", "puts real footage into the bucket of raw videos", 0.1):
            upload_raw(choices, folder)
        for stage in stages(choices):
            demo.run(stage)
        with demo.timed("endpoint", "deploys Ray Serve and asks for videos with the OpenAI SDK", 2.0):
            served = serve_and_ask(demo, OUTPUT, num_endpoint_videos(choices))
    figures = write_report(demo, served, OUTPUT, meter, time.monotonic() - begun)
    print(f"\nThe report: {OUTPUT / 'report.html'} ({figures['total_seconds'] / 60:.1f} minutes)")
    print(f"MLflow: {environment['MLFLOW_TRACKING_URI']}   endpoint: {served.base_url}   `make down` stops all")
    below = misses(figures, choices)
    for line in below:
        print(f"below its threshold: {line}")
    return 1 if below and choices.size == "ci" else 0


def main(arguments: list[str]) -> int:
    try:
        choices, folder = parse_arguments(arguments)
        with lock.host_lock("make demo", own_stack=Stack().folder):
            return run_demo(choices, folder)
    except (ReelworksError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
