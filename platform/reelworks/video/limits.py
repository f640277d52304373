"""What a file may claim and what decoding it may cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a file may claim before anything of it is decoded."""

    max_pixels: int = 8192 * 4320
    """Pixels of one stored frame."""
    max_frames: int = 2_000_000
    """Frames of a file, where its index counts them."""
    max_duration_s: float = 24 * 3600.0
    """Seconds of a file, where its header says them."""
    max_decoded_bytes: int = 4 * 2**30
    """Bytes of RGB that one `decode` may return."""
