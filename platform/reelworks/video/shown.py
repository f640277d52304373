"""Frames by the times at which they are shown, decoded in as few passes as the file allows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from av.video.frame import VideoFrame

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.frames import seconds_of
from reelworks.video.seeking import Jumps
from reelworks.video.stream import Timed

_DENSE_S = 0.5
"""Seconds between two times up to which they are read in one go: less than the usual distance of key frames."""


@dataclass
class _Walk:
    """Frames from some place on, the one shown now and the one behind it; all None at the end of the file."""

    frames: Iterator[Timed]
    current: Timed | None
    following: Timed | None
    partial: bool
    cut: list[VideoError]

    def step(self) -> None:
        self.current, self.following = self.following, next(self.frames, None)


class Shown:
    """What one stream shows when; in a file that can't be jumped in, each call goes on where the last one ended."""

    def __init__(self, jumps: Jumps, time_base: Fraction):
        self._jumps, self._time_base = jumps, time_base
        self._left: _Walk | None = None
        self.cut: VideoError | None = None
        """Why the file ended early in the last call, which was `partial`."""

    def forget(self) -> None:
        """Another one has moved the stream."""
        self._left = None

    def at(self, times_s: Sequence[float], partial: bool) -> Iterator[tuple[int, VideoFrame, bool]]:
        """(timestamp, frame, whether it is the one before again) for each of the times, which don't decrease.

        The first frame stands for times before it, the last one for times behind it; with `partial` a truncated file
        ends with its last good frame. Raises VideoError.
        """
        walk = self._taken(partial)
        self.cut = None
        ends = _ends_of_runs(times_s)
        asked_s: float | None = None
        for time_s in times_s:
            again = asked_s is not None
            if walk is None or (time_s != asked_s and self._leads_away(walk, time_s)):
                walk, again = self._begun(time_s, ends[time_s], partial, walk.cut if walk else []), False
            while walk.following is not None and self._seconds(walk.following) <= time_s:
                walk.step()
                again = False
            if walk.current is None:
                message = f"No frame can be decoded at {time_s} s."
                raise walk.cut[0] if walk.cut else VideoError(VideoErrorKind.corrupt, message, 0)
            asked_s = time_s
            yield *walk.current, again
        self._left = walk if self._jumps.only_walks else None
        self.cut = walk.cut[0] if walk is not None and walk.cut else None

    def approach(self, time_s: float, partial: bool, cpu_s: float) -> bool:
        """Walk towards a time for so many CPU seconds, where nothing else leads there; True once the next call is near.

        The whole way may cost more CPU time than one call may take. Raises VideoError.
        """
        if not self._jumps.only_walks:
            return True
        walk = self._taken(partial)
        if walk is None or self._leads_away(walk, time_s):
            walk = self._begun(time_s, time_s, partial, [])
        until_s = time.process_time() + cpu_s
        while walk.following is not None and self._seconds(walk.following) <= time_s:
            walk.step()
            if time.process_time() > until_s:
                break
        self._left = walk
        return walk.following is None or self._seconds(walk.following) > time_s

    def _taken(self, partial: bool) -> _Walk | None:
        """Where the last call ended; an error from now on leaves nothing of it."""
        walk, self._left = self._left, None
        return walk if walk is not None and walk.partial == partial else None

    def _begun(self, time_s: float, until_s: float, partial: bool, cut: list[VideoError]) -> _Walk:
        """A walk from a frame at or before a time, or from the first one."""
        frames = self._jumps.from_time(time_s, until_s)
        frames = _up_to_cut(frames, cut) if partial else frames
        return _Walk(frames, next(frames, None), next(frames, None), partial, cut)

    def _leads_away(self, walk: _Walk, time_s: float) -> bool:
        """True where the frame of a time is found sooner elsewhere than behind the current one."""
        return walk.current is None or self._jumps.pays(walk.current[0], time_s)

    def _seconds(self, timed: Timed) -> float:
        return seconds_of(timed[0], self._time_base)


def _up_to_cut(frames: Iterator[Timed], cut: list[VideoError]) -> Iterator[Timed]:
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
