"""The Range header of RFC 9110 for one object of known size."""

from __future__ import annotations

import re

_SINGLE = re.compile(r"bytes=(\d*)-(\d*)")


class UnsatisfiableRange(Exception):
    """The range lies outside the object (416)."""


def byte_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """(start, length) of a single range; None where the whole object is to be sent.

    Anything else than one well-formed byte range is ignored, as RFC 9110 section 14.2 asks.
    Raises UnsatisfiableRange.
    """
    match = _SINGLE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size_bytes)
        if length == 0:
            raise UnsatisfiableRange
        return size_bytes - length, length
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise UnsatisfiableRange
    end = min(int(last), size_bytes - 1) if last else size_bytes - 1
    return start, end - start + 1
