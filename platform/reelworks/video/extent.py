"""Whether a file is shorter than its own header says: the cheap signs, read without decoding."""

import struct
from itertools import islice
from typing import BinaryIO

from reelworks.video.boxes import MIN_BOX_BYTES, boxes_of
from reelworks.video.ebml import segment_in
from reelworks.video.source import read_at

_TAIL_BYTES = 4096
"""Room for what cameras append behind the end marker of a picture."""

_MAX_BOXES = 4096
"""Top-level boxes that are walked at most: a fragment every second for half an hour."""


def is_short(file: BinaryIO, demuxer: str, head: bytes, file_bytes: int) -> bool:
    """True where the file is shorter than its first bytes say, or has no end."""
    claimed = _claimed_bytes(demuxer, head)
    return (claimed is not None and claimed > file_bytes) or _lacks_end(file, demuxer, file_bytes)


def boxes_run_out(file: BinaryIO, file_bytes: int) -> bool:
    """True where the last top-level box of an ISO base media file ends beyond the file."""
    stop = 0
    for box in islice(boxes_of(file, file_bytes), _MAX_BOXES):
        stop = box.stop
    return stop > file_bytes or 0 < file_bytes - stop < MIN_BOX_BYTES


def _claimed_bytes(demuxer: str, head: bytes) -> int | None:
    """The file's length by its first bytes, or None where the container doesn't say it there."""
    if demuxer in ("avi", "webp_pipe"):
        # AVI files over 1 GiB have several RIFF parts; the first one still has to be there whole.
        return 8 + struct.unpack_from("<I", head, 4)[0] if len(head) >= 8 else None
    if demuxer == "matroska":
        segment = segment_in(head)
        return segment[1] if segment else None
    if demuxer == "flv":
        at = head.find(b"filesize\x00")
        if at < 0 or at + 17 > len(head):
            return None
        size = struct.unpack_from(">d", head, at + 9)[0]
        return int(size) if 0 < size < 2**53 else None
    return None


def _lacks_end(file: BinaryIO, demuxer: str, file_bytes: int) -> bool:
    """True where a JPEG or PNG has no end marker: decoders fill the missing part with grey and don't complain."""
    marker = {"jpeg_pipe": b"\xff\xd9", "png_pipe": b"IEND"}.get(demuxer)
    return marker is not None and marker not in read_at(file, max(0, file_bytes - _TAIL_BYTES), _TAIL_BYTES)
