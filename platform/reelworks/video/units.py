"""Bytes that no H.264 or HEVC stream contains: a part of a file that was never written reads as zeros.

Inside a unit the encoder breaks up every run of zeros with a byte of 3 (ITU-T H.264, 7.4.1; H.265, 7.4.2). FFmpeg takes
zeros for the end of the unit, decodes what came before, and HEVC's decoder says nothing of the rest.
"""

_CONFIGURED = {"h264": 4, "hevc": 21}
"""Byte of the decoder configuration (avcC, hvcC) whose last two bits are the length of a length, less one."""


def length_bytes(codec: str, extradata: bytes | None) -> int | None:
    """How many bytes in front of each unit are its length; None where units are told apart by start codes."""
    at = _CONFIGURED.get(codec)
    if at is None or extradata is None or len(extradata) <= at or extradata[0] != 1:
        return None
    return (extradata[at] & 3) + 1


def holds_impossible_bytes(packet: bytes, codec: str, length: int) -> bool:
    """True where a unit with pixels has two zeros and a byte below 3; its end may be filled with zeros."""
    at = 0
    while at + length < len(packet):
        start = at + length
        at = start + int.from_bytes(packet[at:start], "big")
        if _has_pixels(packet[start], codec) and _breaks_off(packet, start, min(at, len(packet))):
            return True
    return False


def _has_pixels(first_byte: int, codec: str) -> bool:
    return 1 <= first_byte & 31 <= 5 if codec == "h264" else first_byte >> 1 & 63 < 32


def _breaks_off(packet: bytes, start: int, stop: int) -> bool:
    at = packet.find(b"\0\0", start, stop)
    while at >= 0 and at + 2 < stop:
        if packet[at + 2] < 3:
            return bool(packet[at:stop].strip(b"\0"))
        at = packet.find(b"\0\0", at + 2, stop)
    return False
