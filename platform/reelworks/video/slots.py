"""Times of frames in AVI, which has none.

It has a slot of equal length for each frame and no presentation times: the n-th shown has the n-th slot. A packet's
slot is its place in decoding order.
"""

from __future__ import annotations

import heapq

from av.packet import Packet


class Slots:
    """Slots of the packets that were decoded, and whose frames haven't been shown yet."""

    def __init__(self, first: int | None = None):
        """`first`: the slot of the key frame that was jumped to; what lies before it is shown already."""
        self._first = first
        self._waiting = [] if first is None else [first]

    def add(self, packet: Packet, shown: int) -> None:
        """Note a packet that was decoded, and that completed so many frames."""
        if packet.dts is None or (self._first is not None and packet.dts <= self._first):
            return
        # One that completes none where none is kept back stands for a frame that was dropped.
        if self._waiting or packet.is_keyframe or shown:
            heapq.heappush(self._waiting, packet.dts)

    def take(self) -> int | None:
        """The slot of the next frame that is shown; None for one before the first key frame."""
        return heapq.heappop(self._waiting) if self._waiting else None
