"""Raw video in the bucket to clips of frames: a streaming data set in which no clip crosses a detected cut."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np
import ray.data
from pydantic import Field, model_validator

from reelworks import video
from reelworks.config import Section
from reelworks.curate.clips import ClipSpec, clip_frames, clip_row
from reelworks.curate.shots import find_spans
from reelworks.curate.sources import Source, list_sources, open_source
from reelworks.errors import StorageError, UserError, VideoError
from reelworks.train.described_clips import Tally

# One decoder pass for this many clips: few seeks in a short source, bounded memory in a film.
CLIPS_A_PASS = 8
# Sources from here on are read first, or the last task would go on alone.
LARGE_BYTES = 1 << 20
SOURCES_A_TASK = 6


class Mix(Section):
    """One kind of raw video and how much of it."""

    name: str
    """What the results call it."""
    prefix: str
    """Prefix of its sources."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of windows, relative to the other mixes' weights."""
    max_sources: int | None = Field(default=None, ge=1)
    """Sources read at most, drawn at random; all of them if left out."""
    span: tuple[float, float] = (0.0, 1.0)
    """Part of each source's duration that clips may come from, as fractions."""
    clips: ClipSpec = ClipSpec()
    """What makes a clip."""

    @model_validator(mode="after")
    def _span_lies_in_the_source(self) -> Mix:
        if not 0 <= self.span[0] < self.span[1] <= 1:
            raise ValueError(f"span {self.span} must be two rising fractions between 0 and 1")
        return self


def list_mixes(mixes: Sequence[Mix], seed: int) -> list[dict[str, Any]]:
    """One row a source, shuffled; large sources first, since they take longest. Raises UserError for none."""
    rows: list[dict[str, Any]] = []
    drawn = random.Random(seed)
    for index, mix in enumerate(mixes):
        found = [source for source in list_sources([mix.prefix]) if not source.problem]
        if not found:
            raise UserError(f"there is no raw video under {mix.prefix} ({mix.name})", "upload some or drop this mix")
        if mix.max_sources is not None and mix.max_sources < len(found):
            found = drawn.sample(found, mix.max_sources)
        rows += [{"source": json.dumps(asdict(source)), "mix": index, "bytes": source.size} for source in found]
    drawn.shuffle(rows)
    return sorted(rows, key=lambda row: row["bytes"] < LARGE_BYTES)


def new_tally() -> Any:
    """An actor that counts over all tasks (`add`, `read`)."""
    return cast(Any, Tally).remote()


def raw_clips(mixes: Sequence[Mix], rows: list[dict[str, Any]], tally: Any, tasks: int) -> ray.data.Dataset:
    """A streaming data set with the clips of listed sources, one row each (see `clip_of_row`)."""
    # A task hands its clips over when it ends: few sources a task let training begin early, one would cost its start.
    blocks = max(1, min(len(rows), max(6 * tasks, len(rows) // SOURCES_A_TASK)))
    return ray.data.from_items(rows, override_num_blocks=blocks).flat_map(
        read_clips,  # type: ignore[arg-type]  # Ray's stubs know no generator of rows with arguments
        fn_kwargs={"mixes": list(mixes), "tally": tally},
        num_cpus=1,
        compute=ray.data.TaskPoolStrategy(size=tasks),
    )


def read_clips(row: dict[str, Any], mixes: list[Mix], tally: Any) -> Iterator[dict[str, Any]]:
    """The clips of one source, 1:N; a source that can't be read gives none from there on, and is counted."""
    source, mix = Source(**json.loads(row["source"])), mixes[row["mix"]]
    counts = {"sources": 1}
    try:
        for frames in clips_in_span(source, mix):
            counts["clips"] = counts.get("clips", 0) + 1
            yield {
                "frames": frames.tobytes(),
                "height": frames.shape[1],
                "width": frames.shape[2],
                "mix": row["mix"],
            }
    except VideoError as error:
        counts[f"sources_dropped_{error.kind}"] = 1
    except StorageError as error:
        counts[f"sources_unread_{error.kind}"] = 1
    tally.add.remote(counts)


def clips_in_span(source: Source, mix: Mix) -> Iterator[np.ndarray]:
    """Frames uint8 (T, H, W, 3) of the clips that lie in the mix's span of the source, in display order."""
    opened = open_source(source)
    probe = video.probe(opened)
    spans = find_spans(opened, probe, mix.clips.shots)
    if not spans:
        return
    # The last shot's end, not the header's duration, which may be absent.
    end_s = max(span.end_s for span in spans)
    low_s, high_s = (fraction * end_s for fraction in mix.span)
    inside = [span for span in spans if span.start_s >= low_s and span.end_s <= high_s + 1e-6]
    picture = (probe.height, probe.width, probe.fps, probe.time_base)
    cut = [(row, span) for span in inside if (row := clip_row(source, *picture, span, mix.clips))]
    for start in range(0, len(cut), CLIPS_A_PASS):
        rows, passed = zip(*cut[start : start + CLIPS_A_PASS], strict=True)
        yield from clip_frames(opened, rows, passed, mix.clips)


def clip_of_row(row: dict[str, Any]) -> np.ndarray:
    """Frames uint8 (T, H, W, 3) of a row of `raw_clips`."""
    # Copied: the row's bytes are read-only and belong to the object store.
    return np.frombuffer(bytearray(row["frames"]), np.uint8).reshape(-1, row["height"], row["width"], 3)
