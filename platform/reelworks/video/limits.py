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
    cpu_s: float = 120.0
    """CPU seconds of one request to the decoding child: opening, decoding, one batch."""
    memory_bytes: int = 2 * 2**30
    """Address space of the decoding child above what it has when idle, its result apart; small frames get less."""
    stall_s: float = 30.0
    """Wall seconds without an answer and without a tick of CPU time after which the child counts as hung."""
    attempts: int = 3
    """Fresh children that a file may take with it before it counts as hostile."""
    whole_object_bytes: int = 16 * 2**20
    """Objects up to this size are fetched in one request when they are decoded as a whole; larger ones by range."""
