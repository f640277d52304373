"""`python -m tests.benchmarks.shots`: memory of the shot detectors on a film of two hours and on one of half an hour.

Every detector cuts both films, which lie in a bucket, as the index stage does: `open_source`, `probe`, `find_shots`,
decoding child included; each in a fresh process that has cut a film of one minute before. Measured is the peak of the
process and its child above what they took then, as the sum of their high-water marks: two hours may take GROWTH_MB more
than half an hour, which is cut four times, for timestamps and the file's index. Summed PSS stands beside it; sampled
one process after the other while frames pass between them, it may be larger. Of TransNetV2's windows, which are all
alike, the network computes one in NETWORK_EVERY and zeros stand for the others: all would take an hour. Takes a quarter
of an hour on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from reelworks import storage, video
from reelworks.curate import shots
from reelworks.curate.shots import ShotSpec, find_shots
from reelworks.curate.sources import WHOLE_OBJECT_BYTES, list_sources, open_source
from reelworks.curate.transnet import WINDOW, Predict, predictor
from tests.benchmarks.memory import Gauge, loop, write_video
from tests.benchmarks.record import record
from tests.own_s3 import own_s3

DETECTORS = ("fixed", "content", "adaptive", "transnetv2")
MINUTES = {"warm": 1, "half_an_hour": 30, "two_hours": 120}
# The peaks of TransNetV2's windows differ by 30 MB with no film at all: either mark is the highest of as many of them.
TIMES = {"half_an_hour": 4, "two_hours": 1}
FPS, SIZE = 24, (96, 54)
# Filled up to the rate of a real film: the shorter one too is read by range, long enough for the largest windows.
FILLED = {
    "crf": "-1", "b": "400k", "minrate": "400k", "maxrate": "400k", "bufsize": "400k",
    "x264-params": "nal-hrd=cbr:force-cfr=1",
}  # fmt: skip
GROWTH_MB = 32
# Cuts lie 240 frames apart and windows 50: one window in 49 comes upon every place of a cut in a window.
NETWORK_EVERY = 49
# Reading the memory of a process with torch takes milliseconds; these peaks stand for minutes, and the marks miss none.
SAMPLE_S = 0.05


def some_windows(threads: int, device: str) -> Predict:
    """The network for one window in NETWORK_EVERY, zeros for the rest."""
    network, numbers = predictor(threads, device), count()

    def predict(window: np.ndarray) -> np.ndarray:
        return np.zeros(WINDOW, np.float32) if next(numbers) % NETWORK_EVERY else network(window)

    return predict


def cut(prefix: str, detector: str) -> tuple[int, int]:
    """(frames, cuts) of the one film under a prefix, as the index stage finds them."""
    (source,) = list_sources([prefix])
    opened = open_source(source)
    pts, cuts, _ = find_shots(opened, video.probe(opened), ShotSpec.model_validate({"detector": detector}))
    return len(pts), len(cuts)


def serve(pipe: Connection, detector: str, warm: str, film: str, times: int) -> None:
    """A worker: the minute first, then, when it is told to, the film, so many times."""
    with patch.object(shots, "predictor", some_windows):
        cut(warm, detector)
        pipe.send("ready")
        pipe.recv()
        pipe.send([cut(film, detector) for _ in range(times)][-1])
        pipe.recv()


def measure(detector: str, warm: str, film: str, times: int) -> dict[str, float]:
    """One detector on one film, so many times, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, detector, warm, film, times), daemon=True)
    process.start()
    theirs.close()
    assert process.pid is not None and pipe.recv() == "ready"
    gauge, began = Gauge(process.pid, SAMPLE_S), time.monotonic()
    pipe.send("go")
    frames, cuts = pipe.recv()
    found = gauge.stop() | {"frames": frames, "cuts": cuts, "seconds": round(time.monotonic() - began, 1)}
    pipe.send("end")
    process.join()
    return found


def upload(folder: Path, base: str) -> Iterator[tuple[str, str]]:
    """(name, prefix) of each film, in the order of MINUTES."""
    write_video(folder / "minute.mp4", *SIZE, FPS, 60 * FPS, FILLED)
    for name, minutes in MINUTES.items():
        loop(folder / f"{name}.mp4", folder / "minute.mp4", minutes)
        assert name == "warm" or (folder / f"{name}.mp4").stat().st_size > WHOLE_OBJECT_BYTES
        storage.create_file_once(f"{base}/{name}/film.mp4", folder / f"{name}.mp4")
        yield name, f"{base}/{name}/"


def growth_mb(figures: dict[str, dict[str, float]]) -> float:
    """What two hours took more than half an hour, by the high-water marks."""
    return round(figures["two_hours"]["hwm_mb"] - figures["half_an_hour"]["hwm_mb"], 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detectors", nargs="*", choices=DETECTORS, default=DETECTORS)
    detectors = parser.parse_args().detectors
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="rw") as place, own_s3(Path(place)):
        films = dict(upload(Path(place), f"s3://reelworks/benchmark-{uuid.uuid4().hex}"))
        warm = films.pop("warm")
        for detector in detectors:
            for name, film in films.items():
                figures = measure(detector, warm, film, TIMES[name])
                print(detector, name, figures, flush=True)
                assert figures["frames"] == MINUTES[name] * 60 * FPS
                assert bool(figures["cuts"]) == (detector != "fixed")
                found.setdefault(detector, {})[name] = figures
    growth = {detector: growth_mb(figures) for detector, figures in found.items()}
    record("shots", {"growth_limit_mb": GROWTH_MB, "growth_mb": growth, "detectors": found})
    print(f"growth from half an hour to two hours {growth} MB, limit {GROWTH_MB} MB")
    return int(max(growth.values()) > GROWTH_MB)


if __name__ == "__main__":
    sys.exit(main())
