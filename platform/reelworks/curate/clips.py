"""Spans to arrays of frames: which frames, at what size, and the frames themselves.

Axes: T frames, H W rows and columns.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby

import numpy as np

from reelworks import schema, video
from reelworks.config import Section
from reelworks.curate.shots import ShotSpec, Span, find_spans
from reelworks.curate.sources import Opened, Source, open_source, version_of


class ClipSpec(Section):
    """What frames of a span make a clip."""

    fps: float = 8.0
    """Frames a second; a source with fewer keeps its own."""
    max_tokens: int = 1024
    """Latent positions (t * h * w) of a clip; a larger one is scaled down in space until it fits."""
    multiple_px: int = 8
    """Height and width are cropped to a multiple of this many pixels: the VAE's spatial stride times the patch."""
    temporal_stride: int = 4
    """The VAE's stride in time: a clip has this times k, plus 1, frames."""
    spatial_stride: int = 8
    """The VAE's stride in space, in pixels."""
    shots: ShotSpec = ShotSpec()
    """How a source is cut into clips."""


@dataclass(frozen=True)
class Geometry:
    """The size a clip is decoded at (scaled_height, scaled_width) and cropped to (height, width), in pixels."""

    scaled_height: int
    scaled_width: int
    height: int
    width: int


def num_frames(span: Span, native_fps: float, spec: ClipSpec) -> tuple[float, int]:
    """(fps, frames) of a clip: at the lower of the native and the recipe's rate, temporal_stride * k + 1 of them."""
    fps = min(native_fps, spec.fps)
    # A quarter of a native frame of slack: times are rounded to the container's time base.
    shown = math.ceil((span.end_s - span.start_s - 0.25 / native_fps) * fps)
    return fps, (max(1, shown) - 1) // spec.temporal_stride * spec.temporal_stride + 1


def frame_times(span: Span, native_fps: float, spec: ClipSpec) -> np.ndarray:
    """Times in seconds (T,) at which the clip's frames are shown; each a quarter of a native frame inside it."""
    fps, count = num_frames(span, native_fps, spec)
    return span.start_s + np.arange(count) / fps + 0.25 / native_fps


def geometry(native_height: int, native_width: int, frames: int, spec: ClipSpec) -> Geometry | None:
    """Native size, scaled down only over the token limit and cropped to the multiple; None below one multiple."""
    multiple = spec.multiple_px
    latent_frames = (frames - 1) // spec.temporal_stride + 1
    limit_px = spec.max_tokens / latent_frames * spec.spatial_stride**2
    scale = 1.0
    while True:
        height, width = round(native_height * scale), round(native_width * scale)
        cropped_height, cropped_width = height // multiple * multiple, width // multiple * multiple
        if not cropped_height or not cropped_width:
            return None
        if cropped_height * cropped_width <= limit_px:
            return Geometry(height, width, cropped_height, cropped_width)
        # The largest scale at which the area fits, then by steps of 1% where rounding still leaves it above.
        scale = min(math.sqrt(limit_px / (native_height * native_width)), scale * 0.99)


def crop(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """The central height x width of frames (T, H, W, 3)."""
    top, left = (frames.shape[1] - height) // 2, (frames.shape[2] - width) // 2
    return np.ascontiguousarray(frames[:, top : top + height, left : left + width])


def clip_row(
    source: Source,
    native_height: int,
    native_width: int,
    native_fps: float,
    time_base: Fraction,
    span: Span,
    spec: ClipSpec,
) -> schema.ClipRow | None:
    """The row of a span; None where the picture is smaller than one multiple of the patch."""
    native_fps = native_fps or spec.fps  # a still tells no rate
    fps, count = num_frames(span, native_fps, spec)
    size = geometry(native_height, native_width, count, spec)
    if size is None:
        return None
    area = (size.height // spec.spatial_stride) * (size.width // spec.spatial_stride)
    source_id = source.source_id
    return schema.ClipRow(
        clip_id=schema.clip_id(source_id, span.first_pts, span.last_pts, str(time_base)),
        source_id=source_id,
        source_uri=source.uri,
        source_etag=source.etag,
        start_s=span.start_s,
        end_s=span.end_s,
        width=size.width,
        height=size.height,
        native_width=native_width,
        native_height=native_height,
        native_fps=native_fps,
        native_num_frames=span.num_frames,
        fps=fps,
        num_frames=count,
        num_tokens=((count - 1) // spec.temporal_stride + 1) * area,
    )


def clip_frames(
    opened: Opened,
    rows: Sequence[schema.ClipRow],
    spans: Sequence[Span],
    spec: ClipSpec,
    decoded_by: Counter[tuple[str, str]] | None = None,
) -> list[np.ndarray]:
    """Frames uint8 (T, H, W, 3) of clips of one source, 1:1; a decoder pass for each run of one size.

    `decoded_by` counts clips by (decoder, why this one). Raises VideoError.
    """
    sizes = [geometry(row.native_height, row.native_width, row.num_frames, spec) for row in rows]
    frames: list[np.ndarray] = []
    with video.open_onward(opened, version_of(opened)) as reader:
        for size, run in groupby(range(len(rows)), key=sizes.__getitem__):
            assert size is not None, "a row exists only where its picture fits"
            indexes = list(run)
            times = [frame_times(spans[i], rows[i].native_fps, spec) for i in indexes]
            decoded = reader.frames(
                times_s=np.concatenate(times).tolist(),
                size=(size.scaled_height, size.scaled_width),
                partial=spec.shots.keep_truncated,
                places=[place for i in indexes if (place := spans[i].place) is not None],
            )
            if decoded_by is not None:
                same = decoded.decoder == reader.probe.decoder
                reason = reader.probe.decoder_reason if same else "single frames are asked for"
                decoded_by[decoded.decoder, reason] += len(indexes)
            ends = np.cumsum([len(t) for t in times])
            for i, end in zip(indexes, ends, strict=True):
                frames.append(crop(decoded.frames[end - rows[i].num_frames : end], size.height, size.width))
    return frames


def clips_of_source(source: Source, spec: ClipSpec) -> Iterator[tuple[schema.ClipRow, np.ndarray]]:
    """Every clip of a source with its frames uint8 (T, H, W, 3), in display order; 1:N, none where no shot is usable.

    Raises VideoError (the source belongs in quarantine) and StorageError.
    """
    opened = open_source(source)
    probe = video.probe(opened)
    for span in find_spans(opened, probe, spec.shots):
        row = clip_row(source, probe.height, probe.width, probe.fps, probe.time_base, span, spec)
        if row is not None:
            yield row, clip_frames(opened, [row], [span], spec)[0]
