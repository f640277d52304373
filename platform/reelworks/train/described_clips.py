"""Clips that somebody has described: from sidecars and raw video in the bucket to rows of a Ray data set.

Axis legend: T frames, H W rows and columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import ray
import ray.data

from reelworks import video
from reelworks.curate.clips import ClipSpec, clip_frames, clip_row
from reelworks.curate.shots import find_spans
from reelworks.curate.sources import Source, list_sources, match_shot, open_source, read_sidecar
from reelworks.errors import StorageError, VideoError
from reelworks.models.vision_input import spread_frames


@dataclass(frozen=True)
class DescribedClip:
    """Frames uint8 (T, H, W, 3) spread over a clip, its captions ("" where none), and its truth where known."""

    frames: np.ndarray
    short: str
    descriptive: str
    attributes: dict[str, str]


@ray.remote(num_cpus=0)
class Tally:
    """Counts over all tasks of a job; the end table is made of it."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, counts: dict[str, int]) -> None:
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def read(self) -> dict[str, int]:
        return dict(self.counts)


def described_sources(prefixes: Sequence[str], needs: str) -> list[tuple[Source, list[dict[str, Any]]]]:
    """Sources whose sidecar has a shot with the field `needs`, and these shots. Sidecars are read, videos aren't."""

    def usable(source: Source) -> tuple[Source, list[dict[str, Any]]]:
        try:
            return source, [shot for shot in read_sidecar(source) if shot.get(needs)]
        except (ValueError, StorageError):
            return source, []  # prepare reports a broken sidecar; here it describes nothing

    with ThreadPoolExecutor(16) as pool:
        return [(source, shots) for source, shots in pool.map(usable, list_sources(prefixes)) if shots]


def described_clips(
    described: Sequence[tuple[Source, list[dict[str, Any]]]],
    spec: ClipSpec,
    kept_frames: int,
    tally: Any,
    tasks: int,
) -> ray.data.Dataset:
    """A streaming data set of clips, one row each (see `clip_of_row`); at most `tasks` tasks decode at once."""
    rows = [{"source": json.dumps(asdict(source)), "shots": json.dumps(shots)} for source, shots in described]
    # One row of a fan-out becomes one block: enough blocks keep every task busy, few keep starts cheap.
    dataset = ray.data.from_items(rows, override_num_blocks=max(1, min(len(rows), 8 * tasks)))
    return dataset.flat_map(
        read_clips,  # type: ignore[arg-type]  # Ray's stubs know no rows from functions with arguments
        fn_kwargs={"spec": spec, "kept_frames": kept_frames, "tally": tally},
        num_cpus=1,
        compute=ray.data.TaskPoolStrategy(size=tasks),
    )


def read_clips(row: dict[str, Any], spec: ClipSpec, kept_frames: int, tally: Any) -> list[dict[str, Any]]:
    """The described clips of one source, 1:N; a source that can't be read is counted and gives none."""
    source = Source(**json.loads(row["source"]))
    try:
        found = list(_clips(source, json.loads(row["shots"]), spec, kept_frames))
    except VideoError as error:
        tally.add.remote({"sources": 1, f"sources_dropped_{error.kind}": 1})
        return []
    except StorageError as error:
        tally.add.remote({"sources": 1, f"sources_unread_{error.kind}": 1})
        return []
    tally.add.remote({"sources": 1, "clips": len(found)})
    return found


def _clips(source: Source, shots: list[dict[str, Any]], spec: ClipSpec, kept_frames: int) -> Iterator[dict[str, Any]]:
    opened = open_source(source)
    probe = video.probe(opened)
    spans = [span for span in find_spans(opened, probe, spec.shots) if match_shot(shots, span.start_s, span.end_s)]
    picture = (probe.height, probe.width, probe.fps, probe.time_base)
    cut = [(row, span) for span in spans if (row := clip_row(source, *picture, span, spec))]
    pixels = clip_frames(opened, [row for row, _ in cut], [span for _, span in cut], spec)
    for (row, _), whole in zip(cut, pixels, strict=True):
        shot = match_shot(shots, row.start_s, row.end_s) or {}
        frames = whole if len(whole) <= kept_frames else spread_frames(whole, None, kept_frames)
        yield {
            "frames": frames.tobytes(),
            "height": frames.shape[1],
            "width": frames.shape[2],
            "short": shot.get("caption") or "",
            "descriptive": shot.get("descriptive") or "",
            "attributes": json.dumps(shot.get("attributes") or {}),
        }


def clip_of_row(row: dict[str, Any]) -> DescribedClip:
    """The clip of a row of `described_clips`."""
    frames = np.frombuffer(row["frames"], np.uint8).reshape(-1, row["height"], row["width"], 3)
    return DescribedClip(frames, row["short"], row["descriptive"], json.loads(row["attributes"]))
