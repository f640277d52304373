"""Times of frames where the container gives them none.

AVI has a slot of equal length for each frame and no presentation times: the n-th shown has the n-th slot. A packet's
slot is its place in decoding order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from fractions import Fraction

from av.packet import Packet
from av.video.stream import VideoStream


class Slots:
    """Slots of the packets that were decoded, and whose frames haven't been shown yet."""

    def __init__(self, first: int | None = None):
        """`first`: the slot of the key frame that was jumped to; what lies before it is shown already."""
        self._first = first
        self._waiting = [] if first is None else [first]

    def add(self, packet: Packet) -> None:
        """Note a packet that was decoded."""
        if packet.dts is None or (self._first is not None and packet.dts <= self._first):
            return
        if self._waiting or packet.is_keyframe:
            heapq.heappush(self._waiting, packet.dts)

    def take(self) -> int | None:
        """The slot of the next frame that is shown; None where the decoder keeps none back, and packets have times."""
        return heapq.heappop(self._waiting) if self._waiting else None


def timed_once(packets: Iterator[Packet]) -> Iterator[Packet]:
    """The packets of a program stream, each time given to the packet that it belongs to.

    It times only the first frame that begins in each of its own packets. Where the mark that begins a frame is torn
    apart by their border, FFmpeg's parser gives that time to the frame before it, too.
    """
    held: Packet | None = None
    for packet in packets:
        if held is not None:
            if held.pts == packet.pts:
                held.pts = None
            yield held
        held = packet
    if held is not None:
        yield held


def continued_time(stream: VideoStream, pts: int | None, last: int | None) -> int:
    """The time of a program stream's frame: its own, or where it has none its place in the stream's rate.

    The rate may be off by some ticks; then the next time that is known may be a little too early to come next.
    """
    rate = stream.guessed_rate or stream.average_rate or Fraction(25)
    step = max(1, round(1 / (rate * (stream.time_base or Fraction(1, 1000)))))
    if pts is None:
        return (stream.start_time or 0) if last is None else last + step
    return last + 1 if last is not None and last - step < pts <= last else pts
