"""Whether a file is shorter than its own header says: the cheap signs, read without decoding."""

import struct
from typing import BinaryIO

_SEGMENT = b"\x18\x53\x80\x67"
_TAIL_BYTES = 4096
"""Room for what cameras append behind the end marker of a picture."""

_MAX_BOXES = 4096
"""Top-level boxes that are walked at most: a fragment every second for half an hour."""


def claimed_bytes(demuxer: str, head: bytes) -> int | None:
    """The file's length by its first bytes, or None where the container doesn't say it there."""
    if demuxer in ("avi", "webp_pipe"):
        # AVI files over 1 GiB have several RIFF parts; the first one still has to be there whole.
        return 8 + struct.unpack_from("<I", head, 4)[0] if len(head) >= 8 else None
    if demuxer == "matroska":
        return _segment_end(head)
    if demuxer == "flv":
        at = head.find(b"filesize\x00")
        if at < 0 or at + 17 > len(head):
            return None
        size = struct.unpack_from(">d", head, at + 9)[0]
        return int(size) if 0 < size < 2**53 else None
    return None


def is_short(file: BinaryIO, demuxer: str, head: bytes, file_bytes: int) -> bool:
    """True where the file is shorter than its first bytes say, or has no end."""
    claimed = claimed_bytes(demuxer, head)
    return (claimed is not None and claimed > file_bytes) or lacks_end(file, demuxer, file_bytes)


def lacks_end(file: BinaryIO, demuxer: str, file_bytes: int) -> bool:
    """True where a JPEG or PNG has no end marker: decoders fill the missing part with grey and don't complain."""
    marker = {"jpeg_pipe": b"\xff\xd9", "png_pipe": b"IEND"}.get(demuxer)
    if marker is None:
        return False
    file.seek(max(0, file_bytes - _TAIL_BYTES))
    return marker not in file.read(_TAIL_BYTES)


def boxes_run_out(file: BinaryIO, file_bytes: int) -> bool:
    """True where the last top-level box of an ISO base media file ends beyond the file."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        header = file.read(16)
        header += file.read(16 - len(header))  # a remote file gives what it has at hand
        if len(header) < 8:
            return bool(header)
        size = struct.unpack_from(">I", header)[0]
        if size == 1 and len(header) == 16:
            size = struct.unpack_from(">Q", header, 8)[0]
        if size < 8:  # 0: up to the end of the file; else nonsense, which isn't for us to judge
            return False
        at += size
        if at > file_bytes:
            return True
    return False


def _segment_end(head: bytes) -> int | None:
    """Offset of the end of a Matroska segment (RFC 8794, section 4: a size of all ones is unknown)."""
    at = head.find(_SEGMENT)
    if at < 0 or at + 12 > len(head):
        return None
    at += len(_SEGMENT)
    length = 9 - head[at].bit_length()
    if length > 8:
        return None
    value = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else at + length + value
