"""One opened source: its probe, and its frames chosen by presentation time.

PyAV decodes here in one pass and in display order; that is right for every container. A seek is used only where its
result proves itself: a key frame at or before the time asked for.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from av.video.frame import VideoFrame

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.fast import decode_with_decord
from reelworks.video.frames import Allocate, Collector, Frames, Renderer, allocate_private, seconds_of
from reelworks.video.layout import Bounded, withheld
from reelworks.video.limits import Limits
from reelworks.video.places import Place
from reelworks.video.probe import Probe, describe, hold_to
from reelworks.video.seeking import Jumps
from reelworks.video.shown import Shown
from reelworks.video.stream import FrameStream

BATCH_BYTES = 8 * 2**20
"""RGB bytes of one batch of `batches`: small beside a worker, large beside a call."""


class Reader:
    """Probe and frames of one seekable binary file, decoded in this process. Raises VideoError; not thread-safe."""

    def __init__(self, file: BinaryIO, limits: Limits | None = None, use_decord: bool = False):
        """`use_decord` only in the child: decord may hang, and its libraries disturb PyAV's encoders."""
        self.limits = limits or Limits()
        self._file = file
        self._use_decord = use_decord
        self._postponed = False
        self.probe: Probe
        try:
            self._open()
        except VideoError:
            if not withheld(file):
                raise
            self._open_unbounded()  # it may be what was withheld that was missing
        self._postponed = withheld(file)
        if isinstance(file, Bounded):
            file.bounded = False

    def _open(self) -> None:
        self._stream = FrameStream(self._file, self.limits)
        try:
            picture = self._stream.first_picture()
            self._orientation = picture.orientation
            self.probe = describe(self._stream, picture)
            self._jumps = Jumps(self._stream)
            self._shown = Shown(self._jumps, self.probe.time_base)
        except BaseException:
            self._stream.close()
            raise

    def _open_unbounded(self) -> None:
        """Open without a limit on what it costs: header and first frame are read and proved now. Raises VideoError."""
        if isinstance(self._file, Bounded):
            self._file.bounded = self._file.withheld = False
        self._open()

    def _complete(self) -> None:
        """What a bounded opening had to leave out, before anything is decoded. Raises VideoError."""
        if self._postponed:
            told = self.probe
            self._stream.close()
            self._open_unbounded()
            self._postponed = False
            hold_to(told, self.probe)

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def frames(
        self,
        span_s: tuple[float, float] | None = None,
        times_s: Sequence[float] | None = None,
        size: tuple[int, int] | None = None,
        partial: bool = False,
        interpolation: str = "bicubic",
        allocate: Allocate = allocate_private,
        places: Sequence[Place] = (),
    ) -> Frames:
        """Decode the whole source, a span or single times; see `reelworks.video.decode`.

        `places`: key frames in display order, as `batches` noted them in this very file: where its container has no
        index, the way to a late frame is from the last one before it and not from the start.
        """
        if span_s is not None and times_s is not None:
            raise ValueError("span_s and times_s can't both be given; choose one.")
        self._complete()
        self._jumps.places = places
        renderer = self._renderer(size, interpolation)
        if (
            self._use_decord
            and self.probe.decoder == "decord"
            and times_s is None
            and not renderer.scales(self.probe.height, self.probe.width)
        ):
            fast = self._with_decord(span_s, allocate)
            if fast is not None:
                return fast
        expected = len(times_s) if times_s is not None else self._expected(span_s)
        out = Collector(renderer.height, renderer.width, expected, self.limits.max_decoded_bytes, allocate)
        error = None
        try:
            if times_s is not None:
                return self._at_times(times_s, renderer, out, partial)
            for pts, frame in self._within(span_s):
                renderer.draw(frame, out.slot(pts))
        except VideoError as reason:
            if reason.kind is VideoErrorKind.oversize:
                raise
            good = len(out) if times_s is None else 0  # single frames are no prefix
            error = VideoError(reason.kind, reason.message, good)
            if not partial or not good:
                raise error from reason
        return out.frames(self.probe.time_base, "pyav", error)

    def batches(
        self,
        span_s: tuple[float, float] | None = None,
        size: tuple[int, int] | None = None,
        interpolation: str = "bicubic",
        batch_bytes: int = BATCH_BYTES,
        allocate: Allocate = allocate_private,
    ) -> Iterator[Frames]:
        """Frames in display order, a batch at a time, so that memory doesn't grow with the length, with their places.

        What is good before an error comes first; the last batch then carries the error and is followed by nothing.
        """
        self._complete()
        self._jumps.places = ()
        renderer = self._renderer(size, interpolation)
        per_batch = max(1, batch_bytes // (renderer.height * renderer.width * 3))
        room = per_batch * renderer.height * renderer.width * 3
        out = Collector(renderer.height, renderer.width, per_batch, room, allocate)
        count = 0
        try:
            for pts, frame in self._within(span_s):
                renderer.draw(frame, out.slot(pts))
                out.note(self._stream.place_of(pts, frame))
                count += 1
                if len(out) == per_batch:
                    yield out.frames(self.probe.time_base, "pyav")
                    out = Collector(renderer.height, renderer.width, per_batch, room, allocate)
        except VideoError as reason:
            yield out.frames(self.probe.time_base, "pyav", VideoError(reason.kind, reason.message, count))
            return
        if len(out):
            yield out.frames(self.probe.time_base, "pyav")

    def _with_decord(self, span_s: tuple[float, float] | None, allocate: Allocate) -> Frames | None:
        """What decord gives, where it agrees with the container; else None, and PyAV decodes from now on."""
        probe = self.probe
        out = Collector(probe.height, probe.width, self._expected(span_s), self.limits.max_decoded_bytes, allocate)
        reason = decode_with_decord(self._file, self._stream, span_s, out)
        if reason is None:
            return out.frames(probe.time_base, "decord")
        self.probe = replace(probe, decoder="pyav", decoder_reason=reason)
        return None

    def _renderer(self, size: tuple[int, int] | None, interpolation: str) -> Renderer:
        height, width = size or (self.probe.height, self.probe.width)
        return Renderer(self._orientation, height, width, interpolation)

    def _expected(self, span_s: tuple[float, float] | None) -> int:
        """A guess of the number of frames, for the first allocation."""
        probe = self.probe
        if probe.num_frames is not None and span_s is None:
            return probe.num_frames
        length_s = probe.duration_s or 1.0
        if span_s is not None:
            length_s = max(0.0, min(length_s, span_s[1] - span_s[0]))
        return int(min(length_s * (probe.fps or 30) + 2, 4096))

    def _within(self, span_s: tuple[float, float] | None) -> Iterator[tuple[int, VideoFrame]]:
        """(pts, frame) with start <= time < end."""
        self._shown.forget()
        if span_s is None:
            yield from self._stream.from_start()
            return
        start_s, end_s = span_s
        for pts, frame in self._jumps.from_time(start_s, end_s):
            time_s = seconds_of(pts, self.probe.time_base)
            if time_s >= end_s:
                return
            if time_s >= start_s:
                yield pts, frame

    def _at_times(self, times_s: Sequence[float], renderer: Renderer, out: Collector, partial: bool) -> Frames:
        """The frame shown at each time; the first one before the start, the last one after the end.

        With `partial` a truncated file ends with its last good frame.
        """
        order = sorted(range(len(times_s)), key=times_s.__getitem__)
        picture: np.ndarray | None = None
        for pts, frame, again in self._shown.at([times_s[index] for index in order], partial):
            place = out.slot(pts)
            if again and picture is not None:
                np.copyto(place, picture)
            else:
                renderer.draw(frame, place)
            picture = place
        out.arrange(order)
        return out.frames(self.probe.time_base, "pyav", self._shown.cut)

    def approach(self, time_s: float, partial: bool, cpu_s: float) -> bool:
        """See `Shown.approach`. Raises VideoError."""
        self._jumps.places = ()
        try:
            return self._shown.approach(time_s, partial, cpu_s)
        except VideoError as reason:
            raise VideoError(reason.kind, reason.message, 0) from reason
