"""`python -m tests.benchmarks.damage`: what becomes of damaged files, and what looking for damage costs.

Of each codec and container files are damaged at fixed places of their payload in six ways (a bit, a byte, 188 bytes and
4 KB of zeros or noise). `found` is the share of harmed files of which no visibly wrong frame is given out as right, by
`reelworks.video`, and by a plain loop over PyAV's frames up to its first exception; the fates are counted beside it.
`cost` is the CPU time of decoding the undamaged file in one process with all checks over the same without them, the
median of interleaved pairs. Takes a minute or two on one core.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import av
import av.error
import numpy as np

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video import checksums, decoder
from reelworks.video.reader import Reader
from tests.benchmarks.record import record
from tests.video.damage import WAYS, fates, found, source

PAIRS = (
    "h264/mp4 h264/mkv h264/ts h264/flv hevc/mp4 hevc/mkv hevc/ts av1/mp4 av1/webm av1/ivf vp9/mp4 vp9/webm vp9/ivf "
    "vp8/webm vp8/mkv vp8/ivf mpeg1video/mpg mpeg2video/mpg mpeg2video/ts mpeg4/mp4 mpeg4/avi flv1/flv mjpeg/avi "
    "mjpeg/mov prores/mov ffv1/mkv png/mov gif/gif"
).split()
COST_PAIRS = 15


def ours(data: bytes) -> tuple[list[tuple[int, np.ndarray]], VideoError | None]:
    from tests.video.test_damage import decoded

    return decoded(data)


def plain(data: bytes) -> tuple[list[tuple[int, np.ndarray]], VideoError | None]:
    frames = []
    try:
        with av.open(io.BytesIO(data)) as file:
            for frame in file.decode(video=0):
                frames.append((frame.pts or 0, frame.to_ndarray(format="rgb24")))
    except (av.error.FFmpegError, IndexError, TypeError) as error:
        return frames, VideoError(VideoErrorKind.corrupt, str(error))
    return frames, None


@contextmanager
def unchecked() -> Iterator[None]:
    """Decoding as it was before it looked for damage."""
    with (
        patch.object(decoder, "Listening", lambda: nullcontext([])),
        patch.object(decoder, "holds_impossible_bytes", lambda *_: False),
        patch.object(checksums.ClusterSums, "damaged_at", lambda *_: False),
        patch.object(decoder, "_STRICTER", {}),
    ):
        yield


def cpu_s(data: bytes) -> float:
    start = time.process_time()
    with Reader(io.BytesIO(data)) as reader:
        reader.frames()
    return time.process_time() - start


def cost(data: bytes) -> float:
    """CPU time with the checks over that without, median of pairs."""
    ratios = []
    for _ in range(COST_PAIRS):
        checked = cpu_s(data)
        with unchecked():
            ratios.append(checked / cpu_s(data))
    return round(statistics.median(ratios), 3)


def measure(pair: str, seeds: int) -> dict[str, object]:
    data = source(*pair.split("/"))
    mine, theirs = (fates(data, WAYS, seeds, way) for way in (ours, plain))
    figures = {"found": round(found(mine), 3), "plain_pyav_found": round(found(theirs), 3), "cost": cost(data)}
    return figures | {"fates": dict(sorted(mine.items())), "plain_pyav_fates": dict(sorted(theirs.items()))}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how much damage is found.")
    parser.add_argument("--seeds", type=int, default=8, help="places of each way of damage in each file")
    seeds = parser.parse_args().seeds
    print(
        record("damage", {"seeds": seeds, "ways": list(WAYS), "files": {pair: measure(pair, seeds) for pair in PAIRS}})
    )


if __name__ == "__main__":
    main()
