"""One opened source: its probe, and its frames chosen by presentation time.

PyAV decodes here in one pass and in display order; that is right for every container. A seek is used only where its
result proves itself: a key frame at or before the time asked for.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from av.video.frame import VideoFrame

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.fast import decode_with_decord
from reelworks.video.frames import Allocate, Collector, Frames, Renderer, allocate_private
from reelworks.video.layout import Bounded, withheld
from reelworks.video.limits import Limits
from reelworks.video.probe import Probe, describe, hold_to
from reelworks.video.stream import FrameStream

BATCH_BYTES = 8 * 2**20
"""RGB bytes of one batch of `batches`: small beside a worker, large beside a call."""

_DENSE_S = 0.5
"""Seconds between two times up to which they are read in one go: less than the usual distance of key frames."""


@dataclass
class _Walk:
    """Frames from some place on, the one shown now and the one behind it; all None at the end of the file."""

    frames: Iterator[tuple[int, VideoFrame]]
    current: tuple[int, VideoFrame] | None
    following: tuple[int, VideoFrame] | None
    partial: bool
    cut: list[VideoError]

    def step(self) -> None:
        self.current, self.following = self.following, next(self.frames, None)


class Reader:
    """Probe and frames of one seekable binary file, decoded in this process. Raises VideoError; not thread-safe."""

    def __init__(self, file: BinaryIO, limits: Limits | None = None, use_decord: bool = False, ordered: bool = False):
        """`use_decord` only in the child: decord may hang, and its libraries disturb PyAV's encoders.

        `ordered`: see `open_video`.
        """
        self.limits = limits or Limits()
        self._file = file
        self._use_decord = use_decord
        self._left: _Walk | None = None  # where the last call ended in a file that can't be jumped in
        self._ordered = ordered
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
        self._stream = FrameStream(self._file, self.limits, self._ordered)
        try:
            picture = self._stream.first_picture()
            if withheld(self._file) and not self._stream.states_rate:
                raise VideoError(VideoErrorKind.corrupt, "Too few frames were read to tell their rate.", 0)
            self._orientation = picture.orientation
            self.probe = describe(self._stream, picture)
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
    ) -> Frames:
        """Decode the whole source, a span or single times; see `reelworks.video.decode`."""
        if span_s is not None and times_s is not None:
            raise ValueError("span_s and times_s can't both be given; choose one.")
        self._complete()
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
        """Frames in display order, a batch at a time, so that memory doesn't grow with the length.

        What is good before an error comes first; the last batch then carries the error and is followed by nothing.
        """
        self._complete()
        renderer = self._renderer(size, interpolation)
        per_batch = max(1, batch_bytes // (renderer.height * renderer.width * 3))
        room = per_batch * renderer.height * renderer.width * 3
        out = Collector(renderer.height, renderer.width, per_batch, room, allocate)
        count = 0
        try:
            for pts, frame in self._within(span_s):
                renderer.draw(frame, out.slot(pts))
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
        self._left = None
        if span_s is None:
            yield from self._stream.from_start()
            return
        start_s, end_s = span_s
        for pts, frame in self._stream.from_time(start_s, end_s):
            time_s = self._seconds(pts)
            if time_s >= end_s:
                return
            if time_s >= start_s:
                yield pts, frame

    def _at_times(self, times_s: Sequence[float], renderer: Renderer, out: Collector, partial: bool) -> Frames:
        """The frame shown at each time; the first one before the start, the last one after the end.

        With `partial` a truncated file ends with its last good frame.
        """
        walk, self._left = self._left, None
        if walk is not None and walk.partial != partial:
            walk = None
        order = sorted(range(len(times_s)), key=times_s.__getitem__)
        ends = _ends_of_runs(times_s)
        asked_s: float | None = None
        picture: np.ndarray | None = None  # of the current frame, once it is drawn
        for time_s in (times_s[index] for index in order):
            if walk is None or (time_s != asked_s and self._walks_away(walk, time_s)):
                cut = walk.cut if walk is not None else []
                walk, picture = self._begun(time_s, ends[time_s], partial, cut), None
            while walk.following is not None and self._seconds(walk.following[0]) <= time_s:
                walk.step()
                picture = None
            if walk.current is None:
                message = f"No frame can be decoded at {time_s} s."
                raise walk.cut[0] if walk.cut else VideoError(VideoErrorKind.corrupt, message, 0)
            place = out.slot(walk.current[0])
            if picture is None:
                renderer.draw(walk.current[1], place)
            else:
                np.copyto(place, picture)
            asked_s, picture = time_s, place
        self._left = walk if self._stream.only_walks else None
        out.arrange(order)
        return out.frames(self.probe.time_base, "pyav", walk.cut[0] if walk is not None and walk.cut else None)

    def approach(self, time_s: float, partial: bool, cpu_s: float) -> bool:
        """Walk towards a time for so many CPU seconds, where nothing else leads there; True once the next call is near.

        The whole way may cost more CPU time than one call may take. Raises VideoError.
        """
        if not self._stream.only_walks:
            return True
        walk, self._left = self._left, None
        try:
            if walk is None or walk.partial != partial or self._walks_away(walk, time_s):
                walk = self._begun(time_s, time_s, partial, [])
            until_s = time.process_time() + cpu_s
            while walk.following is not None and self._seconds(walk.following[0]) <= time_s:
                walk.step()
                if time.process_time() > until_s:
                    break
        except VideoError as reason:
            raise VideoError(reason.kind, reason.message, 0) from reason
        self._left = walk
        return walk.following is None or self._seconds(walk.following[0]) > time_s

    def _begun(self, time_s: float, until_s: float, partial: bool, cut: list[VideoError]) -> _Walk:
        """A walk from a frame at or before a time, or from the first one."""
        frames = self._stream.from_time(time_s, until_s)
        frames = _up_to_cut(frames, cut) if partial else frames
        return _Walk(frames, next(frames, None), next(frames, None), partial, cut)

    def _walks_away(self, walk: _Walk, time_s: float) -> bool:
        """True where the frame of a time is found sooner elsewhere than behind the current one."""
        return walk.current is None or self._stream.seek_pays(walk.current[0], time_s)

    def _seconds(self, pts: int) -> float:
        base: Fraction = self.probe.time_base
        return pts * base.numerator / base.denominator


def _up_to_cut(frames: Iterator[tuple[int, VideoFrame]], cut: list[VideoError]) -> Iterator[tuple[int, VideoFrame]]:
    """The frames of a file, ending without an error where the file is cut; that error is put into `cut`."""
    try:
        yield from frames
    except VideoError as reason:
        if reason.kind is not VideoErrorKind.truncated:
            raise
        cut.append(reason)


def _ends_of_runs(times_s: Sequence[float]) -> dict[float, float]:
    """Each time -> the last one of its run, of times so close to each other that all between them is read."""
    ends: dict[float, float] = {}
    later: float | None = None
    for time_s in sorted(set(times_s), reverse=True):
        ends[time_s] = ends[later] if later is not None and later - time_s <= _DENSE_S else time_s
        later = time_s
    return ends
