"""The shortest way to the frames of a time: by the container's index, by noted places, or from the start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain

from reelworks.errors import VideoError, VideoErrorKind
from reelworks.video.frames import seconds_of
from reelworks.video.index import reaches
from reelworks.video.places import Place, Unproven, place_before
from reelworks.video.stream import FrameStream, Timed

INDEXED = ("mov", "matroska")
"""Containers with an index of key frames by time. For the others see `reelworks.video.places`."""

_MARGINS_S = (0, Fraction(1, 4), 2, 10)
"""How far before the time asked for a seek aims, in turn, until a key frame lies before that time."""

_UNSEEN_S = 2
"""Seconds that are walked through rather than jumped over where the index between two times wasn't read yet."""

_LATEST_S = 1e9
"""A time beyond the end of every file, in seconds."""


class Jumps:
    """Ways into one stream. What is found behind a jump has to prove itself."""

    def __init__(self, stream: FrameStream):
        self._stream = stream
        self.places: Sequence[Place] = ()
        """Key frames that one who has decoded all of the file has noted, in display order."""

    @property
    def only_walks(self) -> bool:
        """True where a late frame is reached through all that lie before it."""
        return self._stream.demuxer not in INDEXED and not self.places

    def from_time(self, time_s: float, until_s: float) -> Iterator[Timed]:
        """Frames from one at or before the time on (from the first one, if it comes later).

        `until_s`, the last time that will be asked for, bounds what is fetched ahead from a remote file.
        """
        stream, until = self._stream, self._ticks(min(until_s, _LATEST_S))
        place = place_before(self.places, self._ticks(time_s))
        if place is not None and place.pts > stream.start:
            return self._walked_if_unproven(self._behind_place(place, until))
        for margin_s in _MARGINS_S if stream.demuxer in INDEXED else ():
            target = self._ticks(Fraction(time_s) - margin_s)
            if target <= stream.start:
                break
            frames = stream.after_seek(target, until)
            first = next(frames, None)
            # Where it isn't a key frame at or before the time, the index doesn't lead there from here.
            if first is not None and stream.began_with(first[1]) and first[0] * stream.time_base <= Fraction(time_s):
                return chain([first], frames)
        return stream.from_start()

    def pays(self, pts: int, time_s: float) -> bool:
        """True where a key frame lies between the frame at `pts` and the time, as far as anyone knows, or the time lies
        before `pts`."""
        stream, target = self._stream, self._ticks(time_s)
        if time_s < seconds_of(pts, stream.time_base):
            return True
        if stream.demuxer not in INDEXED:
            place = place_before(self.places, target)
            return place is not None and place.pts > pts
        # Matroska's index is read by the first seek: before that nobody knows what a walk would fetch for nothing.
        if not (stream.sought if stream.demuxer == "matroska" else reaches(stream.stream, target)):
            return (target - pts) * stream.time_base > _UNSEEN_S
        at = stream.stream.index_entries.search_timestamp(target, backward=True)
        return at >= 0 and stream.stream.index_entries[at].timestamp > pts

    def _ticks(self, time_s: float | Fraction) -> int:
        return int(Fraction(time_s) / self._stream.time_base)

    def _behind_place(self, place: Place, until: int) -> Iterator[Timed]:
        """Frames from a noted key frame on. Raises Unproven where it isn't what was noted, or damage follows."""
        try:
            frames = self._stream.after_jump(place, until)
            first = next(frames, None)
            if first is None or first[0] != place.pts:
                raise Unproven
            yield first
            yield from frames
        except VideoError as error:
            if error.kind is VideoErrorKind.truncated and self._stream.draining:
                raise
            raise Unproven from error  # of a file that was seen whole: the jump went wrong

    def _walked_if_unproven(self, frames: Iterator[Timed]) -> Iterator[Timed]:
        """Frames behind a jump, and from where it turns out that they may be wrong, those of a walk from the start."""
        last: int | None = None
        try:
            for timed in frames:
                last = timed[0]
                yield timed
        except Unproven:
            self.places = ()
            yield from (timed for timed in self._stream.from_start() if last is None or timed[0] > last)
