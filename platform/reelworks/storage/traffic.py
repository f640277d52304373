"""Bytes of objects that this process has read and written; what a job says of its traffic."""

from __future__ import annotations

import threading
from typing import NamedTuple


class Moved(NamedTuple):
    """Bytes of objects since the process began, without requests' headers and listings."""

    read: int
    written: int


_lock = threading.Lock()
_moved = Moved(0, 0)


def moved() -> Moved:
    """The sums so far; the difference of two calls is what happened between them, in all threads."""
    return _moved


def count(read: int = 0, written: int = 0) -> None:
    """Add what a request has moved."""
    global _moved
    with _lock:
        _moved = Moved(_moved.read + read, _moved.written + written)
