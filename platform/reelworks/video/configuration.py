"""What a decoder has learnt from the stream itself and keeps over a seek: parameter sets, headers, tables.

A stream may send them once and change them anywhere. Who jumps over the change decodes with the wrong ones, most often
without an error: so a jump is right only where the key frame itself brings all that differs from what the decoder has.
"""

from __future__ import annotations

from collections.abc import Iterator

from av.packet import Packet

from reelworks.video.units import length_bytes

_START = b"\0\0\1"
_MOST = 64
"""Parts that are kept of one stream; with more of them nothing is sure."""

Parts = dict[bytes, bytes]
"""What a part is about -> the part; one replaces another about the same."""


class Configuration:
    """Of one decoder, from the opening of its file on."""

    def __init__(self, codec: str, extradata: bytes | None):
        self._codec = codec
        self._length_bytes = length_bytes(codec, extradata)
        self._first: Parts = {b"": extradata or b""}
        if extradata and self._length_bytes is None:
            self._first |= _parts(extradata, codec, None)
        self._changed: Parts = {}
        self._begun = False

    def admit(self, packet: Packet) -> bool:
        """Note a packet that is about to be decoded; True where nothing that came before it changes what it means.

        The first packet of a file is known to every decoder of it.
        """
        if packet.has_sidedata("new_extradata"):  # from a place of its own in the file (FLV)
            self._learn({b"": bytes(packet.get_sidedata("new_extradata"))})
        parts = _parts(bytes(packet), self._codec, self._length_bytes)
        if not self._begun:
            self._first, self._begun = self._first | parts, True
        sure = len(self._changed) <= _MOST and self._changed.keys() <= parts.keys()
        self._learn(parts)
        return sure

    def _learn(self, parts: Parts) -> None:
        if parts and len(self._changed) <= _MOST:
            changed = self._changed | parts
            self._changed = {about: part for about, part in changed.items() if self._first.get(about) != part}


def _parts(data: bytes, codec: str, length: int | None) -> Parts:
    """The parts of a packet's configuration."""
    if codec in ("h264", "hevc"):
        units = _split(data) if length is None else _measured(data, length)
        # Their numbers are not read here: each is about itself, which only costs jumps behind one that comes again.
        return {unit: unit for unit in units if _configures(unit, codec)}
    if codec in ("mpeg1video", "mpeg2video"):  # ISO/IEC 13818-2, 6.2.2: sequence header; extensions, numbered
        units = (unit for unit in _split(data) if unit[0] == 0xB3 or unit[0] == 0xB5 and unit[1:])
        return {unit[:1] if unit[0] == 0xB3 else bytes((0xB5, unit[1] >> 4)): unit for unit in units}
    if codec == "mpeg4":  # ISO/IEC 14496-2, 6.2.2: layers, sequence, object; what encoders say of themselves
        return {unit: unit for unit in _split(data) if 0x20 <= unit[0] < 0x30 or unit[0] in (0xB0, 0xB2, 0xB5)}
    if codec == "mjpeg":
        return dict(_tables(data))
    if codec == "av1" and data.startswith(b"\x12\0\x0a"):  # a temporal unit that begins with a sequence header
        return {b"\x0a": data[4 : 4 + data[3]]} if len(data) > 3 else {}
    return {}


def _configures(unit: bytes, codec: str) -> bool:
    """Parameter sets: ITU-T H.264, 7.4.1 (of sequences, their extensions, pictures); H.265, 7.4.2.2."""
    return unit[0] & 31 in (7, 8, 13, 15) if codec == "h264" else 32 <= unit[0] >> 1 & 63 <= 34


def _split(data: bytes) -> Iterator[bytes]:
    """Units behind start codes, none of them empty."""
    at = data.find(_START)
    while at >= 0:
        stop = data.find(_START, at + 3)
        unit = data[at + 3 : stop if stop >= 0 else len(data)].rstrip(b"\0")
        if unit:
            yield unit
        at = stop


def _measured(data: bytes, length: int) -> Iterator[bytes]:
    """Units behind their lengths, none of them empty."""
    at = 0
    while at + length < len(data):
        start = at + length
        at = start + int.from_bytes(data[at:start], "big")
        if at > start:
            yield data[start:at]


def _tables(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Quantization and Huffman tables in front of a scan (ITU-T T.81, B.2.4), by their kind and number."""
    at = 2
    while at + 4 < len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        kind, stop = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        begin = at + 4
        while kind in (0xDB, 0xC4) and begin < min(stop, len(data)):
            body = 64 * (1 + (data[begin] >> 4)) if kind == 0xDB else 16 + sum(data[begin + 1 : begin + 17])
            yield bytes((kind, data[begin])), data[begin : begin + 1 + body]
            begin += 1 + body
        at = stop
