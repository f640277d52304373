"""Times of frames in MPEG program streams, which time some of them.

Each packet of the container has the time of the first frame that begins in it (ISO/IEC 13818-1, 2.4.3.7). The others
follow at the stream's rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from av.packet import Packet

_HELD_PACKETS = 32
"""Packets after which a gap in the times is taken for one in the stream."""


def own_times(packets: Iterator[Packet], step: Fraction) -> Iterator[Packet]:
    """The packets of a stream, whose frames are usually `step` ticks apart, without the times that belong to others.

    Where the mark that begins a frame is torn apart by the border of two packets of the container, FFmpeg's parser
    gives it the time that belongs to the next frame. Its time of decoding is a step too late then, and so are those of
    frames with torn marks behind it; the first other one that is timed lies again where counting leads to.
    """
    held: list[Packet] = []  # from the first one on that is a step too late
    last: tuple[int, int] | None = None  # number and time of the last packet whose time is believed
    for number, packet in enumerate(packets):
        if packet.pts is None:
            if not held:
                yield packet
            else:
                held.append(packet)
            continue
        time = packet.pts if packet.dts is None else packet.dts
        late = (time - last[1]) / step - (number - last[0]) if last is not None else Fraction(0)
        if Fraction(3, 4) < late < Fraction(5, 4) and len(held) < _HELD_PACKETS:
            held.append(packet)
            continue
        yield from _untimed(held) if abs(late) < Fraction(1, 4) else held
        held, last = [], (number, time)
        yield packet
    yield from _untimed(held)


def _untimed(packets: list[Packet]) -> Iterator[Packet]:
    for packet in packets:
        packet.pts = None
        yield packet


def continued_time(pts: int | None, last: int, step: Fraction) -> int:
    """The time of a frame behind the one shown at `last`: its own, or where it has none a step later.

    The rate may be off by some ticks; then the next time that is known may be a little too early to come next.
    """
    if pts is None:
        return last + max(1, round(step))
    return last + 1 if last - step < pts <= last else pts
