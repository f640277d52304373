"""The public way from a source to its probe and its frames."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from reelworks.video.frames import Frames
from reelworks.video.limits import Limits
from reelworks.video.probe import Probe
from reelworks.video.reader import BATCH_BYTES
from reelworks.video.sandbox import SandboxedReader
from reelworks.video.source import Source, open_source


@contextmanager
def open_video(source: Source, limits: Limits | None = None, whole: bool = False) -> Iterator[SandboxedReader]:
    """Open a source once for its `probe` and several calls of `frames` and `batches`; its index is read once.

    `whole` says that most of it will be read. Raises VideoError, StorageError for URIs, OSError for paths.
    """
    file, ours = open_source(source)
    try:
        with SandboxedReader(file, limits, whole) as reader:
            yield reader
    finally:
        if ours:
            file.close()


def probe(source: Source, limits: Limits | None = None) -> Probe:
    """Read a source's header, index and, where that costs little, first frame. Raises as `open_video` does."""
    with open_video(source, limits) as reader:
        return reader.probe


def decode(
    source: Source,
    span_s: tuple[float, float] | None = None,
    times_s: Sequence[float] | None = None,
    size: tuple[int, int] | None = None,
    *,
    partial: bool = False,
    interpolation: str = "bicubic",
    limits: Limits | None = None,
) -> Frames:
    """Decode a source: whole, the frames with start <= time < end of `span_s`, or the frame shown at each of `times_s`.

    Rotation and pixel aspect are applied; `size` is (height, width) of the result, by default that of the probe.
    `pts_s` is strictly increasing (with `times_s` it has one entry a time, equal ones where a frame is shown twice).
    With `partial`, a truncated or corrupt source gives its good prefix with `Frames.error` instead of raising; for
    `times_s` a truncated one ends with its last good frame. Damage is found as far as codec and container let it be:
    see `reelworks.video.decoder`.
    Raises VideoError with the number of good frames, StorageError for URIs, ValueError for both span_s and times_s.
    """
    whole = span_s is None and times_s is None
    with open_video(source, limits, whole) as reader:
        return reader.frames(span_s, times_s, size, partial, interpolation)


def iter_frames(
    source: Source,
    span_s: tuple[float, float] | None = None,
    size: tuple[int, int] | None = None,
    *,
    interpolation: str = "bicubic",
    limits: Limits | None = None,
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[Frames]:
    """Batches of frames in display order with memory that doesn't grow with the length (1:N).

    A damaged source gives what is good first; its last batch carries `error`. Raises as `decode` does otherwise.
    """
    with open_video(source, limits, whole=span_s is None) as reader:
        yield from reader.batches(span_s, size, interpolation, batch_bytes)
